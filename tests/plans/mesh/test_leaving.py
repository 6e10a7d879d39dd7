"""Whether a node may leave a mesh, or be removed."""

from __future__ import annotations

import pytest
from logicalfacts import RIGHTS
from meshfacts import members

from pgreplkit import LSN
from pgreplkit.plans.mesh.layout import Members
from pgreplkit.plans.mesh.leaving import forget_findings, leave_findings, remove_findings
from pgreplkit.plans.mesh.rights import MemberRights
from pgreplkit.plans.mesh.status import MeshStream, StreamState
from pgreplkit.values.finding import Finding, Severity


@pytest.mark.parametrize(
    ("state", "severity"),
    [
        ("streaming", Severity.OK),
        ("stopped", Severity.WARNING),
        ("copying", Severity.CRITICAL),
        ("missing", Severity.CRITICAL),
        ("unreachable", Severity.CRITICAL),
        ("lost", Severity.CRITICAL),
    ],
)
def test_a_node_leaves_while_the_others_get_its_changes(state: str, severity: Severity) -> None:
    stream = MeshStream(source="a", target="b", state=StreamState(state))
    [finding] = leave_findings([stream], {}, members("a", "b"), {})
    assert (finding.check, finding.severity) == ("stream to b", severity)


def removal(answers: bool, a: str, c: str, third: str = "c") -> dict[str, Finding]:
    stored = {"a": members("a", "b", "c"), "c": members("a", "b", third)}
    planned, positions = members("a", "b", "c"), {"a": LSN(a), "c": LSN(c)}
    findings = remove_findings(
        "b", answers=answers, stored=stored, planned=planned, positions=positions, rights={}
    )
    return {finding.check: finding for finding in findings}


def test_a_lost_node_is_removed_and_the_check_names_the_nodes_that_have_its_changes() -> None:
    assert {one.severity for one in removal(False, "0/5", "0/5").values()} == {Severity.OK}
    behind = removal(False, "0/5", "0/4")["changes of b"]
    assert behind.severity is Severity.WARNING
    assert behind.found == "a has applied them up to 0/5, c has applied them up to 0/4"
    assert "update on a the rows" in behind.remedy
    alive = removal(True, "0/5", "0/5")["node b"]
    stop = "stop its server first if it has lost slots or changes"
    assert (alive.severity, alive.remedy) == (Severity.CRITICAL, f"plan_leave('b'); {stop}")
    back = remove_findings(
        "b", answers=True, stored={}, planned=members("a", "c"), positions={}, rights={}
    )[0]
    assert back.remedy == "plan_forget('b'), as it was removed before"
    interrupted = removal(False, "0/5", "0/5", third="d")["members"]
    assert interrupted.severity is Severity.CRITICAL


@pytest.mark.parametrize(
    ("there", "known", "found"),
    [
        (Members(all=(), ties="rank"), "ab", "b is no member there"),
        (members("a", "c"), "ab", "b is no member there"),
        (members("a", "b"), "ab", "b is a member there"),
        (None, "ab", "it cannot be reached"),
        (None, "b", "this object does not know it"),
    ],
)
def test_a_node_forgets_a_mesh_that_is_known_to_continue_without_it(
    there: Members | None, known: str, found: str
) -> None:
    own, rights = members("a", "b"), MemberRights(major=18, may_replicate=True, rights=RIGHTS)
    findings = {
        one.check: one
        for slots in ({}, {"pgreplkit_shop_b_a": False}, {"pgreplkit_shop_b_a": True})
        for one in forget_findings(
            "b",
            own={"b": own},
            planned=own,
            stored={"a": there},
            known=[*known],
            slots=slots,
            rights=rights,
        )
    }
    assert findings["mesh on a"].found == found
    is_ended = found == "b is no member there"
    assert (findings["mesh on a"].severity is Severity.OK) == is_ended
    assert ("force=True" in findings["mesh on a"].remedy) == (there is None)
    assert findings["slots of b"].found == "a stream uses pgreplkit_shop_b_a"
    assert findings["slots of b"].severity is Severity.CRITICAL
    assert findings["members"].severity is Severity.OK
