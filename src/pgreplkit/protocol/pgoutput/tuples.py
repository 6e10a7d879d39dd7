"""TableReader: how the rows of one table are read from messages."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeAlias, TypeVar

from pgreplkit.errors import ValueNotLoadable
from pgreplkit.protocol.pgoutput.rows import UNCHANGED, Row, RowFactory, named_rows
from pgreplkit.protocol.pgoutput.tables import Column, Table

R = TypeVar("R")

Octets: TypeAlias = bytes | None
"""A value as it was sent; None is NULL."""
LoadValues: TypeAlias = Callable[[Sequence[Octets]], tuple[object, ...]]


class Malformed(Exception):
    """A message that no server puts together so."""


_COUNT, _SIZE = struct.Struct(">H").unpack_from, struct.Struct(">I").unpack_from
_TEXT, _BINARY, _NULL, _UNCHANGED = b"tbnu"


class Loading(Protocol):
    """Gives what turns values into Python's, for columns of which some may be sent in binary."""

    def __call__(self, columns: Sequence[Column], binary: frozenset[int], /) -> LoadValues: ...


class TableReader(Generic[R]):
    """Reads the rows of a table.

    ``loading`` says how values become Python's; ``factory`` what is made of whole rows.
    """

    def __init__(self, table: Table, loading: Loading, factory: RowFactory[R]) -> None:
        self.table = table
        self._loading = loading
        self._columns = table.columns
        self._make = factory(tuple(column.name for column in table.columns))
        keys = [position for position, column in enumerate(table.columns) if column.is_key]
        self._keys = keys
        self._make_key = named_rows(tuple(table.columns[position].name for position in keys))
        self._load = loading(table.columns, frozenset())
        self._binary: frozenset[int] = frozenset()

    def row(self, data: bytes, at: int) -> tuple[R, int]:
        """The row that stands there, and where it ends."""
        values, end = self._values(data, at)
        return self._make(values), end

    def key(self, data: bytes, at: int) -> tuple[Row, int]:
        """The key's columns of the row that stands there (the others are sent as NULL), and where
        it ends."""
        values, end = self._values(data, at)
        return self._make_key([values[position] for position in self._keys]), end

    def _values(self, data: bytes, at: int) -> tuple[tuple[object, ...], int]:
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
        # What ends after the message would be loaded cut off.
        if at > len(data):
            raise Malformed("cut off")
        if binary is not None and not self._binary.issuperset(binary):
            self._binary |= {*binary}
            self._load = self._loading(self._columns, self._binary)
        try:
            values = self._load(sent)
        except Exception as error:
            raise self._refusal(sent, error) from error
        if unchanged is not None:
            marked = [*values]
            for position in unchanged:
                marked[position] = UNCHANGED
            values = tuple(marked)
        return values, at

    def _refusal(self, sent: Sequence[Octets], error: Exception) -> ValueNotLoadable:
        """Says which value it was."""
        for position, (column, value) in enumerate(zip(self._columns, sent, strict=True)):
            binary = frozenset({0}) if position in self._binary else frozenset[int]()
            try:
                self._loading((column,), binary)([value])
            except Exception as own:
                return ValueNotLoadable.of(str(self.table), column.name, value or b"", own)
        return ValueNotLoadable.of(str(self.table), "(all)", b"", error)
