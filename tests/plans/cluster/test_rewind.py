"""Divergence: the end of a server's WAL by its control file, and the requirements of pg_rewind."""

from __future__ import annotations

import attrs
import pytest
from clusterfacts import control_file
from hypothesis import assume, given, strategies as st

from pgreplkit import LSN, TimelineHistory, TimelineSwitch
from pgreplkit.plans.cluster.rewind import Divergence, RewindFacts, divergence, rewind_findings
from pgreplkit.rows import ControlState, Severity
from pgreplkit.testing import strategies as ours

HISTORY = TimelineHistory(2, (TimelineSwitch(1, LSN("0/5000000")),))
LEFT, HERE = LSN("0/5000000"), LSN("0/9000000")
NONE, DIVERGED, UNKNOWN = Divergence.NONE, Divergence.DIVERGED, Divergence.UNKNOWN


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, NONE),
        ({"checkpoint_lsn": LEFT}, DIVERGED),
        ({"checkpoint_lsn": LEFT - 1}, NONE),
        ({"timeline": 3}, DIVERGED),
        ({"timeline": 2, "checkpoint_lsn": HERE}, NONE),
        ({"state": ControlState.IN_PRODUCTION}, UNKNOWN),
        ({"state": ControlState.IN_PRODUCTION, "checkpoint_lsn": LEFT}, DIVERGED),
        ({"state": ControlState.SHUT_DOWN_IN_RECOVERY}, NONE),
        (
            {
                "state": ControlState.SHUT_DOWN_IN_RECOVERY,
                "min_recovery_lsn": LSN("0/6000000"),
                "min_recovery_timeline": 1,
            },
            DIVERGED,
        ),
    ],
)
def test_a_stopped_server_has_diverged_if_its_last_record_is_not_in_the_history(
    changed: dict[str, object], expected: Divergence
) -> None:
    assert divergence(control_file(**changed), HISTORY) is expected


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"state": ControlState.IN_PRODUCTION}, DIVERGED),
        ({"state": ControlState.IN_PRODUCTION, "timeline": 2}, UNKNOWN),
        ({"state": ControlState.IN_PRODUCTION, "timeline": 3}, DIVERGED),
        ({"state": ControlState.IN_ARCHIVE_RECOVERY}, UNKNOWN),
        ({"state": ControlState.IN_ARCHIVE_RECOVERY, "checkpoint_lsn": LEFT}, DIVERGED),
    ],
)
def test_a_running_primary_of_an_older_timeline_will_diverge_and_a_standby_need_not(
    changed: dict[str, object], expected: Divergence
) -> None:
    assert divergence(control_file(**changed), HISTORY, is_running=True) is expected


@given(ours.timeline_histories(), st.data())
def test_a_cleanly_stopped_server_never_loses_wal_without_a_rewind(
    history: TimelineHistory, data: st.DataObject
) -> None:
    timeline = data.draw(st.sampled_from(history.timelines) | ours.timelines())
    checkpoint = data.draw(ours.lsns())
    stopped = control_file(timeline=timeline, checkpoint_lsn=checkpoint)
    verdict = divergence(stopped, history)
    # The record that begins there is longer than one byte.
    assume(checkpoint < LSN.MAX)
    follows = history.can_follow(timeline, checkpoint + 1)
    assert verdict is (NONE if follows else DIVERGED)


@given(ours.timeline_histories(), st.sampled_from([*ControlState]), st.booleans(), st.data())
def test_a_server_of_a_foreign_timeline_has_always_diverged(
    history: TimelineHistory, state: ControlState, is_running: bool, data: st.DataObject
) -> None:
    timeline = data.draw(ours.timelines())
    assume(timeline not in history.timelines)
    control = control_file(timeline=timeline, state=state, checkpoint_lsn=data.draw(ours.lsns()))
    assert divergence(control, history, is_running=is_running) is DIVERGED


def test_a_server_past_a_lower_later_switchpoint_has_diverged() -> None:
    falling = TimelineHistory.parse("1\t0/9000000\n2\t0/5000000\n", timeline=3)
    assert divergence(control_file(checkpoint_lsn=LSN("0/7000000")), falling) is DIVERGED
    assert divergence(control_file(checkpoint_lsn=LSN("0/4FFFFFF")), falling) is NONE
    assert (
        divergence(control_file(timeline=2, checkpoint_lsn=LSN("0/9000000")), falling) is DIVERGED
    )


FACTS = RewindFacts(
    major=16,
    control=control_file(),
    is_running=False,
    version="pg_rewind (PostgreSQL) 16.4",
    was_tried=True,
    refusal=None,
)


def test_a_rewind_that_would_succeed_has_no_problem() -> None:
    assert all(finding.severity is Severity.OK for finding in rewind_findings(FACTS))


@pytest.mark.parametrize(
    ("changed", "check"),
    [
        ({"version": None}, "pg_rewind"),
        ({"control": control_file(wal_log_hints=False)}, "wal_log_hints"),
        ({"major": 12, "control": control_file(state=ControlState.IN_PRODUCTION)}, "shutdown"),
        ({"refusal": "could not find the WAL"}, "pg_rewind --dry-run"),
    ],
)
def test_each_obstacle_to_a_rewind_is_critical_and_leads_to_a_new_copy(
    changed: dict[str, object], check: str
) -> None:
    facts = attrs.evolve(FACTS, **changed)  # type: ignore[arg-type]
    [problem] = [f for f in rewind_findings(facts) if f.severity is not Severity.OK]
    assert (problem.check, problem.severity) == (check, Severity.CRITICAL)
    assert "plan_clone()" in problem.remedy


def test_pg_rewind_is_tried_only_on_a_server_that_was_shut_down_cleanly() -> None:
    assert FACTS.can_be_tried
    crashed = control_file(state=ControlState.IN_PRODUCTION)
    for changed in ({"control": crashed}, {"is_running": True}, {"version": None}):
        assert not attrs.evolve(FACTS, **changed).can_be_tried
