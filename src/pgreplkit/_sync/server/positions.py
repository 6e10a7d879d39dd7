# Generated from pgreplkit/_async/server/positions.py by `nox -s sync`. Do not edit.
"""Positions in the WAL, marked by a message."""

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
    """Commit a message; return a position up to which it and all earlier WAL are flushed."""
    operation = "write a marker"
    if not link.is_autocommit:
        raise ServerError(
            operation,
            "the connection is not in autocommit mode, and the marker has to be committed",
            remedy="use an autocommit connection",
        )
    # Without the marker, the flush position would miss asynchronous commits still in memory.
    link.one(operation, WRITE_MARKER, meaning={READ_ONLY_TRANSACTION: NotAPrimary})
    record = link.one(operation, FLUSHED)
    lsn: LSN = record["lsn"]
    return lsn
