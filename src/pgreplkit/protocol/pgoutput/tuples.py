"""TableReader: reads the rows of one table from messages of pgoutput."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Protocol, TypeAlias, TypeVar

from pgreplkit.errors import ValueNotLoadable
from pgreplkit.protocol.pgoutput.rows import UNCHANGED, Row, RowFactory, RowMaker, named_rows
from pgreplkit.protocol.pgoutput.tables import Column, Table

R = TypeVar("R")

Octets: TypeAlias = bytes | None
"""A value as it was sent; None for NULL."""
Values: TypeAlias = tuple[object, ...]
LoadValues: TypeAlias = Callable[[Sequence[Octets]], Values]


class Malformed(Exception):
    """A message that violates the format of pgoutput."""


class UnknownTypes(Exception):
    """Column types about which the catalogs must be asked first.

    The message that mentions them can be decoded again once they are known.
    """

    def __init__(self, oids: Iterable[int]) -> None:
        super().__init__(f"unknown types: {oids}")
        self.oids: frozenset[int] = frozenset(oids)


_COUNT, _SIZE = struct.Struct(">H").unpack_from, struct.Struct(">I").unpack_from
_TEXT, _BINARY, _NULL, _UNCHANGED = b"tbnu"
_WITH_SIZE = b"tb"


RawValues: TypeAlias = tuple[list[Octets], list[int]]
"""The values of a row as they were sent, and the format of each: TEXT, BINARY or UNSENT."""
TEXT, BINARY, UNSENT = 0, 1, -1
"""UNSENT is the format of a large value that an UPDATE did not change."""


_TRIED = 256
"""Rows after which it is known whether shapes repeat."""
_MOST_SHAPES = 1000
"""Shapes that are remembered of one table."""

_Shape: TypeAlias = tuple[
    Callable[[bytes, int], tuple[int, ...]],
    tuple[int, ...],
    Callable[[bytes, int], tuple[bytes, ...]],
    tuple[int, ...],
    list[int],
]
"""Reads what is between the values of a row; what that must be; reads the values; the positions of
NULL and unchanged; the formats."""


class RawRows:
    """Reads the rows of one table, by the shapes of rows that had the same length.

    Rows of one length often have values of the same lengths: then a single call cuts the row.
    """

    __slots__ = ("_misses", "_shapes", "hits")

    def __init__(self) -> None:
        self._shapes: dict[int, _Shape] | None = {}
        self.hits: int = 0
        self._misses = 0

    @property
    def is_learning(self) -> bool:
        """Whether shapes are remembered; False once it is known that most rows have new ones."""
        return self._shapes is not None

    def last(self, data: bytes, at: int) -> tuple[list[Octets], list[int]]:
        """Return the values of the row from ``at`` to the message's end, and their formats.

        Rows may share a list of formats, which must not be changed.

        Raises: Malformed; struct.error or IndexError for a truncated message.
        """
        shapes, length = self._shapes, len(data) - at
        if shapes is None:
            values, formats, end = raw_values(data, at)
        else:
            shape = shapes.get(length)
            if shape is not None:
                between, heads, cut, absent, formats = shape
                if between(data, at) == heads:
                    self.hits += 1
                    values = [*cut(data, at)]
                    for position in absent:
                        values[position] = None
                    return values, formats
            values, formats, end = raw_values(data, at)
            self._learn(shapes, data, at, values, formats)
        if end != len(data):
            raise Malformed
        return values, formats

    def _learn(
        self,
        shapes: dict[int, _Shape],
        data: bytes,
        at: int,
        values: list[Octets],
        formats: list[int],
    ) -> None:
        self._misses += 1
        # Cutting in vain costs a third of reading value by value.
        if self._misses > _TRIED and self._misses > self.hits:
            self._shapes = None
            return
        if len(shapes) >= _MOST_SHAPES:
            shapes.clear()
        length, absent = len(data) - at, list[int]()
        # The number of values, and for each its kind and size, as integers: few new objects.
        layout, places = [">H"], [">2x"]
        for position, value in enumerate(values):
            if value is None:
                layout.append("B")
                places.append("1x0s")
                absent.append(position)
            else:
                layout.append(f"BI{len(value)}x")
                places.append(f"5x{len(value)}s")
        between, cut = struct.Struct("".join(layout)), struct.Struct("".join(places))
        if values and cut.size == length:
            heads = between.unpack_from(data, at)
            shapes[length] = between.unpack_from, heads, cut.unpack_from, tuple(absent), formats


def raw_values(data: bytes, at: int) -> tuple[list[Octets], list[int], int]:
    """Return the values of the row that begins at ``at``, their formats, and the row's end.

    Raises: Malformed; struct.error or IndexError for a truncated message.
    """
    [count] = _COUNT(data, at)
    at += 2
    values: list[Octets] = []
    # Most rows have one format, so that nothing needs to be noted for each value.
    usual = data[at] if count else _TEXT
    formats = [BINARY if usual == _BINARY else TEXT] * count
    for position in range(count):
        kind = data[at]
        if kind in _WITH_SIZE:
            start = at + 5
            at = start + _SIZE(data, at + 1)[0]
            values.append(data[start:at])
            if kind != usual:
                formats[position] = BINARY if kind == _BINARY else TEXT
        elif kind in (_NULL, _UNCHANGED):
            at += 1
            values.append(None)
            formats[position] = TEXT if kind == _NULL else UNSENT
        else:
            raise Malformed("a value of an unknown kind")
    if at > len(data):
        raise Malformed("cut off")
    return values, formats, at


class Loading(Protocol):
    """Returns a function that loads column values, some of them sent in binary.

    Raises: UnknownTypes.
    """

    def __call__(self, columns: Sequence[Column], binary: frozenset[int], /) -> LoadValues: ...


class RowReading(Generic[R]):
    """How the rows of a stream are read: their loaders, their factory, their encoding.

    With ``keeps_text`` a value that no loader takes stays the text that the server sent.
    """

    def __init__(
        self,
        loading: Loading,
        factory: RowFactory[R],
        *,
        encoding: str = "utf-8",
        keeps_text: bool = False,
    ) -> None:
        self.loading: Loading = loading
        self.factory: RowFactory[R] = factory
        self.encoding: str = encoding
        self.keeps_text: bool = keeps_text


class TableReader(Generic[R]):
    """Reads the rows of a table.

    Raises: UnknownTypes.
    """

    def __init__(self, table: Table, reading: RowReading[R]) -> None:
        self.table = table
        self.make: RowMaker[R] = reading.factory(tuple(column.name for column in table.columns))
        """Makes a row of its values."""
        self._reading = reading
        self._columns = table.columns
        keys = [position for position, column in enumerate(table.columns) if column.is_key]
        self._keys = keys
        self._make_key = named_rows(tuple(table.columns[position].name for position in keys))
        self._load = reading.loading(table.columns, frozenset())
        self._binary: frozenset[int] = frozenset()
        self.alone: tuple[TableReader[R], ...] = (self,)
        """The tables of a change: only this one."""
        self.raw: RawRows = RawRows()

    def key(self, values: Values) -> Row:
        """Return the key columns of a row; the others were sent as NULL."""
        return self._make_key([values[position] for position in self._keys])

    def sent_with_key(self, values: Values) -> Values:
        """Return the values of which only those of the key were sent."""
        return tuple(
            value if column.is_key else UNCHANGED
            for value, column in zip(values, self._columns, strict=True)
        )

    def values(self, data: bytes, at: int, old: Values | None = None) -> tuple[Values, int]:
        """Return the values of the row that begins at ``at``, and the position of its end.

        Values that an UPDATE did not change, and that were not sent, are taken from ``old``.
        """
        if _COUNT(data, at)[0] != len(self._columns):
            raise Malformed("another number of columns")
        at += 2
        sent: list[Octets] = []
        add = sent.append
        binary: list[int] | None = None
        unchanged: list[int] | None = None
        for _ in self._columns:
            kind = data[at]
            if kind == _TEXT:
                start = at + 5
                at = start + _SIZE(data, at + 1)[0]
                add(data[start:at])
            elif kind == _NULL:
                at += 1
                add(None)
            elif kind == _BINARY:
                if binary is None:
                    binary = []
                binary.append(len(sent))
                start = at + 5
                at = start + _SIZE(data, at + 1)[0]
                add(data[start:at])
            elif kind == _UNCHANGED:
                if unchanged is None:
                    unchanged = []
                unchanged.append(len(sent))
                at += 1
                add(None)
            else:
                raise Malformed("a value of an unknown kind")
        # A value that ends after the message would be loaded truncated.
        if at > len(data):
            raise Malformed("cut off")
        # A column may be sent as text in one row, and in binary in the next.
        if binary is not None and not self._binary.issuperset(binary):
            self._binary |= {*binary}
            self._load = self._reading.loading(self._columns, self._binary)
        # As in load(), without another call for each row.
        try:
            values = self._load(sent)
        except Exception as error:
            values = self._loaded_one_by_one(sent, error)
        if unchanged is not None:
            merged = [*values]
            for position in unchanged:
                merged[position] = UNCHANGED if old is None else old[position]
            values = tuple(merged)
        return values, at

    def load(self, sent: Sequence[Octets]) -> Values:
        """Return the Python values of a row.

        Raises: ValueNotLoadable, unless the text of such values is kept.
        """
        try:
            return self._load(sent)
        except Exception as error:
            # Loaders may be the user's, and raise anything; psycopg's, too, do not only raise
            # DataError: ValueError, IndexError and RecursionError were seen.
            return self._loaded_one_by_one(sent, error)

    def _loaded_one_by_one(self, sent: Sequence[Octets], error: Exception) -> Values:
        """Return the values where at least one failed; raise the error of the first one."""
        reading = self._reading
        values: list[object] = []
        has_failed = False
        for position, (column, value) in enumerate(zip(self._columns, sent, strict=True)):
            is_binary = position in self._binary
            load = reading.loading((column,), frozenset({0} if is_binary else ()))
            try:
                values += load([value])
            except Exception as own:
                has_failed = True
                if value is None or is_binary or not reading.keeps_text:
                    raise ValueNotLoadable.of(
                        str(self.table), column.name, value or b"", own
                    ) from own
                values.append(value.decode(reading.encoding, "backslashreplace"))
        if not has_failed:
            # A loader that fails now and then; no value can be named.
            raise ValueNotLoadable.of(str(self.table), "(all)", b"", error) from error
        return tuple(values)
