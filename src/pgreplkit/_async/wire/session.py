"""The settings of a session that this library opens."""

from __future__ import annotations

from psycopg import AsyncConnection

from pgreplkit.catalog.server.session import IN_BYTES, own_settings
from pgreplkit.driver.conninfo import chooses_encoding
from pgreplkit.driver.encodings import has_encoding
from pgreplkit.driver.failures import translate_errors
from pgreplkit.driver.watchdog import answered_in_time


async def use_own_settings(connection: AsyncConnection[object]) -> None:
    """Replace the settings that a role, a database or the server gives to its clients.

    They are set by SQL and not by the connection string, where they would replace the user's own
    options.
    """
    major = connection.info.server_version // 10000
    with translate_errors("set the session's settings"), answered_in_time(connection):
        await connection.execute(own_settings(major).encode(), prepare=False)


async def read_bytes(connection: AsyncConnection[object], conninfo: str) -> None:
    """Make a database of SQL_ASCII send bytes as they are, unless the user chose an encoding.

    In any other encoding the server would refuse to send bytes that are not valid in it.
    """
    if not has_encoding(connection) and not chooses_encoding(conninfo):
        with answered_in_time(connection):
            await connection.execute(IN_BYTES, prepare=False)
