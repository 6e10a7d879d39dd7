# Generated from pgreplkit/_async/nodes.py by `nox -s sync`. Do not edit.
"""Asking one server who it is."""

from __future__ import annotations

from pgreplkit._sync.server import Server
from pgreplkit._sync.standby import Standby
from pgreplkit.catalog.nodestate import NODE_STATE
from pgreplkit.errors import Error, WaitTimeout
from pgreplkit.plans.topology import ClusterNode


class Question:
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
        lsn, lag, source, timeline = state.lsn, None, None, state.timeline
        if state.in_recovery:
            timeline = server._reached_timeline()
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
            timeline=timeline,
            is_primary=not state.in_recovery,
            lsn=lsn,
            lag=lag,
            receives_from=source,
            senders=tuple(server.replicas()),
            slots=tuple([slot.state for slot in server.slots()]),
            history=server._history(timeline),
        )


def silent(name: str, timeout: float) -> ClusterNode:
    """The node of a server that did not answer in time."""
    error = WaitTimeout(f"ask {name} who it is: no answer within {timeout:g} s")
    return ClusterNode(name=name, error=error)
