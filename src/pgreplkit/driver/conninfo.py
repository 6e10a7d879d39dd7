"""Connection strings: defaults, and use by other servers and programs."""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

from psycopg import BaseConnection, ProgrammingError, pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgreplkit.errors import ConnectionFailed

NEWEST = 99
"""A major version whose libpq knows every parameter of this client's."""
_OWN_SESSION = (
    "application_name",
    "fallback_application_name",
    "client_encoding",
    "replication",
    "service",
    "servicefile",
    "passfile",
    "password",
)
"""Parameters of one client's session or machine; those of a service are resolved."""


def insist_on_conninfo(conninfo: object, argument: str = "a connection string") -> None:
    """Raise TypeError for anything but a connection string, such as an object of a server."""
    if not isinstance(conninfo, str):
        raise TypeError(f"{argument} must be a str, not {type(conninfo).__name__}")


def checked_conninfo(conninfo: str, argument: str) -> str:
    """Return a connection string that libpq can use; an error names the ``argument``.

    Raises: as ``complete``.
    """
    insist_on_conninfo(conninfo, argument)
    complete(conninfo, {}, operation=f"use {argument}")
    return conninfo


def complete(
    conninfo: str, params: Mapping[str, str | int | None], *, operation: str = "connect"
) -> str:
    """Return the connection string with ``params``, and with defaults where it is silent.

    Raises: ConnectionFailed for a malformed connection string; the text does not repeat it, because
    libpq cannot say which part would be a password. TypeError if it is not a str.
    """
    from pgreplkit.values.options import insist_on_known

    insist_on_conninfo(conninfo)
    if any("\0" in str(text) for text in (conninfo, *params.values())):
        raise ConnectionFailed(
            operation,
            "the connection string contains the character NUL",
            remedy="remove it: libpq would ignore everything after it",
        )
    # As text of the environment that is not UTF-8. The error of Python itself repeats the string.
    if any(map(_has_surrogate, (conninfo, *params.values()))):
        raise ConnectionFailed(
            operation,
            "the connection string contains bytes or characters that UTF-8 does not have",
            remedy="write it in UTF-8",
        )
    known = [option.keyword.decode() for option in pq.Conninfo.get_defaults()]
    insist_on_known("libpq", "connection parameter", params, known)
    # Only a fallback: a name in the environment or a service file comes first.
    defaults = {"fallback_application_name": "pgreplkit"}
    given = parameters_of(conninfo, params, operation=operation)
    # Of a string that was written for streams: each class chooses the kind of its own session.
    given.pop("replication", None)
    completed = make_conninfo("", **(defaults | given))
    if "connect_timeout" in resolved(completed):
        return completed
    return make_conninfo(completed, connect_timeout="10")


def _has_surrogate(text: object) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in str(text))


def parameters_of(
    conninfo: str,
    params: Mapping[str, str | int | None] | None = None,
    *,
    operation: str = "connect",
) -> dict[str, str | int | None]:
    """Return the parameters of a connection string, and ``params``.

    Raises: ConnectionFailed for a malformed connection string.
    """
    try:
        return {**conninfo_to_dict(conninfo, **(params or {}))}
    except ProgrammingError:
        raise ConnectionFailed(
            operation,
            "the connection string is malformed, or has a parameter unknown to libpq",
            remedy="see the documentation of libpq's connection strings",
        ) from None


def resolved(conninfo: str) -> dict[str, str]:
    """Return the parameters that libpq uses, with those of a service and of the environment.

    It is empty if libpq cannot use the string, for example because its service does not exist.
    """
    # libpq resolves all parameters, and then refuses this value before it looks up any host.
    refused = make_conninfo(conninfo, target_session_attrs="unknown")
    failed = pq.PGconn.connect_start(refused.encode())
    try:
        parts = {option.keyword.decode(): option.val for option in failed.info if option.val}
        parts.pop("target_session_attrs", None)
        if parts and not {"host", "hostaddr"} & {*parts}:
            parts["host"] = failed.host  # the directory of sockets that libpq was built with
        return {name: os.fsdecode(value) for name, value in parts.items()}
    finally:
        failed.finish()


def address(conninfo: str) -> str:
    """Return the host and port of a connection string, for error texts.

    Raises: TypeError if it is not a str.
    """
    from pgreplkit.values.conninfosyntax import parse_conninfo

    insist_on_conninfo(conninfo)
    try:
        parts = parse_conninfo(conninfo)
    except ValueError:
        return "a malformed connection string"
    service = f"the service {parts['service']!r}" if parts.get("service") else "the default host"
    host = parts.get("host") or parts.get("hostaddr") or service
    return f"{host}:{parts['port']}" if "port" in parts else str(host)


def is_local(conninfo: str) -> bool:
    """Return whether a connection string names the machine on which it is used.

    Another machine reaches another server by it.
    """
    parts = resolved(conninfo)
    hosts = (parts.get("hostaddr") or parts.get("host") or "").split(",")
    return any(map(_is_own_machine, hosts))


def _is_own_machine(host: str) -> bool:
    # A directory of sockets, or an abstract one.
    if host in ("", "localhost") or host[0] in "/@":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def is_same_address_on(conninfo: str, server: BaseConnection[Any]) -> bool:
    """Return whether a connection string leads a server to the same place as this process."""
    return is_local(conninfo_of(server)) or not is_local(conninfo)


