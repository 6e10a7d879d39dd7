"""Transaction: all changes of a committed transaction, assembled from a stream."""

from collections.abc import Callable, Iterator, Set as AbstractSet
from datetime import datetime
from typing import Generic, NoReturn, TypeAlias, TypeVar

import attrs

from pgreplkit.errors import InvalidChangeMessage, ServerError
from pgreplkit.protocol.changefeed import ChangeFeed
from pgreplkit.protocol.feedback import Feedback
from pgreplkit.protocol.pgoutput import messages as m
from pgreplkit.protocol.pgoutput.decoder import Decoder
from pgreplkit.protocol.spool import Spool
from pgreplkit.values.lsn import LSN
from pgreplkit.values.record import Record

R = TypeVar("R")

_ROWS = frozenset(b"IUDTM")
"""Kinds that are stored undecoded until the transaction is iterated over."""
_TABLES = frozenset(b"RY")

Contained: TypeAlias = m.Insert[R] | m.Update[R] | m.Delete[R] | m.Truncate | m.Message
"""The changes of which a transaction consists."""


@attrs.frozen(eq=False, repr=False)
class Transaction(Record, Generic[R]):
    """A committed transaction; iterating over it yields its changes, any number of times.

    A large one is kept in a temporary file. ``end_lsn`` acknowledges it. A logical message outside
    of any transaction comes as a transaction of its own, with ``xid`` 0.
    """

    xid: int
    commit_lsn: LSN
    end_lsn: LSN
    commit_time: datetime | None
    """None for a message outside of any transaction."""
    origin: m.Origin | None
    """Replication origin, if the publisher itself received the transaction by replication."""
    _spool: Spool
    _decoder: Decoder[R]
    _is_streamed: bool
    _aborted: AbstractSet[int]

    def __iter__(self) -> Iterator[Contained[R]]:
        decoder = self._decoder.fork(streamed=self._is_streamed)
        for lsn, data in self._spool:
            if self._aborted and int.from_bytes(data[1:5], "big") in self._aborted:
                continue
            change = decoder.decode(data, lsn)
            if isinstance(change, m.Insert | m.Update | m.Delete | m.Truncate | m.Message):
                yield change

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "could not pickle a transaction: it may be in a file; pickle the list of its changes"
        )

    def __repr__(self) -> str:
        return f"<Transaction {self.xid} committed at {self.commit_lsn}>"


@attrs.define(eq=False)
class _Assembly(Generic[R]):
    """A transaction that is not complete yet."""

    xid: int
    spool: Spool
    decoder: Decoder[R]
    is_streamed: bool
    origin: m.Origin | None = None
    writers: set[int] = attrs.field(factory=set)
    """The transaction and subtransactions with changes; if it is not streamed, 0 stands for it."""
    aborted: set[int] = attrs.field(factory=set)

    @property
    def is_empty(self) -> bool:
        """Whether no change is left: of aborted subtransactions none is."""
        return self.writers <= self.aborted

    def ended(self, end: m.Commit | m.StreamCommit) -> Transaction[R]:
        """Return the complete transaction."""
        return Transaction(
            self.xid,
            end.commit_lsn,
            end.end_lsn,
            end.commit_time,
            self.origin,
            self.spool,
            self.decoder,
            self.is_streamed,
            self.aborted,
        )


