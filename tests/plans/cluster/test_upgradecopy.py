"""Copies of rows that fail, and those that only take long."""

from __future__ import annotations

import pytest
from logicalfacts import stats, subscribed, subscription_state

from pgreplkit.plans.cluster.upgradecopy import CopyLook
from pgreplkit.plans.logical.stuck import StuckReason, SubscriptionProblem
from pgreplkit.plans.logical.subscription import SubscriptionStatus
from pgreplkit.rows import TableState


def status(
    errors: int | None, *, enabled: bool = True, has_tables: bool = True
) -> SubscriptionStatus:
    return SubscriptionStatus(
        state=subscription_state(subenabled=enabled),
        workers=(),
        tables=(subscribed(state=TableState.DATA_COPY),) * has_tables,
        stats=None if errors is None else stats(sync=errors),
    )


def looked(counts: list[int | None], reason: StuckReason = StuckReason.UNKNOWN) -> CopyLook:
    look = CopyLook()
    for errors in counts:
        problem = SubscriptionProblem(reason=reason, found="it fails", remedy="-")
        look = look.next(status(errors), [problem])
    return look


@pytest.mark.parametrize(
    ("counts", "is_hopeless"),
    [
        ([5], False),
        ([0, 0, 0], False),
        # A connection was lost once.
        ([0, 1, 1, 1], False),
        ([0, 3], False),
        ([0, 3, 3, 6], False),
        ([0, 3, 6], True),
        ([7, 7, 7, 10, 13], True),
        ([None, None, None], False),
    ],
)
def test_a_copy_is_hopeless_if_its_errors_rise_and_rise(
    counts: list[int | None], is_hopeless: bool
) -> None:
    assert looked(counts).is_hopeless is is_hopeless


@pytest.mark.parametrize(
    ("reason", "is_hopeless"),
    [
        (StuckReason.ROWS_EXIST, True),
        (StuckReason.TABLE_MISSING, True),
        (StuckReason.SLOT_LOST, True),
        (StuckReason.OLD_TRANSACTION, False),
        (StuckReason.NO_WORKER_FREE, False),
        (StuckReason.PUBLISHER_UNREACHABLE, False),
        (StuckReason.FAILING_COPY, False),
    ],
)
def test_a_reason_that_lasts_is_believed_at_the_second_look(
    reason: StuckReason, is_hopeless: bool
) -> None:
    assert not looked([None], reason).is_hopeless
    assert looked([None, None], reason).is_hopeless is is_hopeless


def test_a_subscription_that_is_disabled_or_has_no_table_copies_nothing() -> None:
    assert CopyLook().next(status(0, enabled=False), []).is_hopeless
    assert CopyLook().next(status(0, has_tables=False), []).is_hopeless
