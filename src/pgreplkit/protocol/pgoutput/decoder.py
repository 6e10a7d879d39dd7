"""Decoder: decodes the messages of pgoutput, protocol versions 1 to 4."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Generic, TypeAlias, TypeVar

import attrs

from pgreplkit.errors import InvalidChangeMessage, InvalidLSN, InvalidTableName
from pgreplkit.protocol.pgoutput import messages as m
from pgreplkit.protocol.pgoutput.messages import Change
from pgreplkit.protocol.pgoutput.rows import Row
from pgreplkit.protocol.pgoutput.tables import Column, RelationIdentity, Table
from pgreplkit.protocol.pgoutput.tuples import Malformed, RowReading, TableReader, Values
from pgreplkit.values.lsn import LSN, trusted_lsn as _lsn
from pgreplkit.values.tablename import TableName

R = TypeVar("R")

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_XID, _XIDS, _COUNT = struct.Struct(">I"), struct.Struct(">II"), struct.Struct(">H")
_BEGIN, _COMMIT = struct.Struct(">8sqI"), struct.Struct(">x8s8sq")
_COLUMN, _TRUNCATE = struct.Struct(">Ii"), struct.Struct(">IB")
_MESSAGE, _STREAM_START = struct.Struct(">B8s"), struct.Struct(">IB")
_STREAM_COMMIT, _ABORTED = struct.Struct(">Ix8s8sq"), struct.Struct(">8sq")
_BEGIN_PREPARE, _PREPARE = struct.Struct(">8s8sqI"), struct.Struct(">x8s8sqI")
_ROLLBACK_PREPARED = struct.Struct(">x8s8sqqI")
_NEW, _OLD, _KEY = b"NOK"
_OLD_KINDS = (_OLD, _KEY)
_XID_BEFORE = frozenset(b"IUDTRYM")
"""Kinds that begin with a transaction ID within a transaction that is streamed while it runs."""


class Decoder(Generic[R]):
    """Decodes the messages of one stream in their order, and remembers the tables.

    Raises: InvalidChangeMessage for a malformed message; ValueNotLoadable; UnknownTypes.
    """

    def __init__(self, reading: RowReading[R]) -> None:
        self._reading = reading
        # Never changed in place: a fork may still use it.
        self._tables: Mapping[bytes, TableReader[R]] = {}
        self._types: dict[int, TableName] = {}
        self._streamed: dict[int, Mapping[bytes, TableReader[R]]] = {}
        """The tables as transactions that are streamed while they run have altered them."""
        self._committed: Mapping[bytes, TableReader[R]] = {}
        self._stream: int | None = None
        self._xid = 0

    def decode(self, data: bytes, lsn: LSN, at: int = 0) -> Change[R] | None:
        """Decode the message that begins at ``at``; return None if it only describes a table.

        ``lsn`` is the position that the server sent with it.
        """
        try:
            kind = data[at]
            read = _KINDS[kind]
            if self._stream is not None and kind in _XID_BEFORE:
                [self._xid] = _XID.unpack_from(data, at + 1)
                at += 4
            change, end = read(self, data, at + 1, lsn)
        except (struct.error, IndexError, KeyError, OverflowError, InvalidLSN, Malformed):
            raise InvalidChangeMessage(data[at:], "it is truncated or malformed") from None
        if end != len(data):
            raise InvalidChangeMessage(data[at:], "its length does not match its content")
        return change

    @property
    def tables(self) -> Mapping[bytes, TableReader[R]]:
        """The readers of the known tables, by the bytes of their OIDs; never changed in place."""
        return self._tables

    def fork(
        self, *, streamed: bool, tables: Mapping[bytes, TableReader[R]] | None = None
    ) -> Decoder[R]:
        """Return an independent decoder that knows the same tables, or the given ones.

        ``streamed`` is for messages of a transaction that is streamed while it runs.
        """
        twin = Decoder(self._reading)
        twin._tables, twin._types = self._tables if tables is None else tables, {**self._types}
        twin._xid, twin._stream = self._xid, 0 if streamed else None
        return twin

    def _text(self, data: bytes, at: int) -> tuple[str, int]:
        end = data.find(b"\0", at)
        if end < 0:
            raise Malformed
        return data[at:end].decode(self._reading.encoding, "backslashreplace"), end + 1

    # Tables

    def _relation(self, data: bytes, at: int, lsn: LSN) -> tuple[None, int]:
        # The four bytes are the key of the table: a row needs no conversion to find its reader.
        oid = data[at : at + 4]
        schema, at = self._text(data, at + 4)
        name, at = self._text(data, at)
        identity = RelationIdentity(chr(data[at]))
        [count] = _COUNT.unpack_from(data, at + 1)
        at += 3
        columns = []
        for _ in range(count):
            flags = data[at]
            column, at = self._text(data, at + 1)
            type_oid, modifier = _COLUMN.unpack_from(data, at)
            at += _COLUMN.size
            type_name = self._types.get(type_oid)
            columns.append(Column(column, type_oid, modifier, bool(flags & 1), type_name))
        [number] = _XID.unpack(oid)
        # The server sends an empty schema for pg_catalog.
        table = Table(number, schema or "pg_catalog", name, tuple(columns), identity)
        reader = TableReader(table, self._reading)
        self._tables = {**self._tables, oid: reader}
        return None, at

    def _type(self, data: bytes, at: int, lsn: LSN) -> tuple[None, int]:
        [oid] = _XID.unpack_from(data, at)
        schema, at = self._text(data, at + 4)
        name, at = self._text(data, at)
        try:
            self._types[oid] = TableName(schema or "pg_catalog", name)
        except InvalidTableName:
            raise Malformed from None
        return None, at

    # Rows

    def _insert(self, data: bytes, at: int, lsn: LSN) -> tuple[m.Insert[R], int]:
        reader = self._tables[data[at : at + 4]]
        if data[at + 4] != _NEW:
            raise Malformed
        values, at = reader.values(data, at + 5)
        return m.Insert(lsn, self._xid, reader.table, reader.make(values)), at

    def _update(self, data: bytes, at: int, lsn: LSN) -> tuple[m.Update[R], int]:
        reader = self._tables[data[at : at + 4]]
        old: R | Row | None = None
        known: Values | None = None
        at += 4
        if data[at] != _NEW:
            old, known, at = self._old(reader, data, at)
        if data[at] != _NEW:
            raise Malformed
        # The old row has the values that were not sent again: with REPLICA IDENTITY FULL all of
        # them, else those of the key (of which the server sends large ones for that reason).
        values, at = reader.values(data, at + 1, known)
        return m.Update(lsn, self._xid, reader.table, old, reader.make(values)), at

    def _delete(self, data: bytes, at: int, lsn: LSN) -> tuple[m.Delete[R], int]:
        reader = self._tables[data[at : at + 4]]
        old, _, at = self._old(reader, data, at + 4)
        return m.Delete(lsn, self._xid, reader.table, old), at

    def _old(self, reader: TableReader[R], data: bytes, at: int) -> tuple[R | Row, Values, int]:
        """Return the old row, or a row of its key; the values known from it; and the end."""
        kind = data[at]
        if kind not in _OLD_KINDS:
            raise Malformed
        values, at = reader.values(data, at + 1)
        if kind == _KEY:
            return reader.key(values), reader.sent_with_key(values), at
        return reader.make(values), values, at

    def _truncate(self, data: bytes, at: int, lsn: LSN) -> tuple[m.Truncate, int]:
        count, options = _TRUNCATE.unpack_from(data, at)
        at += _TRUNCATE.size
        end = at + 4 * count
        if end != len(data):
            raise Malformed
        tables = tuple(self._tables[data[i : i + 4]].table for i in range(at, end, 4))
        return m.Truncate(lsn, self._xid, tables, bool(options & 1), bool(options & 2)), end

    def _message(self, data: bytes, at: int, lsn: LSN) -> tuple[m.Message, int]:
        flags, position = _MESSAGE.unpack_from(data, at)
        prefix, at = self._text(data, at + _MESSAGE.size)
        [size] = _XID.unpack_from(data, at)
        at += 4
        content, transactional = data[at : at + size], bool(flags & 1)
        xid = self._xid if transactional else 0
        message = m.Message(_lsn(position), xid, transactional, prefix, content)
        return message, at + size

    # Transactions

    def _begin(self, data: bytes, at: int, lsn: LSN) -> tuple[m.Begin, int]:
        position, time, self._xid = _BEGIN.unpack_from(data, at)
        begin = m.Begin(_lsn(position), _time(time), self._xid)
        return begin, at + _BEGIN.size

    def _commit(self, data: bytes, at: int, lsn: LSN) -> tuple[m.Commit, int]:
        position, end, time = _COMMIT.unpack_from(data, at)
        commit = m.Commit(_lsn(position), _lsn(end), _time(time))
        return commit, at + _COMMIT.size

    def _origin(self, data: bytes, at: int, lsn: LSN) -> tuple[m.Origin, int]:
        # Checked, as the data may end here; the others were unpacked, which checks the length.
        position = LSN.from_bytes(data[at : at + 8])
        name, at = self._text(data, at + 8)
        return m.Origin(position, name), at

    def _stream_start(self, data: bytes, at: int, lsn: LSN) -> tuple[m.StreamStart, int]:
        self._xid, first = _STREAM_START.unpack_from(data, at)
        # Other transactions do not see the tables that this one altered.
        self._committed, self._stream = self._tables, self._xid
        self._tables = self._streamed.get(self._xid, {})
        return m.StreamStart(self._xid, bool(first)), at + _STREAM_START.size

    def _stream_stop(self, data: bytes, at: int, lsn: LSN) -> tuple[m.StreamStop, int]:
        if self._stream is None:
            raise Malformed
        stopped = m.StreamStop(self._stream)
        self._streamed[self._stream] = self._tables
        self._tables, self._stream = self._committed, None
        return stopped, at

    def _stream_commit(self, data: bytes, at: int, lsn: LSN) -> tuple[m.StreamCommit, int]:
        xid, position, end, time = _STREAM_COMMIT.unpack_from(data, at)
        # The server will not describe again the tables that it described in the transaction.
        self._tables = {**self._tables, **self._streamed.pop(xid, {})}
        times = _lsn(position), _lsn(end), _time(time)
        return m.StreamCommit(xid, *times), at + _STREAM_COMMIT.size

    def _stream_abort(self, data: bytes, at: int, lsn: LSN) -> tuple[m.StreamAbort, int]:
        xid, subxid = _XIDS.unpack_from(data, at)
        at += _XIDS.size
        if xid == subxid:
            self._streamed.pop(xid, None)
        # Only protocol version 4 (streaming = parallel) sends the position and the time.
        if at == len(data):
            return m.StreamAbort(xid, subxid), at
        position, time = _ABORTED.unpack_from(data, at)
        aborted = m.StreamAbort(xid, subxid, _lsn(position), _time(time))
        return aborted, at + _ABORTED.size

    def _begin_prepare(self, data: bytes, at: int, lsn: LSN) -> tuple[m.BeginPrepare, int]:
        position, end, time, self._xid = _BEGIN_PREPARE.unpack_from(data, at)
        gid, at = self._text(data, at + _BEGIN_PREPARE.size)
        times = _lsn(position), _lsn(end), _time(time)
        return m.BeginPrepare(*times, self._xid, gid), at

    def _prepare(self, data: bytes, at: int, lsn: LSN) -> tuple[m.Prepare, int]:
        position, end, time, xid = _PREPARE.unpack_from(data, at)
        gid, at = self._text(data, at + _PREPARE.size)
        return m.Prepare(_lsn(position), _lsn(end), _time(time), xid, gid), at

    def _stream_prepare(self, data: bytes, at: int, lsn: LSN) -> tuple[m.Prepare, int]:
        prepare, at = self._prepare(data, at, lsn)
        self._streamed.pop(prepare.xid, None)
        return attrs.evolve(prepare, is_streamed=True), at

    def _commit_prepared(self, data: bytes, at: int, lsn: LSN) -> tuple[m.CommitPrepared, int]:
        position, end, time, xid = _PREPARE.unpack_from(data, at)
        gid, at = self._text(data, at + _PREPARE.size)
        times = _lsn(position), _lsn(end), _time(time)
        return m.CommitPrepared(*times, xid, gid), at

    def _rollback_prepared(self, data: bytes, at: int, lsn: LSN) -> tuple[m.RollbackPrepared, int]:
        position, end, prepared, time, xid = _ROLLBACK_PREPARED.unpack_from(data, at)
        gid, at = self._text(data, at + _ROLLBACK_PREPARED.size)
        times = _lsn(position), _lsn(end), _time(prepared), _time(time)
        return m.RollbackPrepared(*times, xid, gid), at


_Reading: TypeAlias = Callable[[Decoder[R], bytes, int, LSN], tuple[Change[R] | None, int]]
"""Decodes a message from the end of its kind; returns the change and the end of the message."""
# Not bound methods: a decoder that held its own would be freed late, and its connection with it.
_KINDS: dict[int, _Reading[Any]] = {
    ord("B"): Decoder._begin,
    ord("C"): Decoder._commit,
    ord("O"): Decoder._origin,
    ord("R"): Decoder._relation,
    ord("Y"): Decoder._type,
    ord("I"): Decoder._insert,
    ord("U"): Decoder._update,
    ord("D"): Decoder._delete,
    ord("T"): Decoder._truncate,
    ord("M"): Decoder._message,
    ord("S"): Decoder._stream_start,
    ord("E"): Decoder._stream_stop,
    ord("c"): Decoder._stream_commit,
    ord("A"): Decoder._stream_abort,
    ord("b"): Decoder._begin_prepare,
    ord("P"): Decoder._prepare,
    ord("p"): Decoder._stream_prepare,
    ord("K"): Decoder._commit_prepared,
    ord("r"): Decoder._rollback_prepared,
}


def _time(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)
