# Generated from pgreplkit/_async/server/senders.py by `nox -s sync`. Do not edit.
"""Reading pg_stat_replication."""

from __future__ import annotations

from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.server.senders import CLEAR_SNAPSHOT, SENDERS, WalSender
from pgreplkit.errors import InsufficientPrivilege


def read_senders(link: Link) -> list[WalSender]:
    """The rows of pg_stat_replication.

    Raises: InsufficientPrivilege when the role sees only parts of them.
    """
    tried = "read pg_stat_replication"
    if not link.is_autocommit:
        # Within a transaction the server shows the same sessions again and again.
        link.all(tried, CLEAR_SNAPSHOT)
    records = link.all(tried, SENDERS.sql(link.version.major))
    if any(record["state"] is None for record in records):
        raise InsufficientPrivilege(tried, link.role, "pg_monitor")
    return [SENDERS.read(record) for record in records]
