"""The WAL between two checkpoints."""

from __future__ import annotations

from datetime import timedelta

import pytest
from serverfacts import NOW

from pgreplkit import LSN
from pgreplkit.rows import CheckpointStatus

MIB = 1 << 20


@pytest.mark.parametrize(
    ("version", "max_wal_size", "expected"),
    [(18, 1024 * MIB, 512 * MIB), (10, 1024 * MIB, 336 * MIB), (18, 16 * MIB, 16 * MIB)],
)
def test_older_servers_keep_the_wal_of_two_checkpoints(
    version: int, max_wal_size: int, expected: int
) -> None:
    status = CheckpointStatus(
        checkpoint_lsn=LSN("0/5"),
        redo_lsn=LSN("0/5"),
        redo_wal_file="000000010000000000000001",
        timeline_id=1,
        checkpoint_time=NOW,
        checkpoint_timeout=timedelta(minutes=5),
        max_wal_size=max_wal_size,
        checkpoint_completion_target=1.0,
        segment_size=16 * MIB,
        current_lsn=LSN("0/9"),
        server_major=version,
    )
    assert status.wal_between_checkpoints == expected
