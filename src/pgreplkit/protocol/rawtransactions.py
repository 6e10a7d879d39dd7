"""RawTransaction: a committed transaction whose values are passed on as they were sent."""

from __future__ import annotations

import marshal
import os
import struct
import tempfile
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Generic, TypeAlias, TypeVar
from weakref import finalize

from pgreplkit.errors import InvalidChangeMessage
from pgreplkit.protocol.changefeed import ChangeFeed
from pgreplkit.protocol.copydata import DATA_AT, WAL_DATA
from pgreplkit.protocol.feedback import Feedback
from pgreplkit.protocol.pgoutput.decoder import Decoder
from pgreplkit.protocol.pgoutput.messages import Message, Origin
from pgreplkit.protocol.pgoutput.tuples import (
    TEXT,
    Malformed,
    RawValues,
    TableReader,
    raw_values,
)
from pgreplkit.values.lsn import LSN, trusted_lsn
from pgreplkit.values.tablename import TableName

R = TypeVar("R")

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_BEGIN = struct.Struct(">QqI").unpack_from
_SIZE = struct.Struct(">I")
_COUNT = _SIZE.unpack_from
_INSERT, _UPDATE, _DELETE, _TRUNCATE = b"IUDT"
_ROWS = frozenset(b"IUDT")
_TABLES = frozenset(b"RY")
_BEGINS, _COMMITS, _ORIGIN, _MESSAGE = b"BCOM"
_NEW, _KEY = b"NK"
_BODY = DATA_AT + 1
"""The start of a message's content, behind its kind."""
_END_AT, _COMMIT_SIZE = _BODY + 9, _BODY + 25
"""The transaction's end in the message of a commit, which follows flags and the commit's start."""
_OVERHEAD = 80
"""Python's own memory for a message."""
_WHOLE = 1 << 20
"""Bytes from which a message is a block of its own: marshal would copy it."""
_RAW = 1 << 31
"""The bit of a block's size that marks a message; the server sends none that is that long."""


def time_of(microseconds: int) -> datetime:
    """Return a time that the server counts from 2000-01-01 UTC."""
    return _EPOCH + timedelta(microseconds=microseconds)


RawChange: TypeAlias = tuple[
    int, tuple[TableReader[R], ...], bool, RawValues | None, RawValues | None
]
"""The letter of the message; its table, or the tables of a TRUNCATE; whether the old values are
those of the key only, or whether a TRUNCATE restarts sequences; the old values; the new values.

That of a logical message has no table; its values are its prefix and its content."""


