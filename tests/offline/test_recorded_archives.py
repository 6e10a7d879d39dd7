"""Archives that backup tools wrote: their layouts, catalogues and windows of restore."""

from __future__ import annotations

import gzip
import json
import lzma
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pgreplkit import LSN, SegmentSize, WalRange
from pgreplkit.offline.archive import ArchiveReport
from pgreplkit.offline.archivescan import scan_archive
from pgreplkit.offline.backups import Backup, BackupType
from pgreplkit.offline.catalogs.barman import barman_backups
from pgreplkit.offline.catalogs.pgbackrest import pgbackrest_backups
from pgreplkit.offline.catalogs.walg import walg_backups
from pgreplkit.offline.layouts import ArchiveLayout
from pgreplkit.offline.windows import WindowEnd
from pgreplkit.values.rows import Rows

RECORDED = Path(__file__).parent.parent / "data" / "archives"
SIZE = SegmentSize.parse("1MB")
BARMANS = ["barman-3.4", "barman-3.19"]
SEGMENT = "000000010000000000000[0-9A-F]*"


def unpacked(name: str, folder: Path) -> Path:
    with tarfile.open(RECORDED / f"{name}.tar.xz") as archive:
        # Python has filters from 3.11.4 on.
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(folder)
    return folder


def described(folder: Path) -> Any:
    return json.loads((folder / "described.json").read_text())


def check_windows(folder: Path, backups: Rows[Backup]) -> ArchiveReport:
    """All windows end at the last record; without a segment, the first two end before it."""
    report = scan_archive(folder, verify=True)
    assert report.findings == ()
    assert (report.major, report.segment_size) == (15, SIZE)
    windows = report.windows(backups)
    assert [window.ended_by for window in windows] == [WindowEnd.END] * 2
    assert {window.to_lsn for window in windows} == {windows[0].to_lsn}
    assert windows[0].last_commit is not None
    lost = sorted(report.directory.rglob(SEGMENT))[-2]
    lost.unlink()
    report = scan_archive(folder)
    gap = report.gaps[0]
    assert gap.found == f"{lost.name[:24]} is missing"
    for window in report.windows(backups):
        assert window.ended_by is WindowEnd.GAP
        assert window.to_lsn is not None
        assert gap.wal is not None
        assert window.to_lsn < gap.wal.start
    return report


@pytest.mark.parametrize("name", BARMANS)
def test_barmans_archive_and_backups_are_those_that_it_describes(name: str, tmp_path: Path) -> None:
    folder = unpacked(name, tmp_path)
    backups = barman_backups(folder)
    entry = described(folder)["main"]
    base = entry["base_backup_information"]
    first, last = backups
    assert (last.id, last.timeline, last.parent) == (entry["backup_id"], base["timeline"], None)
    assert str(last.start_lsn.wal_file(timeline=1, segment_size=SIZE)) == base["begin_wal"]
    assert last.start_lsn.offset_in(SIZE) == base["begin_offset"]
    assert (last.wal, last.segment_size) == (WalRange(LSN("0/B00028"), LSN("0/C00000")), SIZE)
    assert (last.type, last.major) == (BackupType.FULL, entry["postgresql_version"] // 10000)
    assert last.start_time is not None
    assert int(last.start_time.timestamp()) == int(base["begin_time_timestamp"])
    assert str(last.system_id) == entry.get("system_id", str(last.system_id))  # not in old ones
    assert first.id == entry["catalog_information"]["previous_backup"]
    report = check_windows(folder, backups)
    assert (report.layout, report.system_id) == (ArchiveLayout.BARMAN, last.system_id)


def test_pgbackrests_archive_and_backups_are_those_that_it_describes(tmp_path: Path) -> None:
    folder = unpacked("pgbackrest-2.45", tmp_path)
    backups = pgbackrest_backups((folder / "described.json").read_bytes())
    [entry] = described(folder)
    assert [backup.id for backup in backups] == [one["label"] for one in entry["backup"]]
    assert [backup.parent for backup in backups] == [None, backups[0].id]
    report = check_windows(folder, backups)
    assert report.layout is ArchiveLayout.PGBACKREST
    assert report.system_id == entry["db"][0]["system-id"]


def lzma_alone(content: bytes) -> bytes:
    return lzma.compress(content, lzma.FORMAT_ALONE)


def brotli(content: bytes) -> bytes:
    return bytes(pytest.importorskip("brotli").compress(content))


def lz4(content: bytes) -> bytes:
    return bytes(pytest.importorskip("lz4.frame").compress(content, store_size=False))


def zstd(content: bytes) -> bytes:
    compressor = pytest.importorskip("zstandard").ZstdCompressor().compressobj()
    return bytes(compressor.compress(content) + compressor.flush())


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [("lz4", lz4), ("lzma", lzma_alone), ("zst", zstd), ("br", brotli), ("gz", gzip.compress)],
)
def test_a_storage_in_walgs_format_has_the_windows_of_its_sentinels(
    suffix: str, compress: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    folder = unpacked("barman-3.19", tmp_path / "barman")
    storage = tmp_path / "storage"
    (storage / "wal_005").mkdir(parents=True)
    (storage / "basebackups_005").mkdir()
    for path in (folder / "wals").rglob(SEGMENT):
        target = storage / "wal_005" / f"{path.name}.{suffix}"
        target.write_bytes(compress(gzip.decompress(path.read_bytes())))
    for backup in barman_backups(folder):
        wal_file = backup.start_lsn.wal_file(timeline=1, segment_size=SIZE)
        sentinel = {
            "LSN": int(backup.start_lsn),
            "PgVersion": 150018,
            "FinishLSN": int(backup.stop_lsn or 0),
            "SystemIdentifier": backup.system_id,
            "UncompressedSize": backup.size,
            "CompressedSize": 1,
            "Spec": None,
            "ChkpNum": None,
        }
        name = f"base_{wal_file}_backup_stop_sentinel.json"
        (storage / "basebackups_005" / name).write_text(json.dumps(sentinel))
    report = check_windows(storage, walg_backups(storage))
    assert report.layout is ArchiveLayout.WALG
