"""Backups in the catalogue of WAL-G, and a storage in its format."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from compressions import brotli, lzma_alone
from recordedarchives import SEGMENT, check_windows, unpacked
from walsegments import SIZE

from pgreplkit import LSN, WalRange
from pgreplkit.errors import HostFileError
from pgreplkit.offline.backups import BackupType, InvalidBackupCatalog
from pgreplkit.offline.catalogs.barman import barman_backups
from pgreplkit.offline.catalogs.walg import walg_backups
from pgreplkit.offline.layouts import ArchiveLayout

WALG = """[{"backup_name":"base_000000010000000000000004","time":"2026-11-27T17:09:44Z",
"wal_file_name":"000000010000000000000004","start_time":"2026-11-27T17:09:43.123456789Z",
"finish_time":"2026-11-27T17:09:44.5Z","date_fmt":"%Y-%m-%dT%H:%M:%S.%fZ","hostname":"db1",
"data_dir":"/data","pg_version":150018,"start_lsn":67108904,"finish_lsn":67109168,
"is_permanent":false,"system_identifier":7577000000000000003,
"uncompressed_size":23000000,"compressed_size":3000000}]"""
SENTINEL = {
    "LSN": 83886120,
    "FinishLSN": 83886384,
    "PgVersion": 150018,
    "SystemIdentifier": 7577000000000000003,
    "DeltaFrom": "base_000000010000000000000004",
    "UncompressedSize": 9000,
}
DELTA = "base_000000010000000000000005_D_000000010000000000000004"


def test_walgs_listing_and_sentinels_are_read(tmp_path: Path) -> None:
    [backup] = walg_backups(WALG)
    assert (backup.id, backup.type) == ("base_000000010000000000000004", BackupType.FULL)
    assert backup.wal == WalRange(LSN("0/4000028"), LSN("0/4000130"))
    assert backup.start_time == datetime(2026, 11, 27, 17, 9, 43, 123456, tzinfo=UTC)
    assert (backup.system_id, backup.major, backup.timeline) == (7577000000000000003, 15, 1)
    folder = tmp_path / "basebackups_005"
    folder.mkdir()
    (folder / f"{DELTA}_backup_stop_sentinel.json").write_text(json.dumps(SENTINEL))
    (folder / DELTA).mkdir()
    [delta] = walg_backups(tmp_path)
    assert (delta.id, delta.type, delta.parent) == (DELTA, BackupType.INCREMENTAL, backup.id)
    assert (delta.start_lsn, delta.start_time) == (LSN("0/5000028"), None)
    (folder / DELTA / "metadata.json").write_text(json.dumps(json.loads(WALG)[0]))
    [delta] = walg_backups(tmp_path)
    assert (delta.start_time, delta.stop_time) == (backup.start_time, backup.stop_time)
    (folder / f"{DELTA}_backup_stop_sentinel.json").write_text(
        json.dumps(SENTINEL | {"FinishLSN": None})
    )
    [unfinished] = walg_backups(tmp_path)
    assert not unfinished.is_complete
    with pytest.raises(HostFileError, match="No such file"):
        walg_backups(tmp_path / "missing")
    with pytest.raises(InvalidBackupCatalog, match="not of the form base_TIMELINE"):
        walg_backups(WALG.replace("base_0000", "other_0000"))
    with pytest.raises(InvalidBackupCatalog, match=r"\.finish_lsn': it is outside 64 bits"):
        walg_backups(WALG.replace("67109168", str(1 << 64)))


def test_the_base_of_a_walg_delta_is_known_from_its_name() -> None:
    [full] = json.loads(WALG)
    later = "base_000000010000000000000006_D_000000010000000000000005"
    lost = "base_000000010000000000000009_D_000000010000000000000008"
    names = [later, full["backup_name"], DELTA, lost]
    listed = walg_backups(json.dumps([full | {"backup_name": name} for name in names]))
    assert {backup.id: backup.parent for backup in listed} == {
        full["backup_name"]: None,
        DELTA: full["backup_name"],
        later: DELTA,
        lost: "base_000000010000000000000008",
    }


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
