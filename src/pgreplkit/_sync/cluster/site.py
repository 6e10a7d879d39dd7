# Generated from pgreplkit/_async/cluster/site.py by `nox -s sync`. Do not edit.
"""Site: connections to the servers of an operation, and control of their hosts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from psycopg.sql import SQL, Literal

from pgreplkit._sync._io import to_thread
from pgreplkit._sync.cluster.hooks import call_hook
from pgreplkit._sync.primary import Primary
from pgreplkit._sync.server.server import Server
from pgreplkit._sync.standby import Standby
from pgreplkit._sync.wire.pooling import insist_on_session
from pgreplkit._sync.wire.session import use_own_settings
from pgreplkit.catalog.features import has
from pgreplkit.catalog.server.receivers import DEFAULT_NAME, lasting_slot
from pgreplkit.catalog.server.settingcommands import LIMIT_STATEMENTS
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
from pgreplkit.plans.cluster.standbyconfig import fit_conninfo
from pgreplkit.plans.cluster.topology import ClusterNode
from pgreplkit.values.conninfosyntax import format_conninfo, parse_conninfo
from pgreplkit.values.milliseconds import timeout_milliseconds

T = TypeVar("T")
ServerT = TypeVar("ServerT", bound=Server)
_CONNINFO = "primary_conninfo"


class Site:
    """The servers of an operation: connection strings, controls, and a time limit."""

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
        """Open a connection to a server, with a limit on the time of statements."""
        return self._limited(name, Server.connect(self.servers[name]))

    def primary(self, name: str) -> Primary:
        """Open such a connection to a server that must be a primary."""
        return self._limited(name, Primary.connect(self.servers[name]))

    def standby(self, name: str) -> Standby:
        """Open such a connection to a server that must be a standby."""
        return self._limited(name, Standby.connect(self.servers[name]))

    def _limited(self, name: str, server: ServerT) -> ServerT:
        limit = SQL(LIMIT_STATEMENTS).format(Literal(timeout_milliseconds(self.timeout)))
        try:
            insist_on_session(server._link, f"connect to {name}", name)
            use_own_settings(server.connection)
            server._link.run("set statement_timeout", limit)
        except BaseException:
            # No one else has the connection yet.
            server.close()
            raise
        return server

    def reply(self, name: str) -> Reply:
        """Return whether a server answers at all, also if it accepts no connection."""
        return to_thread(lambda: probe(complete(self.servers[name], {})))

    def control(self, name: str) -> NodeControl:
        """Return the control of a server's host.

        Raises:
            ControlFailed: If none was given.
        """
        if name not in self.controls:
            found = "no control of its host was given; pass one in controls="
            raise ControlFailed(f"act on the host of {name}", found)
        return self.controls[name]

    def controlled(self, name: str, call: Callable[[NodeControl], T]) -> T:
        """Call a function with a server's control, in a thread because it may block."""
        control = self.control(name)
        return to_thread(lambda: call(control))

    def fence_off(self, name: str) -> None:
        """Call the user's fencing function.

        Raises:
            ControlFailed: If the function raises any exception, or none was given.
            KeyboardInterrupt: If the function raises it.
        """
        fence, operation = self.fence, f"fence {name}"
        if fence is None:
            raise ControlFailed(operation, "no function to call was given; pass it in fence=")
        # As long as it takes: without it, two servers might accept writes.
        call_hook(operation, "fence", fence, name, None)

    def address(self, name: str) -> str:
        """Return the address at which other servers reach a server."""
        return format_conninfo(self._place(name))

    def _place(self, name: str) -> dict[str, str]:
        """Return the host and port at which other servers reach a server.

        A service, environment variables and a list of hosts have a meaning in this process only,
        so the address is the one that a connection from here reaches.
        """
        if name in self.replication:
            return address_of(self.replication[name])
        with self.server(name) as server:
            conninfo = standby_conninfo(
                server.connection, self.servers[name], major=server.version.major
            )
        return address_of(conninfo)

    def program_conninfo(self, name: str) -> str:
        """Return the connection string for pg_rewind, whose libpq has the server's major version.

        Raises:
            UnsupportedByServer: For a necessary parameter that this version does not know.
        """
        with self.server(name) as server:
            conninfo = program_conninfo(server.connection, self.servers[name])
            return fit_conninfo(conninfo, server.version)

    def conninfo_for(self, node: str, upstream: str, application_name: str | None) -> str:
        """Return the connection string with which ``node`` connects to ``upstream``.

        It is the one given in ``replication``, else the present primary_conninfo of ``node`` or of
        ``upstream`` with the address of ``upstream``.
        """
        given = self.replication.get(upstream) or self._redirected(node, upstream)
        if given is None:
            found = (
                f"neither {node} nor {upstream} has a primary_conninfo that names a role; pass the"
                f" connection string in replication={{{upstream!r}: …}}"
            )
            raise ControlFailed(f"let {node} connect to {upstream}", found)
        if application_name in {None, DEFAULT_NAME}:
            # The default name needs no setting, and a setting would hide a later cluster_name.
            return given
        return format_conninfo({**parse_conninfo(given), "application_name": application_name})

    def _redirected(self, node: str, upstream: str) -> str | None:
        """Return the primary_conninfo of either server with the address of ``upstream``."""
        conninfo = self._known_conninfo(node)
        if conninfo is not None:
            return pointed_at(conninfo, self._place(upstream))
        # A former primary has no primary_conninfo of its own.
        conninfo = self._known_conninfo(upstream)
        if conninfo is None:
            return None
        # The application_name in it is that of the other server.
        parts = parse_conninfo(pointed_at(conninfo, self._place(upstream)))
        parts.pop("application_name", None)
        return format_conninfo(parts)

    def upstream_settings(self, node: ClusterNode) -> UpstreamSettings:
        """Return the slot and the name with which a standby connects, or would connect."""
        # The connection of the walreceiver comes before the settings, which may wait for a restart.
        source = node.receives_from
        if source is not None:
            return UpstreamSettings(lasting_slot(source), source.known_as)
        conninfo = self._known_conninfo(node.name)
        slot: object = None
        if node.version is not None and has("standby.recovery_settings", node.major):
            with self.server(node.name) as server:
                slot = (server.setting("primary_slot_name")).value
        elif node.name in self.controls:
            slot = self.controlled(node.name, written_slot)
        name = _name_in(conninfo) or self._cluster_name(node.name) or DEFAULT_NAME
        return UpstreamSettings(str(slot) if slot else None, name)

    def name_of(self, name: str) -> str:
        """Return the application_name that this server has, or will have, as a standby.

        A walreceiver uses the name in its connection string, else cluster_name (from version 12
        on). A server that has neither gets its name in the cluster.
        """
        named = _name_in(self._known_conninfo(name))
        return named or self._cluster_name(name) or name

    def _cluster_name(self, name: str) -> str | None:
        try:
            with self.server(name) as server:
                if has("standby.cluster_name", server.version.major):
                    return str((server.setting("cluster_name")).value or "") or None
        except ServerError:
            pass  # The server is down; the setting may be in its files.
        if name not in self.controls:
            return None
        if not has("standby.cluster_name", self.controlled(name, major_of)):
            return None
        return self.controlled(name, written_name)

    def _known_conninfo(self, name: str) -> str | None:
        """Return primary_conninfo from the server, or its files; None if unset or unreadable."""
        try:
            with self.server(name) as server:
                if has("standby.recovery_settings", server.version.major):
                    conninfo = (server.setting(_CONNINFO)).value
                    return str(conninfo) if conninfo else None
        except ServerError:
            pass  # The server is down or hides the setting, which may be in its files.
        if name not in self.controls:
            return None
        try:
            return self.controlled(name, written_conninfo)
        # Only for a proposal: if nothing is known, the caller asks for the connection string.
        except Error:
            return None


def _name_in(conninfo: str | None) -> str | None:
    return parse_conninfo(conninfo or "").get("application_name") or None
