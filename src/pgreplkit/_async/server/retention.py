"""The facts for a report on WAL retention."""

from __future__ import annotations

from pgreplkit._async._io import sleep
from pgreplkit._async.server.senders import read_senders
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.server.retention import ARCHIVER, KEPT_WAL, POSITION_NOW, ready_files
from pgreplkit.catalog.server.slot import SLOTS
from pgreplkit.errors import InsufficientPrivilege
from pgreplkit.plans.server.retention import WalRetention, wal_retention
from pgreplkit.plans.server.retentionfindings import with_findings
from pgreplkit.values.seconds import Timeout, optional_seconds


async def read_retention(
    link: AsyncLink,
    *,
    window: Timeout | None = None,
    disk_size: int | None = None,
    wal_rate: float | None = None,
) -> WalRetention:
    """Return the report of this server, with the given WAL rate or that over ``window`` seconds."""
    operation, major = "read the WAL retention", link.version.major
    seconds = optional_seconds(window, "a window")
    # The rate is measured first, so that all other facts are of about the same time.
    wal_rate = wal_rate if seconds is None else await _wal_rate(link, seconds)
    kept = KEPT_WAL.read(await link.one(operation, KEPT_WAL.sql(major)))
    slots = await link.all(operation, SLOTS.sql(major))
    report = wal_retention(
        kept,
        slots=[SLOTS.read(record) for record in slots],
        senders=await read_senders(link),
        archiver=ARCHIVER.read(await link.one(operation, ARCHIVER.sql(major))),
        ready=await _ready(link),
        wal_rate=wal_rate,
        disk_size=disk_size,
    )
    return with_findings(report, kept)


async def _wal_rate(link: AsyncLink, window: float) -> float | None:
    operation = "measure the WAL rate"
    before = await link.one(operation, POSITION_NOW)
    # The server has positions only: a rate needs two of them.
    await sleep(window)
    after = await link.one(operation, POSITION_NOW)
    # By the server's clock, as the queries themselves take time too.
    seconds: float = (after["at"] - before["at"]).total_seconds()
    size: int = after["lsn"] - before["lsn"]
    return size / seconds if seconds > 0 else None


async def _ready(link: AsyncLink) -> list[str] | None:
    sql = ready_files(link.version.major)
    operation = "list the files that wait to be archived"
    try:
        return [record["name"] for record in await link.all(operation, sql)]
    except InsufficientPrivilege:
        # Before 12 only superusers may list them.
        if link.has("archive.statusdir"):
            raise
        return None
