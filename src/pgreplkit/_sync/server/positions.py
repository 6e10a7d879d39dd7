# Generated from pgreplkit/_async/server/positions.py by `nox -s sync`. Do not edit.
"""Reading and marking positions in the WAL."""

from __future__ import annotations

from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.server.positions import FLUSHED, WRITE_MARKER
from pgreplkit.driver.failures import READ_ONLY_TRANSACTION
from pgreplkit.errors import (
    NotAPrimary,
    ServerError,
)
from pgreplkit.values.lsn import LSN


def write_marker(link: Link) -> LSN:
    """Commit a message, and give the position by which it and all before it are flushed."""
    tried = "set a fence"
    if not link.is_autocommit:
        raise ServerError(tried, "it commits: use an autocommit connection")
    link.one(tried, WRITE_MARKER, meaning={READ_ONLY_TRANSACTION: NotAPrimary})
    record = link.one(tried, FLUSHED)
    lsn: LSN = record["lsn"]
    return lsn
