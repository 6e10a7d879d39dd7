"""Names of files beside segments, and the type of each name."""

import pytest
from hypothesis import given, strategies as st

from pgreplkit import (
    LSN,
    BackupHistoryFileName,
    CompressedWalName,
    PartialWalFileName,
    SegmentSize,
    TimelineHistoryFileName,
    WalFileName,
    WalName,
    parse_wal_name,
)
from pgreplkit.errors import InvalidWalFileName
from pgreplkit.testing.strategies import backup_history_file_names, segment_sizes, wal_names

SEGMENT = WalFileName.parse("000000010000000000000002")


@given(st.data(), segment_sizes())
def test_parsing_the_text_of_a_name_returns_the_name(
    data: st.DataObject, size: SegmentSize
) -> None:
    name = data.draw(wal_names(segment_size=size))
    again = parse_wal_name(str(name), segment_size=size)
    assert again == name
    assert type(again) is type(name)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("000000010000000000000002", SEGMENT),
        ("000000010000000000000002.partial", PartialWalFileName(SEGMENT)),
        ("000000010000000000000002.gz.partial", PartialWalFileName(SEGMENT, "gz")),
        ("000000010000000000000002.00000028.backup", BackupHistoryFileName(SEGMENT, 0x28)),
        ("00000002.history", TimelineHistoryFileName(2)),
        ("000000010000000000000002.zst", CompressedWalName(SEGMENT, "zst")),
        ("00000002.history.xz", CompressedWalName(TimelineHistoryFileName(2), "xz")),
        (
            "000000010000000000000002.partial.lz4",
            CompressedWalName(PartialWalFileName(SEGMENT), "lz4"),
        ),
    ],
)
def test_each_suffix_has_its_type(text: str, name: WalName) -> None:
    assert parse_wal_name(text) == name
    assert str(name) == text


def test_digits_of_either_case_are_read_and_written_in_capitals() -> None:
    assert str(parse_wal_name("0000000a.history")) == "0000000A.history"
    assert str(parse_wal_name("0000000a0000000b000000cc.000000ff.backup")) == (
        "0000000A0000000B000000CC.000000FF.backup"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "foo",
        "00000000.history",
        "0000002.history",
        "00000002.HISTORY",
        "00000002.history ",
        "000000010000000000000002.GZ",
        "000000010000000000000002.GZ.partial",
        "archive_status",
        "000000010000000000000002.PARTIAL",
        "000000010000000000000002.backup",
        ".gz",
        ".history",
        "000000010000000000000002.01000000.backup",
        "000000010000000000000100.partial",
        "000000010000000000000002.gz.gz",
        "000000010000000000000002.partial.partial",
        "xlogtemp.1",
        "000000010000000000000002\n",
        "000000010000000000000002.gz\n",
        "0000000２.history",
        "000000010000000000000002.partial.gz.gz",
        "000000000000000000000001.gz",
        "\ud800.gz",
    ],
)
def test_text_that_is_not_a_wal_file_name_is_refused(text: str) -> None:
    with pytest.raises(InvalidWalFileName):
        parse_wal_name(text)


@given(backup_history_file_names())
def test_a_backup_starts_inside_the_segment_that_it_names(name: BackupHistoryFileName) -> None:
    assert name.start_lsn in name.wal_file
    assert name.start_lsn - name.wal_file.first_lsn == name.offset


@pytest.mark.parametrize("offset", [-1, 1 << 24])
def test_a_backup_does_not_start_outside_the_segment_that_it_names(offset: int) -> None:
    with pytest.raises(InvalidWalFileName):
        BackupHistoryFileName(SEGMENT, offset)


@pytest.mark.parametrize("suffix", ["", "zip", "GZ", ".gz", "partial"])
def test_an_unknown_compression_is_refused(suffix: str) -> None:
    with pytest.raises(InvalidWalFileName):
        CompressedWalName(SEGMENT, suffix)
    with pytest.raises(InvalidWalFileName):
        PartialWalFileName(SEGMENT, suffix)


@pytest.mark.parametrize("timeline", [0, -1, 1 << 32])
def test_a_history_file_of_an_impossible_timeline_is_refused(timeline: int) -> None:
    with pytest.raises(InvalidWalFileName):
        TimelineHistoryFileName(timeline)


@pytest.mark.parametrize("stranger", [None, 2, b"00000002.history", True])
def test_only_text_is_a_name(stranger: object) -> None:
    with pytest.raises(TypeError):
        parse_wal_name(stranger)  # type: ignore[arg-type]


@pytest.mark.parametrize("stranger", [None, "2", True, 2.0])
def test_only_an_int_is_a_timeline_or_an_offset(stranger: int) -> None:
    with pytest.raises(TypeError):
        TimelineHistoryFileName(stranger)
    with pytest.raises(TypeError):
        BackupHistoryFileName(SEGMENT, stranger)


def test_a_backup_history_name_has_the_backups_start_position() -> None:
    name = parse_wal_name("000000010000000000000002.00000028.backup")
    assert isinstance(name, BackupHistoryFileName)
    assert name.start_lsn == LSN("0/2000028")
