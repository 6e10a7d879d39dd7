"""Backups in the catalogues of Barman, pgBackRest and WAL-G, and without a catalogue."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pgreplkit import LSN, SegmentSize, WalRange
from pgreplkit.errors import HostFileError, InvalidBackupLabel, InvalidServerVersion, WalNotFound
from pgreplkit.offline.backups import (
    BackupStatus,
    BackupTool,
    BackupType,
    InvalidBackupCatalog,
)
from pgreplkit.offline.catalogs.barman import barman_backups
from pgreplkit.offline.catalogs.pgbackrest import pgbackrest_backups
from pgreplkit.offline.catalogs.plain import archived_backups, read_base_backup
from pgreplkit.offline.catalogs.walg import walg_backups

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
    with pytest.raises(WalNotFound, match="neither base/ nor meta/; give the directory"):
        barman_backups(tmp_path)


PGBACKREST = """[{"archive":[{"database":{"id":1,"repo-key":1},"id":"15-1",
"max":"000000010000000000000007","min":"000000010000000000000001"}],
"backup":[
{"archive":{"start":"000000010000000000000002","stop":"000000010000000000000003"},
"backrest":{"format":5,"version":"2.45"},"database":{"id":1,"repo-key":1},"error":false,
"info":{"delta":23000000,"repository":{"delta":3000000,"size":3000000},"size":23000000},
"label":"20261127-170943F","lsn":{"start":"0/2000028","stop":"0/3000130"},"prior":null,
"reference":null,"timestamp":{"start":1795799383,"stop":1795799390},"type":"full"},
{"archive":{"start":"000000010000000000000005","stop":"000000010000000000000005"},
"database":{"id":1,"repo-key":1},"error":true,"info":{"size":23000001},
"label":"20261127-170943F_20261127-180000I","prior":"20261127-170943F",
"timestamp":{"start":1795802400,"stop":1795802410},"type":"incr"}],
"cipher":"none","db":[{"id":1,"repo-key":1,"system-id":7577000000000000002,"version":"15"}],
"name":"main","repo":[{"cipher":"none","key":1,"status":{"code":0,"message":"ok"}}],
"status":{"code":0,"lock":{"backup":{"held":false}},"message":"ok"}}]"""


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


@pytest.mark.parametrize(
    ("old", "new", "place", "reason"),
    [
        ('"0/3000130"', '"x"', "the catalogue[0].backup[0].lsn.stop", "contains no"),
        ('"timestamp":{', '"time":{', "the catalogue[0].backup[0].timestamp", "it is missing"),
        ('"size":23000000}', '"size":"big"}', "backup[0].info.size", "not a whole number"),
        ('"backup":[', '"backup":{"x":[', "", "it is not JSON"),
        ('"version":"15"', '"version":15', "the catalogue[0].db[0].version", "not a text"),
    ],
)
def test_a_changed_catalogue_names_the_place(old: str, new: str, place: str, reason: str) -> None:
    with pytest.raises(InvalidBackupCatalog) as caught:
        pgbackrest_backups(PGBACKREST.replace(old, new, 1))
    assert place in str(caught.value.value)
    assert reason in caught.value.reason


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
        LABEL.replace("UTC", "CET") + "INCREMENTAL FROM LSN: 0/1\n"
    )
    backup = read_base_backup(tmp_path)
    assert (backup.start_time, backup.type) == (None, BackupType.INCREMENTAL)


@pytest.mark.parametrize("version", ["", "none", "\0"])
def test_a_damaged_version_file_is_refused(tmp_path: Path, version: str) -> None:
    (tmp_path / "backup_label").write_text(LABEL)
    (tmp_path / "PG_VERSION").write_text(version)
    with pytest.raises(InvalidServerVersion):
        read_base_backup(tmp_path)


def test_json_of_any_depth_is_refused() -> None:
    for parse in (walg_backups, pgbackrest_backups):
        with pytest.raises(InvalidBackupCatalog, match="it is not JSON"):
            parse("[" * 100_000)


def test_backups_are_known_from_an_archives_backup_files(tmp_path: Path) -> None:
    path = tmp_path / "000000010000000000000002.00000028.backup"
    stop = "STOP WAL LOCATION: 0/2000130 (file 000000010000000000000002)\n"
    path.write_text(LABEL.replace("CHECKPOINT LOC", stop + "CHECKPOINT LOC"))
    [backup] = archived_backups(tmp_path)
    assert backup.id == "000000010000000000000002.00000028"
    assert backup.wal == WalRange(LSN("0/2000028"), LSN("0/2000130"))
    assert backup.is_complete
    path.write_text("nothing")
    with pytest.raises(InvalidBackupLabel):
        archived_backups(tmp_path)
