# Generated from pgreplkit/_async/wire/session.py by `nox -s sync`. Do not edit.
"""Settings of a session that reads values."""

from __future__ import annotations

from psycopg import Connection

from pgreplkit.catalog.server.session import EXACT_TEXTS, IN_BYTES, without_timeouts
from pgreplkit.driver.conninfo import chooses_encoding
from pgreplkit.driver.encodings import has_encoding
from pgreplkit.driver.watchdog import answered_in_time


def read_exactly(connection: Connection[object], conninfo: str) -> None:
    """Make the server write texts that load without loss.

    They are set by SQL and not by the connection string, where they would replace the user's own
    options.
    """
    with answered_in_time(connection):
        connection.execute(EXACT_TEXTS, prepare=False)
    read_bytes(connection, conninfo)


def lift_limits(connection: Connection[object]) -> None:
    """Switch off every time limit of a session, which a role or a database may have for clients.

    A session of ours may be idle for hours, or wait for a lock as long as a transaction is open.
    """
    major = connection.info.server_version // 10000
    with answered_in_time(connection):
        connection.execute(without_timeouts(major).encode(), prepare=False)


def read_bytes(connection: Connection[object], conninfo: str) -> None:
    """Make a database of SQL_ASCII send bytes as they are, unless the user chose an encoding.

    In any other encoding the server would refuse to send bytes that are not valid in it.
    """
    if not has_encoding(connection) and not chooses_encoding(conninfo):
        with answered_in_time(connection):
            connection.execute(IN_BYTES, prepare=False)
