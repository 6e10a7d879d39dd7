"""WalFileName: text, neighbours, and positions inside the file."""

import pytest
from hypothesis import example, given, strategies as st

from pgreplkit import LSN, SegmentSize, WalFileName
from pgreplkit.errors import InvalidLSN, InvalidWalFileName
from pgreplkit.testing.strategies import lsns, segment_sizes, timelines, wal_file_names

MIB = SegmentSize(1 << 20)
GIB = SegmentSize(1 << 30)


def last_number(name: WalFileName) -> int:
    return int(LSN.MAX) // int(name.segment_size)


@given(wal_file_names())
def test_parsing_the_text_of_a_name_ignores_case(name: WalFileName) -> None:
    text, size = str(name), name.segment_size
    assert len(text) == 24
    assert WalFileName.parse(text, segment_size=size) == name
    assert WalFileName.parse(text.lower(), segment_size=size) == name


@given(wal_file_names())
def test_the_three_parts_are_timeline_log_and_segment(name: WalFileName) -> None:
    assert str(name) == f"{name.timeline:08X}{name.log:08X}{name.segment:08X}"
    assert name.log == int(name.first_lsn) >> 32
    assert 0 <= name.segment < name.segment_size.per_log


def test_the_worked_example_of_a_server() -> None:
    name = WalFileName.containing(LSN("4/DF75D0E0"), timeline=1)
    assert str(name) == "0000000100000004000000DF"
    assert name.lsn_at(0x75D0E0) == LSN("4/DF75D0E0")


@given(lsns(), segment_sizes(), timelines())
@example(LSN("1/0"), SegmentSize.DEFAULT, 1)
@example(LSN.MAX, GIB, 1)
def test_a_position_is_only_in_the_file_that_contains_it(
    lsn: LSN, size: SegmentSize, timeline: int
) -> None:
    name = WalFileName.containing(lsn, timeline=timeline, segment_size=size)
    assert lsn in name
    assert name.number == 0 or lsn not in name.previous
    assert name.number == last_number(name) or lsn not in name.next


@given(wal_file_names())
def test_a_position_on_the_boundary_belongs_to_the_file_that_starts_there(
    name: WalFileName,
) -> None:
    again = WalFileName.containing(
        name.first_lsn, timeline=name.timeline, segment_size=name.segment_size
    )
    assert again == name
    assert name.lsn_at(0) == name.first_lsn


@given(wal_file_names())
def test_a_file_ends_where_the_next_one_begins(name: WalFileName) -> None:
    if name.number == last_number(name):
        with pytest.raises(InvalidLSN):
            _ = name.end_lsn
        with pytest.raises(InvalidWalFileName):
            _ = name.next
    else:
        assert name.end_lsn == name.next.first_lsn
        assert name.end_lsn - name.first_lsn == int(name.segment_size)
        assert name.end_lsn not in name
        assert name.next.previous == name


@given(wal_file_names(), st.integers())
def test_steps_are_reversible_unless_they_leave_the_wal(name: WalFileName, count: int) -> None:
    if 0 <= name.number + count <= last_number(name):
        other = name + count
        assert (other - count, other - name, name - other) == (name, count, -count)
        assert (other < name, other > name) == (count < 0, count > 0)
    else:
        with pytest.raises(InvalidWalFileName):
            name + count
        with pytest.raises(InvalidWalFileName):
            name - -count


@given(st.data(), segment_sizes())
def test_names_of_one_size_are_ordered_as_their_text(
    data: st.DataObject, size: SegmentSize
) -> None:
    names = data.draw(st.lists(wal_file_names(segment_size=size)))
    assert sorted(names) == sorted(names, key=str)


def test_one_text_is_two_names_when_the_sizes_differ() -> None:
    text = "000000010000000000000001"
    small, large = (WalFileName.parse(text, segment_size=size) for size in (MIB, GIB))
    assert small != large
    assert small < large
    assert small.first_lsn != large.first_lsn


@pytest.mark.parametrize("other", [WalFileName(2, 1), WalFileName(1, 1, MIB)])
def test_names_of_another_timeline_or_size_cannot_be_subtracted(other: WalFileName) -> None:
    with pytest.raises(InvalidWalFileName, match="difference is undefined"):
        WalFileName(1, 1) - other


@given(wal_file_names(), st.integers())
def test_only_an_offset_inside_the_segment_is_a_position(name: WalFileName, offset: int) -> None:
    if 0 <= offset < int(name.segment_size):
        assert name.lsn_at(offset) - name.first_lsn == offset
    else:
        with pytest.raises(InvalidWalFileName):
            name.lsn_at(offset)


@pytest.mark.parametrize("size", [SegmentSize(1 << power) for power in range(20, 31)])
def test_the_last_part_must_fit_the_segment_size(size: SegmentSize) -> None:
    last = f"{1:08X}{0:08X}{size.per_log - 1:08X}"
    assert WalFileName.parse(last, segment_size=size).next.log == 1
    with pytest.raises(InvalidWalFileName, match=str(size)):
        WalFileName.parse(f"{1:08X}{0:08X}{size.per_log:08X}", segment_size=size)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0" * 24,
        "00000000FFFFFFFF000000FF",
        "00000001000000000000000",
        "0" * 23 + "G",
        "00000001000000000000000１",
        "0x0000010000000000000001",
        "-00000010000000000000001",
        "000000010000000000000001 ",
        " 00000010000000000000001",
        "00000001 0000000 000000 ",
        "000000010000000000000001\n",
        "\ud800" * 24,
        "\0" * 24,
        "_00000010000000000000001",
        "000000010000000000000001.gz",
        "00000001.history",
        "000000010000000000000100",
    ],
)
def test_text_that_is_not_a_segment_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidWalFileName):
        WalFileName.parse(text)


@pytest.mark.parametrize(
    ("timeline", "number"),
    [(0, 0), (-1, 0), (1 << 32, 0), (1, -1), (1, 1 << 40), pytest.param(1, 10**5000, id="huge")],
)
def test_parts_outside_their_range_are_refused(timeline: int, number: int) -> None:
    with pytest.raises(InvalidWalFileName):
        WalFileName(timeline, number)


@pytest.mark.parametrize(
    "meaningless",
    [
        "WalFileName(True, 0)",
        "WalFileName(1, 1.0)",
        "WalFileName('1', 0)",
        "WalFileName(1, None)",
        "WalFileName(1, 0, 16777216.0)",
        "name + True",
        "name + 1.0",
        "1 + name",
        "name - 1.0",
        "name + name",
        "name.lsn_at(True)",
        "name.lsn_at(LSN(1))",
        "5 in name",
        "'0/0' in name",
        "WalFileName.parse(b'0' * 24)",
        "WalFileName.parse(None)",
        "WalFileName.containing(5, timeline=1)",
        "WalFileName.containing('5', timeline=1)",
    ],
)
def test_arguments_of_another_type_are_a_type_error(meaningless: str) -> None:
    names = {"LSN": LSN, "WalFileName": WalFileName, "name": WalFileName(1, 1)}
    with pytest.raises(TypeError):
        eval(meaningless, names)


def test_the_repr_shows_a_nondefault_segment_size() -> None:
    assert repr(WalFileName(1, 1)) == "WalFileName.parse('000000010000000000000001')"
    assert repr(WalFileName(1, 1, MIB)).endswith(", segment_size=SegmentSize(1048576))")
