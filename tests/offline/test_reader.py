"""open_wal: files, timelines, compression and the ends of WAL."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from walpages import SWITCH, WalWriter, wal_of

from pgreplkit import LSN, SegmentSize, TimelineHistory
from pgreplkit.errors import HostFileError, InvalidWal, InvalidWalRange, WalNotFound
from pgreplkit.offline.compression import read_pieces
from pgreplkit.offline.reader import WalReader, open_wal
from pgreplkit.offline.walk import WalEnd

SIZE = SegmentSize.parse("1MB")
MIB = 1 << 20


def name_of(number: int, timeline: int = 1) -> str:
    return str(LSN(number * MIB).wal_file(timeline=timeline, segment_size=SIZE))


def written(folder: Path, writer: WalWriter, *, timeline: int = 1) -> Path:
    """Write the segments of a writer; return the folder."""
    content, first = writer.padded(), writer.start // MIB
    for number in range(len(content) // MIB):
        path = folder / name_of(first + number, timeline)
        path.write_bytes(content[number * MIB : (number + 1) * MIB])
    return folder


def three_segments(start: int = 3) -> WalWriter:
    """Records of all sizes that fill segments 3 to 5, one of them longer than a segment."""
    writer = wal_of([(n * 37) % 5000 for n in range(350)], WalWriter(start * MIB))
    writer.add(10, 0, bytes(MIB + 400_000), xid=99)
    return wal_of([100] * 50, writer)


def read(wal: WalReader) -> list[int]:
    return [int(record.lsn) for record in wal]


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


def lzma_alone(content: bytes) -> bytes:
    """The older format of lzma, which WAL-G writes."""
    return lzma.compress(content, lzma.FORMAT_ALONE)


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [
        *((".gz", gzip.compress), (".bz2", bz2.compress), ("", lzma.compress)),
        *(("", gzip.compress), (".lzma", lzma_alone), ("", lzma_alone)),
    ],
)
def test_compressed_files_are_recognized_by_their_content(
    tmp_path: Path, suffix: str, compress: Callable[[bytes], bytes]
) -> None:
    writer = three_segments()
    for path in [*written(tmp_path, writer).iterdir()]:
        content = path.read_bytes()
        path.unlink()
        path.with_name(path.name + suffix).write_bytes(compress(content))
    assert read(open_wal(tmp_path)) == writer.lsns
    assert read(open_wal(tmp_path, start=LSN(writer.lsns[200]))) == writer.lsns[200:]


@pytest.mark.parametrize(
    ("suffix", "module"), [("lz4", "lz4.frame"), ("zst", "zstandard"), ("br", "brotli")]
)
def test_lz4_zstd_and_brotli_need_an_extra(
    tmp_path: Path, suffix: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = pytest.importorskip(module)
    writer = three_segments()
    compress = codec.ZstdCompressor().compress if suffix == "zst" else codec.compress
    for path in [*written(tmp_path, writer).iterdir()]:
        path.with_name(f"{path.name}.{suffix}").write_bytes(compress(path.read_bytes()))
        path.unlink()
    assert read(open_wal(tmp_path)) == writer.lsns
    assert read(open_wal(tmp_path, start=LSN(writer.lsns[200]))) == writer.lsns[200:]
    monkeypatch.setitem(sys.modules, module, None)
    extra = {"lz4": "lz4", "zst": "zstd", "br": "brotli"}[suffix]
    with pytest.raises(ImportError, match=rf"pip install 'pgreplkit\[{extra}\]'"):
        open_wal(tmp_path)


def test_a_brotli_file_that_is_cut_or_goes_on_is_damaged(tmp_path: Path) -> None:
    compress: Callable[[bytes], bytes] = pytest.importorskip("brotli").compress
    path = tmp_path / f"{name_of(3)}.br"
    stored = compress(wal_of([90] * 9, WalWriter(3 * MIB)).padded())
    for damaged in (stored[:-1], stored + b"more"):
        path.write_bytes(damaged)
        with pytest.raises(InvalidWal, match="the compressed file is damaged"):
            list(read_pieces(path))
    path.write_bytes(stored[:-1])
    with pytest.raises(InvalidWal, match="it ends early"):
        read(open_wal(path, strict=True))


def test_barmans_directories_are_read_as_one(tmp_path: Path) -> None:
    writer = three_segments()
    for path in [*written(tmp_path, writer).iterdir()]:
        folder = tmp_path / path.name[:16]
        folder.mkdir(exist_ok=True)
        path.rename(folder / path.name)
    assert read(open_wal(tmp_path)) == writer.lsns


def test_one_file_is_read_alone_under_any_name(tmp_path: Path) -> None:
    writer = three_segments()
    written(tmp_path, writer)
    wal = open_wal((tmp_path / name_of(3)).rename(tmp_path / "copied"))
    lsns = read(wal)
    assert lsns == writer.lsns[: len(lsns)]
    assert (wal.ended_by, lsns[-1] < 4 * MIB) == (WalEnd.PARTIAL_RECORD, True)


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


def forked(folder: Path) -> tuple[list[int], list[int]]:
    """Write two timelines: the second begins in segment 4; return the records of each."""
    old = wal_of([1000] * 1300, WalWriter(3 * MIB))
    written(folder, old)
    number = next(n for n, lsn in enumerate(old.lsns) if lsn > 4 * MIB + 70_000)
    switch = old.lsns[number]
    new = WalWriter(3 * MIB, content=old.content[: switch - 3 * MIB])
    new.lsns, new.previous, new.timeline = old.lsns[:number], old.lsns[number - 1], 2
    wal_of([500] * 3000, new)
    padded = new.padded()
    for segment in range(4, 3 + len(padded) // MIB):
        content = padded[(segment - 3) * MIB : (segment - 2) * MIB]
        (folder / name_of(segment, 2)).write_bytes(content)
    (folder / "00000002.history").write_text(f"1\t{LSN(switch)}\tno recovery target specified\n")
    return old.lsns, new.lsns


def test_reading_follows_the_newest_timeline(tmp_path: Path) -> None:
    old, new = forked(tmp_path)
    wal = open_wal(tmp_path)
    assert read(wal) == new
    assert wal.history.timelines == (1, 2)
    timelines = [record.timeline for record in wal]
    assert {*timelines} == {1, 2}
    assert timelines == sorted(timelines)
    assert read(open_wal(tmp_path, timeline=1)) == old
    assert read(open_wal(tmp_path, timeline=wal.history)) == new
    (tmp_path / "00000002.history").unlink()
    assert read(open_wal(tmp_path)) == [lsn for lsn in new if lsn > 4 * MIB]


def test_the_end_of_the_last_file_is_a_start_without_records_yet(tmp_path: Path) -> None:
    written(tmp_path, wal_of([100] * 20, WalWriter(3 * MIB)))
    wal = open_wal(tmp_path, start=LSN(4 * MIB))
    assert (read(wal), wal.ended_by, wal.end_lsn) == ([], WalEnd.END_OF_WAL, None)
    assert wal.first_at(LSN(4 * MIB)) is None
    with pytest.raises(WalNotFound, match="has no file for it"):
        open_wal(tmp_path, start=LSN(4 * MIB + 1))


def test_wal_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(WalNotFound, match="holds no WAL files; name a directory of WAL files"):
        open_wal(tmp_path)
    written(tmp_path, three_segments())
    with pytest.raises(WalNotFound, match="holds WAL from 0/300000 to 0/600000"):
        open_wal(tmp_path, start=LSN(9 * MIB))
    with pytest.raises(WalNotFound, match="it holds WAL of timeline 1"):
        open_wal(tmp_path, timeline=3)
    with pytest.raises(HostFileError, match="No such file"):
        open_wal(tmp_path / "missing")
    with pytest.raises(InvalidWalRange):
        open_wal(tmp_path, start=LSN(9), stop_at=LSN(8))
    with pytest.raises(TypeError, match="start is an LSN, not str"):
        open_wal(tmp_path, start="0/0")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "fewer than its header"),
        (bytes(8192), "the page is empty"),
        (b"\x21\xd1" + bytes(50), "newer than 18"),
        (b"Salted__" + bytes(50), "encrypted; decrypt it first"),
        (b"\x85\x01" + bytes(50), "encrypted; decrypt it first"),
        (b"\x1f\x8b" + bytes(50), "the compressed file is damaged"),
    ],
)
def test_a_file_that_is_no_wal_is_refused(tmp_path: Path, content: bytes, found: str) -> None:
    (tmp_path / name_of(3)).write_bytes(content)
    with pytest.raises(InvalidWal, match=found):
        open_wal(tmp_path)


@pytest.mark.parametrize("name", ["00000002.history", name_of(4)])
def test_a_named_pipe_is_refused_and_not_waited_for(tmp_path: Path, name: str) -> None:
    written(tmp_path, wal_of([90], WalWriter(3 * MIB)))
    written(tmp_path, wal_of([90], WalWriter(5 * MIB)), timeline=2)
    os.mkfifo(tmp_path / name)
    with pytest.raises(HostFileError, match="it is not a regular file"):
        read(open_wal(tmp_path, timeline=None if name.endswith("history") else 1))
    with pytest.raises(HostFileError, match="it is not a regular file"):
        open_wal(tmp_path / name)


def test_a_link_to_a_missing_file_ends_reading_with_its_name(tmp_path: Path) -> None:
    written(tmp_path, wal_of([90], WalWriter(3 * MIB)))
    (tmp_path / "itself").symlink_to("itself")
    assert len(read(open_wal(tmp_path))) == 1
    (tmp_path / name_of(4)).symlink_to("missing")
    with pytest.raises(HostFileError, match=f"{name_of(4)}: No such file"):
        read(open_wal(tmp_path))


def test_a_history_that_decompresses_without_end_is_refused(tmp_path: Path) -> None:
    written(tmp_path, wal_of([90], WalWriter(3 * MIB)), timeline=2)
    (tmp_path / "00000002.history.gz").write_bytes(gzip.compress(bytes(3 * MIB)))
    with pytest.raises(InvalidWal, match="more than 1 MiB"):
        open_wal(tmp_path)


@pytest.mark.parametrize(
    ("magic", "module"),
    [
        (b"BZh9", "bz2"),
        (b"\xfd7zXZ\x00", "lzma"),
        (b"\x04\x22\x4d\x18", "lz4.frame"),
        (b"\x28\xb5\x2f\xfd", "zstandard"),
    ],
)
def test_damage_is_the_same_error_for_each_compression(
    tmp_path: Path, magic: bytes, module: str
) -> None:
    pytest.importorskip(module)
    (tmp_path / name_of(3)).write_bytes(magic + b"0" * 100)
    with pytest.raises(InvalidWal, match="the compressed file is damaged"):
        open_wal(tmp_path)


def test_a_path_that_no_system_has_is_refused() -> None:
    with pytest.raises(HostFileError, match="File name too long"):
        open_wal("x" * 5000)


def test_a_reader_refuses_arguments_of_other_types(tmp_path: Path) -> None:
    wal = open_wal(written(tmp_path, wal_of([90], WalWriter(3 * MIB))))
    with pytest.raises(TypeError, match="lsn is an LSN, not str"):
        wal.first_at("0/0")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="lsn is an LSN, not int"):
        wal.time_at(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="xid is an int, not str"):
        next(wal.transaction("753"))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"by must be one of kind, .* got 'nonsense'"):
        wal.stats(by="nonsense")  # type: ignore[arg-type]
    with pytest.raises(WalNotFound, match="it holds WAL of timeline 1"):
        open_wal(tmp_path / name_of(3), timeline=9)
    assert open_wal(tmp_path / name_of(3), timeline=1).history == TimelineHistory(1)


def test_a_renamed_file_is_refused(tmp_path: Path) -> None:
    written(tmp_path, wal_of([90], WalWriter(3 * MIB)))
    (tmp_path / name_of(3)).rename(tmp_path / name_of(7))
    with pytest.raises(InvalidWal, match="the file holds the WAL of 0/300000"):
        open_wal(tmp_path)
