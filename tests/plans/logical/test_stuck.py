"""Why a subscription makes no progress, from facts alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import attrs
import pytest
from hypothesis import given, strategies as st

from pgreplkit import (
    LSN,
    SlotState,
    StuckReason,
    SubscribedTable,
    SubscriptionState,
    SubscriptionStats,
    SubscriptionWorker,
    TableName,
    TableState,
    WorkerType,
)
from pgreplkit.catalog.logical.stuck import OldTransaction, WorkerPool
from pgreplkit.plans.logical.stuck import PublisherFacts, SubscriptionFacts, stuck_reasons

NOW = datetime(2024, 5, 6, tzinfo=UTC)
USERS = TableName("public", "users")

STATE = SubscriptionState(
    oid=16400,
    subname="s",
    subowner="postgres",
    subenabled=True,
    subslotname="s",
    subsynccommit="off",
    subpublications=["p"],  # type: ignore[list-item]
)
SLOT = SlotState(
    slot_name="s",
    plugin="pgoutput",
    slot_type="logical",
    datoid=1,
    database="shop",
    temporary=False,
    active=True,
    active_pid=77,
    xmin=None,
    catalog_xmin=1,
    restart_lsn=LSN("0/1"),
    confirmed_flush_lsn=LSN("0/1"),
    xmin_age=None,
    catalog_xmin_age=1,
    current_lsn=LSN("0/2"),
    segment_size=1 << 24,
    observed_at=NOW,
)
APPLYING = SubscriptionWorker(
    pid=78,
    worker_type=WorkerType.APPLY,
    relid=None,
    received_lsn=LSN("0/2"),
    last_msg_send_time=NOW,
    last_msg_receipt_time=NOW,
    latest_end_lsn=None,
    latest_end_time=None,
)
READY = SubscribedTable(relid=1, table=USERS, state=TableState.READY, lsn=None, pid=None)
WAITING = attrs.evolve(READY, state=TableState.INIT)
NO_ERRORS = SubscriptionStats(apply_error_count=0, sync_error_count=0, stats_reset=None)
POOL = WorkerPool(
    running=1,
    most=4,
    most_copies=2,
    processes=3,
    most_processes=8,
    origins=1,
    most_origins=10,
    origins_setting="max_active_replication_origins",
)
THERE = PublisherFacts(
    missing_publications=(),
    unreadable=(),
    slot=SLOT,
    slot_user="s",
    slots_being_made=(),
    old_transactions=(),
    full={},
)
HEALTHY = SubscriptionFacts(
    state=STATE,
    workers=[APPLYING],
    tables=[READY],
    stats=NO_ERRORS,
    pool=POOL,
    missing_tables=[],
    missing_columns={},
    untaken_tables=[],
    forbidden_tables=[],
    filled_tables=[],
    unreachable="",
    publisher=THERE,
)
OLD = OldTransaction(pid=5, gid=None, user="app", age=timedelta(hours=1))

Fault = Callable[[SubscriptionFacts], SubscriptionFacts]


def there(**changes: object) -> Fault:
    """A change to what the publisher reports."""

    def change(facts: SubscriptionFacts) -> SubscriptionFacts:
        assert facts.publisher is not None
        publisher = attrs.evolve(facts.publisher, **changes)  # type: ignore[arg-type]
        return attrs.evolve(facts, publisher=publisher)

    return change


def here(**changes: object) -> Fault:
    """A change to what the subscriber reports."""
    return lambda facts: attrs.evolve(facts, **changes)  # type: ignore[arg-type]


def copying(pool: WorkerPool, **changes: int) -> Fault:
    """A table that waits for its copy, and changes to the workers."""
    return here(tables=[WAITING], pool=attrs.evolve(pool, **changes))  # type: ignore[arg-type]


INDEPENDENT: dict[StuckReason, Fault] = {
    StuckReason.PUBLICATION_MISSING: there(missing_publications=("p",)),
    StuckReason.SLOT_MISSING: there(slot=None, slot_user=None),
    StuckReason.TABLE_MISSING: here(missing_tables=[USERS]),
    StuckReason.TABLE_NOT_TAKEN: here(untaken_tables=[USERS]),
    StuckReason.COLUMN_MISSING: here(missing_columns={USERS: ["name"]}),
    StuckReason.PERMISSION: here(forbidden_tables=[USERS]),
    StuckReason.ROWS_EXIST: here(filled_tables=[USERS]),
    StuckReason.OLD_TRANSACTION: there(
        slots_being_made=("pg_1_sync_1_1",), old_transactions=(OLD,)
    ),
}
"""Faults that show whatever else is wrong, as long as the publisher answers."""


def reasons(*faults: Fault) -> list[StuckReason]:
    facts = HEALTHY
    for fault in faults:
        facts = fault(facts)
    return [stuck.reason for stuck in stuck_reasons(facts)]


@given(st.sets(st.sampled_from(sorted(INDEPENDENT))))
def test_every_fault_is_reported_whatever_else_is_wrong(chosen: set[StuckReason]) -> None:
    found = reasons(*(INDEPENDENT[StuckReason(reason)] for reason in sorted(chosen)))
    assert {*found} == (chosen or {StuckReason.UNKNOWN})


@pytest.mark.parametrize(
    ("expected", "fault"),
    [
        (StuckReason.DISABLED, here(state=attrs.evolve(STATE, subenabled=False))),
        (StuckReason.PUBLISHER_UNREACHABLE, here(unreachable="refused", publisher=None)),
        (StuckReason.SLOT_LOST, there(slot=attrs.evolve(SLOT, wal_status="lost"))),
        (StuckReason.NO_WORKER_FREE, here(workers=[], pool=attrs.evolve(POOL, running=4))),
        (StuckReason.NO_WORKER_FREE, here(workers=[], pool=attrs.evolve(POOL, processes=8))),
        (
            StuckReason.NO_WORKER_FREE,
            copying(POOL, most_copies=0),
        ),
        (StuckReason.NO_WORKER_FREE, copying(POOL, origins=10)),
        (StuckReason.PERMISSION, there(unreadable=(USERS,))),
        (StuckReason.TABLE_NOT_TAKEN, here(tables=[])),
        (
            StuckReason.FAILING_TRANSACTION,
            here(workers=[], stats=attrs.evolve(NO_ERRORS, apply_error_count=3)),
        ),
        (
            StuckReason.FAILING_COPY,
            here(tables=[WAITING], stats=attrs.evolve(NO_ERRORS, sync_error_count=3)),
        ),
    ],
)
def test_a_single_fault_is_the_only_reason(expected: StuckReason, fault: Fault) -> None:
    assert reasons(fault) == [expected]


def test_a_subscription_without_a_slot_is_detached() -> None:
    detached = here(state=attrs.evolve(STATE, subslotname=None, subenabled=False))
    found = reasons(detached, there(slot=None, slot_user=None))
    assert found == [StuckReason.DETACHED, StuckReason.DISABLED]


def test_a_slot_that_another_client_uses_is_taken() -> None:
    other = there(slot_user="other")
    assert reasons(here(workers=[]), other) == [StuckReason.SLOT_TAKEN]
    # A worker that has received something is the slot's user, whatever its name.
    assert reasons(other) == [StuckReason.UNKNOWN]


def test_a_full_publisher_matters_only_to_what_waits() -> None:
    full = there(full={"max_replication_slots": 10})
    assert reasons(full) == [StuckReason.UNKNOWN]
    assert reasons(full, here(tables=[WAITING])) == [StuckReason.PUBLISHER_FULL]
    senders = there(full={"max_wal_senders": 10})
    assert reasons(senders, here(workers=[])) == [StuckReason.PUBLISHER_FULL]


def test_before_15_an_idle_slot_shows_a_worker_that_fails() -> None:
    idle = there(slot=attrs.evolve(SLOT, active=False, active_pid=None), slot_user=None)
    assert reasons(here(workers=[], stats=None), idle) == [StuckReason.FAILING_TRANSACTION]
    assert reasons(here(workers=[], stats=None)) == [StuckReason.UNKNOWN]


def test_limits_do_not_matter_to_a_disabled_subscription() -> None:
    disabled = here(state=attrs.evolve(STATE, subenabled=False), workers=[])
    assert reasons(disabled, here(pool=attrs.evolve(POOL, running=4))) == [StuckReason.DISABLED]


def test_an_error_that_disabled_the_subscription_is_named() -> None:
    state = attrs.evolve(STATE, subenabled=False, subdisableonerr=True)
    stats = attrs.evolve(NO_ERRORS, apply_error_count=1)
    [stuck] = stuck_reasons(attrs.evolve(HEALTHY, state=state, stats=stats, workers=[]))
    assert stuck.found == "the subscription is disabled after an error"
    assert "failure()" in stuck.remedy