def replication_conninfo(conninfo: str, *, is_logical: bool) -> str:
    """Return the connection string of a walsender, for logical replication of its database."""
    # Settings of the session are set by SQL afterwards: "options" in the string would replace those
    # of PGOPTIONS and of a service file.
    replication = "database" if is_logical else "true"
    return make_conninfo(in_utf8(conninfo), replication=replication)


def in_utf8(conninfo: str) -> str:
    """Return the connection string with UTF8 as client_encoding, unless the user chose one."""
    return (
        conninfo if chooses_encoding(conninfo) else make_conninfo(conninfo, client_encoding="UTF8")
    )


def chooses_encoding(conninfo: str) -> bool:
    """Return whether the string, the environment or a service may set client_encoding."""
    parts = conninfo_to_dict(conninfo)
    named = "client_encoding" in parts or "service" in parts
    return named or "PGCLIENTENCODING" in os.environ or "PGSERVICE" in os.environ


def conninfo_of(connection: BaseConnection[Any]) -> str:
    """Return the connection string of a connection, with its password if it has one."""
    info = connection.info
    return make_conninfo(info.dsn, password=info.password or None)


def server_conninfo(connection: BaseConnection[Any], opened_with: str | None, *, major: int) -> str:
    """Return a connection string with which another server connects as this connection does.

    It keeps every host, and every parameter that does not belong to the client's own session; it
    holds the password, if there is one. ``opened_with`` is the connection string of a connection
    that this library opened: psycopg connects to one host at a time, so the connection itself
    knows only the host that it reached. ``major`` is the other server's major version.
    """
    return _handed_on(connection, opened_with, major=major, is_pinned=False)


def program_conninfo(connection: BaseConnection[Any], opened_with: str | None) -> str:
    """Return a connection string with which a program reaches exactly this connection's server."""
    return _handed_on(connection, opened_with, major=NEWEST, is_pinned=True)


def standby_conninfo(connection: BaseConnection[Any], opened_with: str, *, major: int) -> str:
    """Return the primary_conninfo with which a standby connects to this connection's server.

    As pg_basebackup -R does, it writes what the connection was resolved to: a service, the
    environment of this process and its password file mean nothing to the standby. Of several
    hosts it takes the one that was reached, and no condition on the server's role. ``major`` is
    the standby's major version.
    """
    parts = conninfo_to_dict(_handed_on(connection, opened_with, major=major, is_pinned=True))
    given = conninfo_to_dict(opened_with)
    # The file that the string names; libpq also reports the password that it has read from it.
    if given.get("passfile"):
        parts["passfile"] = given["passfile"]
        if not given.get("password"):
            parts.pop("password", None)
    # libpq fills it in, and a walreceiver needs none.
    if not given.get("dbname"):
        parts.pop("dbname", None)
    if "connect_timeout" not in resolved(opened_with):
        parts.pop("connect_timeout", None)  # our own default
    # The address that they chose: the host name alone may lead to another one.
    if "service" in given or "PGHOSTADDR" in os.environ:
        parts["hostaddr"] = connection.info.get_parameters().get("hostaddr")
    return make_conninfo("", **{name: value for name, value in parts.items() if value})


def _handed_on(
    connection: BaseConnection[Any], opened_with: str | None, *, major: int, is_pinned: bool
) -> str:
    info = connection.info
    reached = {
        "host": info.host,
        "port": str(info.port),
        "dbname": info.dbname,
        "user": info.user,
    }
    given = None if opened_with is None else conninfo_to_dict(opened_with)
    reported = info.get_parameters()
    parts = handed_on(given, reported, reached, major=major, is_pinned=is_pinned)
    return make_conninfo("", **parts, password=info.password or None)


def handed_on(
    given: Mapping[str, str | int | None] | None,
    reported: Mapping[str, str],
    reached: Mapping[str, str],
    *,
    major: int,
    is_pinned: bool,
) -> dict[str, str | int | None]:
    """Return the parameters with which a server or a program connects as a connection did.

    ``given`` are those that the connection was opened with, None where that is not known;
    ``reported`` those of libpq, with what came from the environment and a service file; and
    ``reached`` the host, port, database and user of the session. A parameter that was given is
    kept even where libpq of that major version does not know it: the server then refuses it,
    which is better than a connection that silently is less secure.
    """
    from pgreplkit.values.conninfosyntax import BY_ROLE, PARAMETER_SINCE

    # A new libpq reports parameters that it computed itself, such as sslcertmode.
    usable = {name: v for name, v in reported.items() if PARAMETER_SINCE.get(name, 0) <= major}
    if usable.get("sslcertmode") == "allow":
        del usable["sslcertmode"]
    parts: dict[str, str | int | None] = {**usable, **(given or {})}
    for name in _OWN_SESSION:
        parts.pop(name, None)
    if given is not None and "hostaddr" not in given:
        # psycopg reports the address that it looked up; the name may move to another one.
        parts.pop("hostaddr", None)
    is_list = "," in str(parts.get("host") or parts.get("hostaddr") or "")
    if is_list and not is_pinned:
        return {
            "port": reached["port"],
            **parts,
            "dbname": reached["dbname"],
            "user": reached["user"],
        }
    if is_list:
        parts.pop("hostaddr", None)
    if is_pinned:
        for name in BY_ROLE:
            parts.pop(name, None)
    return {**parts, **reached}


def with_database(conninfo: str) -> str:
    """Return the connection string with a database: one for replication may have none."""
    parts = parameters_of(conninfo)
    return conninfo if parts.get("dbname") else make_conninfo(conninfo, dbname="postgres")
