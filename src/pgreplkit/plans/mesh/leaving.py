"""The findings on a node that leaves a mesh, or is removed from it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from pgreplkit.plans.mesh.layout import Members
from pgreplkit.plans.mesh.membership import members_found
from pgreplkit.plans.mesh.rights import MemberRights, member_findings
from pgreplkit.plans.mesh.status import MeshStream, StreamState
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.lsn import LSN


def leave_findings(
    streams: Sequence[MeshStream],
    stored: Mapping[str, Members],
    planned: Members,
    rights: Mapping[str, MemberRights],
) -> list[Finding]:
    """Return the findings on a node that leaves.

    ``streams`` bring its changes to the others. Of a node that cannot be reached, nothing else is
    known.
    """
    return [
        *map(_stream_found, streams),
        *([members_found(stored, planned)] if stored else []),
        *(one for node, member in rights.items() for one in member_findings(node, member)),
    ]


def _stream_found(stream: MeshStream) -> Finding:
    return checked(
        f"stream to {stream.target}",
        ok=stream.state is StreamState.STREAMING,
        observed=stream.state.value,
        needed=f"{StreamState.STREAMING}: the node leaves when its changes are applied there",
        remedy={
            StreamState.UNREACHABLE: "start the servers of both nodes, or remove the one that is"
            " lost with plan_remove()",
            StreamState.LOST: f"let {stream.target} leave, and join again: it lacks changes",
            StreamState.STOPPED: "run the mesh while the node leaves",
            StreamState.MISSING: "resume or undo the operation that was interrupted; if a failover"
            " has lost the slot, stop the node's server, and use plan_remove()",
        }.get(stream.state, "resume or undo the operation that was interrupted"),
        # A stopped stream may have ended just now, and start again.
        otherwise=Severity.WARNING if stream.state is StreamState.STOPPED else Severity.CRITICAL,
    )


def remove_findings(
    lost: str,
    *,
    answers: bool,
    stored: Mapping[str, Members],
    planned: Members,
    positions: Mapping[str, LSN],
    rights: Mapping[str, MemberRights],
) -> list[Finding]:
    """Return the findings on a lost node, and on its transactions that the others have.

    ``positions`` are the ends of its last transactions that each of the others has applied.
    """
    # The streams have the lost node's own positions, so these compare.
    furthest = max(positions.values(), default=LSN.INVALID)
    behind = [node for node, position in positions.items() if position < furthest]
    ahead = [node for node in positions if node not in behind]
    return [
        checked(
            f"node {lost}",
            ok=not answers,
            observed="it can be reached" if answers else "it cannot be reached",
            needed="a node that is lost: another one should leave, so that no change is lost",
            remedy=f"plan_leave({lost!r}); stop its server first if it has lost slots or changes"
            if lost in planned.present
            else f"plan_forget({lost!r}), as it was removed before",
        ),
        members_found(stored, planned),
        checked(
            f"changes of {lost}",
            ok=not behind,
            observed=", ".join(
                f"{node} has applied them up to {position}" for node, position in positions.items()
            ),
            needed="the same changes on all nodes: rows that it changed later can differ",
            remedy=f"after the removal, update on {' or '.join(ahead)} the rows that compare()"
            " returns",
            otherwise=Severity.WARNING,
        ),
        *(one for node, member in rights.items() for one in member_findings(node, member)),
    ]


def forget_findings(
    node: str,
    *,
    own: Mapping[str, Members],
    planned: Members,
    stored: Mapping[str, Members | None],
    known: Collection[str],
    slots: Mapping[str, bool],
    rights: MemberRights,
) -> list[Finding]:
    """Return the findings on a node that forgets a mesh which has ended elsewhere.

    ``stored`` are the members that the others have stored, None for a node that did not answer;
    those that are not ``known`` were not asked.
    """
    used = [slot for slot, is_used in slots.items() if is_used]
    return [
        members_found(own, planned),
        *(_other_found(node, other, members, known) for other, members in stored.items()),
        checked(
            f"slots of {node}",
            ok=not used,
            observed=f"a stream uses {', '.join(used)}"
            if used
            else f"no stream uses {', '.join(slots)}"
            if slots
            else "it has none of the mesh",
            needed="slots that no stream uses, to drop them",
            remedy="stop the processes of the mesh",
        ),
        *member_findings(node, rights),
    ]


def _other_found(node: str, other: str, members: Members | None, known: Collection[str]) -> Finding:
    is_member = members is not None and node in members.present
    observed = f"{node} is {'a' if is_member else 'no'} member there"
    remedy = f"plan_leave({node!r}), so that no change is lost"
    if members is None:
        observed = "it cannot be reached" if other in known else "this object does not know it"
        remedy = "start it" if other in known else "pass it with the other nodes"
        remedy += "; if its server no longer exists, run the plan with force=True"
    return checked(
        f"mesh on {other}",
        ok=members is not None and not is_member,
        observed=observed,
        needed=f"a mesh that has ended, or that continues without {node}",
        remedy=remedy,
    )
