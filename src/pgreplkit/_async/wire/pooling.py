"""Recognize connections of poolers, which have no session of their own on the server."""

from __future__ import annotations

from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.server.session import OWN_PROCESS
from pgreplkit.errors import ServerError


async def is_pooled(link: AsyncLink) -> bool:
    """Return whether a connection leads to a connection pooler.

    That may execute each transaction in another session of the server.
    """
    own = await link.one("read the process of the session", OWN_PROCESS)
    # A pooler has process numbers of its own.
    return bool(own["pid"] != link.connection.info.backend_pid)


async def insist_on_session(link: AsyncLink, operation: str, server: str) -> None:
    """Refuse the connection of a pooler, before anything is set or locked in its session.

    Clients would get the session with these settings, and no one could release the lock.

    Raises: ServerError.
    """
    if await is_pooled(link):
        raise ServerError(
            operation,
            f"the connection to {server} leads to a connection pooler",
            remedy="connect to the server itself: pass its own host and port",
        )
