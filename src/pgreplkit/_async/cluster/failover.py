"""Failover: collect the evidence that the primary is lost, and the standbys' positions."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from pgreplkit._async.cluster.hosts import alter_system_findings
from pgreplkit._async.cluster.site import AsyncSite
from pgreplkit._async.cluster.standbylimits import limits_findings
from pgreplkit._async.cluster.switchover import followers_joining, read_controls
from pgreplkit._async.cluster.upstream import read_again, serving_findings
from pgreplkit.catalog.server.replay import ReplayStatus
from pgreplkit.driver.conninfo import address
from pgreplkit.errors import Error, ServerError
from pgreplkit.plans.cluster.failover import (
    FailoverFacts,
    Reply,
    StandbyReport,
    connection_evidence,
    failover_findings,
    failover_steps,
    process_evidence,
    standbys_evidence,
)
from pgreplkit.plans.cluster.handover import Handover
from pgreplkit.plans.cluster.journal import LostPrimary
from pgreplkit.plans.cluster.topology import Topology
from pgreplkit.values.finding import Finding, Severity

Evidence: TypeAlias = Literal["connection", "standbys", "process"]
EVIDENCE: tuple[Evidence, ...] = ("connection", "standbys", "process")


@attrs.frozen
class AsyncFailoverChecks:
    """The checks of a failover."""

    site: AsyncSite
    handover: Handover
    lost: LostPrimary

    async def findings(self) -> list[Finding]:
        """Return one finding for each check."""
        statuses = await read_statuses(self.site, self.handover.topology)
        handover, serving, limits = self.handover, list[Finding](), list[Finding]()
        if handover.new.name in statuses:
            # The plan may be old: the standby synchronizes slots in the meantime.
            async with await self.site.server(handover.new.name) as standby:
                handover = attrs.evolve(handover, new=await read_again(handover.new, standby))
            serving = await serving_findings(
                self.site,
                handover.new,
                followers_joining(handover),
                handover.wanted_slots(with_old=False),
            )
            limits = await limits_findings(
                self.site,
                handover.new.name,
                running=tuple(node.name for node in handover.followers),
                # A failover must not wait for the configuration of another standby.
                otherwise=Severity.WARNING,
            )
        facts = FailoverFacts(
            handover=handover,
            evidence=await read_evidence(self.site, self.lost),
            statuses=statuses,
            controlled=await read_controls(self.site, handover.upstream_settings),
        )
        steps = failover_steps(handover, fenced=False)
        altering = await alter_system_findings(self.site, steps)
        return [*failover_findings(facts), *serving, *altering, *limits]


async def read_evidence(site: AsyncSite, lost: LostPrimary) -> list[Finding]:
    """Return one finding for each requested kind of evidence that the primary is lost."""
    return [await _evidence(site, kind, lost) for kind in lost.evidence]


async def missing_evidence(site: AsyncSite, lost: LostPrimary) -> str:
    """Return the missing evidence that the primary is lost; empty if none is missing.

    It is empty, too, if the candidate is promoted already: nothing is left to decide then.
    """
    async with await site.server(lost.standbys[0]) as candidate:
        # Promoted by the step that was interrupted: too late to find out that the primary is back.
        if not await candidate.is_in_recovery():
            return ""
    evidence = await read_evidence(site, lost)
    missing = [finding for finding in evidence if finding.severity is Severity.CRITICAL]
    return "; ".join(f"{finding.check}: {finding.found}" for finding in missing)


async def _evidence(site: AsyncSite, kind: str, lost: LostPrimary) -> Finding:
    old = lost.primary
    if kind == "connection":
        return await _connection(site, old)
    # The walreceivers of standbys see a primary that is cut off only from here.
    if kind == "standbys":
        reports = [await _report(site, name) for name in lost.standbys]
        return standbys_evidence(old, reports)
    is_running = await site.controlled(old, lambda control: control.is_running())
    return process_evidence(old, is_running=is_running)


async def _connection(site: AsyncSite, name: str) -> Finding:
    """Connect to the server; if that fails, find out whether a server answers at all."""
    try:
        async with await site.server(name) as server:
            reply, answer = Reply.ACCEPTED, f"as {server!r}"
    except Error as error:
        # A server that refuses the role or the database still answers, and so is not lost.
        reply, answer = await site.reply(name), str(error)
    return connection_evidence(name, address(site.servers[name]), reply, answer)


async def _report(site: AsyncSite, name: str) -> StandbyReport:
    try:
        async with await site.standby(name) as standby:
            streams = (await standby.replay_status()).is_streaming
        return StandbyReport(name=name, streams=streams, reply=Reply.ACCEPTED)
    except Error as error:
        reply = await site.reply(name)
        return StandbyReport(name=name, streams=None, reply=reply, answer=str(error))


async def read_statuses(site: AsyncSite, topology: Topology) -> dict[str, ReplayStatus]:
    """Return the replay status of each standby that answers, by name."""
    statuses = {}
    for node in topology.standbys:
        try:
            async with await site.standby(node.name) as standby:
                statuses[node.name] = await standby.replay_status()
        except ServerError:
            continue  # A missing standby is a finding of its own.
    return statuses
