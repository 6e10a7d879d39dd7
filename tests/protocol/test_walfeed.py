"""WAL data in messages, and split into segments."""

from __future__ import annotations

import struct
from contextlib import suppress

import pytest
from hypothesis import given, strategies as st

from pgreplkit import LSN, SegmentSize
from pgreplkit.errors import InvalidWalMessage
from pgreplkit.protocol.walfeed import WalFeed, pieces
from pgreplkit.testing.strategies import segment_sizes
from pgreplkit.wal import WalChunk


def wal_data(lsn: LSN, data: bytes) -> memoryview:
    return memoryview(b"w" + lsn.to_bytes() + LSN.MAX.to_bytes() + bytes(8) + data)


def keepalive(asks: bool) -> memoryview:
    return memoryview(struct.pack(">c8sq?", b"k", LSN.MAX.to_bytes(), 0, asks))


@given(
    segment_sizes(), st.integers(0, 1 << 40), st.integers(-70_000, 70_000), st.integers(0, 1 << 17)
)
def test_pieces_lose_no_bytes_and_stay_within_one_segment(
    size: SegmentSize, number: int, near: int, length: int
) -> None:
    lsn = LSN(max(0, min(number * size.bytes + near, (1 << 63))))
    chunk = WalChunk(lsn, bytes(range(256)) * (length // 256 + 1), 1)
    cut = list(pieces(chunk, size.bytes))
    assert b"".join(piece.data for piece in cut) == chunk.data
    position = int(lsn)
    for piece in cut:
        assert piece.number * size.bytes + piece.offset == position
        assert 0 < len(piece.data) <= size.bytes - piece.offset
        position += len(piece.data)
    assert LSN(position) == chunk.end_lsn


@given(st.lists(st.binary(min_size=1, max_size=50)), st.integers(0, 1 << 62), st.integers(0, 600))
def test_chunks_equal_the_sent_wal_up_to_the_stop_position(
    parts: list[bytes], start: int, wanted: int
) -> None:
    lsn, stop = LSN(start), LSN(start + wanted)
    messages, position = [], lsn
    for part in parts:
        messages += [keepalive(False), wal_data(position, part)]
        position += len(part)
    feed = WalFeed(lsn, 3, stop_at=stop)
    chunks = feed.take(messages)
    assert b"".join(chunk.data for chunk in chunks) == b"".join(parts)[:wanted]
    assert feed.is_over == (position >= stop)
    assert all(chunk.timeline == 3 and chunk.data for chunk in chunks)
    assert not feed.asked


def test_a_reply_request_is_remembered() -> None:
    feed = WalFeed(LSN("0/5"), 1, stop_at=None)
    assert feed.take([keepalive(True), keepalive(False)]) == []
    assert feed.asked


@pytest.mark.parametrize("message", [b"", b"x", b"w123", wal_data(LSN("0/6"), b"a gap")])
def test_wal_that_does_not_continue_the_stream_is_refused(message: bytes) -> None:
    with pytest.raises(InvalidWalMessage):
        WalFeed(LSN("0/5"), 1, stop_at=None).take([memoryview(message)])


@given(st.booleans(), st.data())
def test_mutated_messages_are_accepted_or_refused(
    is_near_the_end: bool, data: st.DataObject
) -> None:
    start = LSN.MAX - 3 if is_near_the_end else LSN("0/5")
    message = data.draw(st.sampled_from([keepalive(True), wal_data(start, b"some WAL")]))
    begin, end = sorted(data.draw(st.tuples(*[st.integers(0, len(message))] * 2)))
    changed = bytes(message[:begin]) + data.draw(st.binary(max_size=6)) + bytes(message[end:])
    feed = WalFeed(start, 1, stop_at=None)
    with suppress(InvalidWalMessage):
        feed.take([memoryview(changed)])
    assert feed.position >= start


def test_the_repr_of_a_chunk_hides_the_wal() -> None:
    chunk = WalChunk(LSN("0/5"), bytes(100_000), 1)
    assert repr(chunk) == "WalChunk(lsn=LSN('0/5'), data=<100000 bytes>, timeline=1)"
