"""TimelineHistory: the timeline of a position, forks, and the files that recovery reads."""

import pytest
from hypothesis import assume, example, given, strategies as st

from pgreplkit import LSN, SegmentSize, TimelineHistory, TimelineSwitch, WalFileName, WalRange
from pgreplkit.errors import InvalidTimelineHistory, TimelineNotInHistory
from pgreplkit.testing.strategies import (
    lsns,
    segment_sizes,
    timeline_histories,
    timelines,
    wal_ranges,
)

FORKED = TimelineHistory.parse(
    "1\t0/5000000\tno recovery target specified\n3\t0/7800000\tno recovery target specified\n",
    timeline=4,
)


@given(timeline_histories())
def test_parsing_the_text_of_a_history_returns_the_history(history: TimelineHistory) -> None:
    assert TimelineHistory.parse(str(history), timeline=history.timeline) == history


@given(timeline_histories(), st.data())
def test_comments_blank_lines_and_indentation_are_ignored(
    history: TimelineHistory, data: st.DataObject
) -> None:
    noise = st.sampled_from(["", " ", "\t \t", "# 1\t0/0\tx", "  #", "\r"])
    lines = [f"  {line}  " for line in str(history).split("\n")[:-1]]
    for _ in range(data.draw(st.integers(0, 5))):
        lines.insert(data.draw(st.integers(0, len(lines))), data.draw(noise))
    assert TimelineHistory.parse("\n".join(lines), timeline=history.timeline) == history


def test_a_file_as_the_server_writes_it_is_read() -> None:
    text = '1\t0/5000000\tno recovery target specified\n\n2\t1/0000002A\tat restore point "x"\n'
    assert TimelineHistory.parse(text, timeline=3).switches == (
        TimelineSwitch(1, LSN("0/5000000"), "no recovery target specified"),
        TimelineSwitch(2, LSN("1/2A"), 'at restore point "x"'),
    )


@pytest.mark.parametrize(
    "text",
    [
        "1",
        "1\t",
        "1\t0",
        "1\t0/",
        "1\t0/G",
        "x\t0/5",
        "-1\t0/5",
        "1.0\t0/5",
        "0x1\t0/5",
        "0\t0/5",
        "1,0/5",
        "1 2 0/5",
        "１\t0/5",
        "1\t0/５",
        "1\t0/5x",
        "1\t0/123456789",
        "2\t0/5",
        "9\t0/5",
        "1\t0/5\n1\t0/6",
        "2\t0/5\n1\t0/6",
        "99999999999\t0/5",
        "1\t0/5\ta\rb",
        "1\t0/5\n\0",
    ],
)
def test_text_that_is_not_a_history_of_timeline_2_is_refused(text: str) -> None:
    with pytest.raises(InvalidTimelineHistory):
        TimelineHistory.parse(text, timeline=2)


def entries(history: TimelineHistory) -> list[tuple[int, LSN, LSN | None]]:
    """The entries of a history as readTimeLineHistory makes them, newest first."""
    points = [switch.switchpoint for switch in history.switches]
    rows = zip(history.timelines, [LSN.INVALID, *points], [*points, None], strict=True)
    return [*rows][::-1]


@given(timeline_histories(), lsns())
def test_a_position_is_on_the_timeline_that_the_server_names(
    history: TimelineHistory, lsn: LSN
) -> None:
    """tliOfPointInHistory: the newest entry that contains the position."""
    named = next(
        timeline
        for timeline, begin, end in entries(history)
        if begin <= lsn and (end is None or lsn < end)
    )
    assert history.timeline_of(lsn) == named


@given(timeline_histories())
def test_a_switchpoint_is_that_of_its_own_line(history: TimelineHistory) -> None:
    """tliSwitchPoint: the end of the timeline's entry, whatever later entries say."""
    for timeline, _, end in entries(history):
        assert history.switchpoint(timeline) == end


