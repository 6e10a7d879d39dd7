# Generated from pgreplkit/_async/cluster.py by `nox -s sync`. Do not edit.
"""Cluster: several servers, and who follows whom."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from pgreplkit._conninfo import address
from pgreplkit._pace import checked_seconds
from pgreplkit._sync._io import Crew, Job
from pgreplkit._sync.server import Server
from pgreplkit._sync.standby import Standby
from pgreplkit.catalog.nodestate import NODE_STATE
from pgreplkit.errors import Error, WaitTimeout
from pgreplkit.plans.topology import ClusterNode, Topology
from pgreplkit.values.finding import Finding
from pgreplkit.values.plain import Plain


class Cluster:
    """Several servers, who follows whom among them, and what is wrong with that.

    Made by ``discover``. It keeps no connection: ``refresh`` asks the servers again, and what it
    found stands in ``topology``. ``str()`` draws the tree.
    """

    __module__ = "pgreplkit"

    def __init__(self, servers: Mapping[str, str], topology: Topology, timeout: float) -> None:
        self._servers = dict(servers)
        self._timeout = timeout
        self.topology: Topology = topology

    @classmethod
    def discover(
        cls, servers: Mapping[str, str] | Iterable[str], *, timeout: float = 10.0
    ) -> Cluster:
        """Ask all these servers at once who they are.

        ``servers`` are connection strings, with names as a mapping, else named by their address.
        A server that does not answer within ``timeout`` seconds is a node that is down.

        Needs: pg_monitor on each; EXECUTE on pg_read_binary_file(text), to tell where two
        primaries parted.
        Source: as of Watch, pg_stat_wal_receiver, and the timelines' history files.
        """
        named = dict(servers) if isinstance(servers, Mapping) else _named(servers)
        cluster = cls(named, Topology(()), checked_seconds(timeout, "a timeout"))
        cluster.refresh()
        return cluster

    def refresh(self) -> None:
        """Ask the servers again."""
        crew = Crew(len(self._servers))
        jobs: dict[str, Job[ClusterNode]] = {
            name: crew.start(_Question(name, conninfo).ask)
            for name, conninfo in self._servers.items()
        }
        crew.wait([*jobs.values()], self._timeout)
        nodes = [
            job.result() if job.done() else _silent(name, self._timeout)
            for name, job in jobs.items()
        ]
        crew.close()
        self.topology = Topology.of(nodes)

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


class _Question:
    """What one server is asked, on a connection for that alone."""

    def __init__(self, name: str, conninfo: str) -> None:
        self.name, self.conninfo = name, conninfo

    def ask(self) -> ClusterNode:
        """The node, or that it is down."""
        try:
            with Server.connect(self.conninfo) as server:
                return self._told(Standby._taking_over(server))
        except Error as error:
            return ClusterNode(name=self.name, error=error)

    def _told(self, server: Standby) -> ClusterNode:
        tried = f"ask {self.name} who it is"
        state = NODE_STATE.read(server._link.one(tried, NODE_STATE.sql(server.version.major)))
        lsn, lag, source = state.lsn, None, None
        if state.in_recovery:
            status = server.replay_status()
            lag, source = status.lag(), server.upstream()
            known = [lsn for lsn in (status.received_lsn, status.replayed_lsn) if lsn is not None]
            lsn = max(known, default=None)
        return ClusterNode(
            name=self.name,
            host=server.connection.info.host,
            port=server.connection.info.port,
            version=server.version,
            system_id=state.system_id,
            timeline=state.timeline,
            is_primary=not state.in_recovery,
            lsn=lsn,
            lag=lag,
            receives_from=source,
            senders=tuple(server.replicas()),
            slots=tuple([slot.state for slot in server.slots()]),
            history=server._history(state.timeline),
        )


def _silent(name: str, timeout: float) -> ClusterNode:
    error = WaitTimeout(f"ask {name} who it is: no answer within {timeout:g} s")
    return ClusterNode(name=name, error=error)


def _named(servers: Iterable[str]) -> dict[str, str]:
    conninfos = [*servers]
    named = {address(conninfo): conninfo for conninfo in conninfos}
    if len(named) < len(conninfos):
        raise ValueError("two of the servers have the same address: give them as a mapping")
    return named
