"""aconnect: connect to a server in either role."""

from __future__ import annotations

from pgreplkit._async.primary import AsyncPrimary
from pgreplkit._async.server.server import AsyncServer
from pgreplkit._async.standby import AsyncStandby


async def aconnect(conninfo: str = "", **params: str | int | None) -> AsyncPrimary | AsyncStandby:
    """Connect to a server; return a primary or a standby, depending on its role.

    ``conninfo`` is a libpq connection string (``key=value`` or a URI); ``params`` add to it, such
    as ``host=`` or ``connect_timeout=`` (seconds; 10 by default).

    Raises: ConnectionFailed.  Source: pg_is_in_recovery().
    """
    server = await AsyncServer.connect(conninfo, **params)
    try:
        role = AsyncStandby if await server.is_in_recovery() else AsyncPrimary
    except BaseException:
        await server.close()
        raise
    return role._taking_over(server)
