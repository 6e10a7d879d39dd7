"""ChangeFeed: delivered changes, changes repeated after a restart, and the end of a stream."""

from __future__ import annotations

import inspect
import pickle
from collections.abc import Callable, Sequence
from contextlib import suppress

import pgoutputs as sent
import pytest
from hypothesis import given, strategies as st

from pgreplkit import LSN
from pgreplkit.changes import Begin, Change, Column, Insert, Payload, Row, Transaction
from pgreplkit.errors import InvalidChangeMessage, ServerError, ValueNotLoadable
from pgreplkit.protocol.changefeed import ChangeFeed, PayloadFeed, TypedFeed
from pgreplkit.protocol.feedback import Feedback
from pgreplkit.protocol.pgoutput.decoder import Decoder
from pgreplkit.protocol.pgoutput.rows import named_rows
from pgreplkit.protocol.pgoutput.tuples import LoadValues, RowReading
from pgreplkit.protocol.rawtransactions import RawTransactionFeed
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


def taken(feed: ChangeFeed[Transaction[Row]], *messages: bytes) -> list[Transaction[Row]]:
    return [t for t in [feed.take(wal(data)) for data in messages] if t is not None]


def rows_of(transaction: Transaction[Row]) -> list[object]:
    return [change.new for change in transaction if isinstance(change, Insert)]


def test_transactions_are_complete_and_can_be_read_repeatedly() -> None:
    feed, feedback = transactions()
    found = taken(feed, *TRANSACTION[:-1])
    assert (found, feedback.is_within) == ([], True)
    found = taken(feed, TRANSACTION[-1], sent.relation(columns=[("id", 23, True)]), *NEXT[:1])
    found += taken(feed, sent.relation(columns=[("id", 23, True)]), sent.insert("9"), NEXT[-1])
    first, second = found
    assert (first.xid, first.commit_lsn, first.end_lsn) == (5, LSN(100), LSN(148))
    # The first is read by the tables of its own time.
    for _ in range(2):
        assert rows_of(first) == [("1", "a"), ("2", "b"), ("3", "c")]
    assert rows_of(second) == [("9",)]
    assert repr(second) == "<Transaction 6 committed at 0/C8>"
    with pytest.raises(TypeError, match="pickle the list"):
        pickle.dumps(second)


def test_an_empty_transaction_is_skipped_and_advances_an_idle_stream() -> None:
    feed, feedback = transactions()
    assert taken(feed, sent.begin(100), sent.commit(100)) == []
    assert feedback.flushed == LSN(148)


def test_a_nontransactional_message_is_a_transaction_of_its_own() -> None:
    feed, feedback = transactions()
    [found] = taken(feed, sent.message(70, transactional=False))
    assert (found.xid, found.end_lsn, found.commit_time) == (0, LSN(70), None)
    assert [type(change).__name__ for change in found] == ["Message"]
    assert feedback.flushed == LSN.INVALID
    [inside] = taken(
        feed,
        sent.begin(100),
        sent.origin("pg_9"),
        sent.message(80, transactional=True),
        sent.commit(100),
    )
    assert inside.origin is not None
    assert inside.origin.name == "pg_9"


@given(st.data())
def test_interleaved_streamed_transactions_are_reassembled(data: st.DataObject) -> None:
    """Two streamed transactions in interleaved blocks, with aborted subtransactions."""
    limit = data.draw(st.sampled_from([0, 300, 1 << 20]))
    feed, _ = transactions(limit)
    expected: dict[int, list[tuple[str, int]]] = {1: [], 2: []}
    aborted: set[int] = set()
    started: set[int] = set()
    blocks = data.draw(
        st.lists(
            st.tuples(
                st.sampled_from([1, 2]),
                st.lists(st.sampled_from([0, 10, 20]), max_size=4),
                st.sampled_from([None, 10, 20]),
            )
        )
    )
    found = []
    number = 0
    for xid, subs, abort in blocks:
        messages = [sent.stream_start(xid, first=xid not in started)]
        if xid not in started:
            messages.append(sent.relation(xid=xid))
        started.add(xid)
        for sub in subs:
            own = xid + sub
            if own in aborted:
                continue
            number += 1
            messages.append(sent.insert(str(number), "x", xid=own))
            expected[xid].append((str(number), own))
        messages.append(sent.STREAM_STOP)
        if abort is not None:
            aborted.add(xid + abort)
            messages.append(sent.stream_abort(xid, xid + abort))
        found += taken(feed, *messages)
    assert found == []
    ends = [xid for xid in data.draw(st.permutations([1, 2])) if xid in started]
    dropped = data.draw(st.sampled_from([None, 1, 2]))
    for xid in ends:
        end = sent.stream_abort(xid, xid) if xid == dropped else sent.stream_commit(xid, 100 * xid)
        found += taken(feed, end)
    for transaction in found:
        kept = [(n, "x") for n, own in expected[transaction.xid] if own not in aborted]
        assert rows_of(transaction) == kept
    # As where the server does not stream: a transaction of aborted parts only is not delivered.
    kept_rows = {xid: {own for _, own in rows} - aborted for xid, rows in expected.items()}
    whole = [xid for xid in ends if xid != dropped and kept_rows[xid]]
    assert [transaction.xid for transaction in found] == whole