class RawTransaction(Generic[R]):
    """A committed transaction; ``changes`` may be read any number of times.

    One that is larger than the limit of its stream is kept in a temporary file. A large one may be
    read by ``part`` while the rest of it comes.
    """

    # One is made for each transaction of the stream, so that its attributes are few and plain.
    __slots__ = (
        *("_decoder", "_kept", "_limit", "_read", "_read_tables", "_spool", "_spooled", "_tables"),
        *("commit_at", "end_lsn", "microseconds", "omitted", "origin", "rows", "size", "xid"),
    )

    def __init__(
        self, commit_at: int, xid: int, microseconds: int, decoder: Decoder[R], limit: int
    ) -> None:
        self.commit_at: int = commit_at
        """The position of its commit, before its end; 0 if that is not known."""
        self.xid: int = xid
        self.microseconds: int = microseconds
        """The commit time, in microseconds since 2000-01-01 UTC."""
        self.end_lsn: LSN = LSN.INVALID
        """The end of its commit; INVALID while it is not complete."""
        self.origin: str | None = None
        """The replication origin, if the publisher itself received it by replication."""
        self.rows: int = 0
        """The number of its changes."""
        self.omitted: frozenset[TableName] = frozenset()
        """The tables whose changes are left out."""
        self._decoder = decoder
        self._tables = self._read_tables = decoder.tables
        self.size: int = 0
        """The bytes of memory that its changes take; those in a file do not count."""
        self._limit = limit
        self._kept: list[bytes] = []
        self._read = 0
        """The number of messages in memory that ``part`` has returned."""
        self._spool: _Spool | None = None
        self._spooled = 0
        """The number of messages in the file."""

    def add(self, data: bytes) -> None:
        """Add the message of a change."""
        self.rows += 1
        self._kept.append(data)
        self.size += len(data) + _OVERHEAD

    def describe(self, data: bytes) -> None:
        """Add the message that describes a table."""
        self.add(data)
        self.rows -= 1

    def spool(self) -> None:
        """Move the changes to a file if they take more memory than the limit.

        ``part`` no longer returns them.
        """
        if self.size <= self._limit:
            return
        if self._spool is None:
            self._spool = _Spool()
        self._spool.write(self._kept)
        self._spooled += len(self._kept)
        self._kept, self.size, self._read = [], 0, 0

    @property
    def messages(self) -> int:
        """The number of its messages, with those that describe tables."""
        return self._spooled + len(self._kept)

    @property
    def is_complete(self) -> bool:
        """Whether its commit has come."""
        return self.end_lsn is not LSN.INVALID

    @property
    def commit_time(self) -> datetime:
        """The time of the commit."""
        return time_of(self.microseconds)

    @property
    def total(self) -> int:
        """The bytes of its changes, in memory and in the file."""
        return self.size if self._spool is None else self.size + self._spool.length

    def changes(self) -> Iterator[RawChange[R]]:
        """Yield the changes of rows, and TRUNCATE, without loading their values.

        Raises: InvalidChangeMessage.
        """
        messages = self._kept if self._spool is None else chain(self._spool, self._kept)
        changes = self._changes(messages, self._tables)
        return _without(changes, self.omitted) if self.omitted else changes

    def part(self) -> Iterator[RawChange[R]]:
        """Yield the changes that have come since the last part.

        Raises: InvalidChangeMessage.
        """
        messages, self._read = self._kept[self._read :], len(self._kept)
        left: Iterable[bytes] = messages
        # The stream takes less at once, unless a message has megabytes by itself.
        if not self.is_complete and self.size > self._limit + 2 * _WHOLE:
            # Before it is sent: then it is in memory only once, and no longer than it is read.
            self.spool()
            left = _taken(messages)
        self._read_tables = yield from self._changes(left, self._read_tables)

    def _changes(
        self, messages: Iterable[bytes], tables: Mapping[bytes, TableReader[R]]
    ) -> Generator[RawChange[R], None, Mapping[bytes, TableReader[R]]]:
        """Yield the changes of messages; return the tables as the last of them describes them."""
        change: RawChange[R]
        for data in messages:
            kind = data[DATA_AT]
            try:
                # Without another call: most changes are inserts, and updates that keep the key.
                if kind == _INSERT or (kind == _UPDATE and data[_BODY + 4] == _NEW):
                    reader = tables[data[_BODY : _BODY + 4]]
                    change = kind, reader.alone, False, None, reader.raw.last(data, _BODY + 5)
                elif kind in _TABLES:
                    tables = self._described(data, tables)
                    continue
                else:
                    change = _other_change(data, kind, tables)
            except (struct.error, IndexError, KeyError, Malformed):
                raise _malformed(data) from None
            # The values are copies: a message of many megabytes must not stay beside them.
            del data
            yield change
        return tables

    def _described(
        self, data: bytes, tables: Mapping[bytes, TableReader[R]]
    ) -> Mapping[bytes, TableReader[R]]:
        """Return the tables after a message that describes one."""
        fork = self._decoder.fork(streamed=False, tables=tables)
        fork.decode(data, LSN.INVALID, DATA_AT)
        return fork.tables

    def __repr__(self) -> str:
        return f"<RawTransaction {self.xid} up to {self.end_lsn}>"


def _malformed(data: bytes) -> InvalidChangeMessage:
    return InvalidChangeMessage(data[DATA_AT:], "it is truncated or malformed")


