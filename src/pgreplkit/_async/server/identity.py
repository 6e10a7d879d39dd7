"""The database that a connection leads to."""

from __future__ import annotations

from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.server.identity import DATABASE, RunningDatabase
from pgreplkit.plans.server.identity import insist_on_two


async def read_database(link: AsyncLink) -> RunningDatabase:
    """Return the server and the database that a connection leads to."""
    return RunningDatabase(**await link.one("read the identity", DATABASE))


async def insist_on_two_databases(
    operation: str, publisher: AsyncLink, subscriber: AsyncLink
) -> None:
    """Refuse two connections to one database.

    Raises: ServerError.
    """
    insist_on_two(operation, await read_database(publisher), await read_database(subscriber))