STREAMED = [
    *(sent.stream_start(5), sent.relation(xid=5), sent.insert("1", "a", xid=6), sent.STREAM_STOP),
    *(sent.stream_start(5, first=False), sent.insert("2", "b", xid=5), sent.STREAM_STOP),
    *(sent.stream_abort(5, 6), sent.stream_commit(5, 300)),
]


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


@pytest.mark.parametrize(
    "commit", [sent.commit(100), sent.stream_commit(5, 100)], ids=["commit", "stream_commit"]
)
def test_a_commit_without_a_begin_is_refused(commit: bytes) -> None:
    feed, _ = transactions()
    with pytest.raises(InvalidChangeMessage, match="has not begun"):
        feed.take(wal(commit))
    for message in STREAMED[:3]:
        assert feed.take(wal(message)) is None
    for end in (sent.commit(100), sent.stream_commit(5, 100)):
        with pytest.raises(InvalidChangeMessage, match="has not begun"):
            feed.take(wal(end))
    # A transaction that was not delivered is dropped at once.
    assert feed.take(wal(sent.stream_abort(5, 6))) is None


@pytest.mark.parametrize("first", [TRANSACTION[0], STREAMED[0]], ids=["begin", "stream_start"])
@pytest.mark.parametrize("second", [NEXT[0], STREAMED[4]], ids=["begin", "stream_start"])
def test_a_begin_inside_a_transaction_is_refused(first: bytes, second: bytes) -> None:
    feed, _ = transactions()
    assert feed.take(wal(first)) is None
    with pytest.raises(InvalidChangeMessage, match="within another"):
        feed.take(wal(second))


@pytest.mark.parametrize("size", [0, 1, 8, 24])
def test_a_truncated_copy_data_header_is_refused(size: int) -> None:
    feed, _ = changes()
    with pytest.raises(InvalidChangeMessage):
        feed.take(wal(b"")[:size])


def test_after_a_restart_incomplete_transactions_start_again() -> None:
    feed, _ = transactions()
    taken(feed, *TRANSACTION[:4])
    feed.restart()
    [found] = taken(feed, *TRANSACTION)
    assert rows_of(found) == [("1", "a"), ("2", "b"), ("3", "c")]


def test_a_restart_within_a_raw_transaction_ends_the_transaction() -> None:
    feedback = Feedback(LSN.INVALID, advance_when_idle=True)
    raw = RawTransactionFeed(decoder, feedback, stop_at=None, memory_limit=1 << 20)
    assert raw.next(iter([wal(TRANSACTION[0])])) is None
    assert feedback.is_within
    raw.restart()
    # Otherwise a server that does not send it again would retain its WAL without limit.
    assert not feedback.is_within


def test_a_restart_within_a_streamed_block_ends_the_block() -> None:
    """The server may crash, and then not send the transaction again."""
    feed, feedback = transactions()
    feed.take(wal(sent.stream_start(500)))
    assert feedback.is_within
    feed.restart()
    assert not feedback.is_within


def test_a_row_outside_of_any_transaction_is_refused() -> None:
    feed, _ = transactions()
    feed.take(wal(TRANSACTION[1]))
    with pytest.raises(InvalidChangeMessage, match="outside of any transaction"):
        feed.take(wal(TRANSACTION[2]))


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
