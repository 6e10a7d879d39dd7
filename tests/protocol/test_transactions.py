"""Transactions that are assembled from their changes."""

from __future__ import annotations

import pickle

import pgoutputs as sent
import pytest
from hypothesis import given, strategies as st
from streamfeeds import (
    NEXT,
    STREAMED,
    TRANSACTION,
    rows_of,
    taken,
    transactions,
    wal,
)

from pgreplkit import LSN
from pgreplkit.errors import InvalidChangeMessage


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


def test_after_a_restart_incomplete_transactions_start_again() -> None:
    feed, _ = transactions()
    taken(feed, *TRANSACTION[:4])
    feed.restart()
    [found] = taken(feed, *TRANSACTION)
    assert rows_of(found) == [("1", "a"), ("2", "b"), ("3", "c")]


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
