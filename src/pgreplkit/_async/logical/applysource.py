"""AsyncApplySource: an applier's session on the publisher, for queries."""

from __future__ import annotations

from pgreplkit._async.logical.applyopening import open_session
from pgreplkit._async.wire.closing import AsyncClosing
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.driver.adapters import register


class AsyncApplySource(AsyncClosing):
    """A session on the publisher, for queries."""

    def __init__(self, link: AsyncLink) -> None:
        self.link = link

    @classmethod
    async def connect(cls, conninfo: str) -> AsyncApplySource:
        """Open the session.

        Raises: ConnectionFailed; ServerError for the connection of a pooler.
        """
        link = await open_session(conninfo)
        register(link.connection)
        return cls(link)

    async def close(self) -> None:
        """Close the session."""
        await self.link.connection.close()
