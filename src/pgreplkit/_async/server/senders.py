"""Reading pg_stat_replication."""

from __future__ import annotations

from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.server.senders import CLEAR_SNAPSHOT, SENDERS, WalSender
from pgreplkit.errors import InsufficientPrivilege


async def read_senders(link: AsyncLink) -> list[WalSender]:
    """The rows of pg_stat_replication.

    Raises: InsufficientPrivilege when the role sees only parts of them.
    """
    tried = "read pg_stat_replication"
    if not link.is_autocommit:
        # Within a transaction the server shows the same sessions again and again.
        await link.all(tried, CLEAR_SNAPSHOT)
    records = await link.all(tried, SENDERS.sql(link.version.major))
    if any(record["state"] is None for record in records):
        raise InsufficientPrivilege(tried, link.role, "pg_monitor")
    return [SENDERS.read(record) for record in records]
