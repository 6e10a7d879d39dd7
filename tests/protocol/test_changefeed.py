"""ChangeFeed: delivered changes, changes repeated after a restart, and the end of a stream."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import suppress

import pgoutputs as sent
import pytest
from hypothesis import given, strategies as st
from streamfeeds import (
    NEXT,
    STREAMED,
    TRANSACTION,
    alive,
    changes,
    payloads,
    transactions,
    wal,
)

from pgreplkit import LSN
from pgreplkit.changes import Begin, Column, Insert, Transaction
from pgreplkit.errors import InvalidChangeMessage, ServerError, ValueNotLoadable
from pgreplkit.protocol.changefeed import ChangeFeed, PayloadFeed, TypedFeed
from pgreplkit.protocol.feedback import Feedback
from pgreplkit.protocol.pgoutput.decoder import Decoder
from pgreplkit.protocol.pgoutput.rows import named_rows
from pgreplkit.protocol.pgoutput.tuples import LoadValues, RowReading


@given(st.integers(0, len(TRANSACTION)))
def test_after_a_restart_only_undelivered_changes_are_delivered(seen: int) -> None:
    """The server sends a transaction that had not ended again, with its tables."""
    whole, _ = changes()
    expected = [whole.take(wal(data)) for data in [*TRANSACTION, *NEXT]]
    feed, feedback = changes()
    got = [feed.take(wal(data)) for data in TRANSACTION[:seen]]
    feed.restart()
    again = TRANSACTION if seen < len(TRANSACTION) else [sent.relation()]
    got += [feed.take(wal(data)) for data in [*again, *NEXT]]
    assert [c for c in got if c] == [c for c in expected if c]
    assert feedback.delivered == LSN(248)


def test_a_feed_loads_a_row_within_five_frames() -> None:
    """With the one of the iteration there are six: each takes time for each change."""
    depths: list[int] = []

    def loading(columns: Sequence[Column], binary: frozenset[int]) -> LoadValues:
        def load(values: Sequence[bytes | None]) -> tuple[object, ...]:
            depths.append(len(inspect.stack(0)))
            return tuple(values)

        return load

    feedback = Feedback(LSN.INVALID, advance_when_idle=True)
    make = lambda: Decoder(RowReading(loading, named_rows))  # noqa: E731
    feed, messages = TypedFeed(make, feedback, stop_at=None), map(wal, TRANSACTION)
    assert isinstance(feed.next(messages), Begin)
    assert isinstance(feed.next(messages), Insert)
    # The last frame is that of load() itself.
    assert depths == [len(inspect.stack(0)) + 5 + 1]


def test_losing_a_partly_delivered_transaction_is_an_error() -> None:
    feed, _ = changes()
    for data in TRANSACTION[:3]:
        feed.take(wal(data))
    feed.restart()
    with pytest.raises(ServerError, match="lost the transaction in a failover"):
        feed.take(wal(sent.begin(300, 9)))


def test_a_stream_stops_after_everything_before_its_stop_position() -> None:
    feed, _ = changes(stop_at=148)
    for data in TRANSACTION:
        assert not feed.is_over
        feed.take(wal(data))
    assert feed.is_over
    by_keepalive, _ = changes(stop_at=148)
    by_keepalive.take(alive(147))
    assert not by_keepalive.is_over
    by_keepalive.take(wal(sent.begin(100)))
    by_keepalive.take(alive(500))
    assert not by_keepalive.is_over
    by_keepalive.take(wal(sent.commit(90)))
    by_keepalive.take(alive(148))
    assert by_keepalive.is_over


def test_keepalives_request_replies_and_advance_idle_streams() -> None:
    feed, feedback = changes()
    feed.take(alive(50, asks=True))
    assert (feed.asked, feedback.flushed) == (True, LSN(50))
    for data in TRANSACTION:
        feed.take(wal(data))
    feed.take(alive(500))
    assert feedback.flushed == LSN(50)
    for bad in (b"x", b"k123"):
        with pytest.raises(InvalidChangeMessage):
            feed.take(bad)


def test_payloads_are_pending_until_they_are_acknowledged() -> None:
    feedback = Feedback(LSN.INVALID, advance_when_idle=True)
    feed = PayloadFeed(feedback, stop_at=None)
    payload = feed.take(wal(b"BEGIN 1", 70))
    assert payload is not None
    assert (payload.lsn, payload.data) == (LSN(70), b"BEGIN 1")
    feed.take(alive(90))
    assert feedback.flushed == LSN.INVALID
    feedback.acknowledge(LSN(70), written=None, applied=None)
    feed.take(alive(90))
    assert feedback.flushed == LSN(90)


@given(st.sampled_from([changes, transactions, payloads]), st.data())
def test_mutated_or_incomplete_streams_are_accepted_or_refused(
    opened: Callable[[], tuple[ChangeFeed[object], Feedback]], data: st.DataObject
) -> None:
    messages = [wal(sent_data) for sent_data in [*TRANSACTION, *STREAMED, *NEXT]] + [
        alive(500, asks=True)
    ]
    feed, feedback = opened()
    with suppress(InvalidChangeMessage, ValueNotLoadable):
        for place in sorted(data.draw(st.sets(st.integers(0, len(messages) - 1)))):
            message = messages[place]
            if not data.draw(st.integers(0, 4)):
                start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(message))] * 2)))
                message = message[:start] + data.draw(st.binary(max_size=6)) + message[end:]
            found = feed.take(message)
            if isinstance(found, Transaction):
                list(found)
    assert feedback.flushed <= feedback.delivered


@pytest.mark.parametrize("size", [0, 1, 8, 24])
def test_a_truncated_copy_data_header_is_refused(size: int) -> None:
    feed, _ = changes()
    with pytest.raises(InvalidChangeMessage):
        feed.take(wal(b"")[:size])


def test_begin_is_delivered_first() -> None:
    feed, feedback = changes()
    assert isinstance(feed.take(wal(sent.begin(100))), Begin)
    assert feedback.is_within


def test_a_row_is_loaded_within_six_calls_of_its_message() -> None:
    """Count the calls from the iterator's to the loader, which is C in psycopg."""
    depths: list[int] = []

    def loading(columns: object, binary: object) -> LoadValues:
        def load(values: object) -> tuple[object, ...]:
            frame, depth = inspect.currentframe(), 0
            while frame is not None and frame.f_code.co_name != "iterated":
                frame, depth = frame.f_back, depth + 1
            depths.append(depth)
            return (1, "a")

        return load

    def iterated() -> object:
        return feed.next(iter([wal(sent.relation(), 1), wal(sent.insert(1, "a"), 2)]))

    feedback = Feedback(LSN.INVALID, advance_when_idle=True)
    feed = TypedFeed(lambda: Decoder(RowReading(loading, named_rows)), feedback, stop_at=None)
    assert isinstance(iterated(), Insert)
    # The iterator, the feed twice, the decoder twice and the table's reader; then the loader.
    assert depths == [6]
