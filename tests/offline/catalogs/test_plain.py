"""Backups without a catalogue: from labels, manifests and backup files."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from pgreplkit import LSN, WalRange
from pgreplkit.errors import InvalidBackupLabel, InvalidServerVersion, WalNotFound
from pgreplkit.offline.backups import BackupType
from pgreplkit.offline.catalogs.plain import archived_backups, read_base_backup

LABEL = """START WAL LOCATION: 0/2000028 (file 000000010000000000000002)
CHECKPOINT LOCATION: 0/2000060
BACKUP METHOD: streamed
BACKUP FROM: primary
START TIME: 2026-11-27 20:00:00 UTC
LABEL: nightly
START TIMELINE: 1
"""


def test_a_base_backup_is_read_from_its_label_and_manifest(tmp_path: Path) -> None:
    with pytest.raises(WalNotFound, match="it has no backup_label"):
        read_base_backup(tmp_path)
    (tmp_path / "backup_label").write_text(LABEL)
    (tmp_path / "PG_VERSION").write_text("18\n")
    backup = read_base_backup(tmp_path)
    assert (backup.start_lsn, backup.stop_lsn, backup.major) == (LSN("0/2000028"), None, 18)
    assert backup.start_time == datetime(2026, 11, 27, 20, tzinfo=UTC)
    assert not backup.is_complete  # without a manifest, the end is not known
    (tmp_path / "backup_label").write_text(
        LABEL.replace("UTC", "CET").replace("000002)", "000FFF)")  # with segments of 1 MiB
        + "INCREMENTAL FROM LSN: 0/1\n"
    )
    backup = read_base_backup(tmp_path)
    assert (backup.start_time, backup.type) == (None, BackupType.INCREMENTAL)
    assert backup.parent_lsn == LSN("0/1")


@pytest.mark.parametrize("version", ["", "none", "\0"])
def test_a_damaged_version_file_is_refused(tmp_path: Path, version: str) -> None:
    (tmp_path / "backup_label").write_text(LABEL)
    (tmp_path / "PG_VERSION").write_text(version)
    with pytest.raises(InvalidServerVersion):
        read_base_backup(tmp_path)


def test_backups_are_known_from_an_archives_backup_files(tmp_path: Path) -> None:
    path = tmp_path / "000000010000000000000002.00000028.backup"
    stop = "STOP WAL LOCATION: 0/2000130 (file 000000010000000000000002)\n"
    path.write_text(LABEL.replace("CHECKPOINT LOC", stop + "CHECKPOINT LOC"))
    [backup] = archived_backups(tmp_path)
    assert backup.id == "000000010000000000000002.00000028"
    assert backup.wal == WalRange(LSN("0/2000028"), LSN("0/2000130"))
    assert backup.is_complete
    assert (backup.type, backup.parent_lsn) == (BackupType.FULL, None)
    path.write_text(path.read_text() + "INCREMENTAL FROM LSN: 0/1000028\n")
    [backup] = archived_backups(tmp_path)
    assert (backup.type, backup.parent_lsn) == (BackupType.INCREMENTAL, LSN("0/1000028"))
    path.write_text("nothing")
    with pytest.raises(InvalidBackupLabel):
        archived_backups(tmp_path)
