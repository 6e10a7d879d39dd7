"""A base backup of a catalogue."""

from __future__ import annotations

import pytest

from pgreplkit import LSN
from pgreplkit.offline.backups import Backup, BackupStatus, BackupTool, BackupType
from pgreplkit.values.walrange import WalRange


def backup(status: BackupStatus, stop: LSN | None) -> Backup:
    return Backup(
        id="a",
        tool=BackupTool.BARMAN,
        type=BackupType.FULL,
        status=status,
        timeline=1,
        start_lsn=LSN("0/5"),
        stop_lsn=stop,
    )


@pytest.mark.parametrize(
    ("status", "is_complete"),
    [
        (BackupStatus.DONE, True),
        (BackupStatus.WAITING_FOR_WALS, True),
        (BackupStatus.STARTED, False),
        (BackupStatus.FAILED, False),
    ],
)
def test_a_backup_that_waits_for_wal_has_all_its_files(
    status: BackupStatus, is_complete: bool
) -> None:
    assert backup(status, LSN("0/9")).is_complete is is_complete
    assert not backup(status, None).is_complete


def test_the_needed_wal_is_unknown_until_the_end_is() -> None:
    assert backup(BackupStatus.DONE, LSN("0/9")).wal == WalRange(LSN("0/5"), LSN("0/9"))
    assert backup(BackupStatus.STARTED, None).wal is None
