"""Backups in the catalogue of Barman, and the archive that it wrote."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from recordedarchives import check_windows, described, unpacked
from walsegments import SIZE

from pgreplkit import LSN, SegmentSize, WalRange
from pgreplkit.errors import WalNotFound
from pgreplkit.offline.backups import (
    BackupStatus,
    BackupTool,
    BackupType,
    InvalidBackupCatalog,
)
from pgreplkit.offline.catalogs.barman import barman_backups
from pgreplkit.offline.layouts import ArchiveLayout

BARMAN = """backup_label='START WAL LOCATION: 0/4000028 (file 000000010000000000000004)\\n'
begin_offset=40
begin_time=2026-11-27 17:09:43.123456+00:00
begin_wal=000000010000000000000004
begin_xlog=0/4000028
children_backup_ids=None
compression=None
copy_stats={'total_time': 0.5, 'number_of_workers': 1}
end_offset=304
end_time=2026-11-27 17:09:44.654321+01:00
end_wal=000000010000000000000004
end_xlog=0/4000130
mode=postgres
parent_backup_id=None
server_name=main
size=31234567
status=DONE
systemid=7577000000000000001
tablespaces=None
timeline=1
version=170010
xlog_segment_size=16777216
"""


def barman(folder: Path, text: str = BARMAN, *, name: str = "20261127T170943") -> Path:
    (folder / "base").mkdir(exist_ok=True)
    (folder / "meta").mkdir(exist_ok=True)
    (folder / "meta" / f"{name}-backup.info").write_text(text)
    return folder


def test_barmans_backup_info_is_read(tmp_path: Path) -> None:
    [backup] = barman_backups(barman(tmp_path))
    assert (backup.id, backup.tool, backup.type) == (
        "20261127T170943",
        BackupTool.BARMAN,
        BackupType.FULL,
    )
    assert backup.status is BackupStatus.DONE
    assert backup.is_complete
    assert backup.wal == WalRange(LSN("0/4000028"), LSN("0/4000130"))
    assert backup.start_time == datetime(2026, 11, 27, 17, 9, 43, 123456, tzinfo=UTC)
    assert backup.stop_time is not None
    assert backup.stop_time.utcoffset() == timedelta(hours=1)
    assert (backup.timeline, backup.system_id, backup.major) == (1, 7577000000000000001, 17)
    assert (backup.segment_size, backup.size) == (SegmentSize.DEFAULT, 31234567)
    assert backup.path == tmp_path / "base" / "20261127T170943"
    assert json.dumps(backup.to_dict())


def test_backups_of_old_and_new_barmans_are_listed_in_order(tmp_path: Path) -> None:
    barman(tmp_path, name="20261128T000000")
    old = tmp_path / "base" / "20261126T000000"
    old.mkdir()
    (old / "backup.info").write_text(BARMAN.replace("status=DONE", "status=FAILED"))
    incremental = BARMAN.replace("parent_backup_id=None", "parent_backup_id=20261128T000000")
    barman(tmp_path, incremental.replace("+00:00", ""), name="20261129T000000")
    backups = barman_backups(tmp_path)
    assert {one.path for one in backups} == {tmp_path / "base" / one.id for one in backups}
    assert [backup.id[:8] for backup in backups] == ["20261126", "20261128", "20261129"]
    assert [backup.status for backup in backups] == ["failed", "done", "done"]
    assert (backups[2].type, backups[2].parent) == (BackupType.INCREMENTAL, backups[1].id)
    assert backups[2].start_time is None  # the time of an unknown zone


def test_a_running_barman_backup_is_not_complete(tmp_path: Path) -> None:
    text = BARMAN.replace("status=DONE", "status=EMPTY").replace("=0/4000130", "=None")
    [backup] = barman_backups(barman(tmp_path, text.replace("=0/4000028\n", "=None\n")))
    assert (backup.status, backup.is_complete, backup.wal) == (BackupStatus.STARTED, False, None)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("no equals sign", "line 1 is not KEY=VALUE"),
        (BARMAN.replace("status=DONE\n", ""), "the key 'status' is missing"),
        (BARMAN.replace("0/4000130", "zero"), "'zero': it contains no '/'"),
        (BARMAN.replace("version=170010", "version=x"), "invalid literal"),
        (BARMAN.replace("=16777216", "=17"), "not between 1 MiB"),
    ],
)
def test_a_damaged_backup_info_is_refused(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(InvalidBackupCatalog) as caught:
        barman_backups(barman(tmp_path, text))
    assert reason in caught.value.reason
    assert "backup.info" in caught.value.value


def test_a_directory_that_is_not_barmans_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WalNotFound, match="neither base/ nor meta/; pass the directory"):
        barman_backups(tmp_path)


BARMANS = ["barman-3.4", "barman-3.19"]


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
