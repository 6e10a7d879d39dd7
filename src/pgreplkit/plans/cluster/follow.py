"""Follow: the steps that connect a standby to another upstream, and their conditions."""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from pgreplkit.catalog.features import has
from pgreplkit.errors import ServerError
from pgreplkit.plans.cluster.rewind import NEW_COPY
from pgreplkit.plans.cluster.steps import Follow, MakeSlots, Step
from pgreplkit.plans.cluster.topology import ClusterNode, Topology
from pgreplkit.plans.cluster.upstream import missing_slots
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.identity import SystemIdentity
from pgreplkit.values.timeline import TimelineHistory

_REMEDY = f"bring it back with plan_rejoin(), which uses pg_rewind, or {NEW_COPY}"


@attrs.frozen(kw_only=True)
class FollowFacts:
    """A standby and its future upstream."""

    standby: ClusterNode
    upstream: ClusterNode
    slot: str | None
    """The slot that it will use on the new upstream."""
    used_slot: str | None
    """The slot that it uses now."""
    application_name: str | None
    client_address: str | None = None
    """The address from which it connects to its present upstream; None if that is unknown."""

    @property
    def is_attached(self) -> bool:
        """Whether the standby streams from this upstream already."""
        return self.standby.upstream == self.upstream.name

    @property
    def keeps_slot(self) -> bool:
        """Whether the standby uses the slot already, so that it may be in use."""
        return self.is_attached and self.used_slot == self.slot

    @property
    def left_slot(self) -> str | None:
        """The slot that it leaves on its present upstream; None if it leaves none."""
        before = self.standby.upstream
        if before is None or (before, self.used_slot) == (self.upstream.name, self.slot):
            return None
        return self.used_slot

    @property
    def needs_control(self) -> bool:
        """Whether the standby must be restarted."""
        return not has("standby.reloaded_upstream", self.standby.major)


def insist_on_follow(topology: Topology, standby: str, upstream: str) -> None:
    """Refuse a standby and an upstream that cannot be connected.

    Raises:
        ServerError: If the first is not a standby, the second does not answer, or the second
            receives from the first.
        NodeNotFound: If the cluster has no such node.
    """
    node, above = topology[standby], topology[upstream]
    operation = f"let {standby} follow {upstream}"
    if node not in topology.standbys or not above.is_reachable or node is above:
        found = f"they are not a standby and another server that runs ({node}; {above})"
        raise ServerError(operation, found)
    # Each would wait for WAL of the other.
    if node in topology.upstreams(upstream):
        found = f"{upstream} receives from {standby}: they would form a circle without a primary"
        raise ServerError(operation, found)


def follow_steps(facts: FollowFacts, address: str) -> tuple[Step, ...]:
    """Return the steps in order; ``address`` is the new upstream's."""
    standby, upstream = facts.standby, facts.upstream
    steps: list[Step] = []
    # The slot comes first: the standby would retry in vain without it.
    if missing := missing_slots([facts.slot], upstream.slots):
        steps.append(MakeSlots(upstream.name, missing))
    name = facts.application_name
    steps.append(Follow(standby.name, upstream.name, address, facts.slot, name, standby.major))
    return tuple(steps)


def follow_findings(facts: FollowFacts, history: Finding, *, has_control: bool) -> list[Finding]:
    """Return the findings of a plan; ``history`` is that of ``can_follow``."""
    return [history, *_connection(facts, has_control=has_control)]


def _connection(facts: FollowFacts, *, has_control: bool) -> Iterator[Finding]:
    if facts.needs_control:
        yield checked(
            f"control of {facts.standby.name}",
            ok=has_control,
            observed="given" if has_control else "no control was given",
            needed="a control that restarts the standby, as versions before 13 require",
        )
    # Only a warning: the standby streams, and the slot may be meant for another.
    if facts.left_slot is not None:
        yield checked(
            "slot",
            ok=False,
            observed=f"it leaves the slot {facts.left_slot} of {facts.standby.upstream}",
            needed="no unused slot, which retains WAL without limit",
            remedy=f"drop it on {facts.standby.upstream} afterwards",
            otherwise=Severity.WARNING,
        )


def can_follow(
    own: SystemIdentity,
    upstream: SystemIdentity,
    history: TimelineHistory | None,
    *,
    upstream_writes: bool,
) -> Finding:
    """Check that the WAL of a standby is part of the history of its future upstream.

    ``own`` must have been read before ``upstream``, which may have written more WAL since.
    ``history`` is the upstream's; None if it cannot be read.
    """
    # WAL of different clusters has nothing in common, though its positions may look alike.
    if own.system_id != upstream.system_id:
        return checked(
            "history",
            ok=False,
            observed=f"its system identifier is {own.system_id}, the upstream's is"
            f" {upstream.system_id}",
            needed="two servers with the same system identifier",
            remedy=NEW_COPY,
        )
    needed = "its WAL is part of the upstream's history"
    if own.timeline == upstream.timeline:
        # A standby may be ahead of another standby, which will receive the rest later.
        is_ahead = upstream_writes and own.position > upstream.position
        return checked(
            "history",
            ok=not is_ahead,
            observed=f"both are on timeline {own.timeline}, it is at {own.position},"
            f" the upstream at {upstream.position}",
            needed=f"{needed}, and it has no more WAL than the upstream",
            remedy=_REMEDY,
        )
    if history is None:
        return checked(
            "history",
            ok=False,
            observed=f"the history of timeline {upstream.timeline} cannot be read",
            needed=needed,
            # The function reads any file of the server, so no role may call it by default.
            remedy="GRANT EXECUTE ON FUNCTION pg_read_binary_file(text), or use a superuser",
        )
    return checked(
        "history",
        ok=history.can_follow(own.timeline, own.position),
        observed=f"it is at {own.position} of timeline {own.timeline},"
        f" {_fork(history, own.timeline)}",
        needed=needed,
        remedy=_REMEDY,
    )


def _fork(history: TimelineHistory, timeline: int) -> str:
    if timeline not in history.timelines:
        known = ", ".join(map(str, history.timelines))
        return f"which is not a timeline of the upstream's history: {known}"
    return f"which the upstream left at {history.section(timeline).end}"
