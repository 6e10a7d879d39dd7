# Generated from pgreplkit/_async/cluster/nodes.py by `nox -s sync`. Do not edit.
"""Queries for the state of one node of a cluster."""

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
from pgreplkit.driver.conninfo import complete
from pgreplkit.driver.probe import probe
from pgreplkit.errors import ConnectionFailed, Error, WaitTimeout
from pgreplkit.plans.cluster.failover import Reply
from pgreplkit.plans.cluster.repmgr import repmgr_node
from pgreplkit.plans.cluster.topology import ClusterNode


class Question:
    """The queries to one server, on a connection of their own."""

    def __init__(self, name: str, conninfo: str) -> None:
        self.name, self.conninfo = name, conninfo
        self.registered: list[RepmgrNode] = []
        """The nodes that repmgr knows, as the server has them."""
        self._server: Server | None = None

    def give_up(self) -> None:
        """Close the connection, which ends the wait for an answer."""
        # Before that, the connection attempt ends by connect_timeout.
        if self._server is not None:
            self._server.close()

    def ask(self) -> ClusterNode:
        """Return the node; a server that does not answer is a node that is down."""
        try:
            with Server.connect(self.conninfo) as server:
                self._server = server
                return self._node(Standby._taking_over(server))
        except Error as error:
            # Any other error came from the server itself.
            reply = self._reply() if isinstance(error, ConnectionFailed) else Reply.ACCEPTED
            return ClusterNode(name=self.name, error=error, refuses=reply.is_alive)

    def _reply(self) -> Reply:
        """Return whether a server answers at all: a failed connection does not show that."""
        return to_thread(lambda: probe(complete(self.conninfo, {})))

    def _node(self, server: Standby) -> ClusterNode:
        operation = f"read the state of {self.name}"
        state = NODE_STATE.read(server._link.one(operation, NODE_STATE.sql(server.version.major)))
        lsn, lag, source, timeline = state.lsn, None, None, state.timeline
        if state.in_recovery:
            # The control file has the timeline of the last restartpoint, which may be an older one.
            timeline = server._reached_timeline()
            status = server.replay_status()
            lag, source = status.lag(), server.upstream()
            # A standby that restarted has received nothing yet, but has replayed WAL; one that
            # reads an archive receives nothing at all.
            known = [lsn for lsn in (status.received_lsn, status.replayed_lsn) if lsn is not None]
            lsn = max(known, default=None)
        address = (server.connection.info.host, server.connection.info.port)
        self.registered = read_repmgr_nodes(server)
        return ClusterNode(
            name=self.name,
            host=address[0],
            port=address[1],
            version=server.version,
            system_id=state.system_id,
            started_at=state.started_at,
            timeline=timeline,
            is_primary=not state.in_recovery,
            lsn=lsn,
            lag=lag,
            receives_from=source,
            senders=tuple(server.replicas()),
            slots=tuple([slot.state for slot in server.slots()]),
            history=server._history(timeline),
            repmgr=repmgr_node(self.registered, address, source),
        )


def read_repmgr_nodes(server: Server) -> list[RepmgrNode]:
    """Return the rows of repmgr.nodes; none without repmgr, or if the role may not read them."""
    operation, major = "read the nodes of repmgr", server.version.major
    installed = server._link.one(operation, HAS_REPMGR)
    if not installed["is_so"]:
        return []
    records = server._link.all(operation, REPMGR_NODES.sql(major))
    return [REPMGR_NODES.read(record) for record in records]


def read_repmgr_events(server: Server, limit: int) -> list[RepmgrEvent]:
    """Return the newest repmgr events; none without repmgr, or if the role may not read them."""
    operation, major = "read the events of repmgr", server.version.major
    installed = server._link.one(operation, HAS_REPMGR)
    if not installed["is_so"]:
        return []
    records = server._link.all(operation, REPMGR_EVENTS.sql(major), [limit])
    return [REPMGR_EVENTS.read(record) for record in records]


def silent(name: str, timeout: float) -> ClusterNode:
    """Return the node of a server that did not answer in time."""
    error = WaitTimeout(f"timed out after {timeout:g} s waiting for the state of {name}")
    return ClusterNode(name=name, error=error)
