"""probe: whether a server answers at all, also where it accepts no connection."""

from __future__ import annotations

import errno
import socket
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from itertools import zip_longest

from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo, Ping

from pgreplkit.driver.conninfo import resolved
from pgreplkit.driver.libpq import ping
from pgreplkit.plans.cluster.failover import Reply

_ANY_SERVER = {
    "target_session_attrs": "any",
    "load_balance_hosts": "disable",
    "sslmode": "disable",
    "sslnegotiation": "postgres",
    "gssencmode": "disable",
    "requirepeer": "",
    "min_protocol_version": "3.0",
}
"""A server is alive, too, if it has another role, its certificate has expired, or it offers no
encryption. The values are set, because a service or the environment would replace those that are
left out."""
_REPLIES = {
    Ping.OK: Reply.ACCEPTED,
    Ping.REJECT: Reply.REFUSED,
    Ping.NO_RESPONSE: Reply.SILENT,
    Ping.NO_ATTEMPT: Reply.NOT_ASKED,
}
_MOST_ALIVE = (Reply.ACCEPTED, Reply.REFUSED, Reply.OPEN, Reply.NOT_ASKED, Reply.SILENT)
"""Of several hosts the first of these counts: one that was not asked may be alive."""


_NO_ANSWER = (
    *(errno.ECONNREFUSED, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENOENT),
    *(errno.ETIMEDOUT, errno.ECONNRESET),
)
"""Errors that say that nothing listens there."""
_NO_HOST = (socket.EAI_NONAME, socket.EAI_NODATA)
"""Errors that say that the host does not exist. Their numbers have another meaning as errno."""
_ANSWERS_WITHIN = 10
"""Seconds where the string has no connect_timeout: libpq would wait without a limit."""
_OPENS_WITHIN = 3.0
"""Seconds for the kernel of a host to take a connection, whatever its processes do."""


def probe(conninfo: str) -> Reply:
    """Ask each host of a connection string whether a server answers there.

    It takes up to ``connect_timeout`` for each host, 10 seconds by default. No session is opened,
    and no password is sent.

    Source: PQping().
    """
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    # A service stays a parameter: libpq would use its defaults if it did not exist.
    parts = {**conninfo_to_dict(conninfo), **resolved(conninfo)}
    with suppress(ValueError):  # libpq refuses it
        if int(parts.get("connect_timeout") or 0) <= 0:
            parts["connect_timeout"] = _ANSWERS_WITHIN
    hosts = [make_conninfo("", **single) for single in single_hosts(parts, known)]
    # One after another: of several hosts, libpq reports only one.
    replies = {_ping(host) for host in hosts}
    return next((reply for reply in _MOST_ALIVE if reply in replies), Reply.NOT_ASKED)


def single_hosts(
    parts: Mapping[str, str | int | None], known: Collection[str]
) -> Iterator[dict[str, str | int | None]]:
    """Return the parameters for each host, without conditions on the server's role or encryption.

    ``known`` are the parameters of this libpq.

    >>> parts = {"host": "a,b", "port": "1,2", "target_session_attrs": "primary"}
    >>> [single["host"] for single in single_hosts(parts, parts)]
    ['a', 'b']
    """
    kept = {**parts, **{name: value for name, value in _ANY_SERVER.items() if name in known}}
    hosts, addresses, ports = (
        str(kept.pop(name)).split(",") if kept.get(name) else []
        for name in ("host", "hostaddr", "port")
    )
    if len(ports) == 1:  # libpq uses a single port for all hosts
        ports *= max(len(hosts), len(addresses), 1)
    for host, hostaddr, port in zip_longest(hosts or [""], addresses, ports):
        place = {"host": host, "hostaddr": hostaddr, "port": port}
        yield {**kept, **{name: value for name, value in place.items() if value}}


def _ping(conninfo: str) -> Reply:
    reply = _REPLIES[ping(conninfo)]
    return _listener(conninfo) if reply is Reply.SILENT else reply


def _listener(conninfo: str) -> Reply:
    """Return the reply of a server that is silent to libpq, by whether anything listens there."""
    parts = conninfo_to_dict(conninfo)
    host = str(parts.get("hostaddr") or parts.get("host") or "localhost")
    port = str(parts.get("port") or "5432").strip()
    # libpq refuses these before it connects, where the resolver would accept some.
    if not (port.isdecimal() and 0 < int(port) < 1 << 16):
        return Reply.NOT_ASKED
    try:
        if parts.get("hostaddr"):
            socket.getaddrinfo(host, port, flags=socket.AI_NUMERICHOST)
    except OSError:
        return Reply.NOT_ASKED
    try:
        if host.startswith(("/", "@")):
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(_OPENS_WITHIN)
                client.connect(f"{host}/.s.PGSQL.{port}".replace("@", "\0", 1))
        else:
            socket.create_connection((host, port), _OPENS_WITHIN).close()
    except TimeoutError:
        return Reply.SILENT
    except OSError as error:
        known = _NO_HOST if isinstance(error, socket.gaierror) else _NO_ANSWER
        # Anything else is about this machine: no permission, no free file descriptor, no resolver.
        return Reply.SILENT if error.errno in known else Reply.NOT_ASKED
    return Reply.OPEN
