"""side_link: a short connection for queries beside one that streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import AsyncConnection

from pgreplkit._async.wire.link import AsyncLink
from pgreplkit._async.wire.opening import opening
from pgreplkit._async.wire.session import use_own_settings
from pgreplkit.driver.conninfo import address, in_utf8
from pgreplkit.driver.watchdog import answered_in_time


@asynccontextmanager
async def side_link(conninfo: str) -> AsyncIterator[AsyncLink]:
    """Open a connection for queries: one that streams takes none.

    Raises: ConnectionFailed.
    """
    async with opening(conninfo, f"connect to {address(conninfo)}"):
        connection = await AsyncConnection[object].connect(in_utf8(conninfo), autocommit=True)
    try:
        await use_own_settings(connection)
        with answered_in_time(connection):
            yield AsyncLink(connection)
    finally:
        await connection.close()
