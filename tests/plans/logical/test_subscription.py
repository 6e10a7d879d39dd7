"""Subscriptions: their options, their status, and the leftovers of a dropped one."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from logicalfacts import ONE, TWO, slot_state, stats, subscribed, subscription_state, worker

from pgreplkit import LSN, SubscriptionOptions
from pgreplkit.catalog.features import FEATURES
from pgreplkit.plans.logical.subscription import leftovers
from pgreplkit.rows import LeftoverKind, SubscriptionStatus, TableState


def test_only_given_options_are_sent() -> None:
    assert [*SubscriptionOptions().given()] == []
    given = [*SubscriptionOptions(copy_data=False, streaming="parallel", origin="none").given()]
    assert given == [
        ("copy_data", "false", "subscription.copy_data"),
        ("streaming", "parallel", "subscription.parallel"),
        ("origin", "none", "subscription.origin"),
    ]


def test_every_option_has_its_version_gate() -> None:
    for field in attrs.fields(SubscriptionOptions):
        value: dict[str, Any] = {field.name: True if field.type == bool | None else "x"}
        [(_, _, feature)] = SubscriptionOptions(**value).given()
        assert feature in FEATURES


def status(**changed: Any) -> SubscriptionStatus:
    facts: dict[str, Any] = {
        "state": subscription_state(),
        "workers": (worker(),),
        "tables": (subscribed(),),
        "stats": stats(),
        "slot": slot_state(),
    }
    return SubscriptionStatus(**facts | changed)


def test_a_subscription_without_tables_is_not_synchronized() -> None:
    assert status().is_synced
    assert not status(tables=()).is_synced
    copying = subscribed(TWO, state=TableState.SYNCED)
    assert not status(tables=(subscribed(), copying)).is_synced


def test_only_the_apply_worker_applies_and_has_the_received_position() -> None:
    copying = worker(worker_type="table synchronization", relid=20000, received_lsn=LSN(9))
    found = status(workers=(copying,))
    assert (found.is_applying, found.received_lsn) == (False, None)
    assert status(workers=(copying, worker())).received_lsn == LSN("0/3000080")


@pytest.mark.parametrize(
    ("changed", "lag"),
    [
        ({}, 0x80),
        ({"confirmed_flush_lsn": LSN("0/3000200")}, 0),
        ({"confirmed_flush_lsn": None}, None),
    ],
)
def test_lag_is_the_wal_that_the_subscriber_has_not_confirmed(
    changed: dict[str, Any], lag: int | None
) -> None:
    assert status(slot=slot_state(**changed)).lag_bytes == lag
    assert status(slot=None).lag_bytes is None


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({}, ""),
        # Without a limit it retains all WAL.
        ({"wal_status": "extended"}, ""),
        (
            {"wal_status": "extended", "safe_wal_size": 5 << 20},
            ", slot lost after 5.0 MiB more of WAL",
        ),
        (
            {"wal_status": "unreserved", "safe_wal_size": -1},
            ", slot lost at the next checkpoint",
        ),
        ({"wal_status": "lost"}, ", slot lost (lost)"),
        (
            {"wal_status": "lost", "invalidation_reason": "wal_removed"},
            ", slot lost (wal_removed)",
        ),
        ({"conflicting": True}, ", slot lost (conflicting)"),
    ],
)
def test_the_text_says_when_a_slot_is_lost(changed: dict[str, Any], shown: str) -> None:
    whole, found = (str(status(slot=slot_state(**one), stats=None)) for one in ({}, changed))
    assert found == f"{whole}{shown}"


@pytest.mark.parametrize(
    ("state", "version", "has_slot"),
    [
        (TableState.INIT, 14, True),
        (TableState.DATA_COPY, 14, True),
        (TableState.FINISHED_COPY, 18, True),
        (TableState.SYNCED, 18, False),
        (TableState.READY, 18, False),
        # Before 14 the slots of copies are temporary.
        (TableState.DATA_COPY, 13, False),
    ],
)
def test_an_unfinished_copy_may_leave_a_slot(
    state: TableState, version: int, has_slot: bool
) -> None:
    tables = [subscribed(ONE, state=state)]
    found = leftovers(16400, "s", tables, system_id=7, major=version, where="publisher")
    names = [(each.kind, each.name) for each in found]
    copy = (LeftoverKind.SYNC_SLOT, "pg_16400_sync_20000_7")
    assert names == [(LeftoverKind.SLOT, "s"), *([copy] if has_slot else [])]
    assert all(each.sql == f"SELECT pg_drop_replication_slot('{each.name}')" for each in found)


def test_a_detached_subscription_leaves_no_slot() -> None:
    assert leftovers(1, None, [], system_id=7, major=18, where="publisher") == ()
