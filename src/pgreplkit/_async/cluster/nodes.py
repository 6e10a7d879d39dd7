"""Queries for the state of one node of a cluster."""

from __future__ import annotations

from pgreplkit._async._io import to_thread
from pgreplkit._async.server.server import AsyncServer
from pgreplkit._async.standby import AsyncStandby
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


class AsyncQuestion:
    """The queries to one server, on a connection of their own."""

    def __init__(self, name: str, conninfo: str) -> None:
        self.name, self.conninfo = name, conninfo
        self.registered: list[RepmgrNode] = []
        """The nodes that repmgr knows, as the server has them."""
        self._server: AsyncServer | None = None

    async def give_up(self) -> None:
        """Close the connection, which ends the wait for an answer."""
        # Before that, the connection attempt ends by connect_timeout.
        if self._server is not None:
            await self._server.close()

    async def ask(self) -> ClusterNode:
        """Return the node; a server that does not answer is a node that is down."""
        try:
            async with await AsyncServer.connect(self.conninfo) as server:
                self._server = server
                return await self._node(AsyncStandby._taking_over(server))
        except Error as error:
            # Any other error came from the server itself.
            reply = await self._reply() if isinstance(error, ConnectionFailed) else Reply.ACCEPTED
            return ClusterNode(name=self.name, error=error, refuses=reply.is_alive)

    async def _reply(self) -> Reply:
        """Return whether a server answers at all: a failed connection does not show that."""
        return await to_thread(lambda: probe(complete(self.conninfo, {})))

    async def _node(self, server: AsyncStandby) -> ClusterNode:
        operation = f"read the state of {self.name}"
        state = NODE_STATE.read(
            await server._link.one(operation, NODE_STATE.sql(server.version.major))
        )
        lsn, lag, source, timeline = state.lsn, None, None, state.timeline
        if state.in_recovery:
            # The control file has the timeline of the last restartpoint, which may be an older one.
            timeline = await server._reached_timeline()
            status = await server.replay_status()
            lag, source = status.lag(), await server.upstream()
            # A standby that restarted has received nothing yet, but has replayed WAL; one that
            # reads an archive receives nothing at all.
            known = [lsn for lsn in (status.received_lsn, status.replayed_lsn) if lsn is not None]
            lsn = max(known, default=None)
        address = (server.connection.info.host, server.connection.info.port)
        self.registered = await read_repmgr_nodes(server)
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
            senders=tuple(await server.replicas()),
            slots=tuple([slot.state for slot in await server.slots()]),
            history=await server._history(timeline),
            repmgr=repmgr_node(self.registered, address, source),
        )


async def read_repmgr_nodes(server: AsyncServer) -> list[RepmgrNode]:
    """Return the rows of repmgr.nodes; none without repmgr, or if the role may not read them."""
    operation, major = "read the nodes of repmgr", server.version.major
    installed = await server._link.one(operation, HAS_REPMGR)
    if not installed["is_so"]:
        return []
    records = await server._link.all(operation, REPMGR_NODES.sql(major))
    return [REPMGR_NODES.read(record) for record in records]


async def read_repmgr_events(server: AsyncServer, limit: int) -> list[RepmgrEvent]:
    """Return the newest repmgr events; none without repmgr, or if the role may not read them."""
    operation, major = "read the events of repmgr", server.version.major
    installed = await server._link.one(operation, HAS_REPMGR)
    if not installed["is_so"]:
        return []
    records = await server._link.all(operation, REPMGR_EVENTS.sql(major), [limit])
    return [REPMGR_EVENTS.read(record) for record in records]


def silent(name: str, timeout: float) -> ClusterNode:
    """Return the node of a server that did not answer in time."""
    error = WaitTimeout(f"timed out after {timeout:g} s waiting for the state of {name}")
    return ClusterNode(name=name, error=error)
