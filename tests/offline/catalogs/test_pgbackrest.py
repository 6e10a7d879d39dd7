"""Backups in the catalogue of pgBackRest, and the archive that it wrote."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from catalogtexts import PGBACKREST
from recordedarchives import check_windows, described, unpacked

from pgreplkit import LSN, WalRange
from pgreplkit.errors import WalNotFound
from pgreplkit.offline.backups import BackupStatus, BackupType
from pgreplkit.offline.catalogs.pgbackrest import pgbackrest_backups
from pgreplkit.offline.layouts import ArchiveLayout


def test_pgbackrests_info_is_read() -> None:
    full, incremental = pgbackrest_backups(PGBACKREST)
    assert (full.id, full.type, full.parent) == ("20261127-170943F", BackupType.FULL, None)
    assert full.wal == WalRange(LSN("0/2000028"), LSN("0/3000130"))
    assert full.start_time == datetime.fromtimestamp(1795799383, tz=UTC)
    assert (full.system_id, full.major, full.timeline) == (7577000000000000002, 15, 1)
    assert (full.size, full.status) == (23000000, BackupStatus.DONE)
    assert (incremental.type, incremental.parent) == (BackupType.INCREMENTAL, full.id)
    assert incremental.status is BackupStatus.FAILED
    # Versions that report no positions report the files.
    assert incremental.wal == WalRange(LSN("0/5000000"), LSN("0/6000000"))
    with pytest.raises(WalNotFound, match="'other' in pgBackRest's catalogue: it has main; name"):
        pgbackrest_backups(PGBACKREST, stanza="other")
    with pytest.raises(TypeError, match="the text of a tool's output, not PosixPath"):
        pgbackrest_backups(Path("/"))  # type: ignore[arg-type]
    assert len(pgbackrest_backups(PGBACKREST.encode(), stanza="main")) == 2


def test_each_repository_of_pgbackrest_counts_its_own_systems() -> None:
    [entry] = json.loads(PGBACKREST)
    # The second repository was added after an upgrade: its first system is the stanza's second.
    entry["db"] = [
        {"id": 1, "repo-key": 1, "system-id": 14, "version": "14"},
        {"id": 2, "repo-key": 1, "system-id": 15, "version": "15"},
        {"id": 1, "repo-key": 2, "system-id": 15, "version": "15"},
    ]
    first, second = entry["backup"]
    first["database"], second["database"] = {"id": 1, "repo-key": 1}, {"id": 1, "repo-key": 2}
    backups = pgbackrest_backups(json.dumps([entry]))
    assert [(one.system_id, one.major) for one in backups] == [(14, 14), (15, 15)]


def test_a_pgbackrest_backup_of_a_stopped_server_has_no_positions() -> None:
    [entry] = json.loads(PGBACKREST)
    stopped = entry["backup"][0]
    stopped["archive"] = {"start": None, "stop": None}
    del stopped["lsn"]
    backup, _ = pgbackrest_backups(json.dumps([entry]))
    assert (backup.wal, backup.is_complete) == (None, False)


def test_pgbackrests_names_of_small_segments_are_read() -> None:
    text = PGBACKREST.replace('"000000010000000000000002"', '"000000020000000000000FFF"')
    assert pgbackrest_backups(text)[0].timeline == 2


def test_pgbackrests_archive_and_backups_are_those_that_it_describes(tmp_path: Path) -> None:
    folder = unpacked("pgbackrest-2.45", tmp_path)
    backups = pgbackrest_backups((folder / "described.json").read_bytes())
    [entry] = described(folder)
    assert [backup.id for backup in backups] == [one["label"] for one in entry["backup"]]
    assert [backup.parent for backup in backups] == [None, backups[0].id]
    report = check_windows(folder, backups)
    assert report.layout is ArchiveLayout.PGBACKREST
    assert report.system_id == entry["db"][0]["system-id"]
