"""Connection strings that no server could ever be reached with, found before one is asked."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping
from ipaddress import ip_address

from psycopg.conninfo import make_conninfo
from psycopg.pq import PGconn, Ping

from pgreplkit.driver.conninfo import resolved
from pgreplkit.driver.libpq import ping
from pgreplkit.errors import ConnectionFailed

_INTEGERS = (
    *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"),
    "tcp_user_timeout",
)
_INTEGER = re.compile(r"\s*[-+]?[0-9]{1,9}\s*")
_PORT = re.compile(r"\s*[0-9]{1,5}\s*")
_NO_NAME = re.compile(r"[\s\0-\x1f:/?#@\[\]\\]|^\.|\.\.|[^.]{64}")
"""What no name of a host has: whitespace, the separators of a URI, and empty or long labels."""
_NOWHERE = {"host": "/nonexistent", "hostaddr": "", "port": "", "password": "none"}
"""A socket that does not exist. With a password, libpq reads no password file."""


def insist_on_usable(conninfo: str) -> None:
    """Refuse a connection string whose values libpq does not take, without asking any server.

    A service and the environment count as well. libpq and psycopg notice such values only when they
    connect, and their errors are then like those of a server that is down.

    Raises: ConnectionFailed.
    """
    found = unusable(resolved(conninfo)) or _refusal(conninfo)
    if found:
        raise ConnectionFailed(
            "connect",
            f"the connection string cannot be used: {found}",
            remedy="see the documentation of libpq's connection strings",
        )


def unusable(parameters: Mapping[str, str]) -> str:
    """Return why resolved parameters cannot be used; empty if they can, as far as is known.

    Values are not repeated: in a URI with a mistake, a part of the password may be the port.

    >>> unusable({"host": "db1", "port": "5432x"})
    'port must be a number from 1 to 65535'
    """
    hosts, addresses, ports = (
        [one.strip() for one in parameters[name].split(",")] if parameters.get(name) else []
        for name in ("host", "hostaddr", "port")
    )
    number = max(len(hosts), len(addresses), 1)
    if not all(one == "" or (_PORT.fullmatch(one) and 0 < int(one) < 1 << 16) for one in ports):
        return "port must be a number from 1 to 65535"
    if hosts and addresses and len(hosts) != len(addresses):
        return f"it has {len(hosts)} hosts and {len(addresses)} values of hostaddr"
    if len(ports) not in (0, 1, number):
        return f"it has {number} hosts and {len(ports)} ports"
    if not all(map(_is_address, addresses)):
        return "hostaddr must be an IP address"
    if not all(map(_may_be_host, hosts)):
        return "host must be the name of a host, an IP address or a directory of sockets"
    for name in _INTEGERS:
        if not _INTEGER.fullmatch(parameters.get(name, "0")):
            return f"{name} must be an integer"
    try:
        float(parameters.get("connect_timeout", "0"))
    except ValueError:
        return "connect_timeout must be a number of seconds"
    return ""


def _is_address(text: str) -> bool:
    try:
        # Also the forms that ip_address() does not know, such as 127.1; nothing is looked up.
        socket.getaddrinfo(text or "::", None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    return True


def _may_be_host(text: str) -> bool:
    if text.startswith(("/", "@")) or _NO_NAME.search(text) is None:
        return True
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _refusal(conninfo: str) -> str:
    """Return libpq's message if it does not take the parameters; its texts are in any language.

    Source: PQping(), which distinguishes wrong parameters from a server that does not answer.
    """
    nowhere = make_conninfo(conninfo, **_NOWHERE)
    if ping(nowhere) is not Ping.NO_ATTEMPT:
        return ""
    failed = PGconn.connect_start(nowhere.encode())
    try:
        return failed.error_message.decode(errors="replace").strip()
    finally:
        failed.finish()
