"""AsyncApplySource: an applier's session on the publisher, for queries."""

from __future__ import annotations

from psycopg.conninfo import make_conninfo

from pgreplkit._async.wire.cancelling import AsyncOwnConnection
from pgreplkit._async.wire.closing import AsyncClosing
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit._async.wire.opening import opening
from pgreplkit._async.wire.pooling import insist_on_session
from pgreplkit._async.wire.session import lift_limits
from pgreplkit.catalog.logical import applying as sql
from pgreplkit.driver.adapters import register
from pgreplkit.driver.conninfo import address
from pgreplkit.driver.failures import translate_errors


class AsyncApplySource(AsyncClosing):
    """A session on the publisher, for queries."""

    def __init__(self, link: AsyncLink) -> None:
        self.link = link

    @classmethod
    async def connect(cls, conninfo: str) -> AsyncApplySource:
        """Open it.

        Raises: ConnectionFailed; ServerError for the connection of a pooler.
        """
        where = address(conninfo)
        async with opening(conninfo, operation := f"connect to {where}"):
            connection = await AsyncOwnConnection[object].connect(
                make_conninfo(conninfo, client_encoding="UTF8"), autocommit=True
            )
        register(connection)
        link = AsyncLink(connection)
        try:
            await insist_on_session(link, operation, where)
            with translate_errors("connect"):
                await lift_limits(connection)
            # The copy uses the row filters that are read here, and has the same search_path.
            await link.all("connect", sql.SET, ["search_path", ""])
        except BaseException:
            await connection.close()
            raise
        return cls(link)

    async def close(self) -> None:
        """Close it."""
        await self.link.connection.close()
