"""WalRange: containment, intersection, and files."""

from itertools import islice, pairwise

import pytest
from hypothesis import given, strategies as st

from pgreplkit import LSN, SegmentSize, WalFileName, WalRange
from pgreplkit.errors import InvalidWalRange
from pgreplkit.testing.strategies import lsns, segment_sizes, timelines, wal_ranges

NEAR = 1 << 25


@given(lsns(), lsns())
def test_a_range_does_not_end_before_it_starts(start: LSN, end: LSN) -> None:
    if start <= end:
        assert WalRange(start, end).size == end - start
    else:
        with pytest.raises(InvalidWalRange, match="the end is before the start"):
            WalRange(start, end)


@given(wal_ranges(), st.data())
def test_the_start_is_inside_and_the_end_is_not(wal: WalRange, data: st.DataObject) -> None:
    assert wal.end not in wal
    assert (wal.start in wal) == (wal.size > 0)
    lsn = data.draw(lsns())
    assert (lsn in wal) == (int(wal.start) <= int(lsn) < int(wal.end))


@given(wal_ranges(), wal_ranges(), lsns())
def test_the_intersection_of_two_ranges_is_in_both(a: WalRange, b: WalRange, lsn: LSN) -> None:
    shared = a.intersection(b)
    assert shared == b.intersection(a)
    assert (shared is not None and lsn in shared) == (lsn in a and lsn in b)
    if shared is not None:
        assert shared in a
        assert shared in b
        assert shared.size > 0


@given(wal_ranges(), wal_ranges())
def test_the_intersection_with_an_enclosing_range_is_the_range(a: WalRange, b: WalRange) -> None:
    if a.size:
        assert (a in b) == (a.intersection(b) == a)


@given(st.data(), segment_sizes(), timelines())
def test_the_files_cover_every_byte_once(
    data: st.DataObject, size: SegmentSize, timeline: int
) -> None:
    wal = data.draw(wal_ranges(max_size=20 * int(size), segment_size=size))
    names = list(wal.files(timeline, segment_size=size))
    assert all(name.timeline == timeline and name.segment_size == size for name in names)
    assert all(after - before == 1 for before, after in pairwise(names))
    if wal.size:
        assert wal.start in names[0]
        assert wal.end - 1 in names[-1]
    else:
        assert names == []


@given(lsns(), st.lists(st.integers(0, NEAR), max_size=5), segment_sizes())
def test_neighbouring_ranges_have_the_files_of_the_whole(
    start: LSN, steps: list[int], size: SegmentSize
) -> None:
    points = [start]
    for step in steps:
        points.append(min(points[-1], LSN.MAX - step) + step)
    parts = [WalRange(a, b) for a, b in pairwise(points)]
    pieces = {name for part in parts for name in part.files(1, segment_size=size)}
    assert sum(part.size for part in parts) == points[-1] - points[0]
    assert sorted(pieces) == list(WalRange(start, points[-1]).files(1, segment_size=size))


def test_a_boundary_at_the_end_adds_no_file() -> None:
    wal = WalRange(LSN("0/2000028"), LSN("0/5000000"))
    assert [name.number for name in wal.files(1)] == [2, 3, 4]


def test_the_first_files_of_a_range_of_all_wal_are_immediate() -> None:
    wal = WalRange(LSN.INVALID, LSN.MAX)
    files = wal.files(7, segment_size=SegmentSize(1 << 20))
    assert [str(name) for name in islice(files, 2)] == [
        "000000070000000000000000",
        "000000070000000000000001",
    ]


def test_the_last_segment_of_all_is_a_file() -> None:
    wal = WalRange(LSN.MAX - 1, LSN.MAX)
    assert list(wal.files(1)) == [WalFileName.parse("00000001FFFFFFFF000000FF")]


@pytest.mark.parametrize("stranger", [5, "0/0", None, (LSN(1), LSN(2))])
def test_only_positions_and_ranges_can_be_tested_for_containment(stranger: LSN) -> None:
    with pytest.raises(TypeError, match=type(stranger).__name__):
        _ = stranger in WalRange(LSN(0), LSN(9))


@pytest.mark.parametrize("stranger", [5, "0/0", None])
def test_a_range_is_between_positions(stranger: LSN) -> None:
    with pytest.raises(TypeError):
        WalRange(LSN(0), stranger)
    with pytest.raises(TypeError):
        WalRange(stranger, LSN(9))
