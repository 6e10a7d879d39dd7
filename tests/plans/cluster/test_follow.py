"""Follow: whether a standby can follow another server, the steps, and the slot that it leaves."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given, strategies as st

from pgreplkit import LSN, ServerVersion, SystemIdentity, TimelineHistory, TimelineSwitch
from pgreplkit.errors import ServerError
from pgreplkit.plans.cluster.follow import (
    FollowFacts,
    can_follow,
    follow_findings,
    follow_steps,
    insist_on_follow,
)
from pgreplkit.rows import ClusterNode, Severity, Topology
from pgreplkit.testing import strategies as ours

HISTORY = TimelineHistory(2, (TimelineSwitch(1, LSN("0/5000000")),))
UPSTREAM = SystemIdentity(7, 2, LSN("0/6000000"))
A = ClusterNode(name="a", version=ServerVersion("16.4"), is_primary=True, system_id=7)
B = ClusterNode(
    name="b", version=ServerVersion("16.4"), is_primary=False, system_id=7, upstream="a"
)
C = attrs.evolve(B, name="c", upstream="b")
FACTS = FollowFacts(standby=C, upstream=A, slot=None, used_slot=None, application_name="c")
FINE = can_follow(UPSTREAM, UPSTREAM, HISTORY, upstream_writes=True)


@given(ours.timeline_histories(), ours.lsns(), st.data())
def test_a_standby_on_the_history_can_follow_up_to_the_switchpoint(
    history: TimelineHistory, lsn: LSN, data: st.DataObject
) -> None:
    timeline = data.draw(st.sampled_from(history.timelines))
    own = SystemIdentity(7, timeline, lsn)
    upstream = SystemIdentity(7, history.timeline, LSN.MAX)
    finding = can_follow(own, upstream, history, upstream_writes=True)
    assert (finding.severity is Severity.OK) == history.can_follow(timeline, lsn)


@pytest.mark.parametrize(
    ("own", "history", "found"),
    [
        (SystemIdentity(8, 2, LSN("0/1")), HISTORY, "identifier is 8, the upstream's is 7"),
        (SystemIdentity(7, 1, LSN("0/5000001")), HISTORY, "the upstream left at 0/5000000"),
        (SystemIdentity(7, 3, LSN("0/1")), HISTORY, "not a timeline of the upstream's history: 1"),
        (SystemIdentity(7, 2, LSN("0/6000001")), HISTORY, "both are on timeline 2"),
        (SystemIdentity(7, 1, LSN("0/1")), None, "cannot be read"),
    ],
)
def test_a_standby_that_cannot_follow_gets_the_reason(
    own: SystemIdentity, history: TimelineHistory | None, found: str
) -> None:
    finding = can_follow(own, UPSTREAM, history, upstream_writes=True)
    assert finding.severity is Severity.CRITICAL
    assert found in finding.found
    assert finding.remedy


def test_a_standby_may_be_ahead_of_an_upstream_that_is_a_standby() -> None:
    ahead = SystemIdentity(7, 2, LSN("0/7000000"))
    finding = can_follow(ahead, UPSTREAM, HISTORY, upstream_writes=False)
    assert finding.severity is Severity.OK


def test_a_missing_slot_is_created_on_the_upstream_first() -> None:
    steps = follow_steps(attrs.evolve(FACTS, slot="c"), "host=a")
    assert [(type(step).__name__, step.node) for step in steps] == [
        ("MakeSlots", "a"),
        ("Follow", "c"),
    ]
    assert len(follow_steps(FACTS, "host=a")) == 1


@pytest.mark.parametrize(
    ("upstream", "slot", "used_slot", "left"),
    [
        ("b", None, "old", "old"),
        ("b", None, None, None),
        ("a", "old", "old", None),
        ("a", "new", "old", "old"),
        (None, "new", "old", None),
    ],
)
def test_the_slot_that_a_standby_leaves_is_reported(
    upstream: str | None, slot: str | None, used_slot: str | None, left: str | None
) -> None:
    node = attrs.evolve(C, upstream=upstream)
    facts = attrs.evolve(FACTS, standby=node, slot=slot, used_slot=used_slot)
    assert facts.left_slot == left
    checks = {f.check: f for f in follow_findings(facts, FINE, has_control=True)}
    assert ("slot" in checks) == (left is not None)
    if left is not None:
        assert checks["slot"].severity is Severity.WARNING


@pytest.mark.parametrize(("version", "needed"), [("12.9", True), ("13.1", False)])
def test_a_control_is_needed_only_where_the_standby_must_be_restarted(
    version: str, needed: bool
) -> None:
    facts = attrs.evolve(FACTS, standby=attrs.evolve(C, version=ServerVersion(version)))
    findings = follow_findings(facts, FINE, has_control=False)
    assert any(finding.severity is Severity.CRITICAL for finding in findings) == needed


def test_a_primary_and_a_circle_are_refused() -> None:
    topology = Topology((A, B, C))
    insist_on_follow(topology, "c", "a")
    with pytest.raises(ServerError, match="could not let a follow b: they are not a standby"):
        insist_on_follow(topology, "a", "b")
    with pytest.raises(ServerError, match="c receives from b: they would form a circle"):
        insist_on_follow(topology, "b", "c")
    with pytest.raises(KeyError):
        insist_on_follow(topology, "x", "a")
