# Generated from pgreplkit/_async/cluster/nodes.py by `nox -s sync`. Do not edit.
"""Asking one server who it is."""

from __future__ import annotations

from pgreplkit._sync._io import to_thread
from pgreplkit._sync.server.server import Server
from pgreplkit._sync.standby import Standby
from pgreplkit.catalog.cluster.nodestate import NODE_STATE
from pgreplkit.catalog.cluster.repmgr import (
    HAS_REPMGR,
    REPMGR_EVENTS,
    REPMGR_NODES,
    RepmgrEvent,
    RepmgrNode,
)
from pgreplkit.driver.conninfo import complete, repmgr_node
from pgreplkit.driver.probe import probe
from pgreplkit.errors import ConnectionFailed, Error, WaitTimeout
from pgreplkit.plans.cluster.failover import Reply
from pgreplkit.plans.cluster.topology import ClusterNode


class Question:
    """What one server is asked, on a connection for that alone."""

    def __init__(self, name: str, conninfo: str) -> None:
        self.name, self.conninfo = name, conninfo
        self._server: Server | None = None

    def give_up(self) -> None:
        """Close the connection, so that whoever waits for an answer does so no more."""
        if self._server is not None:
            self._server.close()

    def ask(self) -> ClusterNode:
        """The node, or that it is down."""
        try:
            with Server.connect(self.conninfo) as server:
                self._server = server
                return self._told(Standby._taking_over(server))
        except Error as error:
            reply = self._reply() if isinstance(error, ConnectionFailed) else Reply.ACCEPTED
            return ClusterNode(name=self.name, error=error, refuses=reply.is_alive)

    def _reply(self) -> Reply:
        """Ask again whether there is a server, which a failed connection does not tell."""
        return to_thread(lambda: probe(complete(self.conninfo, {})))

    def _told(self, server: Standby) -> ClusterNode:
        tried = f"ask {self.name} who it is"
        state = NODE_STATE.read(server._link.one(tried, NODE_STATE.sql(server.version.major)))
        lsn, lag, source, timeline = state.lsn, None, None, state.timeline
        if state.in_recovery:
            timeline = server._reached_timeline()
            status = server.replay_status()
            lag, source = status.lag(), server.upstream()
            known = [lsn for lsn in (status.received_lsn, status.replayed_lsn) if lsn is not None]
            lsn = max(known, default=None)
        address = (server.connection.info.host, server.connection.info.port)
        return ClusterNode(
            name=self.name,
            host=address[0],
            port=address[1],
            version=server.version,
            system_id=state.system_id,
            timeline=timeline,
            is_primary=not state.in_recovery,
            lsn=lsn,
            lag=lag,
            receives_from=source,
            senders=tuple(server.replicas()),
            slots=tuple([slot.state for slot in server.slots()]),
            history=server._history(timeline),
            repmgr=repmgr_node(read_repmgr_nodes(server), address, source),
        )


def read_repmgr_nodes(server: Server) -> list[RepmgrNode]:
    """What is registered in repmgr.nodes; nothing where there is no repmgr, or not to be seen."""
    tried, major = "look for repmgr's nodes", server.version.major
    there = server._link.one(tried, HAS_REPMGR)
    if not there["is_so"]:
        return []
    records = server._link.all(tried, REPMGR_NODES.sql(major))
    return [REPMGR_NODES.read(record) for record in records]


def read_repmgr_events(server: Server, limit: int) -> list[RepmgrEvent]:
    """The newest events; nothing where there is no repmgr, or not to be seen."""
    tried, major = "look for repmgr's events", server.version.major
    there = server._link.one(tried, HAS_REPMGR)
    if not there["is_so"]:
        return []
    records = server._link.all(tried, REPMGR_EVENTS.sql(major), [limit])
    return [REPMGR_EVENTS.read(record) for record in records]


def silent(name: str, timeout: float) -> ClusterNode:
    """The node of a server that did not answer in time."""
    error = WaitTimeout(f"ask {name} who it is: no answer within {timeout:g} s")
    return ClusterNode(name=name, error=error)
