"""RowLoading: streamed and copied values become Python's as those of a query do."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from psycopg import DataError, adapt, postgres
from psycopg.abc import AdaptContext, Buffer, Loader, Transformer as AnyTransformer
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.pq import Format
from psycopg.types.composite import CompositeInfo
from psycopg.types.range import RangeInfo

from pgreplkit.catalog.logical.columntypes import CREATED_OIDS, ColumnType
from pgreplkit.protocol.pgoutput.tables import Column
from pgreplkit.protocol.pgoutput.tuples import LoadValues, Octets, UnknownTypes

if TYPE_CHECKING:
    from psycopg import BaseConnection

_INTERVAL = postgres.types["interval"].oid
_MOST_DAYS = 999_999_999
"""Of a timedelta."""
_DATE_PART = re.compile(
    rb"(?:([-+]?\d+) years?\s*)?(?:([-+]?\d+) mons?\s*)?(?:([-+]?\d+) days?)?(?=\s|$)"
)


class RowLoading:
    """Loads values by the loaders of ``adapters``, as a query's result is loaded.

    ``connection`` has the settings by which the server writes texts. ``types`` are the created
    known types; the caller may add others later.
    """

    def __init__(
        self,
        adapters: AdaptersMap,
        connection: BaseConnection[object] | None,
        types: Mapping[int, ColumnType],
    ) -> None:
        self.adapters: AdaptersMap = _exact_adapters(adapters)
        self.connection = connection
        self._types = types

    def __call__(self, columns: Sequence[Column], binary: frozenset[int], /) -> LoadValues:
        """Return a function that loads such columns, those at the positions ``binary`` in binary.

        Raises: UnknownTypes.
        """
        unknown = {column.type_oid for column in columns if not self._is_known(column.type_oid)}
        if unknown:
            raise UnknownTypes(unknown)
        oids = [self._loaded_as(column.type_oid) for column in columns]
        transformer = Transformer(self)
        if not binary:
            # psycopg's C code loads a whole row at once.
            transformer.set_loader_types(oids, Format.TEXT)
            return transformer.load_sequence
        loads = [
            self._binary_load(transformer, oid)
            if at in binary
            else transformer.get_loader(oid, Format.TEXT).load
            for at, oid in enumerate(oids)
        ]
        if len(binary) == len(columns) and all(map(self._has_binary_loader, oids)):
            transformer.set_loader_types(oids, Format.BINARY)
            return transformer.load_sequence

        def load(sent: Sequence[Octets]) -> tuple[object, ...]:
            return tuple(
                None if value is None else load(value)
                for load, value in zip(loads, sent, strict=True)
            )

        return load

    def agrees_in_binary(self, oids: Iterable[int]) -> bool:
        """Return whether values of these types load from binary as they load from text."""
        return all(self._agrees(self._loaded_as(oid)) for oid in oids)

    def _is_known(self, oid: int) -> bool:
        return oid < CREATED_OIDS or oid in self._types or self._has_text_loader(oid)

    def _has_text_loader(self, oid: int) -> bool:
        return self.adapters.get_loader(oid, Format.TEXT) is not None

    def _has_binary_loader(self, oid: int) -> bool:
        return self.adapters.get_loader(oid, Format.BINARY) is not None

    def _loaded_as(self, oid: int) -> int:
        """Return the type whose loader takes the values: a domain's is that of its base type."""
        known = self._types.get(oid)
        return oid if known is None or self._has_text_loader(oid) else known.base_oid

    def _is_enum(self, oid: int) -> bool:
        return oid in self._types and self._types[oid].is_enum

    def _binary_load(self, transformer: AnyTransformer, oid: int) -> Callable[[Buffer], object]:
        if self._has_binary_loader(oid):
            return transformer.get_loader(oid, Format.BINARY).load
        if self._is_enum(oid):
            # An enum is the same text in both formats.
            return transformer.get_loader(oid, Format.TEXT).load
        return _refuse_binary

    def _agrees(self, oid: int) -> bool:
        """Return whether a type and its parts have loaders of both formats that belong together."""
        if self._is_enum(oid) and not self._has_text_loader(oid):
            return True
        text = self.adapters.get_loader(oid, Format.TEXT)
        binary = self.adapters.get_loader(oid, Format.BINARY)
        if text is None or binary is None or _is_own(text) != _is_own(binary):
            return False
        info = self.adapters.types.get(oid)
        if info is None:
            return True
        # psycopg knows an array by the entry of its element.
        if info.oid != oid:
            return self._agrees(info.oid)
        if isinstance(info, RangeInfo):
            return self._agrees(info.subtype_oid)
        if isinstance(info, CompositeInfo):
            return all(map(self._agrees, info.field_types))
        return True


def _is_own(loader: type[Loader]) -> bool:
    """Return whether a loader is psycopg's, or this library's."""
    return loader.__module__.startswith(("psycopg", "pgreplkit", "_psycopg"))


def _refuse_binary(value: Buffer) -> object:
    raise TypeError("the server sent it in binary, for which its type has no loader")


def _exact_adapters(adapters: AdaptersMap) -> AdaptersMap:
    """Return a copy in which psycopg's own loaders of intervals refuse what they cannot hold.

    They load infinite intervals of text as 0, and let huge ones overflow (3.2, 3.3).
    """
    exact = AdaptersMap(adapters)
    for format_, checked in (
        (Format.TEXT, _IntervalTextLoader),
        (Format.BINARY, _IntervalBinaryLoader),
    ):
        loader = adapters.get_loader(_INTERVAL, format_)
        if loader is not None and loader.__module__.startswith(("psycopg", "_psycopg")):
            own = type(checked.__name__, (checked,), {"theirs": loader, "__module__": __name__})
            exact.register_loader(_INTERVAL, own)
    return exact


class _IntervalLoader(adapt.Loader):
    """Refuses intervals beyond a timedelta; psycopg's loader takes the others."""

    theirs: type[Loader]

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        self._load = self.theirs(oid, context).load

    def load(self, data: Buffer) -> object:
        years, months, days = self.date_part(bytes(data))
        # A year and a month count as many days as psycopg takes them for.
        if abs(years * 365 + months * 30 + days) >= _MOST_DAYS:
            raise DataError(f"the interval is beyond {_MOST_DAYS} days, the most of a timedelta")
        return self._load(data)

    def date_part(self, data: bytes) -> tuple[int, int, int]:
        """Return the years, months and days."""
        raise NotImplementedError


class _IntervalTextLoader(_IntervalLoader):
    def date_part(self, data: bytes) -> tuple[int, int, int]:
        if data.endswith(b"infinity"):
            raise DataError("the interval is infinite, which no timedelta is")
        match = _DATE_PART.match(data)
        years, months, days = match.groups(b"0") if match else (b"0", b"0", b"0")
        return int(years), int(months), int(days)


class _IntervalBinaryLoader(_IntervalLoader):
    format = Format.BINARY

    def date_part(self, data: bytes) -> tuple[int, int, int]:
        microseconds, days, months = struct.unpack(">qii", data)
        if (microseconds, days, months) in {
            (2**63 - 1, 2**31 - 1, 2**31 - 1),
            (-(2**63), -(2**31), -(2**31)),
        }:
            raise DataError("the interval is infinite, which no timedelta is")
        years, rest = divmod(abs(months), 12)
        return (years, rest, days) if months >= 0 else (-years, -rest, days)
