# Generated from pgreplkit/_async/logical/applysource.py by `nox -s sync`. Do not edit.
"""ApplySource: an applier's session on the publisher, for queries."""

from __future__ import annotations

from pgreplkit._sync.logical.applyopening import open_session
from pgreplkit._sync.wire.closing import Closing
from pgreplkit._sync.wire.link import Link
from pgreplkit.driver.adapters import register


class ApplySource(Closing):
    """A session on the publisher, for queries."""

    def __init__(self, link: Link) -> None:
        self.link = link

    @classmethod
    def connect(cls, conninfo: str) -> ApplySource:
        """Open the session.

        Raises: ConnectionFailed; ServerError for the connection of a pooler.
        """
        link = open_session(conninfo)
        register(link.connection)
        return cls(link)

    def close(self) -> None:
        """Close the session."""
        self.link.connection.close()
