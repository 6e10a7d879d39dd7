"""Why a subscription is stuck: one fact, one reason."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from logicalfacts import (
    ONE,
    TWO,
    old_transaction,
    pool,
    publisher_facts,
    slot_state,
    stats,
    subscribed,
    subscription_facts,
    subscription_state,
    worker,
)

from pgreplkit import TableName
from pgreplkit.catalog.logical.stuck import LockHolder
from pgreplkit.errors import SubscriptionStuck
from pgreplkit.plans.logical.stuck import stuck_reasons
from pgreplkit.rows import StuckReason, SubscriptionProblem, TableState

UNCOPIED = subscribed(TWO, state=TableState.INIT, lsn=None)
USED = {"active": True, "active_pid": 55}


def reasons(**changed: object) -> list[StuckReason]:
    """The reasons of a subscription that works but for these facts."""
    return [stuck.reason for stuck in stuck_reasons(subscription_facts(**changed))]


def only(**changed: object) -> SubscriptionProblem:
    [stuck] = stuck_reasons(subscription_facts(**changed))
    return stuck


def test_a_working_subscription_has_no_known_reason() -> None:
    assert reasons() == [StuckReason.UNKNOWN]


def test_a_subscription_whose_worker_runs_may_only_be_behind() -> None:
    assert only().remedy.startswith("if its lag falls, it is only behind")
    assert only(workers=[]).remedy.startswith("read the logs")


def test_unknown_is_never_one_of_several_reasons() -> None:
    found = reasons(state=subscription_state(subenabled=False), missing_tables=[ONE], workers=[])
    assert found == [StuckReason.DISABLED, StuckReason.TABLE_MISSING]


def test_a_detached_subscription_is_not_missing_its_slot() -> None:
    state = subscription_state(subslotname=None)
    assert reasons(state=state, publisher=publisher_facts(slot=None, slot_user=None)) == [
        StuckReason.DETACHED
    ]


@pytest.mark.parametrize(
    ("on_error", "failed", "by_error"),
    [(True, 1, True), (True, 0, False), (False, 1, False), (None, 1, False)],
)
def test_a_subscription_disabled_by_an_error_says_so(
    on_error: bool | None, failed: int, by_error: bool
) -> None:
    state = subscription_state(subenabled=False, subdisableonerr=on_error)
    stuck = only(state=state, stats=stats(apply=failed), workers=[])
    assert stuck.reason is StuckReason.DISABLED
    assert stuck.found.endswith("disabled after an error") is by_error
    assert ("failure()" in stuck.remedy) is by_error


def test_an_unreachable_publisher_hides_what_its_workers_lack() -> None:
    stuck = only(
        unreachable="could not connect: no route", publisher=None, workers=[], pool=pool(running=4)
    )
    assert stuck.reason is StuckReason.PUBLISHER_UNREACHABLE
    assert stuck.found == "could not connect: no route"


def test_each_missing_publication_and_unreadable_table_is_a_reason() -> None:
    publisher = publisher_facts(missing_publications=("p", "q"), unreadable=(TWO,))
    found = stuck_reasons(subscription_facts(publisher=publisher))
    assert [(stuck.reason, stuck.table) for stuck in found] == [
        (StuckReason.PUBLICATION_MISSING, None),
        (StuckReason.PUBLICATION_MISSING, None),
        (StuckReason.PERMISSION, TWO),
    ]
    assert ["'p'" in found[0].found, "'q'" in found[1].found] == [True, True]
    assert "GRANT SELECT ON public.two" in found[2].remedy


@pytest.mark.parametrize(
    ("slot", "expected"),
    [
        (None, StuckReason.SLOT_MISSING),
        (slot_state(wal_status="lost"), StuckReason.SLOT_LOST),
        (slot_state(invalidation_reason="idle_timeout"), StuckReason.SLOT_LOST),
        (slot_state(conflicting=True), StuckReason.SLOT_LOST),
    ],
)
def test_a_missing_or_lost_slot_is_a_reason(slot: object, expected: StuckReason) -> None:
    stuck = only(publisher=publisher_facts(slot=slot, slot_user=None))
    assert stuck.reason is expected
    assert "'s'" in stuck.found


def test_a_lost_slot_names_the_servers_reason() -> None:
    slot = slot_state(wal_status="lost", invalidation_reason="rows_removed")
    assert "rows_removed" in only(publisher=publisher_facts(slot=slot)).found


@pytest.mark.parametrize(
    ("user", "workers", "taken"),
    [
        ("other", [], True),
        # The apply worker has received something: the slot must be its own.
        ("other", [worker()], False),
        # A worker that has just started has received nothing; it is known by its name.
        ("sub", [worker(received_lsn=None)], False),
        ("other", [worker(received_lsn=None)], True),
        # Only an apply worker uses the subscription's slot.
        ("other", [worker(worker_type="table synchronization", relid=20000)], True),
        (None, [worker(received_lsn=None)], False),
    ],
)
def test_a_slot_is_taken_if_another_client_uses_it(
    user: str | None, workers: list[object], taken: bool
) -> None:
    publisher = publisher_facts(slot=slot_state(**USED), slot_user=user)
    found = reasons(publisher=publisher, workers=workers)
    assert (StuckReason.SLOT_TAKEN in found) is taken


@pytest.mark.parametrize(
    ("fact", "value", "reason"),
    [
        ("missing_tables", [TWO], StuckReason.TABLE_MISSING),
        ("untaken_tables", [TWO], StuckReason.TABLE_NOT_TAKEN),
        ("missing_columns", {TWO: ["a", "b"]}, StuckReason.COLUMN_MISSING),
        ("forbidden_tables", [TWO], StuckReason.PERMISSION),
        ("filled_tables", [TWO], StuckReason.ROWS_EXIST),
    ],
)
def test_each_problem_of_a_table_is_a_reason_with_the_table(
    fact: str, value: object, reason: StuckReason
) -> None:
    stuck = only(**{fact: value})
    assert (stuck.reason, stuck.table) == (reason, TWO)
    assert "public.two" in stuck.found


def test_a_subscription_without_tables_is_stuck_unless_a_table_can_be_added() -> None:
    assert reasons(tables=[]) == [StuckReason.TABLE_NOT_TAKEN]
    assert only(tables=[]).table is None
    assert only(tables=[], untaken_tables=[TWO]).table == TWO


@pytest.mark.parametrize(
    ("full", "setting"),
    [
        ({"running": 4}, "max_logical_replication_workers"),
        ({"processes": 8}, "max_worker_processes"),
        ({"origins": 10, "origins_setting": "max_active_replication_origins"}, "max_active"),
    ],
)
@pytest.mark.parametrize("waiting", ["apply", "copy", "none"])
def test_an_exhausted_setting_counts_only_while_a_worker_waits(
    full: dict[str, object], setting: str, waiting: str
) -> None:
    needs: dict[str, dict[str, object]] = {
        "apply": {"workers": []},
        "copy": {"tables": [subscribed(), UNCOPIED]},
        "none": {},
    }
    facts = needs[waiting]
    if waiting == "none":
        assert reasons(pool=pool(**full), **facts) == [StuckReason.UNKNOWN]
    else:
        stuck = only(pool=pool(**full), **facts)
        assert stuck.reason is StuckReason.NO_WORKER_FREE
        assert stuck.found.startswith(setting)
        assert f"ALTER SYSTEM SET {setting}" in stuck.remedy


def test_no_copies_allowed_matters_to_copies_only_and_takes_a_reload() -> None:
    none = pool(most_copies=0)
    assert "reload" in only(pool=none, tables=[UNCOPIED]).remedy
    assert reasons(pool=none, workers=[]) == [StuckReason.UNKNOWN]


def test_before_14_origins_have_no_limit() -> None:
    assert reasons(pool=pool(origins=99, most_origins=None), workers=[]) == [StuckReason.UNKNOWN]


def test_a_copy_that_runs_waits_for_no_worker() -> None:
    running = subscribed(TWO, state=TableState.DATA_COPY, lsn=None, pid=12)
    assert reasons(pool=pool(running=4), tables=[running]) == [StuckReason.UNKNOWN]


@pytest.mark.parametrize(
    ("setting", "waiting", "applying", "is_reason"),
    [
        ("max_wal_senders", False, False, True),
        ("max_wal_senders", False, True, False),
        ("max_wal_senders", True, True, True),
        # The subscription's own slot exists already; a copy needs a second one.
        ("max_replication_slots", False, False, False),
        ("max_replication_slots", True, True, True),
    ],
)
def test_a_full_publisher_is_a_reason_if_a_place_is_needed(
    setting: str, waiting: bool, applying: bool, is_reason: bool
) -> None:
    found = reasons(
        publisher=publisher_facts(full={setting: 3}),
        tables=[UNCOPIED] if waiting else [subscribed()],
        workers=[worker()] if applying else [],
    )
    assert (StuckReason.PUBLISHER_FULL in found) is is_reason


def test_old_transactions_matter_while_a_slot_is_created_and_five_are_listed() -> None:
    old = tuple(old_transaction(pid) for pid in range(1, 9))
    assert reasons(publisher=publisher_facts(old_transactions=old)) == [StuckReason.UNKNOWN]
    facts = publisher_facts(old_transactions=old, slots_being_made=("pg_1_sync_2_3",))
    found = stuck_reasons(subscription_facts(publisher=facts))
    assert [stuck.reason for stuck in found] == [StuckReason.OLD_TRANSACTION] * 5
    assert "process 1 of app" in found[0].found


def test_the_holder_of_a_lock_is_named_for_which_a_worker_waits() -> None:
    session = only(lock_holders=[LockHolder(pid=7, user="app", state="idle in transaction")])
    assert session.reason is StuckReason.LOCKED
    assert session.found.endswith("for a lock of process 7 of app, idle in transaction")
    assert "pg_terminate_backend(7)" in session.remedy
    # To a role without pg_monitor, the state is hidden.
    hidden = only(lock_holders=[LockHolder(pid=7, user="app", state=None)])
    assert hidden.found.endswith("process 7 of app")
    prepared = only(lock_holders=[LockHolder(pid=0, user=None, state=None)])
    assert prepared.found.endswith("for a lock of a prepared transaction")
    assert "pg_prepared_xacts" in prepared.remedy


def test_apply_errors_are_a_reason_while_the_worker_does_not_run() -> None:
    stuck = only(workers=[], stats=stats(apply=3))
    assert stuck.reason is StuckReason.FAILING_TRANSACTION
    assert "3 times" in stuck.found


def test_apply_errors_of_a_running_worker_count_only_without_another_reason() -> None:
    assert reasons(stats=stats(apply=3)) == [StuckReason.FAILING_TRANSACTION]
    assert reasons(stats=stats(apply=3), missing_tables=[TWO]) == [StuckReason.TABLE_MISSING]


def test_a_worker_without_a_free_place_has_not_failed() -> None:
    assert reasons(workers=[], stats=stats(apply=3), pool=pool(running=4)) == [
        StuckReason.NO_WORKER_FREE
    ]


@pytest.mark.parametrize(
    ("slot", "fails"),
    [(slot_state(), True), (slot_state(**USED), False), (None, False)],
)
def test_before_15_a_worker_that_leaves_its_slot_unused_has_failed(
    slot: object, fails: bool
) -> None:
    found = reasons(workers=[], stats=None, publisher=publisher_facts(slot=slot, slot_user="sub"))
    assert (StuckReason.FAILING_TRANSACTION in found) is fails


def test_copies_that_fail_for_no_visible_reason_are_reported() -> None:
    stuck = only(tables=[UNCOPIED], stats=stats(sync=7, apply=1))
    assert stuck.reason is StuckReason.FAILING_COPY
    assert "7 times" in stuck.found
    copying = subscribed(TWO, state=TableState.DATA_COPY, lsn=None, pid=12, tuples_processed=5)
    assert reasons(tables=[copying], stats=stats(sync=7)) == [StuckReason.UNKNOWN]
    assert reasons(stats=stats(sync=7)) == [StuckReason.UNKNOWN]


tables = st.lists(st.sampled_from([ONE, TWO]), max_size=2, unique=True)


@given(
    enabled=st.booleans(),
    detached=st.booleans(),
    unreachable=st.sampled_from(["", "refused"]),
    missing=tables,
    untaken=tables,
    filled=tables,
    running=st.integers(0, 5),
    applying=st.booleans(),
    errors=st.none() | st.tuples(st.integers(0, 2), st.integers(0, 2)),
)
def test_there_is_always_a_reason_and_adding_a_fact_removes_none_but_unknown(
    enabled: bool,
    detached: bool,
    unreachable: str,
    missing: list[TableName],
    untaken: list[TableName],
    filled: list[TableName],
    running: int,
    applying: bool,
    errors: tuple[int, int] | None,
) -> None:
    facts: dict[str, object] = {
        "state": subscription_state(subenabled=enabled, subslotname=None if detached else "s"),
        "unreachable": unreachable,
        "publisher": None if unreachable else publisher_facts(),
        "missing_tables": missing,
        "untaken_tables": untaken,
        "filled_tables": filled,
        "pool": pool(running=running),
        "workers": [worker()] if applying else [],
        "stats": errors and stats(apply=errors[0], sync=errors[1]),
    }
    before = reasons(**facts)
    assert before
    assert StuckReason.UNKNOWN not in before or before == [StuckReason.UNKNOWN]
    after = reasons(**facts | {"forbidden_tables": [ONE]})
    vague = {StuckReason.UNKNOWN, StuckReason.FAILING_TRANSACTION, StuckReason.FAILING_COPY}
    assert {*before} - vague <= {*after}
    assert StuckReason.PERMISSION in after


def test_the_error_lists_each_reason_with_its_remedy() -> None:
    found = stuck_reasons(subscription_facts(missing_tables=[ONE, TWO]))
    first, *lines = str(SubscriptionStuck("timed out", found)).splitlines()
    assert first == "timed out:"
    assert len(lines) == 2
    for stuck, line in zip(found, lines, strict=True):
        assert line.strip() == f"{stuck.reason}: {stuck.found}; {stuck.remedy}"
