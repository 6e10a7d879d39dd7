"""Batching: the content of batches, and the position at which a feed continues."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import attrs
import pytest
from feedfacts import START, change
from hypothesis import given, strategies as st

from pgreplkit import LSN
from pgreplkit.errors import EncodingFailed, MessageTooLarge, SinkRefused
from pgreplkit.feeds import FeedBatch, FeedChange, FeedMessage, FeedPosition, SinkLimits
from pgreplkit.feeds.batches import Batching

Transactions = Sequence[tuple[LSN, Sequence[int]]]
"""The end of each, and the number of messages of each of its changes."""


class Several:
    """Encodes a change as as many messages as its content says."""

    def encode(self, change: FeedChange) -> Sequence[FeedMessage] | None:
        number = int(change.content)
        of = f"{change.lsn} {change.number}"
        bodies = (f"{of} {part}".encode() for part in range(number))
        return [FeedMessage("cdc", None, body) for body in bodies] or None


def transactions() -> st.SearchStrategy[Transactions]:
    sizes = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=9), max_size=6)
    return sizes.map(
        lambda found: [(LSN(0x200 + 0x10 * at), counts) for at, counts in enumerate(found)]
    )


def sent(
    given: Transactions, position: FeedPosition, limits: SinkLimits, flushes: Sequence[bool]
) -> Iterator[FeedBatch]:
    """Yield all batches; ``flushes`` says after which transactions the waiting ones are sent."""
    batching = Batching(Several(), limits, position)
    for at, (end, counts) in enumerate(given):
        changes = (change(end, number, b"%d" % n) for number, n in enumerate(counts, 1))
        yield from batching.take(changes, end)
        if flushes[at % len(flushes)] and batching.has_messages:
            yield batching.batch()
    if batching.has_messages:
        yield batching.batch()


def bodies(batches: Sequence[FeedBatch]) -> list[bytes | None]:
    return [message.body for batch in batches for message in batch.messages]


@given(
    transactions(),
    st.integers(3, 12),
    st.lists(st.booleans(), min_size=1, max_size=4),
    st.lists(st.booleans(), min_size=1, max_size=4),
)
def test_a_feed_that_continues_after_any_batch_sends_the_rest_once_and_in_order(
    given: Transactions, most: int, flushes: Sequence[bool], others: Sequence[bool]
) -> None:
    limits = SinkLimits(messages=most)
    batches = [*sent(given, START, limits, flushes)]
    whole = [
        f"{end} {number} {part}".encode()
        for end, counts in given
        for number, n in enumerate(counts, 1)
        for part in range(n)
    ]
    assert bodies(batches) == whole
    for at, batch in enumerate(batches):
        assert 0 < len(batch.messages) <= most
        done = bodies(batches[: at + 1])
        # The transactions before come again, as from a slot to which they were not confirmed.
        rest = [*sent(given, batch.position, limits, others)]
        assert done + bodies(rest) == whole


@given(transactions(), st.integers(3, 12))
def test_the_name_of_each_message_is_that_of_its_change(given: Transactions, most: int) -> None:
    for batch in sent(given, START, SinkLimits(messages=most), [False]):
        found = [(message.body or b"").decode().split() for message in batch.messages]
        assert [(str(lsn), str(number)) for lsn, number in batch.names] == [
            (lsn, number) for lsn, number, _ in found
        ]


def test_a_batch_has_no_more_bytes_than_the_sink_takes_at_once() -> None:
    # A body such as "0/200 1 0" has 9 bytes, and each message takes 64 more.
    for limit, most in ((218, 2), (219, 3), (250, 3)):
        limits = SinkLimits(batch_bytes=limit)
        [first, *_] = sent([(LSN(0x200), [1] * 9)], START, limits, [False])
        assert len(first.messages) == most
        assert not first.position.is_whole


def test_a_position_without_a_change_moves_and_leaves_out_nothing_after_it() -> None:
    batching = Batching(Several(), SinkLimits(), START)
    batching.reach(LSN(0x300))
    assert batching.batch().position == attrs.evolve(START, lsn=LSN(0x300))
    assert [*batching.take([change(LSN(0x300), 1, b"1")], LSN(0x300))] == []
    assert not batching.has_messages
    assert [*batching.take([change(LSN(0x308), 1, b"1")], LSN(0x308))] == []
    assert batching.has_messages


class Returns:
    def __init__(self, encoded: object) -> None:
        self._encoded = encoded

    def encode(self, change: FeedChange) -> FeedMessage:
        if isinstance(self._encoded, Exception):
            raise self._encoded
        return self._encoded  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("encoded", "found"),
    [
        ("text", "returned a str"),
        ([b"bytes"], "returned a bytes"),
        (7, "returned a int"),
        (KeyError("column"), "raised KeyError: 'column'"),
        (FeedMessage("cdc", b"7", "text"), "bytes or None, not bytes and str"),  # type: ignore[arg-type]
        ([FeedMessage("cdc", bytearray(), b"")], "not bytearray and bytes"),  # type: ignore[arg-type]
        (FeedMessage(None, None, b""), "the destination or the headers"),  # type: ignore[arg-type]
        (FeedMessage(b"cdc", None, b""), "the destination or the headers"),  # type: ignore[arg-type]
        (FeedMessage("\ud800", None, b""), "the headers of its message are not texts: 'utf-8'"),
        (FeedMessage("cdc", None, b"", (("a", 7),)), "are not texts: 'int'"),  # type: ignore[arg-type]
        (FeedMessage("cdc", None, b"", (("a", "\ud800"),)), "are not texts: 'utf-8'"),
        (FeedMessage("cdc", None, b"", {"a": "b"}), "are not texts: not enough"),  # type: ignore[arg-type]
    ],
)
def test_an_encoder_that_fails_is_named_with_the_change(encoded: object, found: str) -> None:
    batching = Batching(Returns(encoded), SinkLimits(), START)
    with pytest.raises(EncodingFailed, match=found) as raised:
        [*batching.take([change(LSN(0x200), 3)], LSN(0x200))]
    assert (raised.value.lsn, raised.value.number) == ("0/200", 3)


def test_a_message_that_is_too_large_is_refused_or_replaced() -> None:
    large = FeedMessage("cdc.rows", b"7", b"x" * 5000)
    changes = [change(LSN(0x200), 1)]
    batching = Batching(Returns(large), SinkLimits(message_bytes=1000), START)
    with pytest.raises(MessageTooLarge, match="it has 5065 bytes, and the engine takes 1000"):
        [*batching.take(changes, LSN(0x200))]
    batching = Batching(Returns(large), SinkLimits(message_bytes=1000), START, parked="cdc.parked")
    assert [*batching.take(changes, LSN(0x200))] == []
    [parked] = batching.batch().messages
    assert (parked.destination, parked.key, batching.parked) == ("cdc.parked", b"7", 1)
    assert json.loads(parked.body or b"")["destination"] == "cdc.rows"


def test_the_size_of_a_message_is_in_bytes() -> None:
    message = FeedMessage("cdc", b"7", b"12", (("a", "é"),))
    batching = Batching(Returns(message), SinkLimits(message_bytes=69), START)
    with pytest.raises(MessageTooLarge, match="it has 70 bytes"):
        [*batching.take([change(LSN(0x200), 1)], LSN(0x200))]


def test_a_change_that_becomes_more_messages_than_a_batch_takes_is_refused() -> None:
    batching = Batching(Several(), SinkLimits(messages=2), START)
    with pytest.raises(SinkRefused, match="it became 3 messages, and the sink takes 2"):
        [*batching.take([change(LSN(0x200), 1, b"3")], LSN(0x200))]
