"""Failover: the evidence that a primary is lost, the candidate, the steps and findings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import attrs

from pgreplkit._text import one_line
from pgreplkit.catalog.server.replay import PauseState, ReplayStatus
from pgreplkit.errors import ServerError
from pgreplkit.plans.cluster.handover import (
    Handover,
    control_findings,
    follow_steps,
    lost_bytes,
    no_apply_delay,
    slot_steps,
)
from pgreplkit.plans.cluster.logicalslots import failover_slots
from pgreplkit.plans.cluster.steps import Fence, Promote, Step, WaitForReplay
from pgreplkit.plans.cluster.topology import ClusterNode, Topology
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum


class Reply(OpenEnum):
    """What came back from a connection attempt."""

    ACCEPTED = "accepted"
    """The server takes connections; it may ask for a password, or refuse this role."""
    REFUSED = "refused"
    """The server runs and takes no connections now: it starts up, recovers, or shuts down."""
    OPEN = "open"
    """Something takes connections there and says nothing: a process that is stopped for a while, a
    proxy, or another program."""
    SILENT = "silent"
    """Nothing answered."""
    NOT_ASKED = "not asked"
    """The attempt was not made: the connection string cannot be used."""

    @property
    def is_alive(self) -> bool:
        """Whether a server answered, in whatever words."""
        return self in {Reply.ACCEPTED, Reply.REFUSED}


@attrs.frozen(kw_only=True)
class StandbyReport:
    """A standby's report about its connection to the primary."""

    name: str
    streams: bool | None
    """Whether the walreceiver streams; None if that is not known."""
    reply: Reply
    answer: str = ""
    """Why it is not known."""


def connection_evidence(primary: str, address: str, reply: Reply, answer: str) -> Finding:
    """Check that nothing answers at the primary's address.

    Any answer means that the server is alive: one that recovers after a crash, or waits in a smart
    shutdown for its last clients, still writes, or will write again. ``answer`` is its error, or
    its role.
    """
    observed = {
        Reply.SILENT: f"no connection: {address} does not answer",
        Reply.NOT_ASKED: f"it was not asked: {answer}",
        Reply.OPEN: f"{address} is open, and what listens there is not a server: {answer}",
        Reply.REFUSED: f"it answers, and takes no connections now: {answer}",
    }.get(reply, f"it answers: {answer}")
    remedy = {
        Reply.SILENT: "",
        Reply.NOT_ASKED: "correct the connection string",
        Reply.OPEN: f"stop {primary} or its host first: a process that was stopped for a while"
        " writes when it continues",
        Reply.REFUSED: f"wait: if {primary} starts up or recovers, until it takes connections, and"
        " then no failover is needed; if it shuts down, until it no longer answers",
        # Any other word of an open enum counts as an answer.
    }.get(reply, f"plan_switchover() is for a primary that runs; otherwise stop {primary} first")
    return Finding(
        check="connection",
        severity=Severity.OK if reply is Reply.SILENT else Severity.CRITICAL,
        found=one_line(observed),  # libpq's texts have several lines
        needed=f"no answer of any kind from {primary}",
        remedy=remedy,
    )


def standbys_evidence(primary: str, reports: Sequence[StandbyReport]) -> Finding:
    """Check that no standby streams from the primary.

    A standby that is lost together with the primary is not an obstacle. One that answers without
    saying whether it streams is: it may be a primary by now, or still receive.
    """
    streaming = [report.name for report in reports if report.streams]
    unknown = [report for report in reports if report.streams is None]
    # A standby that answers, but not this question, may be a primary by now.
    unclear = [report for report in unknown if report.reply is not Reply.SILENT]
    silent = [report.name for report in unknown if report.reply is Reply.SILENT]
    parts = [f"{', '.join(streaming) or 'none'} streams from it"]
    parts += [f"{report.name} does not say: {report.answer}" for report in unclear]
    parts += [f"{', '.join(silent)} did not answer"] if silent else []
    # No answer at all is not evidence: perhaps this machine is cut off.
    asked_none = len(unknown) == len(reports)
    is_lost = not streaming and not unclear and not asked_none
    return Finding(
        check="standbys",
        severity=Severity.OK if is_lost else Severity.CRITICAL,
        found=one_line("; ".join(parts)),
        needed=f"no standby streams from {primary}, by the word of each standby that answers",
        remedy="" if is_lost else "wait until its standbys have lost it, or stop it",
    )


def process_evidence(primary: str, *, is_running: bool) -> Finding:
    """Check that the primary's control reports no running server."""
    return checked(
        "process",
        ok=not is_running,
        observed="it is running" if is_running else "it is not running",
        needed=f"the control of {primary} reports that it is not running",
    )


def lost_primary(
    topology: Topology, last_primary: ClusterNode | None, name: str | None
) -> ClusterNode:
    """Return the primary that a failover replaces.

    That is the node ``name``, else the primary that was seen last, else the only node that is down.
    A primary that answers is returned as well: the evidence then refuses the failover.

    Raises:
        ServerError: If it is unclear which node was the primary.
        NodeNotFound: If the cluster has no node ``name``.
    """
    if name is not None:
        return topology[name]
    down, primaries = topology.down, topology.primaries
    possible = {node.name for node in (*down, *primaries)}
    # If other nodes are down, but not the one that was seen last, that one was replaced since.
    if last_primary is not None and (not down or last_primary.name in possible):
        return last_primary
    # It answers: the evidence refuses the failover, and says why.
    if primaries:
        return primaries[0]
    if len(down) != 1:
        names = ", ".join(node.name for node in down) or "no server"
        found = f"it is not known which server was the primary ({names} is down)"
        raise ServerError("plan a failover", found, remedy="name it with primary=")
    return down[0]