def _taken(messages: list[bytes]) -> Iterator[bytes]:
    """Yield the messages, each of which only the caller has then."""
    messages.reverse()
    while messages:
        yield messages.pop()


def _without(
    changes: Iterator[RawChange[R]], tables: frozenset[TableName]
) -> Iterator[RawChange[R]]:
    for kind, readers, flag, old, new in changes:
        left = tuple(reader for reader in readers if reader.table.table_name not in tables)
        if left or not readers:
            yield kind, left, flag, old, new


def _other_change(data: bytes, kind: int, tables: Mapping[bytes, TableReader[R]]) -> RawChange[R]:
    """Return the change of a message that is no INSERT."""
    at = _BODY
    if kind == _TRUNCATE:
        [count] = _COUNT(data, at)
        oids = range(at + 5, at + 5 + 4 * count, 4)
        readers = tuple(tables[data[oid : oid + 4]] for oid in oids)
        return kind, readers, bool(data[at + 4] & 2), None, None
    if kind == _MESSAGE:
        prefix = data.index(b"\0", at + 9)
        return kind, (), False, None, ([data[at + 9 : prefix], data[prefix + 5 :]], [TEXT, TEXT])
    reader = tables[data[at : at + 4]]
    at += 4
    part = data[at]
    old: RawValues | None = None
    if part != _NEW:
        if kind == _DELETE:
            old = reader.raw.last(data, at + 1)
            return kind, reader.alone, part == _KEY, old, None
        values, formats, at = raw_values(data, at + 1)
        old = values, formats
    if data[at] != _NEW:
        raise Malformed
    return kind, reader.alone, part == _KEY, old, reader.raw.last(data, at + 1)


