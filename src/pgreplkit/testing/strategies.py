"""Hypothesis strategies for the value types, with an emphasis on bounds and segment edges."""

from __future__ import annotations

from pgreplkit import (
    LSN,
    BackupHistoryFileName,
    CompressedWalName,
    PartialWalFileName,
    SegmentSize,
    SyncMethod,
    SyncStandbyNames,
    SystemIdentity,
    TimelineHistory,
    TimelineHistoryFileName,
    TimelineSwitch,
    WalFileName,
    WalName,
    WalRange,
)
from pgreplkit.errors.extras import needs_extra
from pgreplkit.values.segment import AnySegmentSize, segment_size_of

with needs_extra("testing", "hypothesis"):
    from hypothesis import strategies as st
    from hypothesis.strategies import SearchStrategy

_COMPRESSIONS = ("gz", "lz4", "zst", "bz2", "xz")


def segment_sizes() -> SearchStrategy[SegmentSize]:
    """Generate all valid segment sizes, 1 MiB to 1 GiB; shrinks to 16 MiB."""
    others = (SegmentSize(1 << power) for power in range(20, 31) if power != 24)
    return st.sampled_from((SegmentSize.DEFAULT, *others))


def timelines() -> SearchStrategy[int]:
    """Generate timelines from 1 to 2³²−1, often small ones."""
    return st.integers(1, 9) | st.integers(1, (1 << 32) - 1)


def lsns(
    min_value: LSN = LSN.INVALID,
    max_value: LSN = LSN.MAX,
    *,
    segment_size: AnySegmentSize = SegmentSize.DEFAULT,
) -> SearchStrategy[LSN]:
    """Generate positions from ``min_value`` to ``max_value``, both included.

    The two bounds and the positions around segment boundaries are frequent.
    """
    low, high, size = int(min_value), int(max_value), segment_size_of(segment_size).bytes
    segments = st.integers(low // size, high // size)
    edges = st.builds(
        lambda number, step: min(max(number * size + step, low), high),
        segments,
        st.sampled_from((0, 1, -1)),
    )
    return st.one_of(st.integers(low, high), edges, st.sampled_from((low, high))).map(LSN)


def wal_file_names(
    *, segment_size: AnySegmentSize | None = None, timeline: int | None = None
) -> SearchStrategy[WalFileName]:
    """Generate segment names, by default of any segment size and timeline."""
    on = timelines() if timeline is None else st.just(timeline)

    def sized(size: AnySegmentSize) -> SearchStrategy[WalFileName]:
        numbers = st.integers(0, int(LSN.MAX) // segment_size_of(size).bytes)
        return st.builds(WalFileName, on, numbers, st.just(size))

    return segment_sizes().flatmap(sized) if segment_size is None else sized(segment_size)


def partial_wal_file_names(
    *, segment_size: AnySegmentSize | None = None
) -> SearchStrategy[PartialWalFileName]:
    """Generate names of ``.partial`` files, some of them compressed."""
    return st.builds(
        PartialWalFileName,
        wal_file_names(segment_size=segment_size),
        st.none() | st.sampled_from(_COMPRESSIONS),
    )


def backup_history_file_names(
    *, segment_size: AnySegmentSize | None = None
) -> SearchStrategy[BackupHistoryFileName]:
    """Generate names of ``.backup`` files, with an offset inside the segment."""
    return wal_file_names(segment_size=segment_size).flatmap(
        lambda name: st.builds(
            BackupHistoryFileName, st.just(name), st.integers(0, int(name.segment_size) - 1)
        )
    )


def timeline_history_file_names() -> SearchStrategy[TimelineHistoryFileName]:
    """Generate names of ``.history`` files for timelines from 1 to 2³²−1."""
    return st.builds(TimelineHistoryFileName, timelines())


def wal_names(*, segment_size: AnySegmentSize | None = None) -> SearchStrategy[WalName]:
    """Generate names of all files in pg_wal and in WAL archives, some of them compressed."""
    plain = st.one_of(
        wal_file_names(segment_size=segment_size),
        partial_wal_file_names(segment_size=segment_size),
        backup_history_file_names(segment_size=segment_size),
        timeline_history_file_names(),
    )
    return plain | st.builds(CompressedWalName, plain, st.sampled_from(_COMPRESSIONS))


def wal_ranges(
    *, max_size: int | None = None, segment_size: AnySegmentSize = SegmentSize.DEFAULT
) -> SearchStrategy[WalRange]:
    """Generate ranges of WAL of 0 to ``max_size`` bytes.

    Starts and ends around segment boundaries are frequent.
    """

    def starting(start: LSN) -> SearchStrategy[WalRange]:
        last = int(LSN.MAX) if max_size is None else min(int(start) + max_size, int(LSN.MAX))
        ends = lsns(start, LSN(last), segment_size=segment_size)
        return st.builds(WalRange, st.just(start), ends)

    return lsns(segment_size=segment_size).flatmap(starting)


def timeline_histories(
    *, max_switches: int = 5, segment_size: AnySegmentSize = SegmentSize.DEFAULT
) -> SearchStrategy[TimelineHistory]:
    """Generate timeline histories of 0 to ``max_switches`` lines.

    Switchpoints around segment boundaries are frequent; equal and falling switchpoints, which
    are valid, occur too.
    """
    text = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20)
    reasons = st.just("no recovery target specified") | text.map(str.strip)

    def switching(path: list[int]) -> SearchStrategy[TimelineHistory]:
        *before, last = sorted(path)
        size = len(before)
        points = st.lists(lsns(segment_size=segment_size), min_size=size, max_size=size)
        return st.builds(
            lambda at, why: TimelineHistory(last, tuple(map(TimelineSwitch, before, at, why))),
            points | points.map(sorted),
            st.lists(reasons, min_size=size, max_size=size),
        )

    paths = st.lists(timelines(), min_size=1, max_size=max_switches + 1, unique=True)
    return paths.flatmap(switching)


def sync_standby_names() -> SearchStrategy[SyncStandbyNames]:
    """Generate values of synchronous_standby_names with bare names, quoted names and ``*``."""
    bare = st.builds(str.__add__, st.sampled_from("ab_Z"), st.text("ab_Z09$", max_size=8))
    odd = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
    words = st.sampled_from(("*", "any", "FIRST", "7", 'a"b'))
    names = st.lists(st.one_of(bare, words, odd), min_size=1, max_size=5).map(tuple)
    counts = st.integers(1, 5) | st.integers(1, (1 << 31) - 1)
    named = st.builds(SyncStandbyNames, names, counts, st.sampled_from(SyncMethod))
    return st.just(SyncStandbyNames()) | named


def system_identities() -> SearchStrategy[SystemIdentity]:
    """Generate answers of IDENTIFY_SYSTEM, with and without a database."""
    return st.builds(
        SystemIdentity,
        system_id=st.integers(1, (1 << 64) - 1),
        timeline=timelines(),
        position=lsns(),
        database=st.none() | st.text(min_size=1, max_size=10),
    )