def failover_candidate(topology: Topology, name: str | None) -> ClusterNode:
    """Return the standby to promote: the node ``name``, else the best candidate.

    Raises:
        ServerError: If there is no such standby.
        NodeNotFound: If the cluster has no node ``name``.
    """
    node = topology[name] if name else topology.best_candidate()
    if node is None:
        raise ServerError("plan a failover", "no standby answers")
    if node in topology.foreign_nodes:
        found = f"{node.name} has another system identifier ({node.system_id}) than the cluster"
        raise ServerError("plan a failover", f"{found} ({topology.system_id})")
    if node not in topology.standbys:
        raise ServerError("plan a failover", f"{name} is not a standby that answers ({node})")
    return node


def failover_steps(handover: Handover, *, fenced: bool) -> tuple[Step, ...]:
    """Return the steps in order; they do not include the lost primary, except to fence it."""
    new = handover.new.name
    steps: list[Step] = [Fence(handover.old.name)] if fenced else []
    steps += slot_steps(handover, with_old=False)
    # synchronous_standby_names stays: with the lost primary in it, commits would wait.
    steps += [WaitForReplay(new), Promote(new, handover.major), *follow_steps(handover)]
    return tuple(steps)


@attrs.frozen(kw_only=True)
class FailoverFacts:
    """The state of the servers before a failover."""

    handover: Handover
    evidence: Sequence[Finding]
    """One finding for each kind of evidence that the primary is lost."""
    statuses: Mapping[str, ReplayStatus]
    """The positions of each standby that answers."""
    controlled: Mapping[str, int | str | None]
    """For each control, the system identifier in its data directory, or the error."""


def failover_findings(facts: FailoverFacts) -> list[Finding]:
    """Return everything that a failover needs."""
    return [
        *facts.evidence,
        _primaries(facts.handover),
        *control_findings(facts.handover, facts.controlled, old_too=False),
        *_candidate_findings(facts),
        _slots(facts),
        *_commits(facts),
    ]


def _primaries(handover: Handover) -> Finding:
    """Check that no other primary answers: the lost one under another name, or its successor."""
    old = handover.old.name
    others = [node.name for node in handover.topology.primaries if node.name != old]
    return checked(
        "primaries",
        ok=not others,
        observed=f"{' and '.join(others)} accepts writes" if others else "no other primary answers",
        needed="no primary that answers: a promotion would make two",
        remedy=f"use it: it is {old} by another name, or has replaced {old} already",
    )


def _candidate_findings(facts: FailoverFacts) -> Iterator[Finding]:
    new, statuses = facts.handover.new, facts.statuses
    reached = {
        node.name: (node.timeline or 0, _position(statuses[node.name]))
        for node in facts.handover.topology.standbys
        if node.name in statuses
    }
    # A candidate that does not answer is behind every other one.
    own = reached.get(new.name, (0, LSN.INVALID))
    # A newer timeline outranks any position on an older one.
    ahead = [
        f"{name} is at {lsn} of timeline {timeline}"
        for name, (timeline, lsn) in reached.items()
        if (timeline, lsn) > own
    ]
    is_at = f"{new.name} is at {own[1]} of timeline {own[0]}"
    if new.name not in reached:
        is_at = f"{new.name} does not answer"
    yield checked(
        "candidate",
        ok=new.name in reached and not ahead,
        observed="; ".join([is_at, *ahead]),
        needed="the standby with the most WAL",
        remedy="promote that one, or plan again",
    )
    status = statuses.get(new.name)
    yield checked(
        "replay",
        ok=status is not None
        and status.pause_state is PauseState.NOT_PAUSED
        and not status.apply_delay,
        observed="the standby does not answer"
        if status is None
        else f"replay is {status.pause_state}, with a delay of {status.apply_delay or 0}",
        needed="neither paused nor delayed: all received WAL is replayed before the promotion",
        remedy=f"SELECT pg_wal_replay_resume(); {no_apply_delay(facts.handover.major)}",
    )


def _slots(facts: FailoverFacts) -> Finding:
    status = facts.statuses.get(facts.handover.new.name)
    return failover_slots(facts.handover, None if status is None else _position(status))


def _position(status: ReplayStatus) -> LSN:
    known = [lsn for lsn in (status.received_lsn, status.replayed_lsn) if lsn is not None]
    # A standby that restarted reports nothing received, but replays WAL from its pg_wal.
    return max(known, default=LSN.INVALID)


def _commits(facts: FailoverFacts) -> Iterator[Finding]:
    handover = facts.handover
    # The old primary's names can no longer be read; the standby has its own.
    names = handover.new_sync_names
    yield checked(
        "synchronous_standby_names",
        ok=names.is_met_by(handover.follower_names),
        observed=f"{str(names)!r} on {handover.new.name}",
        needed="names that its future standbys meet, or every commit waits",
        remedy="ALTER SYSTEM SET synchronous_standby_names = '', once it accepts writes",
        otherwise=Severity.WARNING,
    )
    lost = lost_bytes(handover, [*facts.statuses.values()])
    yield checked(
        "lost WAL",
        ok=lost == 0,
        observed="unknown" if lost is None else f"at least {lost} bytes",
        needed="none, by the positions that the standbys and the primary reported last",
        otherwise=Severity.INFO if lost is None else Severity.WARNING,
    )