class _Spool:
    """Blocks of messages in a temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="pgreplkit-")  # noqa: SIM115
        finalize(self, self._file.close)
        self.length = 0

    def write(self, messages: list[bytes]) -> None:
        """Add blocks."""
        if max(map(len, messages)) < _WHOLE:
            self._add(messages)
            return
        at = 0
        for place, message in enumerate(messages):
            if len(message) >= _WHOLE:
                self._add(messages[at:place])
                self._append(message, _RAW)
                at = place + 1
        self._add(messages[at:])

    def _add(self, messages: list[bytes]) -> None:
        if messages:
            # Only this process reads it; marshal is many times faster than a loop.
            self._append(marshal.dumps(messages), 0)

    def _append(self, block: bytes, how: int) -> None:
        self._file.write(_SIZE.pack(len(block) | how))
        self._file.write(block)
        self._file.flush()
        self.length += _SIZE.size + len(block)

    def __iter__(self) -> Iterator[bytes]:
        # Positions are given with each read: there may be several iterators at once.
        descriptor, place = self._file.fileno(), 0
        while place < self.length:
            [head] = _COUNT(os.pread(descriptor, _SIZE.size, place))
            size = head & ~_RAW
            block = os.pread(descriptor, size, place + _SIZE.size)
            if head & _RAW:
                yield block
            else:
                yield from marshal.loads(block)  # noqa: S302
            place += _SIZE.size + size


class RawTransactionFeed(ChangeFeed[RawTransaction[R]]):
    """Assembles raw transactions of a stream that does not send transactions in progress.

    One that takes more than ``parts_from`` bytes is returned while it still comes, too, whenever
    some more of its changes have come.
    """

    def __init__(
        self,
        make_decoder: Callable[[], Decoder[R]],
        feedback: Feedback,
        *,
        stop_at: LSN | None,
        memory_limit: int,
        parts_from: int | None = None,
        keeps_messages: bool = False,
    ) -> None:
        super().__init__(feedback, stop_at=stop_at)
        self._make_decoder, self._limit = make_decoder, memory_limit
        self._parts_from = parts_from
        self._returned = 0
        """The messages of the current transaction that were returned as parts of it."""
        self._keeps_messages = keeps_messages
        self._decoder: Decoder[R] | None = None
        self._current: RawTransaction[R] | None = None

    def restart(self) -> None:
        """Discard an unfinished transaction: the server sends it again."""
        self._decoder = self._current = None
        # A transaction that was lost within a block may never come again.
        self._feedback.is_within = False

    def next(self, messages: Iterator[bytes]) -> RawTransaction[R] | None:
        """Process messages up to the end of the next transaction, and return it."""
        current = self._current
        if current is not None and (self._parts_from is None or not self._has_more(current)):
            # Only what was returned: a part is read from memory.
            current.spool()
        for data in messages:
            if len(data) > DATA_AT and data[0] == WAL_DATA:
                current, kind = self._current, data[DATA_AT]
                if current is None:
                    if kind == _BEGINS:
                        self._begin_raw(data)
                        continue
                elif kind in _ROWS:
                    current.add(data)
                    continue
                elif kind == _COMMITS:
                    transaction = self._complete(current, data)
                    if self._stop_at is not None:
                        self.is_over: bool = self._feedback.delivered >= self._stop_at
                    if transaction is not None or self.is_over:
                        return transaction
                    continue
            transaction = super().next(iter((data,)))
            if transaction is not None or self.asked or self.is_over:
                return transaction
        return self._coming()

    @property
    def received_bytes(self) -> int:
        """The bytes of the current transaction that have come."""
        return 0 if self._current is None else self._current.size

    def _coming(self) -> RawTransaction[R] | None:
        """Return the current transaction if more of it has come, and it is large."""
        current, least = self._current, self._parts_from
        if current is None or least is None or current.total < least:
            return None
        # A TRUNCATE of thousands of tables describes them all before its own message.
        if not current.rows or not self._has_more(current):
            return None
        self._returned = current.messages
        return current

    def _has_more(self, current: RawTransaction[R]) -> bool:
        return current.messages > self._returned

    def _begin_raw(self, data: bytes) -> None:
        try:
            commit_at, time, xid = _BEGIN(data, _BODY)
        except struct.error:
            raise _malformed(data) from None
        decoder = self._decoder
        if decoder is None:
            decoder = self._decoder = self._make_decoder()
        self._current = RawTransaction(commit_at, xid, time, decoder, self._limit)
        self._returned = 0
        self._feedback.is_within = True

    def decode(self, data: bytes, lsn: LSN, at: int) -> RawTransaction[R] | None:
        """Process a message between the changes of rows; it completes no transaction."""
        decoder = self._decoder
        if decoder is None:
            decoder = self._decoder = self._make_decoder()
        kind, current = data[at], self._current
        change = decoder.decode(data, lsn, at)
        if kind in _TABLES:
            if current is not None:
                current.describe(data)
        elif kind == _ORIGIN and current is not None and isinstance(change, Origin):
            current.origin = change.name
        elif kind != _MESSAGE:
            raise InvalidChangeMessage(data[at:], "the stream is not one of whole transactions")
        elif self._keeps_messages and isinstance(change, Message):
            return self._take_message(change, data, decoder)
        return None

    def _take_message(
        self, change: Message, data: bytes, decoder: Decoder[R]
    ) -> RawTransaction[R] | None:
        """Add a logical message; return one that is not transactional as its own transaction."""
        current = self._current
        if change.transactional and current is not None:
            current.add(data)
            return None
        alone: RawTransaction[R] = RawTransaction(0, 0, 0, decoder, self._limit)
        alone.add(data)
        alone.end_lsn = change.end_lsn
        self._feedback.deliver(change.end_lsn)
        return alone

    def _complete(self, current: RawTransaction[R], data: bytes) -> RawTransaction[R] | None:
        """Return the transaction that a commit ends; None if it is empty."""
        if len(data) != _COMMIT_SIZE:
            raise _malformed(data)
        current.end_lsn = trusted_lsn(data[_END_AT : _END_AT + 8])
        self._current = None
        if not current.rows:
            self._feedback.is_within = False
            self._feedback.reach(current.end_lsn)
            return None
        self._feedback.deliver(current.end_lsn)
        return current
