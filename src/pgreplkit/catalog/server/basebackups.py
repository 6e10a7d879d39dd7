"""BaseBackup: the progress of a base backup, and the reason for a wait."""

from datetime import datetime, timedelta

import attrs

from pgreplkit.catalog.server.expressions import setting_of
from pgreplkit.catalog.view import View, column
from pgreplkit.values.openenum import OrderedEnum
from pgreplkit.values.record import Record


class BackupPhase(OrderedEnum):
    """The phase of a base backup; the phases are ordered."""

    INITIALIZING = "initializing"
    WAITING_FOR_CHECKPOINT = "waiting for checkpoint to finish"
    ESTIMATING = "estimating backup size"
    STREAMING_FILES = "streaming database files"
    WAITING_FOR_ARCHIVING = "waiting for wal archiving to finish"
    TRANSFERRING_WAL = "transferring wal files"


@attrs.frozen(kw_only=True)
class BaseBackup(Record):
    """A running base backup, as its walsender reports it (13 on).

    Source: pg_stat_progress_basebackup, pg_stat_activity, and the checkpoint's settings.
    """

    pid: int
    phase: BackupPhase = attrs.field(converter=BackupPhase)
    backup_total: int | None
    """Estimated bytes to send; None without an estimate, or before it is made."""
    backup_streamed: int
    """Bytes sent; may exceed the estimate."""
    tablespaces_total: int
    tablespaces_streamed: int
    application_name: str | None
    client_addr: str | None = attrs.field(metadata=column(sql="host(client_addr)"))
    query_start: datetime | None
    """The start of the backup."""
    observed_at: datetime = attrs.field(metadata=column(sql="clock_timestamp()"))
    checkpoint_timeout: timedelta = attrs.field(
        metadata=column(sql=f"make_interval(secs => {setting_of('checkpoint_timeout')}::float8)")
    )
    checkpoint_completion_target: float = attrs.field(
        metadata=column(sql=f"{setting_of('checkpoint_completion_target')}::float8")
    )

    @property
    def share(self) -> float | None:
        """The part that is sent, from 0 to 1; None without an estimate."""
        if not self.backup_total:
            return None
        return min(1.0, self.backup_streamed / self.backup_total)

    @property
    def elapsed(self) -> timedelta | None:
        """The time since the start of the backup."""
        if self.query_start is None:
            return None
        return max(timedelta(0), self.observed_at - self.query_start)

    @property
    def checkpoint_wait(self) -> timedelta | None:
        """The longest remaining wait for the checkpoint; None if the backup waits for none.

        The server spreads the checkpoint over checkpoint_timeout × checkpoint_completion_target,
        unless the backup was started with a fast checkpoint. A checkpoint that was already running
        adds to this.
        """
        if self.phase is not BackupPhase.WAITING_FOR_CHECKPOINT:
            return None
        spread = self.checkpoint_timeout * self.checkpoint_completion_target
        return max(timedelta(0), spread - (self.elapsed or timedelta(0)))

    @property
    def explanation(self) -> str:
        """A description of the current phase, for people."""
        if self.checkpoint_wait is not None:
            return (
                f"waiting for a checkpoint, at most about {self.checkpoint_wait} more; nothing is"
                " sent before it ends; --checkpoint=fast avoids this wait"
            )
        if self.share is None:
            return f"{self.phase}, {self.backup_streamed} bytes sent"
        return f"{self.phase}, {self.share:.0%} of about {self.backup_total} bytes"


BASE_BACKUPS = View(
    BaseBackup, "pg_stat_progress_basebackup LEFT JOIN pg_stat_activity USING (pid)"
)

# A tablespace within the data directory (15 on, for tests) has a relative path.
TABLESPACES = """
    SELECT location FROM pg_tablespace, pg_tablespace_location(oid) AS location
    WHERE location LIKE '/%'
"""
