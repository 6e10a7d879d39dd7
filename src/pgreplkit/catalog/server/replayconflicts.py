"""DatabaseConflicts: queries that replay has cancelled on a standby."""

import attrs

from pgreplkit.catalog.view import View, column
from pgreplkit.values.record import Record


@attrs.frozen(kw_only=True)
class DatabaseConflicts(Record):
    """Queries cancelled in a database of a standby because they conflicted with replay.

    Source: pg_stat_database_conflicts.
    """

    datid: int
    datname: str
    confl_tablespace: int
    """Conflicts with dropped tablespaces."""
    confl_lock: int
    """Conflicts with locks, after replay had waited for max_standby_streaming_delay."""
    confl_snapshot: int
    """Conflicts with the removal of rows that a snapshot could still see."""
    confl_bufferpin: int
    """Conflicts with pinned buffers."""
    confl_deadlock: int
    """Deadlocks with replay."""
    confl_active_logicalslot: int | None = attrs.field(default=None, metadata=column(since=16))
    """Conflicts with logical slots in use (16 on)."""

    @property
    def total(self) -> int:
        """The sum of all conflicts."""
        return (
            self.confl_tablespace
            + self.confl_lock
            + self.confl_snapshot
            + self.confl_bufferpin
            + self.confl_deadlock
            + (self.confl_active_logicalslot or 0)
        )


CONFLICTS = View(DatabaseConflicts, "pg_stat_database_conflicts WHERE datname IS NOT NULL")
