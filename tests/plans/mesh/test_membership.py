"""The members and the policy that the nodes of a mesh have stored."""

from __future__ import annotations

import attrs
import pytest
from meshfacts import USERS, members, table

from pgreplkit.apply import LastUpdateWins
from pgreplkit.errors import ApplyError
from pgreplkit.plans.mesh.layout import Members
from pgreplkit.plans.mesh.membership import (
    PolicyFacts,
    change_findings,
    convergence_found,
    insist_on_policy,
    members_found,
    policy_found,
)
from pgreplkit.values.finding import Finding, Severity

OWN, OTHER = "LastUpdateWins()", "ApplyRemote()"


def recorded(policy: str | None) -> Members:
    return attrs.evolve(members("a", "b"), policy=policy)


def test_a_plan_is_refused_if_the_members_differ_or_have_changed_since_it_was_made() -> None:
    planned = members("a", "b")
    assert members_found({"a": planned, "b": planned}, planned).severity is Severity.OK
    differing = members_found({"a": planned, "b": members("a", "b", "c")}, planned)
    assert differing.found == (
        "a has a:1:active, b:2:active; b has a:1:active, b:2:active, c:3:active"
    )
    stale = members_found({"a": members("a", "b", "c")}, planned)
    assert (stale.severity, stale.remedy) == (Severity.CRITICAL, "plan again")


def test_another_policy_than_that_of_the_mesh_is_refused_and_none_is_accepted() -> None:
    for policy in (OWN, None):
        insist_on_policy("shop", "a", recorded(policy), OWN)
    with pytest.raises(ApplyError, match=r"a has the policy ApplyRemote\(\), and .* LastUpdateWi"):
        insist_on_policy("shop", "a", recorded(OTHER), OWN)
    stored = {"a": recorded(OWN), "b": recorded(None)}
    assert policy_found(OWN, stored).severity is Severity.OK
    assert policy_found(OWN, {"a": recorded(None)}).found == "none is recorded"
    found = policy_found(OWN, {"a": recorded(OWN), "b": recorded(OTHER)})
    assert (found.severity, found.found) == (Severity.CRITICAL, "b has ApplyRemote()")


@pytest.mark.parametrize(
    ("final", "deltas", "running", "critical"),
    [
        ({USERS}, {USERS: ("n",)}, (), set()),
        (set(), {}, (), set()),
        (set(), {}, ("a to b",), {"streams"}),
        ({USERS}, {}, (), {"delta columns"}),
        (set(), {USERS: ("n",)}, (), {"delta columns"}),
        ({USERS}, {USERS: ("other",)}, (), {"delta columns"}),
    ],
)
def test_a_policy_changes_while_no_stream_runs_and_the_same_tables_have_deltas(
    final: set[object],
    deltas: dict[object, tuple[str, ...]],
    running: tuple[str, ...],
    critical: set[str],
) -> None:
    [column] = table().columns
    own = table(columns=(column, attrs.evolve(column, name="n")))
    facts = PolicyFacts(
        members=members("a", "b"),
        final=frozenset(final),  # type: ignore[arg-type]
        tables={USERS: own} if deltas else {},
    )
    findings = change_findings(
        {"a": facts, "b": facts},
        members("a", "b"),
        deltas,  # type: ignore[arg-type]
        running,
    )
    assert {one.check for one in findings if one.severity is Severity.CRITICAL} == critical


def test_a_policy_that_says_nothing_about_its_convergence_is_refused() -> None:
    class Raising:
        def converges(self, *, nodes: int) -> Finding:
            raise KeyError("secret")

    class Wordy:
        def converges(self, *, nodes: int) -> str:
            return "yes"

    raising = ": its converges() raised KeyError"
    for policy, more in ((object(), ""), (Raising(), raising), (Wordy(), "")):
        finding = convergence_found(policy, 2)
        assert finding.severity is Severity.CRITICAL
        kind = type(policy).__name__
        assert finding.found == f"nothing says whether {kind} suits 2 nodes{more}"
    assert convergence_found(LastUpdateWins(), 2).severity is Severity.OK
    assert convergence_found(LastUpdateWins(), 1).severity is Severity.CRITICAL
