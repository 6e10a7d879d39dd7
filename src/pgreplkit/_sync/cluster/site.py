# Generated from pgreplkit/_async/cluster/site.py by `nox -s sync`. Do not edit.
"""Site: the servers that an operation acts on, and how each is reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from psycopg.sql import SQL, Literal

from pgreplkit._sync._io import completed, to_thread
from pgreplkit._sync.primary import Primary
from pgreplkit._sync.server.server import Server
from pgreplkit._sync.standby import Standby
from pgreplkit.catalog.server.receivers import DEFAULT_NAME, lasting_slot
from pgreplkit.catalog.server.settings import LIMIT_STATEMENTS
from pgreplkit.driver.conninfo import complete, program_conninfo, standby_conninfo
from pgreplkit.driver.probe import probe
from pgreplkit.errors import ControlFailed, Error, ServerError
from pgreplkit.host.nodecontrol import NodeControl
from pgreplkit.host.recoveryfiles import (
    address_of,
    major_of,
    pointed_at,
    written_conninfo,
    written_name,
    written_slot,
)
from pgreplkit.plans.cluster.failover import Reply
from pgreplkit.plans.cluster.handover import UpstreamSettings
from pgreplkit.plans.cluster.topology import ClusterNode
from pgreplkit.values.conninfo import format_conninfo, parse_conninfo

T = TypeVar("T")
ServerT = TypeVar("ServerT", bound=Server)
_CONNINFO = "primary_conninfo"


class Site:
    """The servers that an operation acts on: connection strings, controls, and a time limit."""

    def __init__(
        self,
        servers: Mapping[str, str],
        controls: Mapping[str, NodeControl],
        replication: Mapping[str, str],
        timeout: float,
        *,
        fence: Callable[[str], object] | None = None,
    ) -> None:
        self.servers: dict[str, str] = dict(servers)
        self.controls: dict[str, NodeControl] = dict(controls)
        self.replication: dict[str, str] = dict(replication)
        self.timeout = timeout
        self.fence = fence

    def server(self, name: str) -> Server:
        """A connection of its own to that server, on which no statement runs too long."""
        return self._limited(Server.connect(self.servers[name]))

    def primary(self, name: str) -> Primary:
        """The same, for a server that must be a primary."""
        return self._limited(Primary.connect(self.servers[name]))

    def standby(self, name: str) -> Standby:
        """The same, for a server that must be a standby."""
        return self._limited(Standby.connect(self.servers[name]))

    def _limited(self, server: ServerT) -> ServerT:
        limit = SQL(LIMIT_STATEMENTS).format(Literal(round(self.timeout * 1000)))
        try:
            server._link.run("limit the time of statements", limit)
        except BaseException:
            server.close()
            raise
        return server

    def reply(self, name: str) -> Reply:
        """Return whether that server answers at all, also if it accepts no connection."""
        return to_thread(lambda: probe(complete(self.servers[name], {})))

    def control(self, name: str) -> NodeControl:
        """What acts on the host of that server.

        Raises: ControlFailed when none was given.
        """
        if name not in self.controls:
            found = "there is no control of its host: give one in controls="
            raise ControlFailed(f"act on {name}", found)
        return self.controls[name]

    def controlled(self, name: str, call: Callable[[NodeControl], T]) -> T:
        """What ``call`` gives for that control; it may block."""
        control = self.control(name)
        return to_thread(lambda: call(control))

    def fence_off(self, name: str) -> None:
        """Call the caller's hook.

        Raises: ControlFailed when it raises anything.
        """
        fence, tried = self.fence, f"fence {name}"
        if fence is None:
            raise ControlFailed(tried, "there is no hook to call: give it in fence=")
        try:
            completed(to_thread(lambda: fence(name)))
        except Exception as error:
            raise ControlFailed(tried, f"{type(error).__name__}: {error}") from error

    def address(self, name: str) -> str:
        """Return where that server is, for others."""
        return format_conninfo(self._place(name))

    def _place(self, name: str) -> dict[str, str]:
        """Return the host and port at which others reach that server.

        A service, the environment or a choice of several hosts mean something to this process
        only, so the place is the one that a connection reaches.
        """
        if name in self.replication:
            return address_of(self.replication[name])
        with self.server(name) as server:
            conninfo = standby_conninfo(
                server.connection, self.servers[name], major=server.version.major
            )
        return address_of(conninfo)

    def program_conninfo(self, name: str) -> str:
        """Return the connection string with which a program on another host reaches that server."""
        with self.server(name) as server:
            return program_conninfo(server.connection, self.servers[name])

    def conninfo_for(self, node: str, upstream: str, application_name: str | None) -> str:
        """How ``node`` is to connect to ``upstream``.

        What was given for that, else what ``node`` connects with now, or ``upstream`` did when it
        was a standby, led to the address of ``upstream``.
        """
        given = self.replication.get(upstream)
        if given is None:
            for known in (node, upstream):
                conninfo = self._known_conninfo(known)
                if conninfo is not None:
                    given = pointed_at(conninfo, self._place(upstream))
                    if known != node:
                        parts = parse_conninfo(given)
                        parts.pop("application_name", None)
                        given = format_conninfo(parts)
                    break
        if given is None:
            found = (
                f"neither {node} nor {upstream} has a primary_conninfo to take the role from:"
                f" give the connection string in replication={{{upstream!r}: …}}"
            )
            raise ControlFailed(f"let {node} connect to {upstream}", found)
        if application_name in {None, DEFAULT_NAME}:
            # The default name needs no setting, and a setting would hide a later cluster_name.
            return given
        return format_conninfo({**parse_conninfo(given), "application_name": application_name})

    def upstream_settings(self, node: ClusterNode) -> UpstreamSettings:
        """Return the slot and the name with which a standby connects, or would connect."""
        source = node.receives_from
        if source is not None:
            return UpstreamSettings(lasting_slot(source), source.known_as)
        conninfo = self._known_conninfo(node.name)
        slot: object = None
        if node.version is not None and node.version.major >= 12:
            with self.server(node.name) as server:
                slot = (server.setting("primary_slot_name")).value
        elif node.name in self.controls:
            slot = self.controlled(node.name, written_slot)
        name = _name_in(conninfo) or self._cluster_name(node.name) or DEFAULT_NAME
        return UpstreamSettings(str(slot) if slot else None, name)

    def name_of(self, name: str) -> str:
        """Return the application_name that this server has, or will have, as a standby.

        The order is the walreceiver's own: its connection string, then cluster_name (from 12 on).
        A server that has neither is named as in the cluster.
        """
        named = _name_in(self._known_conninfo(name))
        return named or self._cluster_name(name) or name

    def _cluster_name(self, name: str) -> str | None:
        try:
            with self.server(name) as server:
                if server.version.major >= 12:
                    return str((server.setting("cluster_name")).value or "") or None
        except ServerError:
            pass  # It does not run: its files may say it.
        if name not in self.controls or self.controlled(name, major_of) < 12:
            return None
        return self.controlled(name, written_name)

    def _known_conninfo(self, name: str) -> str | None:
        try:
            with self.server(name) as server:
                if server.version.major >= 12:
                    conninfo = (server.setting(_CONNINFO)).value
                    return str(conninfo) if conninfo else None
        except ServerError:
            pass  # It does not run, or does not show it: its files may.
        if name not in self.controls:
            return None
        try:
            return self.controlled(name, written_conninfo)
        except Error:
            return None


def _name_in(conninfo: str | None) -> str | None:
    return parse_conninfo(conninfo or "").get("application_name") or None
