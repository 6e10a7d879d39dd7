"""AsyncCluster: discovery of several servers, and plans that change their roles."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import attrs

from pgreplkit._async._io import Job, TaskGroup
from pgreplkit._async.cluster.actions import AsyncClusterActor
from pgreplkit._async.cluster.failover import (
    EVIDENCE,
    AsyncFailoverChecks,
    Evidence,
    read_statuses,
)
from pgreplkit._async.cluster.follow import AsyncFollowChecks
from pgreplkit._async.cluster.nodes import AsyncQuestion, read_repmgr_events, silent
from pgreplkit._async.cluster.plan import AsyncChecks, AsyncPlan
from pgreplkit._async.cluster.rejoin import AsyncRejoinChecks, read_rejoin
from pgreplkit._async.cluster.site import AsyncSite
from pgreplkit._async.cluster.switchover import AsyncSwitchoverChecks, read_handover
from pgreplkit._async.cluster.upstream import client_address
from pgreplkit._async.server.server import AsyncServer
from pgreplkit._hooks import html_of
from pgreplkit.catalog.cluster.repmgr import RepmgrEvent, RepmgrNode
from pgreplkit.driver.conninfo import address, insist_on_conninfo
from pgreplkit.errors import ConnectionFailed
from pgreplkit.host.journalfile import read_journal
from pgreplkit.host.nodecontrol import NodeControl
from pgreplkit.plans.cluster.failover import failover_candidate, failover_steps, lost_primary
from pgreplkit.plans.cluster.follow import FollowFacts, follow_steps, insist_on_follow
from pgreplkit.plans.cluster.handover import lost_bytes
from pgreplkit.plans.cluster.journal import Journal, LostPrimary
from pgreplkit.plans.cluster.promotion import promotion_writes
from pgreplkit.plans.cluster.rejoin import rejoin_primary, rejoin_steps
from pgreplkit.plans.cluster.repmgr import registration_of
from pgreplkit.plans.cluster.switchover import switchover_nodes, switchover_steps
from pgreplkit.plans.cluster.topology import ClusterNode, Topology
from pgreplkit.values.conninfosyntax import parse_conninfo
from pgreplkit.values.finding import Finding
from pgreplkit.values.madeby import made_by
from pgreplkit.values.plain import JSONValue
from pgreplkit.values.rows import Rows
from pgreplkit.values.seconds import Timeout, checked_seconds
from pgreplkit.values.several import by_name, several

GivenT = TypeVar("GivenT")


@made_by("{name}.discover(servers)")
class AsyncCluster:
    """A cluster of several servers: its topology, its problems, and plans that change it.

    Created with ``discover``. A cluster keeps no connection: ``refresh`` reads the servers again
    and updates ``topology``. ``str()`` draws the tree.
    """

    def __init__(
        self,
        servers: Mapping[str, str],
        controls: Mapping[str, NodeControl],
        replication: Mapping[str, str],
        timeout: float,
    ) -> None:
        self._servers = dict(servers)
        self._controls, self._replication = dict(controls), dict(replication)
        self._timeout = timeout
        self._writer: ClusterNode | None = None
        self.topology: Topology = Topology(())

    @classmethod
    async def discover(
        cls,
        servers: Mapping[str, str] | Iterable[str],
        *,
        controls: Mapping[str, NodeControl] | None = None,
        replication: Mapping[str, str] | None = None,
        timeout: Timeout = 10.0,
    ) -> AsyncCluster:
        """Discover the roles and upstreams of several servers at the same time.

        ``servers`` are connection strings. The keys of a mapping name the nodes, otherwise they
        have the names in repmgr.nodes of the connection's database, or are named by their address.
        A server that does not answer within ``timeout`` seconds is a node that is down.

        Operations need ``controls``, which act on the servers' hosts, by name. ``replication``
        contains connection strings that standbys use to connect to a server, by the name of that
        server. Without it, standbys keep their connection string, with another host and port.

        Raises:
            SameServer: If two of the connection strings lead to one server.

        Needs:
            pg_monitor on each server; EXECUTE on pg_read_binary_file(text) to find out where two
            primaries diverged.

        Source:
            As ``Watch``, and pg_stat_wal_receiver and the timeline history files.
        """
        named = dict(servers) if isinstance(servers, Mapping) else _named(servers)
        if not named:
            raise ValueError("servers is empty: nothing would be discovered")
        # Before anything is connected to: an object in place of a string is a mistake in a script.
        replication, controls = by_name(replication, "replication"), by_name(controls, "controls")
        for text in named.values():
            insist_on_conninfo(text)
        for name, text in replication.items():
            # A standby's libpq may know other parameters than that of this process.
            insist_on_conninfo(text, f"replication[{name!r}]")
            try:
                parse_conninfo(text)
            except ValueError as error:
                raise ValueError(f"replication[{name!r}] is malformed: {error}") from None
        for name, control in controls.items():
            if not isinstance(control, NodeControl):
                kind = type(control).__name__
                raise TypeError(f"controls[{name!r}] must be a NodeControl, not {kind}")
        seconds = checked_seconds(timeout, "timeout")
        cluster = cls(named, _of(named, controls), _of(named, replication), seconds)
        await cluster.refresh()
        if not isinstance(servers, Mapping):
            cluster._rename()
        return cluster

    async def refresh(self) -> None:
        """Read the state of all servers again.

        Raises:
            SameServer: If two of the connection strings lead to one server now.
        """
        # All servers at once: the states of a cluster should be of one time, and one that is down
        # would hold up the others.
        group = TaskGroup(len(self._servers))
        questions = {name: AsyncQuestion(name, where) for name, where in self._servers.items()}
        jobs: dict[str, Job[ClusterNode]] = {
            name: group.start(question.ask) for name, question in questions.items()
        }
        await group.wait([*jobs.values()], self._timeout)
        nodes = [
            job.result() if job.done() else silent(name, self._timeout)
            for name, job in jobs.items()
        ]
        # Of nodes with different registrations, one may have been cut off before the others were
        # added.
        registered = max((question.registered for question in questions.values()), key=len)
        nodes = [self._with_registration(node, registered) for node in nodes]
        for name, job in jobs.items():
            if not job.done():
                # A thread that waits for an answer ends only when its connection is closed.
                await questions[name].give_up()
        await group.close()
        self._update(nodes)

    def _with_registration(
        self, node: ClusterNode, registered: Sequence[RepmgrNode]
    ) -> ClusterNode:
        """Return a node that did not answer with the registration that another one has of it."""
        if node.is_reachable:
            return node
        row = registration_of(registered, node.name, self._servers[node.name])
        return attrs.evolve(node, repmgr=row)

    def _update(self, nodes: Sequence[ClusterNode]) -> None:
        self.topology = Topology.of(nodes, known_system_id=self.topology.system_id)
        if len(self.topology.primaries) == 1:
            # A failover needs the name and position of the primary from before it was lost.
            self._writer = self.topology.primaries[0]

    def _rename(self) -> None:
        """Give the nodes the names that repmgr has registered."""
        known = {node.name: node.repmgr.node_name for node in self.nodes if node.repmgr}
        names = {name: known.get(name, name) for name in self._servers}
        if len({*names.values()}) < len(names):
            return  # Two nodes would have the same name.
        self._servers = {names[name]: conninfo for name, conninfo in self._servers.items()}
        self._controls = {names[name]: control for name, control in self._controls.items()}
        self._replication = {names[name]: text for name, text in self._replication.items()}
        self._update([attrs.evolve(node, name=names[node.name]) for node in self.nodes])

    async def repmgr_events(self, *, limit: int = 100) -> Rows[RepmgrEvent]:
        """Return repmgr's events, newest first; none in a cluster without repmgr.

        Needs:
            SELECT on repmgr.events, in the database of the connection.

        Source:
            repmgr.events of the primary, else of any node that answers.
        """
        # A standby may lag behind: its events may not be the newest.
        members = sorted(self.topology.members, key=lambda node: not node.is_primary)
        for node in members:
            try:
                server = await AsyncServer.connect(self._servers[node.name])
            except ConnectionFailed:
                if node is members[-1]:
                    raise
                continue
            async with server:
                return Rows(await read_repmgr_events(server, limit))
        return Rows()

    @property
    def nodes(self) -> tuple[ClusterNode, ...]:
        """All nodes, in the order given to ``discover``."""
        return self.topology.nodes

    @property
    def primary(self) -> ClusterNode | None:
        """The primary; None if there is none.

        Raises:
            SplitBrain: If several nodes are primaries.
        """
        return self.topology.primary

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Problems of the topology; empty if all nodes form one tree under one primary."""
        return self.topology.findings

    def best_candidate(self) -> ClusterNode | None:
        """Return the standby with the most WAL on the newest timeline.

        See ``Topology.best_candidate`` for the choice among several such standbys.
        """
        return self.topology.best_candidate()

    async def plan_switchover(
        self,
        to: str,
        *,
        max_lag: int = 1 << 24,
        timeout: Timeout = 60.0,
        journal: str | os.PathLike[str] | None = None,
    ) -> AsyncPlan:
        """Plan a switchover to the standby ``to``, which must follow the primary directly.

        When the plan is run, the primary is shut down, ``to`` is promoted after it has replayed all
        WAL, and the old primary and the other standbys follow it. No acknowledged commit is lost.
        Slots for the standbys are created, unused slots are dropped, and synchronous_standby_names
        is adapted.

        ``max_lag`` limits the lag in bytes at the start, ``timeout`` each wait in seconds. With the
        file ``journal``, another process can continue the operation (``plan_resume``).

        Raises:
            ServerError: If there is no primary, or ``to`` is not one of its standbys.
            SplitBrain: If there are several primaries.
            NodeNotFound: If the cluster has no node ``to``.

        Needs:
            Superuser on all servers; a control for the primary, and before version 13 for its
            standbys.
        """
        await self.refresh()
        old, new = switchover_nodes(self.topology, to)
        site = self._site(timeout)
        handover = await read_handover(site, self.topology, old, new)
        checks = AsyncSwitchoverChecks(site, handover, max_lag)
        operation = f"switchover from {old.name} to {to}"
        steps = switchover_steps(handover)
        begun = Journal(operation=operation, steps=steps, writes=promotion_writes(steps))
        return _plan(site, begun, checks, journal)

    async def plan_failover(
        self,
        to: str | None = None,
        *,
        primary: str | None = None,
        evidence: Collection[Evidence] = ("connection", "standbys"),
        fence: Callable[[str], object] | None = None,
        timeout: Timeout = 60.0,
        journal: str | os.PathLike[str] | None = None,
    ) -> AsyncPlan:
        """Plan a failover from a lost primary to ``to``, or to the standby with the most WAL.

        The plan is refused unless each kind of evidence in ``evidence`` says that the primary is
        lost: ``"connection"``, nothing answers at its address; ``"standbys"``, no standby streams
        from it; ``"process"``, its control reports that it is not running.

        ``fence`` is called with the primary's name before the first step, and must prevent it from
        writing; if it raises, nothing is changed. It may be a coroutine function in the async
        classes only. ``primary`` names the lost primary if this cluster never saw it and several
        servers are down.

        Commits that no standby received are lost. Nothing starts a failover automatically; for
        automatic failover by consensus see ``PatroniCluster``.

        Raises:
            ServerError: If there is no standby, or it is unclear which primary is lost.
            ValueError: If ``evidence`` is empty or contains an unknown word.
            NodeNotFound: If the cluster has no such node.
        """
        evidence = several(evidence, "evidence")
        # A misspelt word would be a check that is never made.
        unknown = {*evidence} - {*EVIDENCE}
        if unknown or not evidence:
            raise ValueError(
                f"evidence must be some of {', '.join(EVIDENCE)}, got {unknown or 'none'}"
            )
        # A plan begins with the state of this moment, not with that of the discovery.
        await self.refresh()
        old = lost_primary(self.topology, self._writer, primary)
        new = failover_candidate(self.topology, to)
        site = self._site(timeout, fence)
        handover = await read_handover(site, self.topology, old, new, lost=True)
        # The standbys that are asked again when the failover is resumed, by another process
        # perhaps.
        standbys = tuple(node.name for node in (new, *handover.followers))
        lost = LostPrimary(primary=old.name, evidence=tuple(evidence), standbys=standbys)
        steps = failover_steps(handover, fenced=fence is not None)
        begun = Journal(
            operation=f"failover from {old.name} to {new.name}",
            steps=steps,
            writes=promotion_writes(steps),
            lost_bytes=lost_bytes(handover, [*(await read_statuses(site, self.topology)).values()]),
            lost_primary=lost,
        )
        return _plan(site, begun, AsyncFailoverChecks(site, handover, lost), journal)

    async def plan_follow(
        self,
        standby: str,
        upstream: str,
        *,
        slot: str | None = None,
        timeout: Timeout = 60.0,
        journal: str | os.PathLike[str] | None = None,
    ) -> AsyncPlan:
        """Plan that a running standby follows another server of the cluster.

        With ``slot``, it streams from that slot, which is created if it does not exist. The standby
        is reloaded, or before version 13 restarted.

        Raises:
            ServerError: If a server does not answer, if the first is not a standby, or if the
                second receives from the first.
            NodeNotFound: If the cluster has no such node.

        Needs:
            Superuser on both servers; before version 13 a control for the standby.
        """
        await self.refresh()
        insist_on_follow(self.topology, standby, upstream)
        site, node = self._site(timeout), self[standby]
        above = None if node.upstream is None else self[node.upstream]
        settings = await site.upstream_settings(node)
        facts = FollowFacts(
            standby=node,
            upstream=self[upstream],
            slot=slot,
            used_slot=settings.slot,
            application_name=settings.application_name,
            client_address=client_address(above, settings.application_name),
        )
        begun = Journal(
            operation=f"let {standby} follow {upstream}",
            steps=follow_steps(facts, await site.address(upstream)),
        )
        return _plan(site, begun, AsyncFollowChecks(site, facts), journal)

    async def plan_rejoin(
        self,
        name: str,
        *,
        slot: str | None = None,
        timeout: Timeout = 60.0,
        journal: str | os.PathLike[str] | None = None,
    ) -> AsyncPlan:
        """Plan that a former primary, or a diverged standby, becomes a standby of the primary.

        If its WAL has diverged from the primary's, pg_rewind is used; the server keeps its own
        configuration files. With ``slot``, it streams from that slot, which is created if it does
        not exist.

        Raises:
            ServerError: If there is no primary, or the primary's history cannot be read.
            ControlFailed: If the server has no control, or that of the primary.
            SplitBrain: If there are several other primaries.
            NodeNotFound: If the cluster has no such node.

        Needs:
            Superuser on the primary.
        """
        await self.refresh()
        node, primary = self[name], rejoin_primary(self.topology, name)
        site = self._site(timeout)
        facts = await read_rejoin(site, node, primary, slot=slot)
        begun = Journal(
            operation=f"rejoin of {name} under {primary.name}",
            steps=rejoin_steps(facts, await site.address(primary.name)),
        )
        return _plan(site, begun, AsyncRejoinChecks(site, facts), journal)

    async def plan_resume(
        self,
        journal: str | os.PathLike[str],
        *,
        fence: Callable[[str], object] | None = None,
        timeout: Timeout = 60.0,
    ) -> AsyncPlan:
        """Read a journal file and return its plan; call ``resume()`` on the plan to continue it.

        Raises:
            ValueError: If the file is not a journal, is one of a mesh or an upgrade, or names
                servers outside this cluster.
            HostFileError: If the file cannot be read.
        """
        path = Path(journal)
        kept = read_journal(path)
        kept.check_servers(self._servers, "cluster")
        return AsyncPlan(AsyncClusterActor(self._site(timeout, fence)), kept, None, path)

    def _site(self, timeout: Timeout, fence: Callable[[str], object] | None = None) -> AsyncSite:
        seconds = checked_seconds(timeout, "timeout")
        return AsyncSite(self._servers, self._controls, self._replication, seconds, fence=fence)

    def to_dict(self) -> dict[str, JSONValue]:
        """Return the topology as JSON types."""
        return self.topology.to_dict()

    def __getitem__(self, name: str) -> ClusterNode:
        """Return the node of that name.

        Raises:
            NodeNotFound: If there is no such node.
        """
        return self.topology[name]

    def __iter__(self) -> Iterator[ClusterNode]:
        return iter(self.topology)

    def __contains__(self, node: object) -> bool:
        """Return whether a node, or a node of that name, belongs to the cluster."""
        return node in self.topology

    def __len__(self) -> int:
        return len(self.topology)

    def __str__(self) -> str:
        return str(self.topology)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {', '.join(self._servers) or 'no servers'}>"

    def _repr_html_(self) -> str:
        return html_of(self.topology)


def _of(servers: Mapping[str, str], given: Mapping[str, GivenT] | None) -> Mapping[str, GivenT]:
    # A control under another name would never be used, and its server have none.
    unknown = (given or {}).keys() - servers.keys()
    if unknown:
        raise ValueError(
            f"unknown servers: {', '.join(sorted(unknown))}; known are {', '.join(servers)}"
        )
    return given or {}


def _plan(
    site: AsyncSite,
    begun: Journal,
    checks: AsyncChecks,
    journal: str | os.PathLike[str] | None,
) -> AsyncPlan:
    return AsyncPlan(
        AsyncClusterActor(site), begun, checks, None if journal is None else Path(journal)
    )


def _named(servers: Iterable[str]) -> dict[str, str]:
    conninfos = several(servers, "servers")
    named = {address(conninfo): conninfo for conninfo in conninfos}
    if len(named) < len(conninfos):
        raise ValueError(
            f"two of the servers {', '.join(map(address, conninfos))} have the same address;"
            " leave one out, or pass a mapping with distinct names"
        )
    return named