def test_a_recovery_that_ended_before_an_earlier_fork_gives_falling_switchpoints() -> None:
    history = TimelineHistory.parse("1\t0/9000000\n2\t0/5000000\n", timeline=3)
    assert [history.timeline_of(LSN(position << 24)) for position in (4, 5, 7, 9)] == [1, 3, 3, 3]
    assert [history.switchpoint(timeline) for timeline in (1, 2, 3)] == [
        *(LSN("0/9000000"), LSN("0/5000000"), None),
    ]
    assert history.section(1).end == LSN("0/5000000")
    assert history.section(2).start == history.section(2).end
    assert not history.can_follow(1, LSN("0/7000000"))
    assert not history.can_follow(2, LSN("0/9000000"))
    assert history.can_follow(1, LSN("0/5000000"))
    before = TimelineHistory.parse("1\t0/9000000\n", timeline=2)
    assert history.fork_from(before) == before.fork_from(history) == (1, LSN("0/5000000"))
    files = history.files(WalRange(LSN("0/4000000"), LSN("0/7000000")))
    assert [file.timeline for file in files] == [1, 3, 3]


def test_only_timelines_have_to_rise() -> None:
    for text in ("2\t0/5\n1\t0/6", "2\t0/6\n2\t0/5"):
        with pytest.raises(InvalidTimelineHistory, match="not above that of the previous line"):
            TimelineHistory.parse(text, timeline=3)


@pytest.mark.parametrize("timeline", [0, -1, 1 << 32])
def test_a_history_needs_a_possible_timeline(timeline: int) -> None:
    with pytest.raises(InvalidTimelineHistory):
        TimelineHistory(timeline)


@pytest.mark.parametrize(
    "make",
    [
        "TimelineHistory(True)",
        "TimelineHistory('1')",
        "TimelineHistory.parse(b'', timeline=1)",
        "TimelineSwitch(True, LSN(1))",
        "TimelineSwitch(1, 5)",
        "TimelineSwitch(1, '0/5')",
    ],
)
def test_arguments_of_another_type_are_a_type_error(make: str) -> None:
    names = {"TimelineHistory": TimelineHistory, "TimelineSwitch": TimelineSwitch, "LSN": LSN}
    with pytest.raises(TypeError):
        eval(make, names)


@pytest.mark.parametrize("reason", ["a\nb", "a\rb", " a", "a "])
def test_a_reason_that_a_line_cannot_carry_is_refused(reason: str) -> None:
    with pytest.raises(InvalidTimelineHistory):
        TimelineSwitch(1, LSN(1), reason)


@given(timeline_histories(), lsns())
def test_every_position_is_in_exactly_one_section(history: TimelineHistory, lsn: LSN) -> None:
    owners = [section.timeline for section in history.sections if lsn in section]
    assert owners == [history.timeline_of(lsn)]


@given(timeline_histories())
def test_sections_join_without_gap_from_the_first_byte_on(history: TimelineHistory) -> None:
    sections = history.sections
    assert tuple(section.timeline for section in sections) == history.timelines
    assert sections[0].start == LSN.INVALID
    assert sections[-1].end is None
    assert [s.end for s in sections[:-1]] == [s.start for s in sections[1:]]


@given(timeline_histories())
def test_a_switchpoint_belongs_to_the_newest_timeline_that_begins_there(
    history: TimelineHistory,
) -> None:
    for switch in history.switches:
        end = history.section(switch.timeline).end
        assert end is not None
        assert end <= switch.switchpoint
        assert history.timeline_of(end) > switch.timeline
        if end > LSN.INVALID:
            assert history.timeline_of(end - 1) <= switch.timeline
    assert history.section(history.timeline).end is None


@given(timeline_histories(), timelines())
def test_a_timeline_outside_the_history_has_no_switchpoint(
    history: TimelineHistory, timeline: int
) -> None:
    assume(timeline not in history.timelines)
    with pytest.raises(TimelineNotInHistory) as missing:
        history.switchpoint(timeline)
    with pytest.raises(TimelineNotInHistory):
        history.section(timeline)
    assert (missing.value.timeline, missing.value.history) == (timeline, history.timelines)
    assert not history.can_follow(timeline, LSN.INVALID)


@given(timeline_histories(), lsns())
def test_a_server_follows_up_to_its_timelines_end_and_no_further(
    history: TimelineHistory, lsn: LSN
) -> None:
    for section in history.sections:
        follows = section.end is None or lsn <= section.end
        assert history.can_follow(section.timeline, lsn) == follows


