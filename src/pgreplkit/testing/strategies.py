"""Hypothesis strategies for the value types; bounds and boundaries come often."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

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

_COMPRESSIONS = ("gz", "lz4", "zst", "bz2", "xz")


def segment_sizes() -> SearchStrategy[SegmentSize]:
    """Every size that a server can have, from 1 MiB to 1 GiB; shrinks to 16 MiB."""
    others = (SegmentSize(1 << power) for power in range(20, 31) if power != 24)
    return st.sampled_from((SegmentSize.DEFAULT, *others))


def timelines() -> SearchStrategy[int]:
    """Timelines from 1 to 2³²−1, often small."""
    return st.integers(1, 9) | st.integers(1, (1 << 32) - 1)


def lsns(
    min_value: LSN = LSN.INVALID,
    max_value: LSN = LSN.MAX,
    *,
    segment_size: SegmentSize = SegmentSize.DEFAULT,
) -> SearchStrategy[LSN]:
    """Positions from ``min_value`` to ``max_value``, both included.

    The two bounds, and the positions around the edges of segments of ``segment_size``, come often.
    """
    low, high, size = int(min_value), int(max_value), int(segment_size)
    segments = st.integers(low // size, high // size)
    edges = st.builds(
        lambda number, step: min(max(number * size + step, low), high),
        segments,
        st.sampled_from((0, 1, -1)),
    )
    return st.one_of(st.integers(low, high), edges, st.sampled_from((low, high))).map(LSN)


def wal_file_names(
    *, segment_size: SegmentSize | None = None, timeline: int | None = None
) -> SearchStrategy[WalFileName]:
    """Names of segments anywhere in 64 bits of WAL; of any size and timeline unless told."""
    on = timelines() if timeline is None else st.just(timeline)

    def sized(size: SegmentSize) -> SearchStrategy[WalFileName]:
        numbers = st.integers(0, int(LSN.MAX) // int(size))
        return st.builds(WalFileName, on, numbers, st.just(size))

    return segment_sizes().flatmap(sized) if segment_size is None else sized(segment_size)


def partial_wal_file_names(
    *, segment_size: SegmentSize | None = None
) -> SearchStrategy[PartialWalFileName]:
    """Names of ``.partial`` files, with and without a compression."""
    return st.builds(
        PartialWalFileName,
        wal_file_names(segment_size=segment_size),
        st.none() | st.sampled_from(_COMPRESSIONS),
    )


def backup_history_file_names(
    *, segment_size: SegmentSize | None = None
) -> SearchStrategy[BackupHistoryFileName]:
    """Names of ``.backup`` files; the offset is always inside the segment."""
    return wal_file_names(segment_size=segment_size).flatmap(
        lambda name: st.builds(
            BackupHistoryFileName, st.just(name), st.integers(0, int(name.segment_size) - 1)
        )
    )


def timeline_history_file_names() -> SearchStrategy[TimelineHistoryFileName]:
    """Names of ``.history`` files, for timelines from 1 to 2³²−1."""
    return st.builds(TimelineHistoryFileName, timelines())


def wal_names(*, segment_size: SegmentSize | None = None) -> SearchStrategy[WalName]:
    """Names of all the files that stand in pg_wal or in an archive of it, compressed ones too."""
    plain = st.one_of(
        wal_file_names(segment_size=segment_size),
        partial_wal_file_names(segment_size=segment_size),
        backup_history_file_names(segment_size=segment_size),
        timeline_history_file_names(),
    )
    return plain | st.builds(CompressedWalName, plain, st.sampled_from(_COMPRESSIONS))


def wal_ranges(
    *, max_size: int | None = None, segment_size: SegmentSize = SegmentSize.DEFAULT
) -> SearchStrategy[WalRange]:
    """Stretches of WAL, empty ones too, of ``max_size`` bytes at most.

    Starts and ends around the edges of segments of ``segment_size`` come often.
    """

    def starting(start: LSN) -> SearchStrategy[WalRange]:
        last = int(LSN.MAX) if max_size is None else min(int(start) + max_size, int(LSN.MAX))
        ends = lsns(start, LSN(last), segment_size=segment_size)
        return st.builds(WalRange, st.just(start), ends)

    return lsns(segment_size=segment_size).flatmap(starting)


def timeline_histories(
    *, max_switches: int = 5, segment_size: SegmentSize = SegmentSize.DEFAULT
) -> SearchStrategy[TimelineHistory]:
    """Histories of 0 to ``max_switches`` switches, with reasons; some switch twice at one place.

    Switchpoints around the edges of segments of ``segment_size`` come often.
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
    """Values of synchronous_standby_names: none, one and more names, bare, quoted and ``*``."""
    bare = st.builds(str.__add__, st.sampled_from("ab_Z"), st.text("ab_Z09$", max_size=8))
    odd = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
    words = st.sampled_from(("*", "any", "FIRST", "7", 'a"b'))
    names = st.lists(st.one_of(bare, words, odd), min_size=1, max_size=5).map(tuple)
    counts = st.integers(1, 5) | st.integers(1, (1 << 31) - 1)
    named = st.builds(SyncStandbyNames, names, counts, st.sampled_from(SyncMethod))
    return st.just(SyncStandbyNames()) | named


def system_identities() -> SearchStrategy[SystemIdentity]:
    """Answers of IDENTIFY_SYSTEM, with and without a database."""
    return st.builds(
        SystemIdentity,
        system_id=st.integers(1, (1 << 64) - 1),
        timeline=timelines(),
        position=lsns(),
        database=st.none() | st.text(min_size=1, max_size=10),
    )
