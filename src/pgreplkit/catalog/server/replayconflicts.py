"""DatabaseConflicts: what replay has cancelled on a standby."""

from __future__ import annotations

import attrs

from pgreplkit.catalog.view import View, column


@attrs.frozen(kw_only=True)
class DatabaseConflicts:
    """How many queries a standby has cancelled in a database, because replay needed what they used.

    Source: pg_stat_database_conflicts.
    """

    datid: int
    datname: str
    confl_tablespace: int
    """Tablespaces that were dropped."""
    confl_lock: int
    """Locks that replay waited for, longer than max_standby_streaming_delay."""
    confl_snapshot: int
    """Rows that were removed while a snapshot could see them."""
    confl_bufferpin: int
    """Buffers that were pinned."""
    confl_deadlock: int
    """Deadlocks with replay."""
    confl_active_logicalslot: int | None = attrs.field(default=None, metadata=column(since=16))
    """Uses of logical slots (16 on)."""

    @property
    def total(self) -> int:
        """All of them."""
        return (
            self.confl_tablespace
            + self.confl_lock
            + self.confl_snapshot
            + self.confl_bufferpin
            + self.confl_deadlock
            + (self.confl_active_logicalslot or 0)
        )


CONFLICTS = View(DatabaseConflicts, "pg_stat_database_conflicts WHERE datname IS NOT NULL")
