"""Samples of servers in trouble, for tests of checks and metrics without servers."""

from __future__ import annotations

from datetime import timedelta

import attrs
from clusterfacts import slot_state
from instances import Builder
from serverfacts import NOW, archiver, sender

from pgreplkit import LSN, SegmentSize
from pgreplkit.catalog.server.retention import KeptWal
from pgreplkit.errors import ConnectionFailed, Error, InsufficientPrivilege
from pgreplkit.plans.server.retention import wal_retention
from pgreplkit.plans.server.retentionfindings import with_findings
from pgreplkit.rows import (
    LagReason,
    NodeSample,
    ReplayLag,
    SlotState,
    WalRetention,
    WatchSample,
)

GONE = ConnectionFailed("read the state of db2", "connection refused")
HIDDEN = InsufficientPrivilege("read the state of db2", "observer", "pg_monitor")


def lag(reason: LagReason, count: int | None, seconds: float | None) -> ReplayLag:
    empty: ReplayLag = Builder("empty").build(ReplayLag)
    time = None if seconds is None else timedelta(seconds=seconds)
    return attrs.evolve(empty, reason=reason, bytes=count, time=time)


def standby(
    name: str, reason: LagReason, count: int | None = 0, seconds: float | None = 0
) -> NodeSample:
    return NodeSample(
        name=name,
        is_primary=False,
        system_id=7,
        timeline=1,
        lsn=LSN("0/4000000"),
        lag=lag(reason, count, seconds),
        observed_at=NOW,
    )


def primary(name: str = "db1", **changed: object) -> NodeSample:
    facts: dict[str, object] = {
        "is_primary": True,
        "system_id": 7,
        "timeline": 1,
        "lsn": LSN("0/4000000"),
        "wal_rate": 0.0,
        "senders": (sender("db2"),),
        "observed_at": NOW,
    }
    return NodeSample(name=name, **facts | changed)  # type: ignore[arg-type]


def down(name: str, error: Error) -> NodeSample:
    return NodeSample(name=name, error=error)


def sample(*nodes: NodeSample) -> WatchSample:
    return WatchSample(taken_at=NOW, nodes={node.name: node for node in nodes})


def retention(
    *slots: SlotState, failing: bool = False, rate: float | None = None, disk: int | None = None
) -> WalRetention:
    """The report of a server that has written up to 0/4000000."""
    kept = KeptWal(
        current_lsn=LSN("0/4000000"),
        timeline=1,
        segment_size=SegmentSize.DEFAULT,
        redo_lsn=LSN("0/3000000"),
        wal_keep_bytes=0,
        max_slot_wal_keep_mb=-1,
        freeze_max_age=200_000_000,
        server_major=18,
        directory_bytes=64 << 20,
        oldest_segment="0000000000000001",
        observed_at=NOW,
    )
    failed = "000000010000000000000003"
    failure = {"failed_count": 4, "last_failed_wal": failed, "last_failed_time": NOW}
    status = archiver(last_archived_time=None, **(failure if failing else {}))
    ready = [failed] if failing else []
    report = wal_retention(
        kept, slots=slots, senders=(), archiver=status, ready=ready, wal_rate=rate, disk_size=disk
    )
    return with_findings(report, kept)


def unused_slot(name: str = "old") -> SlotState:
    return attrs.evolve(slot_state(name), active=False)
