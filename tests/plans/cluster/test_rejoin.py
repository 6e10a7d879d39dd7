"""Rejoin: which primary, which steps, and which findings."""

from __future__ import annotations

import attrs
import pytest
from clusterfacts import control_file
from hypothesis import given, strategies as st

from pgreplkit import LSN, ServerVersion, TimelineHistory, TimelineSwitch
from pgreplkit.errors import ServerError, SplitBrain
from pgreplkit.plans.cluster.rejoin import (
    RejoinFacts,
    rejoin_findings,
    rejoin_primary,
    rejoin_steps,
)
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.rows import ClusterNode, ControlState, Severity, Topology

PRIMARY = ClusterNode(
    name="b",
    version=ServerVersion("16.4"),
    is_primary=True,
    system_id=7,
    timeline=2,
    lsn=LSN("0/9"),
)
FACTS = RejoinFacts(
    name="a",
    primary=PRIMARY,
    history=TimelineHistory(2, (TimelineSwitch(1, LSN("0/5000000")),)),
    control=control_file(),
    is_running=False,
    slot=None,
    application_name="a",
)
DIVERGED = control_file(checkpoint_lsn=LSN("0/5000000"))


def kinds(steps: tuple[Step, ...]) -> list[str]:
    return [type(step).__name__ for step in steps]


def test_a_server_without_divergence_is_reconfigured_and_started() -> None:
    assert kinds(rejoin_steps(FACTS, "host=b")) == ["Demote", "StartStandby"]


def test_a_diverged_server_is_rewound_after_a_checkpoint_of_the_primary() -> None:
    steps = rejoin_steps(attrs.evolve(FACTS, control=DIVERGED, slot="a"), "host=b")
    assert kinds(steps) == ["MakeSlots", "Checkpoint", "Rewind", "Demote", "StartStandby"]
    assert [step.node for step in steps] == ["b", "b", "a", "a", "a"]


def test_a_running_second_primary_is_stopped_first() -> None:
    running = control_file(state=ControlState.IN_PRODUCTION)
    steps = rejoin_steps(attrs.evolve(FACTS, control=running, is_running=True), "host=b")
    assert kinds(steps) == ["StopPrimary", "Checkpoint", "Rewind", "Demote", "StartStandby"]


def test_only_slots_whose_standbys_moved_are_dropped() -> None:
    facts = attrs.evolve(FACTS, slots=("two", "other"), primary_slot="two")
    [dropped] = [step for step in rejoin_steps(facts, "host=b") if kinds((step,)) == ["DropSlots"]]
    assert dropped.to_dict()["slots"] == ["two"]


@given(
    st.sampled_from([*ControlState]), st.booleans(), st.integers(1, 3), st.integers(0, 0xA000000)
)
def test_the_finding_and_the_steps_agree_about_a_rewind(
    state: ControlState, is_running: bool, timeline: int, checkpoint: int
) -> None:
    control = control_file(state=state, timeline=timeline, checkpoint_lsn=LSN(checkpoint))
    facts = attrs.evolve(FACTS, control=control, is_running=is_running)
    [_, divergence] = rejoin_findings(facts, None)
    rewinds = "Rewind" in kinds(rejoin_steps(facts, "host=b"))
    assert rewinds == (divergence.severity is Severity.INFO)
    assert rewinds == facts.divergence.needs_rewind


def test_a_server_of_another_system_needs_a_new_copy() -> None:
    facts = attrs.evolve(FACTS, control=control_file(system_id=8))
    [system, _] = rejoin_findings(facts, None)
    assert (system.severity, system.check) == (Severity.CRITICAL, "system")
    assert "plan_clone()" in system.remedy


def test_the_primary_to_rejoin_is_the_only_other_one() -> None:
    other = attrs.evolve(PRIMARY, name="a", timeline=1)
    third = attrs.evolve(PRIMARY, name="c", timeline=3)
    assert rejoin_primary(Topology((PRIMARY, other)), "a") is PRIMARY
    with pytest.raises(SplitBrain):
        rejoin_primary(Topology((PRIMARY, other, third)), "a")
    with pytest.raises(ServerError, match="could not rejoin a: no other server is a primary"):
        rejoin_primary(Topology((other,)), "a")
