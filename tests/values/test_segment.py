"""SegmentSize: exactly the eleven sizes that a server can have."""

from collections.abc import Callable

import pytest
from hypothesis import given, strategies as st

from pgreplkit import LSN, SegmentSize, TimelineHistory, WalFileName, WalRange, parse_wal_name
from pgreplkit.backups import BackupLabel
from pgreplkit.errors import InvalidSegmentSize
from pgreplkit.testing.strategies import segment_sizes
from pgreplkit.values.segment import AnySegmentSize
from pgreplkit.wal import pg_split_walfile_name, pg_walfile_name, pg_walfile_name_offset

POSSIBLE = {1 << power for power in range(20, 31)}


@given(st.integers() | st.sampled_from(sorted(POSSIBLE)) | st.integers(1 << 19, 1 << 31))
def test_only_powers_of_two_from_1_mib_to_1_gib_are_accepted(size: int) -> None:
    if size in POSSIBLE:
        assert int(SegmentSize(size)) == size
    else:
        with pytest.raises(InvalidSegmentSize):
            SegmentSize(size)


@given(segment_sizes())
def test_the_servers_text_of_a_size_parses_to_that_size(size: SegmentSize) -> None:
    assert SegmentSize.parse(str(size)) == size
    assert SegmentSize.parse(f"{int(size)}B") == SegmentSize.parse(f"{int(size) >> 10}kB") == size


@given(segment_sizes())
def test_whole_segments_fill_4_gib(size: SegmentSize) -> None:
    assert size.per_log * int(size) == 1 << 32


def test_the_default_is_16_mib() -> None:
    assert SegmentSize.parse("16 MB") == SegmentSize.DEFAULT


@pytest.mark.parametrize(
    "text",
    [
        "",
        "16",
        "MB",
        "16mb",
        "16 Mb",
        "16MB ",
        " 16MB",
        "-16MB",
        "+16MB",
        "1_6MB",
        "１６MB",
        "16  MB",
        "16MB\n",
        "16.0MB",
        "1TB",
        "0MB",
        "3MB",
        "2GB",
        "512kB",
        "0x10MB",
        "1" * 64 + "MB",
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidSegmentSize):
        SegmentSize.parse(text)


@pytest.mark.parametrize("stranger", [True, 16777216.0, "16MB", None])
def test_only_an_int_is_a_count_of_bytes(stranger: object) -> None:
    with pytest.raises(TypeError, match=type(stranger).__name__):
        SegmentSize(stranger)  # type: ignore[arg-type]


def test_the_largest_size_reads_as_the_server_shows_it() -> None:
    assert [str(SegmentSize(size)) for size in (1 << 20, 1 << 29, 1 << 30)] == [
        "1MB",
        "512MB",
        "1GB",
    ]


LABEL = """START WAL LOCATION: 4/DF000028 (file 000000010000000400000003)
CHECKPOINT LOCATION: 4/DF000060
"""
LSN_IN_IT, RANGE = LSN("4/DF75D0E0"), WalRange(LSN("4/0"), LSN("5/0"))
TAKING: dict[str, Callable[[AnySegmentSize], object]] = {
    "LSN.offset_in": LSN_IN_IT.offset_in,
    "LSN.wal_file": lambda size: LSN_IN_IT.wal_file(timeline=1, segment_size=size),
    "WalFileName": lambda size: WalFileName(1, 5, size),
    "WalFileName.parse": lambda size: WalFileName.parse(
        "000000010000000400000003", segment_size=size
    ),
    "WalFileName.containing": lambda size: WalFileName.containing(
        LSN_IN_IT, timeline=1, segment_size=size
    ),
    "parse_wal_name": lambda size: parse_wal_name(
        "000000010000000400000003.partial", segment_size=size
    ),
    "BackupLabel.parse": lambda size: BackupLabel.parse(LABEL, segment_size=size),
    "WalRange.file_count": RANGE.file_count,
    "WalRange.files": lambda size: [*RANGE.files(1, segment_size=size)],
    "WalRange.files of a history": lambda size: [
        *RANGE.files(TimelineHistory(1), segment_size=size)
    ],
    "TimelineHistory.files": lambda size: [*TimelineHistory(1).files(RANGE, segment_size=size)],
    "pg_walfile_name": lambda size: pg_walfile_name(
        LSN_IN_IT, server_version=18, segment_size=size
    ),
    "pg_walfile_name_offset": lambda size: pg_walfile_name_offset(
        LSN_IN_IT, server_version=18, segment_size=size
    ),
    "pg_split_walfile_name": lambda size: pg_split_walfile_name(
        "000000010000000400000003", server_version=18, segment_size=size
    ),
}


@pytest.mark.parametrize("take", TAKING.values(), ids=TAKING)
def test_a_segment_size_is_given_as_such_or_in_bytes(
    take: Callable[[AnySegmentSize], object],
) -> None:
    assert take(1 << 30) == take(SegmentSize(1 << 30)) != take(SegmentSize.DEFAULT)
    with pytest.raises(InvalidSegmentSize):
        take(5)
    for stranger in (True, 16777216.0, "16MB", None):
        if take is not TAKING["LSN.wal_file"] or stranger is not None:
            with pytest.raises(TypeError):
                take(stranger)  # type: ignore[arg-type]
