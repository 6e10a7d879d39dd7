"""register_cattrs: hooks with which cattrs reads and writes the value types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Protocol, TypeVar

import attrs

from pgreplkit.errors import Error
from pgreplkit.values.record import Record
from pgreplkit.values.segment import AnySegmentSize, SegmentSize, segment_size_of
from pgreplkit.values.textforms import text_forms
from pgreplkit.values.version import ServerVersion
from pgreplkit.values.walnames import WalName, parse_wal_name

T = TypeVar("T")


class Converter(Protocol):
    """The methods of a converter of cattrs that are used here."""

    def register_structure_hook(
        self, cl: object, func: Callable[[object, type], object], /
    ) -> object: ...

    def register_unstructure_hook(self, cls: object, func: Callable[..., object], /) -> object: ...

    def register_unstructure_hook_func(
        self, check_func: Callable[[Any], bool], func: Callable[[Any], object], /
    ) -> object: ...

    def unstructure(self, obj: object, /) -> object: ...


def register_cattrs(
    converter: Converter, *, segment_size: AnySegmentSize = SegmentSize.DEFAULT
) -> None:
    """Make a cattrs converter write LSNs and names as text and segment sizes in bytes.

    cattrs itself reads and writes rows, reports and the other value types, which are attrs classes.
    Names of WAL files do not contain the segment size, so they are read with ``segment_size``.

    A converter for JSON, as ``cattrs.preconf.json.make_converter()``, also reads what ``to_dict()``
    of a row returns: ``converter.structure(sender.to_dict(), WalSender)``. Rows with binary data,
    steps of plans, tables of changes or hidden fields cannot be read; an error becomes its text.
    Fields that the repr hides may hold a password, and are not written.

    >>> import cattrs, pgreplkit
    >>> converter = cattrs.Converter()
    >>> pgreplkit.register_cattrs(converter)
    >>> converter.unstructure(pgreplkit.WalRange(pgreplkit.LSN(1), pgreplkit.LSN(2)))
    {'start': '0/1', 'end': '0/2'}
    >>> converter.structure("16/B374D848", pgreplkit.LSN)
    LSN('16/B374D848')
    """
    for kind, form in text_forms(segment_size).items():
        converter.register_structure_hook(kind, _reader(kind, form.parse))
        converter.register_unstructure_hook(kind, str)
    converter.register_structure_hook(SegmentSize, lambda given, _: _size(given))
    converter.register_unstructure_hook(SegmentSize, int)
    for kind, write, read in _OF_ROWS:
        converter.register_unstructure_hook(kind, write)
        converter.register_structure_hook(kind, read)
    converter.register_unstructure_hook_func(_has_hidden, partial(_shown_fields, converter))
    converter.register_structure_hook(IPv4Address | IPv6Address, lambda text, _: _address(text))
    converter.register_structure_hook(
        WalName, lambda text, _: parse_wal_name(_text(text), segment_size=segment_size)
    )


def _has_hidden(kind: Any) -> bool:
    is_record = isinstance(kind, type) and issubclass(kind, Record) and attrs.has(kind)
    return is_record and not all(field.repr for field in attrs.fields(kind))


def _shown_fields(converter: Converter, record: attrs.AttrsInstance) -> object:
    shown = [field.name for field in attrs.fields(type(record)) if field.repr]
    return {name: converter.unstructure(getattr(record, name)) for name in shown}


def _address(text: object) -> object:
    return ip_address(_text(text))


_OF_ROWS: Sequence[tuple[type, Callable[..., object], Callable[[Any, type], object]]] = (
    (timedelta, timedelta.total_seconds, lambda seconds, _: timedelta(seconds=seconds)),
    (ServerVersion, str, lambda text, _: ServerVersion(_text(text))),
    (Error, str, lambda text, _: Error(_text(text))),
    (IPv4Address, str, lambda text, _: _address(text)),
    (IPv6Address, str, lambda text, _: _address(text)),
)
"""The types of the fields of rows that cattrs does not know: how each is written, and read."""


def _reader(kind: type[T], parse: Callable[[str], object]) -> Callable[[object, type], object]:
    return lambda given, _: given if isinstance(given, kind) else parse(_text(given))


def _size(given: object) -> SegmentSize:
    if isinstance(given, str):
        return SegmentSize.parse(given)
    if isinstance(given, SegmentSize | int):
        return segment_size_of(given)
    raise TypeError(f"a segment size must be an int of bytes or text, not {type(given).__name__}")


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise TypeError(f"a value must be text, not {type(given).__name__}")
    return given