class TransactionFeed(ChangeFeed[Transaction[R]]):
    """Assembles transactions; those without a change, or with aborted ones only, are skipped.

    Each takes at most ``memory_limit`` bytes of memory, and a temporary file beyond.
    """

    def __init__(
        self,
        make_decoder: Callable[[], Decoder[R]],
        feedback: Feedback,
        *,
        stop_at: LSN | None,
        memory_limit: int,
    ) -> None:
        super().__init__(feedback, stop_at=stop_at)
        self._make_decoder, self._limit = make_decoder, memory_limit
        self._decoder: Decoder[R] | None = None
        self._current: _Assembly[R] | None = None
        self._streams: dict[int, _Assembly[R]] = {}

    def restart(self) -> None:
        """Discard unfinished transactions: the server sends them again."""
        self._decoder, self._current, self._streams = None, None, {}
        # A transaction that was lost within a block may never come again.
        self._feedback.is_within = False

    def decode(self, data: bytes, lsn: LSN, at: int) -> Transaction[R] | None:
        """Return the transaction that this message completes, if it completes one."""
        current = self._current
        kind = data[at] if at < len(data) else None
        # Rows are decoded when the caller iterates over the transaction, which may be aborted
        # before, or may not fit into memory as Python objects.
        if current is not None and kind in _ROWS:
            current.spool.add(lsn, data[at:])
            current.writers.add(
                int.from_bytes(data[at + 1 : at + 5], "big") if current.is_streamed else 0
            )
            return None
        decoder = self._decoder
        if decoder is None:
            decoder = self._decoder = self._make_decoder()
        change = decoder.decode(data, lsn, at)
        # Later decoding needs the descriptions of tables that came within the transaction.
        if current is not None and kind in _TABLES:
            current.spool.add(lsn, data[at:])
        match change:
            # In the order in which they are frequent: each transaction has the first two.
            case m.Begin() | m.StreamStart() if current is None:
                self._begin(change, decoder)
            case m.Commit() | m.StreamCommit():
                return self._complete(change, data, at)
            case m.Message():
                return self._message_alone(change, decoder, lsn, data[at:])
            case m.Begin() | m.StreamStart():
                raise InvalidChangeMessage(data[at:], "it begins a transaction within another")
            case m.Insert() | m.Update() | m.Delete() | m.Truncate():
                raise InvalidChangeMessage(data[at:], "it is outside of any transaction")
            case m.StreamStop():
                self._current = None
                self._feedback.is_within = False
            case m.Origin() if current is not None:
                current.origin = change
            case m.StreamAbort():
                self._abort(change)
            case m.BeginPrepare() | m.Prepare() | m.CommitPrepared() | m.RollbackPrepared():
                # A slot created with two_phase sends them even if the stream did not ask for it.
                raise ServerError(
                    "assemble a transaction",
                    "the slot was created with two_phase, and sends prepared transactions",
                    remedy="iterate over the changes instead",
                )
        return None

    def _begin(self, begin: m.Begin | m.StreamStart, decoder: Decoder[R]) -> None:
        """Begin a transaction, or continue a streamed one with its next block."""
        self._feedback.is_within = True
        xid, is_streamed = begin.xid, isinstance(begin, m.StreamStart)
        self._current = self._streams.get(xid) if is_streamed else None
        if self._current is None:
            # The stream's own decoder may see a table change before this transaction is read.
            fork = decoder.fork(streamed=is_streamed)
            self._current = _Assembly(xid, Spool(self._limit), fork, is_streamed)
        if is_streamed:
            self._streams[xid] = self._current

    def _abort(self, abort: m.StreamAbort) -> None:
        """Discard a streamed transaction, or remember that one of its subtransactions failed."""
        if abort.xid == abort.subxid:
            self._streams.pop(abort.xid, None)
        elif abort.xid in self._streams:
            self._streams[abort.xid].aborted.add(abort.subxid)

    def _complete(
        self, end: m.Commit | m.StreamCommit, data: bytes, at: int
    ) -> Transaction[R] | None:
        """Return the transaction that a commit ends; None if it is empty."""
        current, assembly = self._current, None
        if isinstance(end, m.StreamCommit):
            assembly = self._streams.pop(end.xid, None) if current is None else None
        elif current is not None and not current.is_streamed:
            assembly, self._current = current, None
        if assembly is None:
            raise InvalidChangeMessage(data[at:], "it ends a transaction that has not begun")
        # Nothing to deliver, so that its end counts as the server's own position.
        if assembly.is_empty:
            self._feedback.is_within = False
            self._feedback.reach(end.end_lsn)
            return None
        self._feedback.deliver(end.end_lsn)
        return assembly.ended(end)

    def _message_alone(
        self, message: m.Message, decoder: Decoder[R], lsn: LSN, data: bytes
    ) -> Transaction[R]:
        """Return the transaction that stands for a message outside of any transaction."""
        self._feedback.deliver(message.end_lsn)
        spool = Spool(self._limit)
        spool.add(lsn, data)
        fork = decoder.fork(streamed=False)
        alone = (0, message.lsn, message.end_lsn, None, None, spool, fork, False)
        return Transaction(*alone, frozenset())
