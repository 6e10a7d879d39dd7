"""RunGoal: the time at which a run of a feed ends."""

from __future__ import annotations

import time

import pytest

from pgreplkit import LSN
from pgreplkit.errors import SinkUnreachable, WaitTimeout
from pgreplkit.feeds.goal import RunGoal


def test_a_run_without_a_timeout_is_never_late() -> None:
    goal = RunGoal("orders")
    goal.check(None)
    assert (goal.is_late, goal.within(60.0)) == (False, 60.0)


def test_a_run_says_how_far_it_was_when_it_is_late() -> None:
    now = time.monotonic()
    soon = RunGoal("orders", None, now + 10)
    soon.check(None)
    assert (soon.within(5.0), 9 < soon.within(60.0) <= 10) == (5.0, True)
    late = RunGoal("orders", LSN("0/9"), now)
    assert (late.is_late, late.within(60.0)) == (True, 0.0)
    with pytest.raises(WaitTimeout, match=r"everything before 0/9: it has not begun$"):
        late.check(None)
    error = SinkUnreachable("connect to NATS", "refused")
    with pytest.raises(WaitTimeout, match=r"up to 0/5; the last attempt failed: .* refused$"):
        RunGoal("orders", None, now).check(LSN("0/5"), error)


def test_only_an_exact_goal_excludes_what_ends_after_it() -> None:
    before, at, after = LSN("0/8"), LSN("0/9"), LSN("0/A")
    exact = RunGoal("orders", at, is_exact=True)
    assert [exact.allows(end) for end in (before, at, after)] == [True, True, False]
    assert RunGoal("orders", at).allows(after)
    assert RunGoal("orders", is_exact=True).allows(after)
