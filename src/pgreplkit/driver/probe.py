"""probe: whether a server answers at all, also where it accepts no connection."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from itertools import zip_longest

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import PGconn, Ping

from pgreplkit.plans.cluster.failover import Reply
from pgreplkit.values.conninfosyntax import BY_ROLE

_ENCRYPTION = (
    "sslmode",
    "sslnegotiation",
    "sslcert",
    "sslkey",
    "sslrootcert",
    "sslcertmode",
    "sslcrl",
    "sslcrldir",
    "ssl_min_protocol_version",
    "ssl_max_protocol_version",
    "requirepeer",
    "gssencmode",
)
"""A server is alive, too, if its certificate has expired or it offers no encryption."""
_REPLIES = {
    Ping.OK: Reply.ACCEPTED,
    Ping.REJECT: Reply.REFUSED,
    Ping.NO_RESPONSE: Reply.SILENT,
    Ping.NO_ATTEMPT: Reply.NOT_ASKED,
}
_MOST_ALIVE = (Reply.ACCEPTED, Reply.REFUSED, Reply.OPEN, Reply.NOT_ASKED, Reply.SILENT)
"""Of several hosts the first of these counts: one that was not asked may be alive."""


_OPENS_WITHIN = 3.0
"""Seconds for the kernel of a host to take a connection, whatever its processes do."""


def probe(conninfo: str) -> Reply:
    """Ask each host of a connection string whether a server answers there.

    It takes up to ``connect_timeout`` for each host. No session is opened, and no password is sent.

    Source: PQping().
    """
    # One after another: of several hosts, libpq reports only one.
    replies = {_ping(single) for single in single_hosts(conninfo)}
    return next((reply for reply in _MOST_ALIVE if reply in replies), Reply.NOT_ASKED)


def single_hosts(conninfo: str) -> Iterator[str]:
    """Return one connection string for each host, without conditions on the server's role.

    >>> list(single_hosts("host=a,b port=1,2 target_session_attrs=primary sslmode=require"))
    ['host=a port=1', 'host=b port=2']
    """
    parts = conninfo_to_dict(conninfo)
    for name in (*BY_ROLE, *_ENCRYPTION):
        parts.pop(name, None)
    hosts, addresses, ports = (
        str(parts.pop(name)).split(",") if parts.get(name) else []
        for name in ("host", "hostaddr", "port")
    )
    if len(ports) == 1:  # libpq uses a single port for all hosts
        ports *= max(len(hosts), len(addresses), 1)
    for host, hostaddr, port in zip_longest(hosts or [""], addresses, ports):
        place = {"host": host, "hostaddr": hostaddr, "port": port}
        yield make_conninfo("", **parts, **{name: value for name, value in place.items() if value})


def _ping(conninfo: str) -> Reply:
    try:
        reply = _REPLIES[Ping(PGconn.ping(conninfo.encode()))]
    except ProgrammingError:
        return Reply.NOT_ASKED
    return Reply.OPEN if reply is Reply.SILENT and _is_open(conninfo) else reply


def _is_open(conninfo: str) -> bool:
    """Return whether anything listens: libpq says the same of it as of nothing."""
    parts = conninfo_to_dict(conninfo)
    host = str(parts.get("hostaddr") or parts.get("host") or "localhost")
    port = str(parts.get("port") or "5432")
    try:
        if host.startswith(("/", "@")):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(_OPENS_WITHIN)
                client.connect(f"{host}/.s.PGSQL.{port}".replace("@", "\0", 1))
        else:
            socket.create_connection((host, port), _OPENS_WITHIN).close()
    except OSError:
        return False
    return True
