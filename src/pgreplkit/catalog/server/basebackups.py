"""BaseBackup: how far a base backup is, and what it waits for."""

from __future__ import annotations

from datetime import datetime, timedelta

import attrs

from pgreplkit.catalog.view import View, column
from pgreplkit.values.openenum import OpenEnum


def _setting(name: str) -> str:
    return f"(SELECT setting::float8 FROM pg_settings WHERE name = '{name}')"


class BackupPhase(OpenEnum):
    """What a base backup is doing."""

    INITIALIZING = "initializing"
    WAITING_FOR_CHECKPOINT = "waiting for checkpoint to finish"
    ESTIMATING = "estimating backup size"
    STREAMING_FILES = "streaming database files"
    WAITING_FOR_ARCHIVING = "waiting for wal archiving to finish"
    TRANSFERRING_WAL = "transferring wal files"


@attrs.frozen(kw_only=True)
class BaseBackup:
    """A base backup that runs, as its walsender tells (13 on).

    Source: pg_stat_progress_basebackup, pg_stat_activity, and the checkpoint's settings.
    """

    pid: int
    phase: BackupPhase = attrs.field(converter=BackupPhase)
    backup_total: int | None
    """Bytes to send, as it was estimated before; None without an estimate, or not yet."""
    backup_streamed: int
    """Bytes sent; may pass the estimate."""
    tablespaces_total: int
    tablespaces_streamed: int
    application_name: str | None
    client_addr: str | None = attrs.field(metadata=column(sql="host(client_addr)"))
    query_start: datetime | None
    """When it began."""
    observed_at: datetime = attrs.field(metadata=column(sql="clock_timestamp()"))
    checkpoint_timeout: timedelta = attrs.field(
        metadata=column(sql=f"make_interval(secs => {_setting('checkpoint_timeout')})")
    )
    checkpoint_completion_target: float = attrs.field(
        metadata=column(sql=_setting("checkpoint_completion_target"))
    )

    @property
    def share(self) -> float | None:
        """How much is sent, from 0 to 1; None without an estimate."""
        if not self.backup_total:
            return None
        return min(1.0, self.backup_streamed / self.backup_total)

    @property
    def elapsed(self) -> timedelta | None:
        """How long it runs."""
        if self.query_start is None:
            return None
        return max(timedelta(0), self.observed_at - self.query_start)

    @property
    def checkpoint_wait(self) -> timedelta | None:
        """How much longer the checkpoint may take that it waits for; None when it waits for none.

        The server spreads it over checkpoint_timeout × checkpoint_completion_target, unless the
        backup was started with a fast checkpoint. One that was running already comes on top.
        """
        if self.phase is not BackupPhase.WAITING_FOR_CHECKPOINT:
            return None
        spread = self.checkpoint_timeout * self.checkpoint_completion_target
        return max(timedelta(0), spread - (self.elapsed or timedelta(0)))

    @property
    def explanation(self) -> str:
        """What it does, in a sentence."""
        if self.checkpoint_wait is not None:
            return (
                f"waiting for a checkpoint, at most about {self.checkpoint_wait} more; nothing is"
                " sent meanwhile, and --checkpoint=fast would not have waited"
            )
        if self.share is None:
            return f"{self.phase}, {self.backup_streamed} bytes sent"
        return f"{self.phase}, {self.share:.0%} of about {self.backup_total} bytes"


BASE_BACKUPS = View(
    BaseBackup, "pg_stat_progress_basebackup LEFT JOIN pg_stat_activity USING (pid)"
)

# One in the data directory (15 on, for tests) has a relative path.
TABLESPACES = """
    SELECT location FROM pg_tablespace, pg_tablespace_location(oid) AS location
    WHERE location LIKE '/%'
"""
