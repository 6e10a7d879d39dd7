"""Feeds of a stream, and messages for them, for tests without a server."""

from __future__ import annotations

from collections.abc import Sequence

import pgoutputs as sent

from pgreplkit import LSN
from pgreplkit.changes import Change, Column, Insert, Payload, Row, Transaction
from pgreplkit.protocol.changefeed import ChangeFeed, PayloadFeed, TypedFeed
from pgreplkit.protocol.feedback import Feedback
from pgreplkit.protocol.pgoutput.decoder import Decoder
from pgreplkit.protocol.pgoutput.rows import named_rows
from pgreplkit.protocol.pgoutput.tuples import LoadValues, RowReading
from pgreplkit.protocol.transactions import TransactionFeed


def as_text(columns: Sequence[Column], binary: frozenset[int]) -> LoadValues:
    return lambda values: tuple(None if v is None else v.decode() for v in values)


def decoder() -> Decoder[Row]:
    return Decoder(RowReading(as_text, named_rows))


def wal(data: bytes, lsn: int = 1) -> bytes:
    return b"w" + LSN(lsn).to_bytes() + bytes(16) + data


def alive(lsn: int, *, asks: bool = False) -> bytes:
    return b"k" + LSN(lsn).to_bytes() + bytes(8) + bytes([asks])


def changes(*, stop_at: int | None = None) -> tuple[ChangeFeed[Change[Row]], Feedback]:
    feedback = Feedback(LSN.INVALID, advance_when_idle=True)
    stop = None if stop_at is None else LSN(stop_at)
    return TypedFeed(decoder, feedback, stop_at=stop), feedback


def transactions(memory_limit: int = 1 << 20) -> tuple[ChangeFeed[Transaction[Row]], Feedback]:
    feedback = Feedback(LSN.INVALID, advance_when_idle=True)
    feed = TransactionFeed(decoder, feedback, stop_at=None, memory_limit=memory_limit)
    return feed, feedback


def payloads() -> tuple[ChangeFeed[Payload], Feedback]:
    feedback = Feedback(LSN.INVALID, advance_when_idle=True)
    return PayloadFeed(feedback, stop_at=None), feedback


TRANSACTION = [
    *(sent.begin(100), sent.relation(), sent.insert("1", "a"), sent.insert("2", "b")),
    *(sent.insert("3", "c"), sent.commit(100)),
]


NEXT = [sent.begin(200, 6), sent.insert("4", "d"), sent.commit(200)]


def taken(feed: ChangeFeed[Transaction[Row]], *messages: bytes) -> list[Transaction[Row]]:
    return [t for t in [feed.take(wal(data)) for data in messages] if t is not None]


def rows_of(transaction: Transaction[Row]) -> list[object]:
    return [change.new for change in transaction if isinstance(change, Insert)]


STREAMED = [
    *(sent.stream_start(5), sent.relation(xid=5), sent.insert("1", "a", xid=6), sent.STREAM_STOP),
    *(sent.stream_start(5, first=False), sent.insert("2", "b", xid=5), sent.STREAM_STOP),
    *(sent.stream_abort(5, 6), sent.stream_commit(5, 300)),
]
