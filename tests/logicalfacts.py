"""Sample facts about logical replication, for tests of decisions without servers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from pgreplkit import LSN, TableName
from pgreplkit.catalog.logical.stuck import OldTransaction, WorkerPool
from pgreplkit.plans.logical.applyrights import ApplyRights
from pgreplkit.plans.logical.stuck import PublisherFacts, SubscriptionFacts
from pgreplkit.rows import (
    SequenceState,
    SlotState,
    SubscribedTable,
    SubscriptionState,
    SubscriptionStats,
    SubscriptionWorker,
    TableState,
)

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ONE, TWO = TableName("public", "one"), TableName("public", "two")
RIGHTS = ApplyRights(
    role="mover",
    is_superuser=False,
    is_standby=False,
    is_read_only=False,
    has_schema=True,
    may_create=True,
    may_write=True,
    session_role="origin",
    has_role_wrapper=False,
    has_origin_wrapper=False,
    may_use_origins=True,
    may_set_role=True,
)


def slot_state(**changed: object) -> SlotState:
    """A logical slot ``s`` of pgoutput, unused, 0x100 bytes behind its server."""
    facts: dict[str, object] = {
        "slot_name": "s",
        "plugin": "pgoutput",
        "slot_type": "logical",
        "datoid": 5,
        "database": "app",
        "temporary": False,
        "active": False,
        "active_pid": None,
        "xmin": None,
        "catalog_xmin": 700,
        "restart_lsn": LSN("0/3000000"),
        "confirmed_flush_lsn": LSN("0/3000080"),
        "xmin_age": None,
        "catalog_xmin_age": 1,
        "current_lsn": LSN("0/3000100"),
        "segment_size": 16 << 20,
        "observed_at": NOW,
    }
    return SlotState(**facts | changed)  # type: ignore[arg-type]


def subscription_state(**changed: object) -> SubscriptionState:
    """An enabled subscription ``sub`` with the slot ``s``."""
    facts: dict[str, object] = {
        "oid": 16400,
        "subname": "sub",
        "subowner": "owner",
        "subenabled": True,
        "subslotname": "s",
        "subsynccommit": "off",
        "subpublications": ["p"],
    }
    return SubscriptionState(**facts | changed)  # type: ignore[arg-type]


def subscribed(table: TableName = ONE, **changed: object) -> SubscribedTable:
    """A table that is copied, and that the apply worker has taken over."""
    facts: dict[str, object] = {
        "relid": 20000,
        "table": table,
        "state": TableState.READY,
        "lsn": LSN("0/3000000"),
        "pid": None,
    }
    return SubscribedTable(**facts | changed)  # type: ignore[arg-type]


def worker(**changed: object) -> SubscriptionWorker:
    """An apply worker that has received WAL."""
    facts: dict[str, object] = {
        "pid": 4711,
        "worker_type": "apply",
        "relid": None,
        "received_lsn": LSN("0/3000080"),
        "last_msg_send_time": NOW,
        "last_msg_receipt_time": NOW,
        "latest_end_lsn": LSN("0/3000080"),
        "latest_end_time": NOW,
    }
    return SubscriptionWorker(**facts | changed)  # type: ignore[arg-type]


def stats(*, apply: int = 0, sync: int = 0) -> SubscriptionStats:
    """The counters of a subscription's errors."""
    return SubscriptionStats(apply_error_count=apply, sync_error_count=sync, stats_reset=None)


def pool(**changed: object) -> WorkerPool:
    """A subscriber that has a place left of everything."""
    facts: dict[str, object] = {
        "running": 1,
        "most": 4,
        "most_copies": 2,
        "processes": 2,
        "most_processes": 8,
        "origins": 1,
        "most_origins": 10,
        "origins_setting": "max_replication_slots",
    }
    return WorkerPool(**facts | changed)  # type: ignore[arg-type]


def old_transaction(pid: int = 99) -> OldTransaction:
    """A transaction that has been open for an hour."""
    return OldTransaction(pid=pid, gid=None, user="app", age=timedelta(hours=1))


def publisher_facts(**changed: object) -> PublisherFacts:
    """A publisher that has everything that the subscription needs."""
    facts: dict[str, object] = {
        "missing_publications": (),
        "unreadable": (),
        "slot": slot_state(active=True, active_pid=55),
        "slot_user": "sub",
        "slots_being_made": (),
        "old_transactions": (),
        "full": {},
    }
    return PublisherFacts(**facts | changed)  # type: ignore[arg-type]


def subscription_facts(**changed: object) -> SubscriptionFacts:
    """A subscription that works: it is enabled, copied, and its apply worker runs."""
    facts: dict[str, object] = {
        "state": subscription_state(),
        "workers": [worker()],
        "tables": [subscribed()],
        "stats": stats(),
        "pool": pool(),
        "missing_tables": [],
        "missing_columns": {},
        "untaken_tables": [],
        "forbidden_tables": [],
        "filled_tables": [],
        "lock_holders": [],
        "unreachable": "",
        "publisher": publisher_facts(),
    }
    return SubscriptionFacts(**facts | changed)  # type: ignore[arg-type]


def sequence(name: str = "numbers", **changed: object) -> SequenceState:
    """A bigint sequence from 1 in steps of 1 that has returned 100."""
    facts: dict[str, object] = {
        "name": TableName("public", name),
        "data_type": "bigint",
        "start": 1,
        "minimum": 1,
        "maximum": 2**63 - 1,
        "increment": 1,
        "cycle": False,
        "cache": 1,
        "owner": None,
        "is_identity": False,
        "last_value": 100,
        "is_called": True,
    }
    return SequenceState(**facts | changed)  # type: ignore[arg-type]
