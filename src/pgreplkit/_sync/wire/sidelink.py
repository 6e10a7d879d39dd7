# Generated from pgreplkit/_async/wire/sidelink.py by `nox -s sync`. Do not edit.
"""side_link: a short connection for queries beside one that streams."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg import Connection

from pgreplkit._sync.wire.link import Link
from pgreplkit._sync.wire.opening import opening
from pgreplkit._sync.wire.session import use_own_settings
from pgreplkit.driver.conninfo import address, in_utf8
from pgreplkit.driver.watchdog import answered_in_time


@contextmanager
def side_link(conninfo: str) -> Iterator[Link]:
    """Open a connection for queries: one that streams takes none.

    Raises: ConnectionFailed.
    """
    with opening(conninfo, f"connect to {address(conninfo)}"):
        connection = Connection[object].connect(in_utf8(conninfo), autocommit=True)
    try:
        use_own_settings(connection)
        with answered_in_time(connection):
            yield Link(connection)
    finally:
        connection.close()
