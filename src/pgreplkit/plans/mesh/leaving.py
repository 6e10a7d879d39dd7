"""The findings on a node that leaves a mesh, or is removed from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgreplkit.plans.mesh.layout import Members
from pgreplkit.plans.mesh.membership import members_found
from pgreplkit.plans.mesh.status import MeshStream, StreamState
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.lsn import LSN


def leave_findings(streams: Sequence[MeshStream]) -> list[Finding]:
    """Return the findings on the streams by which the others get the changes of a node."""
    return [
        checked(
            f"stream to {stream.target}",
            ok=stream.state is StreamState.STREAMING,
            observed=stream.state.value,
            needed=f"{StreamState.STREAMING}: the node leaves when its changes are applied there",
            remedy="run the mesh while the node leaves",
            # A stream that stands may have ended just now, and start again.
            otherwise=Severity.WARNING
            if stream.state is StreamState.STOPPED
            else Severity.CRITICAL,
        )
        for stream in streams
    ]


def remove_findings(
    lost: str,
    answers: bool,
    stored: Mapping[str, Members],
    planned: Members,
    positions: Mapping[str, LSN],
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
            remedy=f"plan_leave({lost!r})",
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
    ]
