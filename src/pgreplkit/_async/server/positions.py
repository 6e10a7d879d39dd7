"""Reading and marking positions in the WAL."""

from __future__ import annotations

from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.server.positions import FLUSHED, WRITE_MARKER
from pgreplkit.driver.failures import READ_ONLY_TRANSACTION
from pgreplkit.errors import (
    NotAPrimary,
    ServerError,
)
from pgreplkit.values.lsn import LSN


async def write_marker(link: AsyncLink) -> LSN:
    """Commit a message, and give the position by which it and all before it are flushed."""
    tried = "set a fence"
    if not link.is_autocommit:
        raise ServerError(tried, "it commits: use an autocommit connection")
    await link.one(tried, WRITE_MARKER, meaning={READ_ONLY_TRANSACTION: NotAPrimary})
    record = await link.one(tried, FLUSHED)
    lsn: LSN = record["lsn"]
    return lsn
