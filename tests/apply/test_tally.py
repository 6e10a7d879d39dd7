"""The counts of an applier, which continue from run to run, and the report of one run."""

from datetime import UTC, datetime, timedelta
from typing import cast

import attrs
import pytest

from pgreplkit.apply import ConflictKind
from pgreplkit.apply.tally import ApplyTally
from pgreplkit.changes import Row
from pgreplkit.protocol.rawtransactions import RawTransaction

COMMITTED = datetime(2026, 1, 1, tzinfo=UTC)


@attrs.frozen
class Committed:
    """A transaction, of which a lag needs the time only."""

    commit_time: datetime = COMMITTED


def test_a_report_has_what_was_counted_since_the_run_began() -> None:
    tally = ApplyTally(transactions=5, changes=9, parked=1)
    tally.conflicts.update({ConflictKind.INSERT_EXISTS: 3, ConflictKind.DELETE_MISSING: 2})
    before = tally.copy()
    tally.transactions += 2
    tally.copied_rows += 7
    tally.conflicts[ConflictKind.DELETE_MISSING] += 4
    report = tally.report(before)
    assert (report.transactions, report.changes, report.parked, report.copied_rows) == (2, 0, 0, 7)
    assert report.conflicts == {ConflictKind.DELETE_MISSING: 4}


@pytest.mark.parametrize(("seconds", "lag"), [(2, timedelta(seconds=2)), (-1, timedelta(0))])
def test_a_lag_is_the_age_of_the_last_commit_by_the_publishers_clock_and_never_negative(
    seconds: int, lag: timedelta
) -> None:
    transaction = cast("RawTransaction[Row]", Committed())
    tally = ApplyTally(last=(transaction, 100.0 + seconds))
    tally.epoch = COMMITTED - timedelta(seconds=100)
    assert tally.lag == lag


def test_an_applier_that_has_applied_nothing_has_no_lag_and_waits_for_no_clock() -> None:
    assert (ApplyTally().lag, ApplyTally().waits_for_clock()) == (None, timedelta(0))
