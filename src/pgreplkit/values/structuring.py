"""register_cattrs: hooks with which cattrs reads and writes the value types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from pgreplkit.values.segment import AnySegmentSize, SegmentSize, segment_size_of
from pgreplkit.values.textforms import text_forms
from pgreplkit.values.walnames import WalName, parse_wal_name

T = TypeVar("T")


class Converter(Protocol):
    """The methods of a converter of cattrs that are used here."""

    def register_structure_hook(
        self, cl: object, func: Callable[[object, type], object], /
    ) -> object: ...

    def register_unstructure_hook(self, cls: object, func: Callable[..., object], /) -> object: ...


def register_cattrs(
    converter: Converter, *, segment_size: AnySegmentSize = SegmentSize.DEFAULT
) -> None:
    """Make a cattrs converter write LSNs and names as text and segment sizes in bytes.

    cattrs itself reads and writes the other value types, which are attrs classes. Names of WAL
    files do not contain the segment size, so they are read with ``segment_size``.

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
    converter.register_structure_hook(
        WalName, lambda text, _: parse_wal_name(_text(text), segment_size=segment_size)
    )


def _reader(kind: type[T], parse: Callable[[str], object]) -> Callable[[object, type], object]:
    return lambda given, _: given if isinstance(given, kind) else parse(_text(given))


def _size(given: object) -> SegmentSize:
    if isinstance(given, str):
        return SegmentSize.parse(given)
    if isinstance(given, SegmentSize | int):
        return segment_size_of(given)
    raise TypeError(f"a segment size is an int of bytes or text, not {type(given).__name__}")


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise TypeError(f"expected text, not {type(given).__name__}")
    return given
