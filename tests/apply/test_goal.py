"""The end of a run: a time, or a call of stop()."""

from __future__ import annotations

import pytest

from pgreplkit import LSN
from pgreplkit.apply.goal import ApplyGoal, RunStopped, applied
from pgreplkit.errors import WaitTimeout


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr("time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def test_a_run_without_a_deadline_has_all_the_time_that_a_step_needs(clock: Clock) -> None:
    goal = ApplyGoal("one", None, None, lambda: None)
    clock.now = 1e9
    assert (goal.is_over, goal.is_late, goal.is_stopping) == (False, False, False)
    assert goal.within(60.0) == 60.0
    goal.check("nothing")


def test_a_run_is_over_at_its_deadline(clock: Clock) -> None:
    goal = ApplyGoal("one", LSN(0x500), 110.0, lambda: None)
    assert (goal.is_over, goal.within(60.0), goal.within(5.0)) == (False, 10.0, 5.0)
    clock.now = 110.0
    assert (goal.is_over, goal.within(60.0)) == (True, 0.0)
    with pytest.raises(WaitTimeout, match="before 0/500: it has applied everything before 0/400"):
        goal.check(applied(LSN(0x400)))
    with pytest.raises(WaitTimeout, match="the last attempt failed: no route"):
        goal.check_time("it has not begun", OSError("no route"))


def test_a_run_that_is_stopped_has_some_seconds_to_end_its_transactions(clock: Clock) -> None:
    goal = ApplyGoal("one", None, 1000.0, lambda: 100.0)
    assert (goal.is_stopping, goal.is_over) == (True, False)
    with pytest.raises(RunStopped):
        goal.check("nothing")
    goal.check_time("nothing")
    clock.now = 105.0
    assert (goal.is_over, goal.is_late) == (True, False)
