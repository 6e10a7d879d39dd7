"""Settings of a session that reads values."""

from __future__ import annotations

from psycopg import AsyncConnection

from pgreplkit.catalog.server.session import EXACT_TEXTS, IN_BYTES
from pgreplkit.driver.conninfo import chooses_encoding
from pgreplkit.driver.encodings import has_encoding


async def read_exactly(connection: AsyncConnection[object], conninfo: str) -> None:
    """Make the server write texts that load without loss.

    They are set by SQL and not by the connection string, where they would replace the user's own
    options. A database of SQL_ASCII sends bytes, unless the user chose an encoding.
    """
    await connection.execute(EXACT_TEXTS, prepare=False)
    if not has_encoding(connection) and not chooses_encoding(conninfo):
        await connection.execute(IN_BYTES, prepare=False)
