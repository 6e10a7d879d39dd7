"""Whether the nodes of a mesh agree on its members and its policy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from pgreplkit.catalog.logical.applytables import TargetTable
from pgreplkit.errors import ApplyError
from pgreplkit.plans.logical.deltacolumns import delta_problems
from pgreplkit.plans.mesh.layout import Members, disagreement
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import TableName

_REMEDY = "use the policy of the mesh in every process, or change it with plan_change_policy()"


def convergence_found(policy: object, nodes: int) -> Finding:
    """Return what a policy says about a number of nodes that all write."""
    # A policy of the user may lack the method, which the protocol does not ask for.
    converges, finding = getattr(policy, "converges", None), None
    found = f"nothing says whether {type(policy).__name__} suits {nodes} nodes"
    if nodes > 1 and callable(converges):
        try:
            finding = converges(nodes=nodes)
        except Exception as error:  # it may be the caller's own
            found += f": its converges() raised {type(error).__name__}"
    if isinstance(finding, Finding):
        return finding
    return Finding(
        check="policy",
        severity=Severity.CRITICAL,
        found=found,
        needed="a policy with which all nodes have equal rows in the end",
        remedy="use LastUpdateWins()",
    )


def members_found(stored: Mapping[str, Members], planned: Members) -> Finding:
    """Return the finding on the members that the nodes have stored, and a plan relies on."""
    differing = disagreement(stored)
    # The steps would restore what another plan has changed since.
    is_stale = any(members.all != planned.all for members in stored.values())
    return checked(
        "members",
        ok=not differing and not is_stale,
        observed=differing
        or (
            "they have changed since the plan was made"
            if is_stale
            else "all members have the same members and ranks stored"
        ),
        needed="the same members and ranks on each node, as they were when the plan was made",
        remedy="resume or undo the operation that was interrupted" if differing else "plan again",
    )


def policy_found(own: str, stored: Mapping[str, Members]) -> Finding:
    """Return the finding on the policy that the members have recorded."""
    others = [
        f"{node} has {members.policy}"
        for node, members in stored.items()
        if members.policy not in (None, own)
    ]
    recorded = any(members.policy == own for members in stored.values())
    return checked(
        "policy of the members",
        ok=not others,
        observed=", ".join(others) or (own if recorded else "none is recorded"),
        needed=f"the policy of this object, {own}: with two, the rows would differ in the end",
        remedy=_REMEDY,
    )


def insist_on_policy(mesh: str, node: str, members: Members, own: str) -> None:
    """Refuse to run the streams to a node with another policy than that of the mesh.

    Raises: ApplyError.
    """
    if members.policy not in (None, own):
        raise ApplyError(
            f"run the mesh {mesh!r}",
            f"{node} has the policy {members.policy}, and this process has {own}: the rows would"
            " differ in the end",
            remedy=_REMEDY,
        )


@attrs.frozen(kw_only=True)
class PolicyFacts:
    """The state of a node on which another policy is recorded."""

    members: Members
    final: frozenset[TableName]
    """The tables in which a deletion wins over every change."""
    tables: Mapping[TableName, TargetTable]
    """The tables with delta columns of the new policy."""


def change_findings(
    nodes: Mapping[str, PolicyFacts],
    planned: Members,
    deltas: Mapping[TableName, tuple[str, ...]],
    running: Sequence[str],
) -> list[Finding]:
    """Return the findings on a change of the policy; ``running`` are the streams that run."""
    # Triggers, positions and stamps are those of the policy with which the nodes were prepared.
    problems = [
        f"{table} {'has' if table in facts.final else 'has no'} delta columns on {node}"
        for node, facts in nodes.items()
        for table in sorted(facts.final ^ deltas.keys())
    ]
    problems += [
        f"{problem}, on {node}"
        for node, facts in nodes.items()
        for table, own in facts.tables.items()
        for problem in delta_problems(own, deltas[table])
    ]
    return [
        members_found({node: facts.members for node, facts in nodes.items()}, planned),
        checked(
            "streams",
            ok=not running,
            observed=f"{', '.join(running)} run" if running else "none runs",
            needed="no running stream, and no change that is still on its way: those that are"
            " applied before the change and after it are decided by different policies",
            remedy="stop writes, call wait_for_sync(), and stop all processes of the mesh",
        ),
        checked(
            "delta columns",
            ok=not problems,
            observed="; ".join(problems) or "the same tables have some",
            needed="delta columns in the same tables as before",
            remedy="create another mesh with the policy",
        ),
    ]
