# Generated from pgreplkit/_async/cluster/cluster.py by `nox -s sync`. Do not edit.
"""Cluster: several servers, and who follows whom."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TypeVar

import attrs

from pgreplkit._sync._io import Job, TaskGroup
from pgreplkit._sync.cluster.actions import ClusterActor
from pgreplkit._sync.cluster.failover import (
    PROOFS,
    FailoverChecks,
    Proof,
    read_statuses,
)
from pgreplkit._sync.cluster.follow import FollowChecks
from pgreplkit._sync.cluster.nodes import Question, read_repmgr_events, silent
from pgreplkit._sync.cluster.plan import Checks, Plan
from pgreplkit._sync.cluster.rejoin import RejoinChecks, read_rejoin
from pgreplkit._sync.cluster.site import Site
from pgreplkit._sync.cluster.switchover import SwitchoverChecks, read_handover
from pgreplkit._sync.server.server import Server
from pgreplkit.catalog.cluster.repmgr import RepmgrEvent
from pgreplkit.driver.conninfo import address
from pgreplkit.errors import ServerError
from pgreplkit.host.nodecontrol import NodeControl
from pgreplkit.plans.cluster.failover import failover_candidate, failover_steps, lost_primary
from pgreplkit.plans.cluster.follow import FollowFacts, follow_steps, insist_on_follow
from pgreplkit.plans.cluster.handover import lost_bytes
from pgreplkit.plans.cluster.journal import Journal, LostPrimary
from pgreplkit.plans.cluster.promotion import promotion_writes
from pgreplkit.plans.cluster.rejoin import rejoin_primary, rejoin_steps
from pgreplkit.plans.cluster.switchover import switchover_steps
from pgreplkit.plans.cluster.topology import ClusterNode, Topology
from pgreplkit.values.finding import Finding
from pgreplkit.values.plain import Plain
from pgreplkit.values.seconds import checked_seconds
from pgreplkit.values.several import several

GivenT = TypeVar("GivenT")


class Cluster:
    """Several servers, who follows whom among them, and what is wrong with that.

    Made by ``discover``. It keeps no connection: ``refresh`` asks the servers again, and what it
    found stands in ``topology``. ``str()`` draws the tree.
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
    def discover(
        cls,
        servers: Mapping[str, str] | Iterable[str],
        *,
        controls: Mapping[str, NodeControl] | None = None,
        replication: Mapping[str, str] | None = None,
        timeout: float = 10.0,
    ) -> Cluster:
        """Ask all these servers at once who they are.

        ``servers`` are connection strings, with names as a mapping, else named as repmgr has
        registered them in the database that is connected to, or by their address.
        A server that does not answer within ``timeout`` seconds is a node that is down.

        For operations, ``controls`` act on the servers' hosts, by name. ``replication`` holds, for
        a server that others are to follow, the connection string with which they do; without it
        they go on with the one that they have, led to the host and port in ``servers``.

        Needs: pg_monitor on each; EXECUTE on pg_read_binary_file(text), to tell where two
        primaries parted.
        Source: as of Watch, pg_stat_wal_receiver, and the timelines' history files.
        """
        named = dict(servers) if isinstance(servers, Mapping) else _named(servers)
        if not named:
            raise ValueError("servers is empty: nothing would be discovered")
        seconds = checked_seconds(timeout, "a timeout")
        cluster = cls(named, _of(named, controls), _of(named, replication), seconds)
        cluster.refresh()
        if not isinstance(servers, Mapping):
            cluster._rename()
        return cluster

    def refresh(self) -> None:
        """Ask the servers again."""
        crew = TaskGroup(len(self._servers))
        questions = {name: Question(name, told) for name, told in self._servers.items()}
        jobs: dict[str, Job[ClusterNode]] = {
            name: crew.start(question.ask) for name, question in questions.items()
        }
        crew.wait([*jobs.values()], self._timeout)
        nodes = [
            job.result() if job.done() else silent(name, self._timeout)
            for name, job in jobs.items()
        ]
        for name, job in jobs.items():
            if not job.done():
                questions[name].give_up()
        crew.close()
        self._found(nodes)

    def _found(self, nodes: Sequence[ClusterNode]) -> None:
        self.topology = Topology.of(nodes)
        if len(self.topology.primaries) == 1:
            # What it was when it was last seen matters when it is gone.
            self._writer = self.topology.primaries[0]

    def _rename(self) -> None:
        """Name the nodes as repmgr does, where it knows them."""
        known = {node.name: node.repmgr.node_name for node in self.nodes if node.repmgr}
        names = {name: known.get(name, name) for name in self._servers}
        if len({*names.values()}) < len(names):
            return  # Two of them would have the same name.
        self._servers = {names[name]: conninfo for name, conninfo in self._servers.items()}
        self._controls = {names[name]: control for name, control in self._controls.items()}
        self._replication = {names[name]: text for name, text in self._replication.items()}
        self._found([attrs.evolve(node, name=names[node.name]) for node in self.nodes])

    def repmgr_events(self, *, limit: int = 100) -> list[RepmgrEvent]:
        """What repmgr did or noticed, the newest first; nothing where there is no repmgr.

        Needs: SELECT on repmgr.events, in the database that is connected to.
        Source: repmgr.events, on the primary, else on any node that answers.
        """
        members = sorted(self.topology.members, key=lambda node: not node.is_primary)
        for node in members:
            with Server.connect(self._servers[node.name]) as server:
                return read_repmgr_events(server, limit)
        return []

    @property
    def nodes(self) -> tuple[ClusterNode, ...]:
        """All of them, in the order in which they were given."""
        return self.topology.nodes

    @property
    def primary(self) -> ClusterNode | None:
        """The node that writes; None when there is none.

        Raises: SplitBrain when there are several.
        """
        return self.topology.primary

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is wrong; nothing when each node has its place in one tree."""
        return self.topology.findings

    def best_candidate(self) -> ClusterNode | None:
        """The standby with the most WAL on the newest timeline; see Topology.best_candidate."""
        return self.topology.best_candidate()

    def switchover(
        self,
        to: str,
        *,
        max_lag: int = 1 << 24,
        timeout: float = 60.0,
        journal: str | os.PathLike[str] | None = None,
    ) -> Plan:
        """The plan of handing the writing over to the standby ``to``, which follows the primary.

        The primary is shut down, ``to`` promoted when it has replayed all, and the others and the
        old primary follow it: no commit that was acknowledged is lost. Slots are made for them,
        those that nobody uses any more are dropped, and commits wait for standbys as before.
        ``max_lag`` is in bytes, ``timeout`` in seconds for each thing that is waited for.
        ``journal`` is a file from which another process can ``resume`` it. Nothing is done before
        the plan is run.

        Raises: ServerError without a primary or when ``to`` is no standby of it; SplitBrain;
        KeyError for a name that is not in the cluster.
        Needs: superuser on all; a control for the primary, before 13 for its standbys too.
        """
        self.refresh()
        new, tried = self[to], f"switch over to {to}"
        old = self.primary
        if old is None:
            refusing = [str(node) for node in self.topology.down if node.refuses]
            if refusing:
                found = f"no primary takes connections now: {'; '.join(refusing)}; wait for it"
                raise ServerError(tried, found)
            raise ServerError(tried, "no primary answers: failover() is for that")
        if new not in self.topology.standbys:
            raise ServerError(tried, f"it is no standby: {new}")
        site = self._site(timeout)
        handover = read_handover(site, self.topology, old, new)
        checks = SwitchoverChecks(site, handover, max_lag)
        operation = f"switchover from {old.name} to {to}"
        steps = switchover_steps(handover)
        begun = Journal(operation=operation, steps=steps, writes=promotion_writes(steps))
        return _plan(site, begun, checks, journal)

    def failover(
        self,
        to: str | None = None,
        *,
        primary: str | None = None,
        proofs: Collection[Proof] = ("connection", "standbys"),
        fence: Callable[[str], object] | None = None,
        timeout: float = 60.0,
        journal: str | os.PathLike[str] | None = None,
    ) -> Plan:
        """The plan of promoting ``to``, else the standby with most WAL, when the primary is lost.

        The plan is refused unless the primary is out of reach in each of the ways ``proofs``:
        ``"connection"``, it takes none from here; ``"standbys"``, none of them streams from it;
        ``"process"``, its control says that it does not run. ``fence`` is called with its name
        before anything else, and is to see that it cannot write any more; if it raises, nothing is
        done. A coroutine function is for an event loop only. ``primary`` names the lost one where
        this cluster never saw it, and more than one server is down.

        Commits that no standby received are lost. Nothing decides here on its own: for automatic
        failover by consensus see PatroniCluster.

        Raises: ServerError when there is no standby, or it is not known which primary is lost;
        KeyError; ValueError for another proof.
        """
        proofs = several(proofs, "proofs")
        unknown = {*proofs} - {*PROOFS}
        if unknown or not proofs:
            raise ValueError(f"proofs are some of {', '.join(PROOFS)}, not {unknown or 'none'}")
        self.refresh()
        old = lost_primary(self.topology, self._writer, primary)
        new = failover_candidate(self.topology, to)
        site = self._site(timeout, fence)
        handover = read_handover(site, self.topology, old, new, lost=True)
        standbys = tuple(node.name for node in (new, *handover.followers))
        lost = LostPrimary(primary=old.name, proofs=tuple(proofs), standbys=standbys)
        steps = failover_steps(handover, fenced=fence is not None)
        begun = Journal(
            operation=f"failover from {old.name} to {new.name}",
            steps=steps,
            writes=promotion_writes(steps),
            lost_bytes=lost_bytes(handover, [*(read_statuses(site, self.topology)).values()]),
            lost_primary=lost,
        )
        return _plan(site, begun, FailoverChecks(site, handover, lost), journal)

    def follow(
        self,
        standby: str,
        upstream: str,
        *,
        slot: str | None = None,
        timeout: float = 60.0,
        journal: str | os.PathLike[str] | None = None,
    ) -> Plan:
        """The plan of letting a running standby follow another server of the cluster.

        With ``slot`` it streams from that slot, which is made where it is missing. It takes a
        reload from 13 on, and a restart before.

        Raises: ServerError when one of them does not answer, is no standby, or receives from the
        other already; KeyError.
        Needs: superuser on both; before 13 a control for the standby.
        """
        self.refresh()
        insist_on_follow(self.topology, standby, upstream)
        site, node = self._site(timeout), self[standby]
        settings = site.upstream_settings(node)
        facts = FollowFacts(
            standby=node,
            upstream=self[upstream],
            slot=slot,
            used_slot=settings.slot,
            application_name=settings.application_name,
        )
        begun = Journal(
            operation=f"let {standby} follow {upstream}",
            steps=follow_steps(facts, site.address(upstream)),
        )
        return _plan(site, begun, FollowChecks(site, facts), journal)

    def rejoin(
        self,
        name: str,
        *,
        slot: str | None = None,
        timeout: float = 60.0,
        journal: str | os.PathLike[str] | None = None,
    ) -> Plan:
        """The plan of bringing a former primary, or a standby astray, back under the primary.

        Where its WAL has left the primary's, pg_rewind takes that back; its own configuration
        files are kept. With ``slot`` it streams from that slot, which is made where it is missing.

        Raises: ServerError without a primary, or when its history cannot be read; ControlFailed
        without a control for it; SplitBrain, unless it is the other primary; KeyError.
        Needs: superuser on the primary.
        """
        self.refresh()
        self[name]
        primary = rejoin_primary(self.topology, name)
        site = self._site(timeout)
        facts = read_rejoin(site, name, primary, slot=slot)
        begun = Journal(
            operation=f"rejoin of {name} under {primary.name}",
            steps=rejoin_steps(facts, site.address(primary.name)),
        )
        return _plan(site, begun, RejoinChecks(site, facts), journal)

    def resume(
        self,
        journal: str | os.PathLike[str],
        *,
        fence: Callable[[str], object] | None = None,
        timeout: float = 60.0,
    ) -> Plan:
        """The plan in a journal file, of which another process did some steps: ``resume()`` it.

        Raises: ValueError when the file is no journal, or names servers that are not in the
        cluster; OSError when it cannot be read.
        """
        path = Path(journal)
        kept = Journal.from_json(path.read_text())
        strange = {*kept.servers} - self._servers.keys()
        if strange:
            raise ValueError(f"the journal is about servers that are not here: {strange}")
        return Plan(ClusterActor(self._site(timeout, fence)), kept, None, path)

    def _site(self, timeout: float, fence: Callable[[str], object] | None = None) -> Site:
        seconds = checked_seconds(timeout, "a timeout")
        return Site(self._servers, self._controls, self._replication, seconds, fence=fence)

    def to_dict(self) -> dict[str, Plain]:
        """What was found, as JSON knows it."""
        return self.topology.to_dict()

    def __getitem__(self, name: str) -> ClusterNode:
        return self.topology[name]

    def __str__(self) -> str:
        return str(self.topology)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {', '.join(self._servers) or 'no servers'}>"

    def _repr_html_(self) -> str:
        return f"<pre>{escape(str(self))}</pre>"


def _of(servers: Mapping[str, str], given: Mapping[str, GivenT] | None) -> Mapping[str, GivenT]:
    strange = (given or {}).keys() - servers.keys()
    if strange:
        raise ValueError(f"these are names of no server: {', '.join(sorted(strange))}")
    return given or {}


def _plan(
    site: Site,
    begun: Journal,
    checks: Checks,
    journal: str | os.PathLike[str] | None,
) -> Plan:
    return Plan(ClusterActor(site), begun, checks, None if journal is None else Path(journal))


def _named(servers: Iterable[str]) -> dict[str, str]:
    conninfos = several(servers, "servers")
    named = {address(conninfo): conninfo for conninfo in conninfos}
    if len(named) < len(conninfos):
        raise ValueError("two of the servers have the same address: give them as a mapping")
    return named
