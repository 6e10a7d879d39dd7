"""The phases in which operations of an upgrade are possible, and the remedies in the others."""

from __future__ import annotations

import re

import attrs
import pytest
from upgradefacts import following

from pgreplkit.plans.cluster.upgradephases import (
    UpgradeOperation,
    compared_publisher,
    not_compared,
    phase_finding,
)
from pgreplkit.plans.cluster.upgradestatus import UpgradePhase, UpgradeStatus
from pgreplkit.values.finding import Severity

PHASES = [*UpgradePhase]
POSSIBLE = {
    "plan_prepare": [UpgradePhase.NEW],
    "plan_cutover": [UpgradePhase.PREPARED],
    "plan_rollback": [UpgradePhase.CUT_OVER],
    "plan_finish": [UpgradePhase.PREPARED, UpgradePhase.CUT_OVER],
    "plan_resume": [UpgradePhase.COPYING, UpgradePhase.SWITCHING],
}
PLANNED = {
    UpgradeOperation.PREPARE: "plan_prepare",
    UpgradeOperation.CUTOVER: "plan_cutover",
    UpgradeOperation.ROLLBACK: "plan_rollback",
    UpgradeOperation.FINISH: "plan_finish",
}
NEW = UpgradeStatus(
    name="shop",
    phase=UpgradePhase.NEW,
    forward=(),
    back=(),
    old_is_fenced=False,
    new_is_fenced=False,
)
EXCHANGED = "pass the servers, databases and the name of the preparation: old and new may be"
COPYING = "wait until all tables are copied; if the preparation was interrupted, plan_resume()"
SWITCHING = "plan_resume(), with the redirect of the interrupted operation, returns it"
END = "plan_finish(): there is no way back afterwards"
REMEDIES = {
    UpgradeOperation.PREPARE: [
        "",
        COPYING,
        "give it up with plan_finish() and begin again",
        SWITCHING,
        END,
        "DROP SCHEMA shop_fence CASCADE there",
    ],
    UpgradeOperation.CUTOVER: [
        f"prepare it first; if it is prepared, {EXCHANGED}",
        COPYING,
        "",
        SWITCHING,
        f"it is done; roll back with plan_rollback(), or end it with {END}",
        "nothing is left to do",
    ],
    UpgradeOperation.ROLLBACK: [
        EXCHANGED,
        "nothing to roll back",
        "to give the upgrade up, call plan_finish()",
        SWITCHING,
        "",
        "none: the upgrade has ended",
    ],
    UpgradeOperation.FINISH: [EXCHANGED, COPYING, "", SWITCHING, "", "nothing is left to do"],
}


def status(phase: UpgradePhase) -> UpgradeStatus:
    return attrs.evolve(NEW, phase=phase)


def test_the_phases_are_in_their_order() -> None:
    words = ["new", "copying", "prepared", "switching", "cut over", "finished"]
    assert [str(phase) for phase in PHASES] == words


@pytest.mark.parametrize("phase", PHASES, ids=str)
@pytest.mark.parametrize("operation", [*UpgradeOperation])
def test_each_operation_has_a_remedy_in_each_phase_in_which_it_is_not_possible(
    operation: UpgradeOperation, phase: UpgradePhase
) -> None:
    found = phase_finding(status(phase), operation)
    wanted = REMEDIES[operation][PHASES.index(phase)]
    assert (found.severity is Severity.OK) == (not wanted)
    assert bool(found.remedy) == bool(wanted)
    assert wanted in (found.remedy or "")
    assert (phase in POSSIBLE[PLANNED[operation]]) == (not wanted)


@pytest.mark.parametrize("phase", PHASES, ids=str)
@pytest.mark.parametrize("planned", PHASES, ids=str)
def test_an_end_is_possible_in_the_phase_only_in_which_it_was_planned(
    planned: UpgradePhase, phase: UpgradePhase
) -> None:
    found = phase_finding(status(phase), UpgradeOperation.FINISH, planned=planned)
    is_possible = phase in POSSIBLE["plan_finish"]
    assert (found.severity is Severity.OK) == (is_possible and planned is phase)
    if is_possible and planned is not phase:
        assert found.found == f"shop is {phase}, and was {planned} when the end was planned"
        assert "call plan_finish() again if the upgrade is still to" in (found.remedy or "")
        way_back = "no way back" in (found.remedy or "")
        assert way_back == (phase is UpgradePhase.CUT_OVER)


@pytest.mark.parametrize("phase", PHASES, ids=str)
@pytest.mark.parametrize("operation", [*UpgradeOperation])
def test_what_a_remedy_advises_is_possible_in_that_phase(
    operation: UpgradeOperation, phase: UpgradePhase
) -> None:
    for planned in PHASES if operation is UpgradeOperation.FINISH else [None]:
        remedy = phase_finding(status(phase), operation, planned=planned).remedy or ""
        for method in re.findall(r"plan_\w+", remedy):
            assert phase in POSSIBLE[method]
        # It takes the way back away.
        if phase is UpgradePhase.CUT_OVER and "plan_finish" in remedy:
            assert "no way back" in remedy
        if "undo() it" in remedy:
            assert "resume() or" in remedy


@pytest.mark.parametrize(
    ("old", "new", "follows", "publisher"),
    [
        (False, False, False, "old"),
        (False, True, False, "old"),
        # A rollback that has opened the old server, and has not dropped its subscriptions.
        (False, True, True, "old"),
        # A cutover is waiting, and a rollback.
        (True, True, False, "old"),
        (True, True, True, "new"),
        # A cutover that has opened the new server.
        (True, False, False, "new"),
        (True, False, True, "new"),
    ],
)
def test_rows_are_compared_with_those_of_the_server_that_accepts_writes(
    old: bool, new: bool, follows: bool, publisher: str
) -> None:
    back = (following(),) if follows else ()
    found = attrs.evolve(NEW, old_is_fenced=old, new_is_fenced=new, back=back)
    for phase in PHASES:
        assert compared_publisher(attrs.evolve(found, phase=phase)) == publisher


@pytest.mark.parametrize("phase", PHASES, ids=str)
def test_each_phase_has_a_reason_why_no_tables_are_compared(phase: UpgradePhase) -> None:
    reasons = {not_compared(status(each)) for each in PHASES}
    assert len(reasons) == len(PHASES)
    assert not_compared(status(phase)).startswith("the upgrade 'shop' ")
