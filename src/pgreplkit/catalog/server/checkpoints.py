"""CheckpointStatus: the last checkpoint, and when the next one is due."""

from datetime import datetime, timedelta

import attrs

from pgreplkit.catalog.server.expressions import MAJOR, SEGMENT_BYTES, setting_of
from pgreplkit.catalog.view import View, column, sized
from pgreplkit.values.lsn import LSN
from pgreplkit.values.record import Record
from pgreplkit.values.segment import SegmentSize


@attrs.frozen(kw_only=True)
class CheckpointStatus(Record):
    """The last checkpoint (on a standby: restartpoint), and the triggers of the next one.

    Source: pg_control_checkpoint(), and the settings that are fields here.
    """

    checkpoint_lsn: LSN
    """The position of the checkpoint's record."""
    redo_lsn: LSN
    """The position at which recovery would start."""
    redo_wal_file: str
    """The WAL file of ``redo_lsn``; recovery needs it and all later files."""
    timeline_id: int
    """The checkpoint's timeline; after a promotion it is the old one until the next checkpoint."""
    checkpoint_time: datetime
    """The start of the checkpoint."""
    checkpoint_timeout: timedelta = attrs.field(
        metadata=column(sql=f"make_interval(secs => {setting_of('checkpoint_timeout')}::float8)")
    )
    max_wal_size: int = attrs.field(
        metadata=column(sql=f"{setting_of('max_wal_size')}::bigint * 1048576")
    )
    """In bytes."""
    checkpoint_completion_target: float = attrs.field(
        metadata=column(sql=f"{setting_of('checkpoint_completion_target')}::float8")
    )
    segment_size: SegmentSize = attrs.field(
        converter=sized,
        metadata=column(sql=SEGMENT_BYTES),
    )
    current_lsn: LSN = attrs.field(
        metadata=column(
            sql="""CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
                ELSE pg_current_wal_insert_lsn() END"""
        )
    )
    """The server's position, read in the same statement."""
    server_major: int = attrs.field(metadata=column(sql=MAJOR))

    @property
    def due_at(self) -> datetime:
        """The time at which checkpoint_timeout triggers the next checkpoint.

        On an idle server this time stays in the past: the server skips checkpoints without changes.
        """
        return self.checkpoint_time + self.checkpoint_timeout

    @property
    def wal_since_redo(self) -> int:
        """Bytes of WAL that recovery would have to replay now."""
        return max(0, self.current_lsn - self.redo_lsn)

    @property
    def wal_between_checkpoints(self) -> int:
        """Bytes of WAL that trigger a checkpoint before the timeout does.

        Less than ``max_wal_size``, which also has to hold the WAL written during a checkpoint.
        """
        # Until 10 the server retained the WAL of the last two checkpoints, since 11 of one.
        cycles = 1 if self.server_major > 10 else 2
        segments = self.max_wal_size // self.segment_size.bytes
        fitting = int(segments / (cycles + self.checkpoint_completion_target))
        return max(1, fitting) * self.segment_size.bytes

    @property
    def wal_until_due(self) -> int:
        """Bytes of WAL until the next checkpoint is triggered; 0 if it is due."""
        return max(0, self.wal_between_checkpoints - self.wal_since_redo)


CHECKPOINT = View(CheckpointStatus, "pg_control_checkpoint()")
FORCE_CHECKPOINT = "CHECKPOINT"
