"""Connection strings: what may be shown of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import BaseConnection, Error, ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgreplkit.catalog.cluster.repmgr import RepmgrNode
from pgreplkit.catalog.server.receivers import Upstream, WalReceiver
from pgreplkit.errors import ConnectionFailed, ControlFailed

_PORT = 5432
_HANDED_ON = ("hostaddr", "krbsrvname", "sslmode", "sslcert", "sslkey", "sslrootcert", "sslcrl")
"""What every libpq from 10 on knows of how a server is reached."""
_NO_PASSFILE = ("sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key")
"""What is secret, and cannot stand in a password file."""
_SECRET = ("password", "sslpassword", "passfile", "oauth_client_secret", "scram_client_key")


def complete(conninfo: str, params: Mapping[str, str | int | None]) -> str:
    """The connection string with ``params`` and, where it leaves them open, our defaults.

    Raises: ConnectionFailed when it is no connection string; the text does not repeat it, because
    libpq cannot say what in it would be a password. TypeError when it is not a str.
    """
    if not isinstance(conninfo, str):
        raise TypeError(f"a connection string is a str, not {type(conninfo).__name__}")
    try:
        parts = conninfo_to_dict(conninfo, **params)
        defaults = {"client_encoding": "UTF8", "fallback_application_name": "pgreplkit"}
        if "service" not in parts and "PGCONNECT_TIMEOUT" not in os.environ:
            defaults["connect_timeout"] = "10"
        return make_conninfo("", **(defaults | parts))
    except ProgrammingError:
        raise ConnectionFailed(
            "connect",
            "the connection string is malformed, or a parameter is none of libpq's:"
            " see its documentation of connection strings",
        ) from None


def address(conninfo: str) -> str:
    """Where a connection string leads, for error texts."""
    try:
        parts = conninfo_to_dict(conninfo)
    except ProgrammingError:
        return "a malformed connection string"
    host = parts.get("host") or parts.get("hostaddr") or "the default host"
    return f"{host}:{parts['port']}" if "port" in parts else str(host)


def without_password(conninfo: str | None) -> str | None:
    """The connection string without its secrets; None when it cannot be read."""
    try:
        parts = conninfo_to_dict(conninfo or "")
    except Error:
        return None
    return make_conninfo("", **{k: v for k, v in parts.items() if k not in _SECRET}) or None


def private_conninfo(conninfo: str) -> tuple[str, bytes | None]:
    """A connection string that may stand in a process list, and the password file that it needs.

    The file is None when no password stands in the string.

    Raises: ControlFailed when there is another secret in it.
    """
    parts = conninfo_to_dict(conninfo)
    shown = [name for name in _NO_PASSFILE if parts.get(name)]
    if shown:
        raise ControlFailed(
            "keep a connection string's secrets private",
            f"{shown[0]} would stand in the list of processes: put it into a service file, and"
            " name that by service=",
        )
    password = parts.pop("password", None)
    if password is None:
        return make_conninfo("", **parts), None
    escaped = str(password).replace("\\", "\\\\").replace(":", "\\:")
    return make_conninfo("", **parts), f"*:*:*:*:{escaped}\n".encode()


def replication_conninfo(conninfo: str, *, is_logical: bool) -> str:
    """How to reach a walsender there, of the database of the string when it is to be logical."""
    return make_conninfo(exact_conninfo(conninfo), replication="database" if is_logical else "true")


def exact_conninfo(conninfo: str) -> str:
    """The same, for a session whose texts of values can be read back exactly."""
    parts = conninfo_to_dict(conninfo)
    settings = "-c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=3"
    options = f"{settings} {parts.get('options') or ''}".strip()
    return make_conninfo(conninfo, client_encoding="UTF8", options=options)


def conninfo_of(connection: BaseConnection[Any]) -> str:
    """How that connection was made, with all of its hosts, and its password, if any."""
    info = connection.info
    return make_conninfo(info.dsn, password=info.password or None)


def publisher_conninfo(connection: BaseConnection[Any]) -> str:
    """How a subscriber connects to the server of that connection; with its password, if any."""
    info = connection.info
    parts = {k: v for k, v in info.get_parameters().items() if k in _HANDED_ON}
    password = info.password or None
    return make_conninfo(
        make_conninfo("", **parts),
        host=info.host,
        port=info.port,
        dbname=info.dbname,
        user=info.user,
        password=password,
    )


def with_database(conninfo: str) -> str:
    """A connection string that leads to a database, as one for replication may not."""
    parts = conninfo_to_dict(conninfo)
    return conninfo if parts.get("dbname") else make_conninfo(conninfo, dbname="postgres")


def upstream_of(receiver: WalReceiver) -> Upstream:
    """Whom a walreceiver is connected to: what it says, before 11 what its conninfo says."""
    parts = conninfo_to_dict(receiver.conninfo or "")

    def part(name: str) -> str | None:
        return None if parts.get(name) is None else str(parts[name])

    port = receiver.sender_port if receiver.sender_port is not None else part("port")
    return Upstream(
        host=receiver.sender_host or part("host") or part("hostaddr"),
        port=None if port is None else int(port),
        user=part("user"),
        application_name=part("application_name"),
        slot_name=receiver.slot_name,
    )


def repmgr_node(
    nodes: Sequence[RepmgrNode], address: tuple[str, int], source: Upstream | None
) -> RepmgrNode | None:
    """Which of the nodes that repmgr knows a server is: by its address, else by its name.

    repmgr lets a standby connect to its upstream under the node's name.
    """
    for node in nodes:
        try:
            parts = conninfo_to_dict(node.conninfo)
        except ProgrammingError:
            continue  # What is registered is not always what libpq would take.
        hosts = {parts.get("host"), parts.get("hostaddr")}
        if address[0] in hosts and str(address[1]) == str(parts.get("port") or _PORT):
            return node
    named = [node for node in nodes if source and node.node_name == source.application_name]
    return named[0] if named else None
