"""open_wal: records across files, and the ends of WAL."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from recordedwal import Recorded
from walpages import SWITCH, WalWriter, page_header, wal_of
from walsegments import MIB, SIZE, name_of, read, three_segments, written

from pgreplkit import LSN, TimelineHistory
from pgreplkit.errors import InvalidWal, WalNotFound
from pgreplkit.offline.reader import open_wal
from pgreplkit.offline.stats import WalBy
from pgreplkit.offline.walk import WalEnd


def test_records_are_read_across_files(tmp_path: Path) -> None:
    writer = three_segments()
    wal = open_wal(written(tmp_path, writer), verify_crc=True)
    assert read(wal) == writer.lsns
    assert (wal.ended_by, wal.end_lsn) == (WalEnd.END_OF_WAL, LSN(writer.position))
    assert (wal.major, wal.segment_size, wal.history) == (18, SIZE, TimelineHistory(1))
    assert read(wal) == writer.lsns  # a second time
    assert "timeline 1, PostgreSQL 18, 3 files of 1MB" in repr(wal)


def test_a_range_begins_at_a_record_and_ends_before_a_position(tmp_path: Path) -> None:
    writer = three_segments()
    folder = written(tmp_path, writer)
    start, stop = LSN(writer.lsns[20] + 1), LSN(writer.lsns[340])
    wal = open_wal(folder, start=start, stop_at=stop)
    assert read(wal) == writer.lsns[21:340]
    assert (wal.ended_by, wal.end_reason) == (WalEnd.STOP, "the requested end is reached")
    first = wal.first_at(LSN(writer.lsns[30]))
    assert first is not None
    assert int(first.lsn) == writer.lsns[30]


def test_a_partial_file_ends_where_its_records_end(tmp_path: Path) -> None:
    writer = wal_of([90] * 20, WalWriter(3 * MIB))
    written(tmp_path, writer)
    (tmp_path / name_of(3)).rename(tmp_path / f"{name_of(3)}.partial")
    wal = open_wal(tmp_path, strict=True)
    assert read(wal) == writer.lsns
    assert wal.ended_by is WalEnd.END_OF_WAL


def test_a_missing_file_ends_the_wal_although_later_files_exist(tmp_path: Path) -> None:
    writer = three_segments()
    (written(tmp_path, writer) / name_of(4)).unlink()
    wal = open_wal(tmp_path)
    lsns = read(wal)
    assert lsns == [lsn for lsn in writer.lsns if lsn < 4 * MIB][: len(lsns)]
    assert (wal.ended_by, wal.end_reason) == (
        WalEnd.GAP,
        "its file is missing, and later files exist",
    )
    with pytest.raises(InvalidWal, match=r"at 0/400000 .*its file is missing"):
        read(open_wal(tmp_path, strict=True))


@pytest.mark.parametrize("pages", [1, 2, 20])
def test_a_long_record_that_is_written_in_part_ends_the_wal(tmp_path: Path, pages: int) -> None:
    writer = wal_of([100] * 10, WalWriter(3 * MIB))
    writer.add(10, 0, bytes(200_000), xid=99)
    path = written(tmp_path, writer) / name_of(3)
    path.write_bytes(path.read_bytes()[: pages * 8192].ljust(MIB, b"\0"))
    wal = open_wal(tmp_path)
    assert read(wal) == writer.lsns[:10]
    assert wal.ended_by is WalEnd.PARTIAL_RECORD


def test_a_record_without_its_second_file_is_partial(tmp_path: Path) -> None:
    writer = three_segments()
    (written(tmp_path, writer) / name_of(5)).unlink()
    wal = open_wal(tmp_path)
    assert read(wal) == writer.lsns[:350]
    assert wal.ended_by is WalEnd.PARTIAL_RECORD
    with pytest.raises(InvalidWal, match="continues in a file that does not exist"):
        read(open_wal(tmp_path, strict=True))


def test_a_recycled_file_is_the_end_of_a_live_directory(tmp_path: Path) -> None:
    writer = wal_of([90] * 20, WalWriter(3 * MIB))
    writer.add(*SWITCH)
    old = wal_of([80] * 30, WalWriter(MIB))
    written(tmp_path, writer)
    (tmp_path / name_of(4)).write_bytes(old.padded())
    wal = open_wal(tmp_path, strict=True)
    assert read(wal) == writer.lsns
    assert (wal.ended_by, wal.end_reason) == (WalEnd.RECYCLED, "the page holds the WAL of 0/100000")


@pytest.mark.parametrize("size", [90, 700])
def test_a_recycled_file_may_be_overwritten_up_to_any_byte(tmp_path: Path, size: int) -> None:
    writer = wal_of([90] * 20, WalWriter(3 * MIB))
    old = wal_of([size] * 200, WalWriter(MIB)).padded()
    path = tmp_path / name_of(3)
    path.write_bytes(writer.content + old[len(writer.content) :])
    wal = open_wal(tmp_path, strict=True)
    assert read(wal) == writer.lsns
    assert wal.ended_by is WalEnd.RECYCLED
    # A page further on is not a leftover, so that this is damage.
    page = page_header(3 * MIB + 40 * 8192)
    path.write_bytes(path.read_bytes()[: 40 * 8192] + page + bytes(MIB - 40 * 8192 - len(page)))
    with pytest.raises(InvalidWal, match=r"names .* as the previous record"):
        read(open_wal(tmp_path))


@pytest.mark.parametrize("by", [WalBy.KIND, WalBy.XID])
def test_a_record_whose_end_is_not_written_is_not_returned(tmp_path: Path, by: WalBy) -> None:
    writer = wal_of([90] * 20, WalWriter(3 * MIB))
    content = bytearray(writer.padded())
    end = writer.position - 3 * MIB
    content[end - 50 : end] = bytes(50)
    (tmp_path / name_of(3)).write_bytes(content)
    wal = open_wal(tmp_path)
    assert read(wal) == writer.lsns[:-1]
    assert (wal.ended_by, wal.end_lsn) == (WalEnd.PARTIAL_RECORD, LSN(writer.lsns[-1]))
    assert wal.stats(by=by).records == 19
    assert wal.end_lsn == LSN(writer.lsns[-1])
    with pytest.raises(InvalidWal, match="the rest of the record is missing: the record's CRC is"):
        read(open_wal(tmp_path, strict=True))


@pytest.mark.parametrize("place", [100, 40_000, 500_000])
def test_damage_before_valid_wal_raises(tmp_path: Path, place: int) -> None:
    written(tmp_path, three_segments())
    path = tmp_path / name_of(3)
    content = bytearray(path.read_bytes())
    content[place : place + 300] = b"\xa5" * 300
    path.write_bytes(content)
    with pytest.raises(InvalidWal) as caught:
        read(open_wal(tmp_path, verify_crc=True))
    assert caught.value.path == str(path)
    assert caught.value.lsn is not None
    assert abs(int(caught.value.lsn) - 3 * MIB - place) < 8192


def test_damage_at_the_end_ends_the_wal(tmp_path: Path) -> None:
    writer = wal_of([90] * 20, WalWriter(3 * MIB))
    content = bytearray(writer.padded())
    content[writer.position - 3 * MIB] = 7
    (tmp_path / name_of(3)).write_bytes(content)
    wal = open_wal(tmp_path)
    assert read(wal) == writer.lsns
    assert wal.ended_by is WalEnd.DAMAGE
    with pytest.raises(InvalidWal, match="length is 7 bytes"):
        read(open_wal(tmp_path, strict=True))


def test_a_file_that_is_cut_off_is_damage_if_others_follow(tmp_path: Path) -> None:
    written(tmp_path, three_segments())
    path = tmp_path / name_of(3)
    path.write_bytes(path.read_bytes()[:500_000])
    with pytest.raises(InvalidWal, match="before the end of the segment"):
        read(open_wal(tmp_path))
    path = path.rename(path.with_name(f"{path.name}.gz"))
    path.write_bytes(gzip.compress(bytes(path.read_bytes()))[:-20])
    with pytest.raises(InvalidWal, match=r"before the end of|damaged"):
        read(open_wal(tmp_path))


def test_the_empty_rest_of_a_switched_segment_may_be_missing(tmp_path: Path) -> None:
    writer = wal_of([90] * 20, WalWriter(3 * MIB))
    writer.add(*SWITCH)
    wal_of([90] * 20, writer)
    path = written(tmp_path, writer) / name_of(3)
    path.write_bytes(path.read_bytes()[:16384])
    assert read(open_wal(tmp_path)) == writer.lsns
    # Also from a position in a missing file, or in an empty one.
    assert read(open_wal(tmp_path, start=LSN(3 * MIB + 500_000))) == writer.lsns[21:]


def test_a_reader_refuses_arguments_of_other_types(tmp_path: Path) -> None:
    wal = open_wal(written(tmp_path, wal_of([90], WalWriter(3 * MIB))))
    with pytest.raises(TypeError, match="lsn must be an LSN, not str"):
        wal.first_at("0/0")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="lsn must be an LSN, not int"):
        wal.time_at(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="xid must be an int, not str"):
        next(wal.transaction("753"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"by must be one of kind, .* got 'nonsense'"):
        wal.stats(by="nonsense")  # type: ignore[arg-type]
    with pytest.raises(WalNotFound, match="it holds WAL of timeline 1"):
        open_wal(tmp_path / name_of(3), timeline=9)
    assert open_wal(tmp_path / name_of(3), timeline=1).history == TimelineHistory(1)


def test_any_position_leads_to_the_next_record(sampled: Recorded) -> None:
    wal = sampled.open()
    records = sampled.records
    for number in range(0, len(records), 797):
        for lsn in (records[number].lsn, records[number].lsn - 1):
            assert wal.first_at(lsn) == records[number]


def test_a_file_is_not_read_beyond_its_segment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, three_segments())
    beyond: list[int] = []

    def pieces(path: Path, *, start: int = 0) -> Iterator[bytes]:
        yield path.read_bytes()[start:]
        # Of a small compressed file, such pieces may never end.
        for number in range(5):
            beyond.append(number)
            yield bytes(8192)

    monkeypatch.setattr("pgreplkit.offline.reader.read_pieces", pieces)
    assert len([*open_wal(tmp_path)]) == 401
    assert {*beyond} == {0}
