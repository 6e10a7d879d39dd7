"""Backup: a base backup as a backup tool's catalogue describes it."""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import attrs

from pgreplkit.errors.values import InvalidValue
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.walrange import WalRange

Json: TypeAlias = "Mapping[str, Json] | list[Json] | str | int | float | bool | None"

SMALLEST = SegmentSize(1 << 20)
"""For names of which only the timeline is used: each name is valid for the smallest segments."""


class InvalidBackupCatalog(InvalidValue):
    """Text that is not the catalogue of a backup tool."""

    what: str = "backup catalogue"
    expected: str = "the unchanged output or file of the tool"


class BackupTool(OpenEnum):
    """The program that took a backup."""

    BARMAN = "barman"
    PGBACKREST = "pgbackrest"
    WALG = "wal-g"
    PG_BASEBACKUP = "pg_basebackup"
    """pg_basebackup, or a program that leaves the same files."""


class BackupType(OpenEnum):
    """The type of a backup, by the other backups that it needs."""

    FULL = "full"
    DIFFERENTIAL = "differential"
    INCREMENTAL = "incremental"


class BackupStatus(OpenEnum):
    """The status of a backup."""

    DONE = "done"
    WAITING_FOR_WALS = "waiting for WAL"
    STARTED = "started"
    FAILED = "failed"


@attrs.frozen(kw_only=True)
class Backup(Record):
    """A base backup, with the WAL that it needs to become consistent."""

    id: str
    """The name that the tool gave to it."""
    tool: BackupTool
    type: BackupType
    status: BackupStatus
    timeline: int
    start_lsn: LSN
    stop_lsn: LSN | None
    """Position at which the backup is consistent; None while it is not known."""
    start_time: datetime | None = None
    stop_time: datetime | None = None
    system_id: int | None = None
    major: int | None = None
    segment_size: SegmentSize | None = None
    parent: str | None = None
    """The backup that this one is based on; None for a full backup."""
    parent_lsn: LSN | None = None
    """The ``start_lsn`` of that backup, where the server names it only by its position."""
    size: int | None = None
    """Size of the data in bytes."""
    path: Path | None = None

    @property
    def wal(self) -> WalRange | None:
        """The WAL that the backup needs to become consistent; None while it is not known."""
        return None if self.stop_lsn is None else WalRange(self.start_lsn, self.stop_lsn)

    @property
    def is_complete(self) -> bool:
        """True if the backup itself is complete, whatever the archive holds."""
        # Barman waits for WAL that the archive gets after the backup: the files are complete.
        complete = (BackupStatus.DONE, BackupStatus.WAITING_FOR_WALS)
        return self.status in complete and self.stop_lsn is not None
