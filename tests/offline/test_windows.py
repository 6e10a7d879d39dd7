"""Windows of restore: each backup with archives that are complete, have gaps or are damaged."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from struct import pack

import attrs
import pytest
from walpages import SWITCH, WalWriter, wal_of
from walsegments import MIB, name_of

from pgreplkit import LSN
from pgreplkit.offline.archivescan import scan_archive
from pgreplkit.offline.backups import Backup, BackupStatus, BackupTool, BackupType
from pgreplkit.offline.windows import PitrWindow, WindowEnd

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def commit(writer: WalWriter, at: datetime, xid: int = 700) -> None:
    microseconds = (at - EPOCH) // MICROSECOND
    writer.add(1, 0, pack("<q", microseconds), xid=xid)


@attrs.frozen
class Archive:
    """Segments 3 to 8: a commit in each but 6, a minute after noon in segment 3 and so on."""

    folder: Path
    last: dict[int, int]
    """The position of the last record of each segment."""

    def window(self, backup: Backup) -> PitrWindow:
        [window] = scan_archive(self.folder).windows([backup])
        return window


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    writer = WalWriter(3 * MIB)
    last = {}
    for number in range(3, 9):
        wal_of([100] * 5, writer)
        if number != 6:
            commit(writer, NOON + timedelta(minutes=number - 2))
        last[number] = writer.add(*SWITCH)
    for number in range(3, 9):
        content = writer.content[(number - 3) * MIB : (number - 2) * MIB]
        (tmp_path / name_of(number)).write_bytes(content)
    return Archive(tmp_path, last)


BACKUP = Backup(
    id="first",
    tool=BackupTool.PG_BASEBACKUP,
    type=BackupType.FULL,
    status=BackupStatus.DONE,
    timeline=1,
    start_lsn=LSN(3 * MIB + 40),
    stop_lsn=LSN(3 * MIB + 168),
    stop_time=NOON,
)


def test_a_window_reaches_to_the_last_record_and_before_the_last_commit(archive: Archive) -> None:
    window = archive.window(BACKUP)
    assert (window.from_lsn, window.to_lsn) == (BACKUP.stop_lsn, LSN(archive.last[8]))
    assert window.last_commit == NOON + timedelta(minutes=6)
    assert window.until == window.last_commit - MICROSECOND
    assert (window.ended_by, window.reason) == (WindowEnd.END, "the archive ends")
    assert window.is_restorable
    assert NOON in window
    assert NOON + timedelta(minutes=6) not in window
    assert NOON - timedelta(minutes=6) not in window
    assert LSN(archive.last[8]) in window
    assert LSN(archive.last[8] + 8) not in window
    assert LSN(0) not in window
    assert str(window).startswith("first: from 0/3000A8 to 0/8")
    assert json.dumps(window.to_dict())


@pytest.mark.parametrize(("missing", "minutes"), [(5, 2), (7, 3), (4, 1)])
def test_a_gap_ends_the_window(archive: Archive, missing: int, minutes: int) -> None:
    (archive.folder / name_of(missing)).unlink()
    window = archive.window(BACKUP)
    assert window.to_lsn == LSN(archive.last[missing - 1])
    assert window.last_commit == NOON + timedelta(minutes=minutes)
    assert window.ended_by is WindowEnd.GAP
    assert window.reason == f"{name_of(missing)} is missing or cannot be used"


def test_a_file_that_cannot_be_used_ends_the_window_as_a_gap_does(archive: Archive) -> None:
    (archive.folder / name_of(7)).write_bytes((archive.folder / name_of(6)).read_bytes())
    window = archive.window(BACKUP)
    assert (window.to_lsn, window.ended_by) == (LSN(archive.last[6]), WindowEnd.GAP)


def test_damage_in_the_last_file_ends_the_window(archive: Archive) -> None:
    path = archive.folder / name_of(8)
    content = bytearray(path.read_bytes())
    content[300:310] = bytes(10)
    path.write_bytes(content)
    window = archive.window(BACKUP)
    assert window.ended_by is WindowEnd.DAMAGE
    assert window.to_lsn is not None
    assert archive.last[7] < int(window.to_lsn) < archive.last[8]
    assert window.last_commit == NOON + timedelta(minutes=5)


def test_no_commit_after_the_backup_leaves_no_time(archive: Archive) -> None:
    backup = attrs.evolve(
        BACKUP, start_lsn=LSN(8 * MIB + 40), stop_lsn=LSN(archive.last[8]), id="late"
    )
    window = archive.window(backup)
    assert window.is_restorable
    assert (window.until, window.last_commit) == (None, None)
    assert NOON not in window


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"status": BackupStatus.FAILED}, "the backup is not complete (status failed)"),
        ({"stop_lsn": None}, "at which the backup is consistent is not known (no stop_lsn)"),
        ({"parent": "zero"}, "the backup zero, on which it is based, is missing"),
        ({"system_id": 5}, "the backup is of system 5"),
        ({"major": 17}, "the backup is of version 17"),
        ({"start_lsn": LSN(2 * MIB)}, f"{name_of(2)} is missing or cannot be used"),
        ({"stop_lsn": LSN(9 * MIB + 5)}, f"{name_of(9)} is missing or cannot be used"),
        ({"stop_lsn": LSN(9 * MIB)}, "the backup needs it up to 0/900000"),
    ],
)
def test_a_backup_that_cannot_be_restored_has_no_window(
    archive: Archive, change: dict[str, object], reason: str
) -> None:
    if change.get("stop_lsn") == LSN(9 * MIB):
        (archive.folder / name_of(8)).write_bytes(
            (archive.folder / name_of(8)).read_bytes()[:400] + bytes(MIB - 400)
        )
    window = archive.window(attrs.evolve(BACKUP, **change))  # type: ignore[arg-type]
    assert not window.is_restorable
    assert (window.ended_by, window.to_lsn, window.until) == (WindowEnd.NOT_RESTORABLE, None, None)
    assert reason in window.reason
    assert "cannot be restored" in str(window)
    assert LSN(5 * MIB) not in window


def test_only_backups_have_windows(archive: Archive) -> None:
    with pytest.raises(TypeError, match=r"takes backups, such as barman_backups\(\) returns"):
        scan_archive(archive.folder).windows("20261127T170943")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"parent": "lost"}, "the backup lost, on which it is based, is missing"),
        ({"status": BackupStatus.FAILED}, "the backup full, on which it is based, is not complete"),
        ({}, "the archive ends"),
        ({"parent": "late"}, "the archive ends"),  # a catalogue with such a loop ends too
    ],
)
def test_all_backups_on_which_a_backup_is_based_are_needed(
    archive: Archive, change: dict[str, object], reason: str
) -> None:
    full = attrs.evolve(BACKUP, id="full", **change)  # type: ignore[arg-type]
    middle = attrs.evolve(BACKUP, id="middle", parent="full")
    late = attrs.evolve(BACKUP, id="late", parent="middle")
    report = scan_archive(archive.folder)
    _, _, window = report.windows([full, middle, late])
    assert window.reason.startswith(reason)
    assert window.is_restorable is (reason == "the archive ends")


def test_the_base_of_an_incremental_backup_is_found_by_its_position(archive: Archive) -> None:
    changed = attrs.evolve(BACKUP, id="changed", start_lsn=LSN(4 * MIB + 40), parent_lsn=LSN(77))
    late = attrs.evolve(BACKUP, id="late", start_lsn=LSN(5 * MIB), parent_lsn=changed.start_lsn)
    changed, late = (attrs.evolve(one, stop_lsn=LSN(6 * MIB)) for one in (changed, late))
    report = scan_archive(archive.folder)
    _, missing = report.windows([changed, late])
    assert missing.reason == "the backup that starts at 0/4D, on which it is based, is missing"
    changed = attrs.evolve(changed, parent_lsn=BACKUP.start_lsn)
    assert all(window.is_restorable for window in report.windows([late, changed, BACKUP]))


def test_a_window_follows_the_newest_timeline_that_contains_the_backup(archive: Archive) -> None:
    folder = archive.folder
    switch = LSN(archive.last[6] + 24)
    writer = WalWriter(7 * MIB, timeline=2, previous=archive.last[6])
    commit(writer, NOON + timedelta(hours=1))
    last = writer.previous
    (folder / name_of(7, 2)).write_bytes(writer.padded())
    (folder / "00000002.history").write_text(f"1\t{LSN(7 * MIB)}\tno recovery target\n")
    window = archive.window(BACKUP)
    assert (window.timeline, window.to_lsn) == (2, LSN(last))
    assert window.last_commit == NOON + timedelta(hours=1)
    # A backup of the old timeline after the fork stays on that timeline.
    start, stop = LSN(8 * MIB + 40), LSN(archive.last[8])
    window = archive.window(attrs.evolve(BACKUP, start_lsn=start, stop_lsn=stop))
    assert (window.timeline, window.to_lsn) == (1, stop)
    assert switch < start


def test_a_backup_that_ends_with_its_segment_needs_no_later_one(archive: Archive) -> None:
    backup = attrs.evolve(BACKUP, stop_lsn=LSN(9 * MIB))  # as Barman counts it
    window = archive.window(backup)
    last = LSN(archive.last[8])
    assert (window.from_lsn, window.to_lsn, window.ended_by) == (last, last, WindowEnd.END)
    (archive.folder / name_of(8)).unlink()
    assert not archive.window(backup).is_restorable


def test_a_backup_up_to_the_last_record_can_be_restored_to_it(archive: Archive) -> None:
    path = archive.folder / name_of(8)
    path.write_bytes(path.read_bytes()[: archive.last[8] - 8 * MIB] + bytes(MIB))
    os.truncate(path, MIB)
    stop = LSN(archive.last[8])  # the end of the record before the switch, which was removed
    window = archive.window(attrs.evolve(BACKUP, stop_lsn=stop))
    assert window.to_lsn is not None
    assert window.from_lsn == window.to_lsn < stop


def test_several_windows_share_what_was_read(archive: Archive) -> None:
    late = attrs.evolve(BACKUP, id="late", start_lsn=LSN(6 * MIB + 40), stop_lsn=LSN(6 * MIB + 168))
    (archive.folder / name_of(7)).unlink()
    report = scan_archive(archive.folder)
    first, second = report.windows([late, BACKUP])
    assert (first.backup, first.last_commit) == (late, None)
    assert (second.backup, second.last_commit) == (BACKUP, NOON + timedelta(minutes=3))
    assert first.to_lsn == second.to_lsn
