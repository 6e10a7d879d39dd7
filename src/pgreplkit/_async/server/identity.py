"""The database that a connection leads to."""

from __future__ import annotations

from pgreplkit._async.server.server import AsyncServer
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.server.identity import DATABASE, RunningDatabase
from pgreplkit.driver.conninfo import is_same_address_on
from pgreplkit.errors import ConnectionFailed
from pgreplkit.plans.server.identity import destination_mismatch, insist_on_two

_CONNECT_TIMEOUT = 5
"""Seconds; the address may be one that only the other server reaches."""


async def read_database(link: AsyncLink) -> RunningDatabase:
    """Return the server and the database that a connection leads to."""
    return RunningDatabase(**await link.one("read the identity", DATABASE))


async def wrong_destination(conninfo: str, expected: AsyncServer, subscriber: AsyncServer) -> str:
    """Return where a subscriber's connection string leads instead of to the expected publisher.

    Empty if it leads there, and also if this process cannot find out: the subscriber may reach an
    address that this process does not reach.
    """
    if not is_same_address_on(conninfo, subscriber.connection):
        return ""
    try:
        async with await AsyncServer.connect(conninfo, connect_timeout=_CONNECT_TIMEOUT) as there:
            found = await read_database(there._link)
    except ConnectionFailed:
        return ""
    own = await read_database(subscriber._link)
    return destination_mismatch(found, await read_database(expected._link), own)


async def insist_on_two_databases(
    operation: str, publisher: AsyncLink, subscriber: AsyncLink
) -> None:
    """Refuse two connections to one database.

    Raises: ServerError.
    """
    insist_on_two(operation, await read_database(publisher), await read_database(subscriber))
