# Generated from pgreplkit/_async/cluster/failover.py by `nox -s sync`. Do not edit.
"""Failover: that the primary is out of reach, in each of the ways that the caller lists."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs

from pgreplkit._sync.cluster.site import Site
from pgreplkit._sync.cluster.switchover import read_controls
from pgreplkit.catalog.server.replay import PauseState, ReplayStatus
from pgreplkit.driver.conninfo import address
from pgreplkit.errors import Error, ServerError
from pgreplkit.plans.cluster.failover import (
    Reply,
    StandbyReport,
    connection_evidence,
    standbys_evidence,
)
from pgreplkit.plans.cluster.journal import Lost
from pgreplkit.plans.cluster.switchover import Handover, control_findings, lost_bytes
from pgreplkit.plans.cluster.topology import Topology
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.lsn import LSN

Proof: TypeAlias = Literal["connection", "standbys", "process"]
PROOFS: tuple[Proof, ...] = ("connection", "standbys", "process")


@attrs.frozen
class FailoverChecks:
    """What a failover needs."""

    site: Site
    handover: Handover
    lost: Lost

    def findings(self) -> list[Finding]:
        """One finding for each thing that was looked at."""
        handover = self.handover
        statuses = read_statuses(self.site, handover.topology)
        told = prove(self.site, self.lost)
        controlled = read_controls(self.site)
        told += control_findings(handover, controlled, old_too=False)
        told.append(_most_advanced(handover, statuses))
        status = statuses.get(handover.new.name)
        told.append(
            checked(
                "replay",
                ok=status is not None
                and status.pause_state is PauseState.NOT_PAUSED
                and not status.apply_delay,
                observed="it does not answer"
                if status is None
                else f"{status.pause_state}, delayed by {status.apply_delay or 0}",
                needed="neither paused nor delayed: all that it received is replayed first",
                remedy="SELECT pg_wal_replay_resume(); recovery_min_apply_delay = 0",
            )
        )
        names = handover.new_sync_names
        follow = [handover.uses[node.name].application_name for node in handover.followers]
        told.append(
            checked(
                "synchronous_standby_names",
                ok=names.met_by(tuple(name or "" for name in follow)),
                observed=f"{handover.new.name} has {str(names)!r}",
                needed="met by those who will follow it: else every commit waits",
                remedy="ALTER SYSTEM SET synchronous_standby_names = '', once it writes",
                otherwise=Severity.WARNING,
            )
        )
        lost = lost_bytes(handover, [*statuses.values()])
        told.append(
            checked(
                "what is lost",
                ok=lost == 0,
                observed="not known" if lost is None else f"{lost} bytes of WAL that are known of",
                needed="none, by what the standbys were told, and the primary when it was seen",
                otherwise=Severity.INFO if lost is None else Severity.WARNING,
            )
        )
        return told


def prove(site: Site, lost: Lost) -> list[Finding]:
    """Whether the primary is out of reach, one finding for each proof."""
    return [_proven(site, proof, lost) for proof in lost.proofs]


def why_not_lost(site: Site, lost: Lost) -> str:
    """Why nobody may take the primary's place; nothing when one may, or has done so."""
    with site.server(lost.standbys[0]) as candidate:
        if not candidate.is_in_recovery():
            return ""
    told = prove(site, lost)
    return "; ".join(f"{f.check}: {f.found}" for f in told if f.severity is Severity.CRITICAL)


def _proven(site: Site, proof: str, lost: Lost) -> Finding:
    old = lost.primary
    if proof == "connection":
        return _connection(site, old)
    if proof == "standbys":
        reports = [_report(site, name) for name in lost.standbys]
        return standbys_evidence(old, reports)
    runs = site.controlled(old, lambda control: control.is_running())
    return checked(
        "process",
        ok=not runs,
        observed="it runs" if runs else "it does not run",
        needed=f"the control of {old} says that it does not run",
    )


def _connection(site: Site, name: str) -> Finding:
    """Return the evidence of connections: a failed attempt says why, a probe whether it answers."""
    try:
        with site.server(name) as server:
            reply, said = Reply.ACCEPTED, f"as {server!r}"
    except Error as error:
        reply, said = site.reply(name), str(error)
    return connection_evidence(name, address(site.servers[name]), reply, said)


def _report(site: Site, name: str) -> StandbyReport:
    try:
        with site.standby(name) as standby:
            streams = (standby.replay_status()).is_streaming
        return StandbyReport(name=name, streams=streams, reply=Reply.ACCEPTED)
    except Error as error:
        reply = site.reply(name)
        return StandbyReport(name=name, streams=None, reply=reply, said=str(error))


def _most_advanced(handover: Handover, statuses: Mapping[str, ReplayStatus]) -> Finding:
    """Whether nobody has more WAL, now that nobody receives any."""
    new = handover.new
    reached = {
        node.name: (node.timeline or 0, _position(statuses[node.name]))
        for node in handover.topology.standbys
        if node.name in statuses
    }
    own = reached.get(new.name, (0, LSN.INVALID))
    ahead = [
        f"{name} is at {lsn} of {timeline}"
        for name, (timeline, lsn) in reached.items()
        if (timeline, lsn) > own
    ]
    return checked(
        "candidate",
        ok=not ahead,
        observed="; ".join([f"{new.name} is at {own[1]} of {own[0]}", *ahead]),
        needed="the standby with the most WAL",
        remedy="promote that one, or plan again",
    )


def _position(status: ReplayStatus) -> LSN:
    known = [lsn for lsn in (status.received_lsn, status.replayed_lsn) if lsn is not None]
    return max(known, default=LSN.INVALID)


def read_statuses(site: Site, topology: Topology) -> dict[str, ReplayStatus]:
    """What each standby has received and replayed, as far as they answer."""
    statuses = {}
    for node in topology.standbys:
        try:
            with site.standby(node.name) as standby:
                statuses[node.name] = standby.replay_status()
        except ServerError:
            continue
    return statuses
