"""Rejoin: the steps that make a former primary a standby again, and their conditions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import attrs

from pgreplkit.errors import ServerError
from pgreplkit.plans.cluster.rewind import (
    NEW_COPY,
    Divergence,
    RewindFacts,
    divergence,
    rewind_findings,
)
from pgreplkit.plans.cluster.steps import (
    Checkpoint,
    Demote,
    DropSlots,
    MakeSlots,
    Rewind,
    StartStandby,
    Step,
    StopPrimary,
)
from pgreplkit.plans.cluster.topology import ClusterNode, Topology
from pgreplkit.plans.cluster.upstream import missing_slots
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.controlfile import ControlFile
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.timeline import TimelineHistory

_DIVERGENCE = {
    Divergence.NONE: "which the primary has as well",
    Divergence.DIVERGED: "and the primary's history left that timeline before the end of its WAL",
    Divergence.UNKNOWN: "and the end of its WAL is known only after a clean shutdown or recovery",
}


@attrs.frozen(kw_only=True)
class RejoinFacts:
    """The state of a server that becomes a standby of the primary again."""

    name: str
    primary: ClusterNode
    history: TimelineHistory
    """The primary's timeline history."""
    control: ControlFile
    """The server's control file; while the server runs, that of its last checkpoint."""
    is_running: bool
    slot: str | None
    """The slot that it will use on the primary."""
    application_name: str
    slots: tuple[str, ...] = ()
    """Slots that it has as a former primary."""
    primary_slot: str | None = None
    """The slot that the primary uses as a standby."""
    client_address: str | None = None
    """The address from which the server connects to the primary; None if that is unknown."""
    is_attached: bool = False
    """Whether the server streams from the primary already."""

    @property
    def divergence(self) -> Divergence:
        """Whether the server has WAL that the primary lacks."""
        return divergence(self.control, self.history, is_running=self.is_running)

    @property
    def stale_slots(self) -> tuple[str, ...]:
        """Slots of the former primary whose standbys moved to the new one.

        The new primary used one of them, or has slots of the same names that are in use.
        """
        # Slots of consumers that did not move are left alone.
        moved = {slot.slot_name for slot in self.primary.slots if slot.active}
        return tuple(slot for slot in self.slots if slot in moved or slot == self.primary_slot)


def rejoin_primary(topology: Topology, name: str) -> ClusterNode:
    """Return the primary that a server will follow.

    Raises:
        ServerError: If there is no other primary.
        SplitBrain: If there are several.
    """
    # The server itself may be a primary: that is why it has to rejoin.
    others = [node for node in topology.primaries if node.name != name]
    if len(others) > 1:
        raise topology.split_brain()
    if not others:
        raise ServerError(f"rejoin {name}", "no other server is a primary that it could follow")
    return others[0]


def rejoin_steps(facts: RejoinFacts, address: str) -> tuple[Step, ...]:
    """Return the steps in order; ``address`` is the primary's."""
    name, primary = facts.name, facts.primary.name
    # Neither pg_rewind nor a new configuration file works on a server that runs.
    steps: list[Step] = [StopPrimary(name)] if facts.is_running else []
    if missing := missing_slots([facts.slot], facts.primary.slots):
        steps.append(MakeSlots(primary, missing))
    if facts.divergence.needs_rewind:
        # pg_rewind reads the primary's timeline from its control file, which a promotion changes
        # only with the next checkpoint.
        steps += [Checkpoint(primary), Rewind(name, primary, address)]
    major = facts.primary.major
    steps.append(Demote(name, primary, address, facts.slot, facts.application_name, major))
    steps.append(StartStandby(name, primary))
    # Last: another attempt may still need the WAL that they keep.
    if facts.stale_slots:
        steps.append(DropSlots(name, facts.stale_slots))
    return tuple(steps)


def rejoin_findings(facts: RejoinFacts, rewind: RewindFacts | None) -> Sequence[Finding]:
    """Check that the server belongs to the cluster, and that it can be rewound if it must be.

    ``rewind`` is None if no rewind is planned.
    """
    return [*_identity(facts), *(() if rewind is None else rewind_findings(rewind))]


def _identity(facts: RejoinFacts) -> Iterator[Finding]:
    control, primary = facts.control, facts.primary
    yield checked(
        "system",
        ok=control.system_id == primary.system_id,
        observed=f"system identifier {control.system_id}",
        needed=f"{primary.system_id}, as {primary.name}",
        remedy=NEW_COPY,
    )
    yield checked(
        "divergence",
        ok=facts.divergence is Divergence.NONE,
        observed=f"its last checkpoint is at {control.checkpoint_lsn} of timeline"
        f" {control.timeline}, {_DIVERGENCE[facts.divergence]}",
        needed="all its WAL is part of the primary's history",
        remedy="pg_rewind is run",
        otherwise=Severity.INFO,
    )
