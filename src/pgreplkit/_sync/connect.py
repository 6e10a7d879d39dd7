# Generated from pgreplkit/_async/connect.py by `nox -s sync`. Do not edit.
"""connect: connect to a server in either role."""

from __future__ import annotations

from pgreplkit._sync.primary import Primary
from pgreplkit._sync.server.server import Server
from pgreplkit._sync.standby import Standby


def connect(conninfo: str = "", **params: str | int | None) -> Primary | Standby:
    """Connect to a server; return a primary or a standby, depending on its role.

    ``conninfo`` is a libpq connection string (``key=value`` or a URI); ``params`` add to it, such
    as ``host=`` or ``connect_timeout=`` (seconds; 10 by default).

    Raises: ConnectionFailed.  Source: pg_is_in_recovery().
    """
    server = Server.connect(conninfo, **params)
    try:
        role = Standby if server.is_in_recovery() else Primary
    except BaseException:
        server.close()
        raise
    return role._taking_over(server)
