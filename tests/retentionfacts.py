"""Sample slots and servers that retain WAL."""

from __future__ import annotations

from typing import Any

import attrs
from serverfacts import NOW

from pgreplkit import LSN, SegmentSize
from pgreplkit.catalog.server.retention import KeptWal
from pgreplkit.plans.server.retention import wal_retention
from pgreplkit.plans.server.retentionfindings import with_findings
from pgreplkit.rows import ArchiverStatus, SlotState, SlotType, WalRetention

SIZE = SegmentSize.DEFAULT
HERE = 10 << 30


def archiver(**changes: object) -> ArchiverStatus:
    status = ArchiverStatus(
        archive_mode="off",
        archived_count=0,
        last_archived_wal=None,
        last_archived_time=None,
        failed_count=0,
        last_failed_wal=None,
        last_failed_time=None,
    )
    return attrs.evolve(status, **changes)  # type: ignore[arg-type]


def slot(name: str, restart: int | None, current: int, size: SegmentSize) -> SlotState:
    return SlotState(
        slot_name=name,
        plugin=None,
        slot_type=SlotType.PHYSICAL,
        datoid=None,
        database=None,
        temporary=False,
        active=False,
        active_pid=None,
        xmin=None,
        catalog_xmin=None,
        restart_lsn=None if restart is None else LSN(restart),
        confirmed_flush_lsn=None,
        xmin_age=None,
        catalog_xmin_age=None,
        current_lsn=LSN(current),
        segment_size=size,
        observed_at=NOW,
    )


def kept(current: int, redo: int, size: SegmentSize, **changes: object) -> KeptWal:
    facts = KeptWal(
        current_lsn=LSN(current),
        timeline=1,
        segment_size=size,
        redo_lsn=LSN(redo),
        wal_keep_bytes=0,
        max_slot_wal_keep_mb=None,
        freeze_max_age=200_000_000,
        server_major=18,
        directory_bytes=0,
        oldest_segment=None,
        observed_at=NOW,
    )
    return attrs.evolve(facts, **changes)  # type: ignore[arg-type]


def report_of(server: KeptWal, **facts: Any) -> WalRetention:
    return with_findings(wal_retention(server, **facts), server)
