# Generated from pgreplkit/_async/logical/applysource.py by `nox -s sync`. Do not edit.
"""ApplySource: an applier's session on the publisher, for queries."""

from __future__ import annotations

from psycopg.conninfo import make_conninfo

from pgreplkit._sync.wire.cancelling import OwnConnection
from pgreplkit._sync.wire.closing import Closing
from pgreplkit._sync.wire.link import Link
from pgreplkit._sync.wire.opening import opening
from pgreplkit._sync.wire.pooling import insist_on_session
from pgreplkit._sync.wire.session import lift_limits
from pgreplkit.catalog.logical import applying as sql
from pgreplkit.driver.adapters import register
from pgreplkit.driver.conninfo import address
from pgreplkit.driver.failures import translate_errors


class ApplySource(Closing):
    """A session on the publisher, for queries."""

    def __init__(self, link: Link) -> None:
        self.link = link

    @classmethod
    def connect(cls, conninfo: str) -> ApplySource:
        """Open it.

        Raises: ConnectionFailed; ServerError for the connection of a pooler.
        """
        where = address(conninfo)
        with opening(conninfo, operation := f"connect to {where}"):
            connection = OwnConnection[object].connect(
                make_conninfo(conninfo, client_encoding="UTF8"), autocommit=True
            )
        register(connection)
        link = Link(connection)
        try:
            insist_on_session(link, operation, where)
            with translate_errors("connect"):
                lift_limits(connection)
            # The copy uses the row filters that are read here, and has the same search_path.
            link.all("connect", sql.SET, ["search_path", ""])
        except BaseException:
            connection.close()
            raise
        return cls(link)

    def close(self) -> None:
        """Close it."""
        self.link.connection.close()
