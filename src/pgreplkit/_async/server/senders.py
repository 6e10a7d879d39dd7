"""The rows of pg_stat_replication."""

from __future__ import annotations

from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.server.senders import CLEAR_SNAPSHOT, SENDERS, WalSender
from pgreplkit.errors import InsufficientPrivilege


async def read_senders(link: AsyncLink) -> list[WalSender]:
    """Return the rows of pg_stat_replication.

    Raises: InsufficientPrivilege if parts of them are hidden from the role.
    """
    operation = "read pg_stat_replication"
    if not link.is_autocommit:
        # Within a transaction the server returns its first snapshot of the statistics again.
        await link.all(operation, CLEAR_SNAPSHOT)
    records = await link.all(operation, SENDERS.sql(link.version.major))
    if any(record["state"] is None for record in records):
        raise InsufficientPrivilege(operation, link.role, "pg_monitor")
    return [SENDERS.read(record) for record in records]
