"""Counts: the same sums as those of the records."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, strategies as st
from recordedwal import Recorded
from walpages import WalWriter

from pgreplkit.offline.counts import Counts
from pgreplkit.offline.reader import open_wal
from pgreplkit.offline.records import Source, WalRecord
from pgreplkit.offline.stats import WalBy, stats_of
from pgreplkit.offline.walk import RecordWalk


@pytest.mark.parametrize("by", [WalBy.KIND, WalBy.RESOURCE_MANAGER])
def test_records_that_are_only_counted_have_the_same_sums(sampled: Recorded, by: WalBy) -> None:
    records = sampled.records
    for first, end in ((0, -1), (1, len(records) // 2), (len(records) // 3, -2)):
        wal = open_wal(sampled.folder, start=records[first].lsn, stop_at=records[end].lsn)
        assert wal.stats(by=by) == stats_of(records[first:end], by)
        assert wal.end_lsn == records[end - 1].end_lsn


def block(number: int, *, has_relation: bool, image: int, data: int) -> tuple[bytes, bytes]:
    """Return the headers of a block, and its image and data."""
    flags = (0x10 if image else 0) | (0 if has_relation else 0x80)
    head = struct.pack("<BBH", number, flags, data)
    head += struct.pack("<HHB", image, 0, 0) if image else b""
    head += struct.pack("<III", 1663, 5, 16384) if has_relation else b""
    return head + struct.pack("<I", number), bytes(image + data)


blocks = st.lists(
    st.tuples(st.booleans(), st.sampled_from([0, 0, 0, 300]), st.integers(0, 40)), max_size=4
)


@given(
    st.lists(st.tuples(blocks, st.integers(0, 60)), min_size=1, max_size=300),
    st.integers(100, 30_000),
)
def test_any_blocks_and_pieces_have_the_sums_of_their_records(
    shapes: list[tuple[list[tuple[bool, int, int]], int]], piece: int
) -> None:
    writer = WalWriter(3 << 20)
    for number, (parts, size) in enumerate(shapes):
        made = [
            block(place, has_relation=has_relation or not place, image=image, data=data)
            for place, (has_relation, image, data) in enumerate(parts)
        ]
        main = bytes([255, size]) if size else b""
        heads, contents = b"".join(head for head, _ in made), b"".join(one for _, one in made)
        writer.add_body(10, number % 8 * 16, heads + main + contents + bytes(size))
    counts = Counts(18)

    def walked(counts: Counts | None) -> list[WalRecord]:
        source = Source(None, 18, 1, 1 << 20, 8192)
        walk = RecordWalk(3 << 20, source, newest_timeline=1, counts=counts)
        content, found = writer.padded(), []
        for at in range(0, len(content), piece):
            found += walk.take(content[at : at + piece])
        return found

    everything, left = walked(None), walked(counts)
    assert len(everything) == len(shapes)
    assert stats_of(left, WalBy.KIND, counts) == stats_of(everything, WalBy.KIND)
    assert left[-1] == everything[-1]
    assert sum(records for records, _ in counts.sums.values()) + len(left) == len(shapes)
