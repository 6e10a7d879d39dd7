"""PgOutput: the messages of pgoutput, PostgreSQL's own output plugin."""

from __future__ import annotations

import struct
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import attrs

from pgreplkit.errors import InvalidChangeMessage
from pgreplkit.values.lsn import LSN
from pgreplkit.values.tablename import TableName

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_INT16, _INT32 = struct.Struct(">h"), struct.Struct(">I")
_BEGIN = struct.Struct(">8sqI")
_COMMIT = struct.Struct(">B8s8sq")
_COLUMN = struct.Struct(">Ii")


class Unchanged:
    """The value of a large column that was not changed, and is not sent."""

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED = Unchanged()
RawValue = bytes | None | Unchanged
"""A value as it is sent: its text, NULL, or not there because it did not change."""


@attrs.frozen
class RelationColumn:
    """A column of a table, as the publisher has it."""

    name: str
    type_oid: int
    type_modifier: int
    is_key: bool
    """Whether it belongs to the replica identity."""


@attrs.frozen
class Relation:
    """A table, as it is when the changes after it were made."""

    oid: int
    table: TableName
    columns: tuple[RelationColumn, ...]


@attrs.frozen
class Begin:
    """A transaction begins; all up to its Commit belongs to it."""

    finish_lsn: LSN
    commit_time: datetime
    xid: int


@attrs.frozen
class Commit:
    """A transaction ends."""

    finish_lsn: LSN
    end_lsn: LSN
    commit_time: datetime


@attrs.frozen
class RowChange:
    """A row was inserted ("I"), updated ("U") or deleted ("D")."""

    kind: str
    relation: Relation
    old: tuple[RawValue, ...] | None
    """The replica identity of the old row, or all of it; the rest is None."""
    new: tuple[RawValue, ...] | None


@attrs.frozen
class TableTruncation:
    """Tables were emptied."""

    relations: tuple[Relation, ...]


@attrs.frozen
class OtherMessage:
    """A message of another kind: its origin, a type, a logical message."""

    kind: str


PgOutputMessage = Begin | Commit | Relation | RowChange | TableTruncation | OtherMessage


class PgOutput:
    """Takes the messages of one stream apart, in their order; it remembers the tables.

    The messages are those of protocol version 1, as ``proto_version`` says.
    """

    def __init__(self) -> None:
        self._relations: dict[int, Relation] = {}
        self._readers: dict[str, Callable[[_Reader], PgOutputMessage]] = {
            "B": _begin,
            "C": _commit,
            "R": self._relation,
            "I": self._insert,
            "U": self._update,
            "D": self._delete,
            "T": self._truncate,
        }

    def decode(self, data: bytes) -> PgOutputMessage:
        """One message.

        Raises: InvalidChangeMessage.
        """
        kind = data[:1].decode("latin-1")
        read = self._readers.get(kind)
        if read is None:
            if kind and kind in "OYM":
                return OtherMessage(kind)
            raise InvalidChangeMessage(data, "it is of an unknown kind")
        reader = _Reader(data)
        try:
            message = read(reader)
        except (struct.error, IndexError, ValueError, KeyError, OverflowError):
            raise InvalidChangeMessage(data, "it is cut off, or not put together right") from None
        if reader.at != len(data):
            raise InvalidChangeMessage(data, "something follows after its end")
        return message

    def _relation(self, reader: _Reader) -> Relation:
        oid = reader.int32()
        schema, name = reader.text() or "pg_catalog", reader.text()
        reader.skip(1)  # the replica identity, which the columns' flags say too
        columns = []
        for _ in range(reader.int16()):
            flags, column = reader.byte(), reader.text()
            type_oid, modifier = reader.unpack(_COLUMN)
            columns.append(RelationColumn(column, type_oid, modifier, bool(flags & 1)))
        self._relations[oid] = Relation(oid, TableName(schema, name), tuple(columns))
        return self._relations[oid]

    def _insert(self, reader: _Reader) -> RowChange:
        relation = self._relations[reader.int32()]
        reader.expect(b"N")
        return RowChange("I", relation, None, reader.row(relation))

    def _update(self, reader: _Reader) -> RowChange:
        relation = self._relations[reader.int32()]
        old = None
        if reader.peek() in b"KO":
            reader.skip(1)
            old = reader.row(relation)
        reader.expect(b"N")
        return RowChange("U", relation, old, reader.row(relation))

    def _delete(self, reader: _Reader) -> RowChange:
        relation = self._relations[reader.int32()]
        if reader.peek() not in b"KO":
            raise ValueError
        reader.skip(1)
        return RowChange("D", relation, reader.row(relation), None)

    def _truncate(self, reader: _Reader) -> TableTruncation:
        count = reader.int32()
        reader.skip(1)
        if count * 4 != len(reader.data) - reader.at:
            raise ValueError
        return TableTruncation(tuple(self._relations[reader.int32()] for _ in range(count)))


class _Reader:
    """Where one is within a message."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 1

    def unpack(self, parts: struct.Struct) -> tuple[int, ...]:
        values = parts.unpack_from(self.data, self.at)
        self.at += parts.size
        return values

    def int32(self) -> int:
        return self.unpack(_INT32)[0]

    def int16(self) -> int:
        return self.unpack(_INT16)[0]

    def byte(self) -> int:
        self.at += 1
        return self.data[self.at - 1]

    def peek(self) -> bytes:
        return self.data[self.at : self.at + 1] or b"-"

    def skip(self, count: int) -> None:
        self.at += count

    def expect(self, sign: bytes) -> None:
        if self.peek() != sign:
            raise ValueError
        self.at += 1

    def text(self) -> str:
        end = self.data.index(b"\0", self.at)
        text = self.data[self.at : end].decode("utf-8", "backslashreplace")
        self.at = end + 1
        return text

    def row(self, relation: Relation) -> tuple[RawValue, ...]:
        if self.int16() != len(relation.columns):
            raise ValueError
        return tuple(self._value() for _ in relation.columns)

    def _value(self) -> RawValue:
        kind = self.byte()
        if kind == ord("n"):
            return None
        if kind == ord("u"):
            return UNCHANGED
        if kind not in b"tb":
            raise ValueError
        size = self.int32()
        value = self.data[self.at : self.at + size]
        if len(value) != size:
            raise ValueError
        self.at += size
        return value


def _begin(reader: _Reader) -> Begin:
    lsn, microseconds, xid = _BEGIN.unpack_from(reader.data, reader.at)
    reader.skip(_BEGIN.size)
    return Begin(LSN.from_bytes(lsn), _time(microseconds), xid)


def _commit(reader: _Reader) -> Commit:
    _, lsn, end_lsn, microseconds = _COMMIT.unpack_from(reader.data, reader.at)
    reader.skip(_COMMIT.size)
    return Commit(LSN.from_bytes(lsn), LSN.from_bytes(end_lsn), _time(microseconds))


def _time(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