@given(timeline_histories(max_switches=3), st.data())
def test_two_branches_part_at_the_same_point_seen_from_either(
    trunk: TimelineHistory, data: st.DataObject
) -> None:
    """Both leave the trunk's last timeline: the earlier one of the two decides."""
    assume(trunk.timeline < (1 << 32) - 2)
    begin = trunk.switches[-1].switchpoint if trunk.switches else LSN.INVALID
    points = data.draw(st.tuples(lsns(begin), lsns(begin)))
    left, right = (
        TimelineHistory(trunk.timeline + step, (*trunk.switches, TimelineSwitch(trunk.timeline, p)))
        for step, p in enumerate(points, 1)
    )
    assert left.fork_from(right) == right.fork_from(left) == (trunk.timeline, min(points))
    assert left.fork_from(trunk) == trunk.fork_from(left) == (trunk.timeline, points[0])


@given(timeline_histories(), timeline_histories())
@example(TimelineHistory(1), TimelineHistory(1))
def test_forking_is_symmetric_and_shared_wal_is_on_one_timeline(
    a: TimelineHistory, b: TimelineHistory
) -> None:
    try:
        timeline, lsn = a.fork_from(b)
    except TimelineNotInHistory:
        assert a.timelines[0] != b.timelines[0]
        with pytest.raises(TimelineNotInHistory):
            b.fork_from(a)
    else:
        assert b.fork_from(a) == (timeline, lsn)
        assert timeline in a.timelines
        assert timeline in b.timelines
        if lsn > LSN.INVALID:
            assert a.timeline_of(lsn - 1) == b.timeline_of(lsn - 1)


@given(timeline_histories())
def test_a_history_never_leaves_itself(history: TimelineHistory) -> None:
    assert history.fork_from(history) == (history.timeline, LSN.MAX)


def files_by_hand(history: TimelineHistory, wal: WalRange, size: SegmentSize) -> list[WalFileName]:
    """Segment by segment: the newest timeline that begins in it or before it."""
    if not wal.size:
        return []
    names = []
    for number in range(int(wal.start) // int(size), (int(wal.end) - 1) // int(size) + 1):
        last_byte = LSN((number + 1) * int(size) - 1)
        names.append(WalFileName(history.timeline_of(last_byte), number, size))
    return names


@given(st.data(), segment_sizes())
def test_recovery_reads_each_segment_from_the_newest_timeline_in_it(
    data: st.DataObject, size: SegmentSize
) -> None:
    history = data.draw(timeline_histories(segment_size=size))
    wal = data.draw(wal_ranges(max_size=20 * int(size), segment_size=size))
    assert list(history.files(wal, segment_size=size)) == files_by_hand(history, wal, size)
    assert list(wal.files(history, segment_size=size)) == files_by_hand(history, wal, size)


@given(st.data(), segment_sizes(), st.integers(0, 1 << 34))
def test_files_change_timeline_where_a_switch_is_near(
    data: st.DataObject, size: SegmentSize, start: int
) -> None:
    span = 8 * int(size)
    wal = WalRange(LSN(start), LSN(start + span))
    points = data.draw(st.lists(lsns(wal.start, wal.end, segment_size=size), max_size=4))
    history = TimelineHistory(
        len(points) + 1,
        tuple(TimelineSwitch(n, p) for n, p in enumerate(sorted(points), 1)),
    )
    assert list(history.files(wal, segment_size=size)) == files_by_hand(history, wal, size)


def test_a_segment_with_a_switch_is_read_from_the_child() -> None:
    wal = WalRange(LSN("0/4000000"), LSN("0/9000000"))
    assert [str(name) for name in FORKED.files(wal)] == [
        "000000010000000000000004",
        "000000030000000000000005",
        "000000030000000000000006",
        "000000040000000000000007",
        "000000040000000000000008",
    ]


def test_the_first_file_of_a_whole_history_is_immediate() -> None:
    files = FORKED.files(WalRange(LSN.INVALID, LSN.MAX), segment_size=SegmentSize(1 << 20))
    assert str(next(files)) == "000000010000000000000000"


def test_a_reason_in_another_encoding_is_escaped() -> None:
    content = b'1\t0/9000000\tat restore point "caf\xe9"\n'
    [switch] = TimelineHistory.from_bytes(content, timeline=2).switches
    assert switch.reason == 'at restore point "caf\\xe9"'
