# Generated from pgreplkit/_async/server/retention.py by `nox -s sync`. Do not edit.
"""The facts for a report on WAL retention."""

from __future__ import annotations

from pgreplkit._sync._io import sleep
from pgreplkit._sync.server.senders import read_senders
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.server.retention import ARCHIVER, KEPT_WAL, POSITION_NOW, ready_files
from pgreplkit.catalog.server.slot import SLOTS
from pgreplkit.errors import InsufficientPrivilege
from pgreplkit.plans.server.retention import WalRetention, wal_retention
from pgreplkit.plans.server.retentionfindings import with_findings
from pgreplkit.values.seconds import Timeout, optional_seconds


def read_retention(
    link: Link,
    *,
    window: Timeout | None = None,
    disk_size: int | None = None,
    wal_rate: float | None = None,
) -> WalRetention:
    """Return the report of this server, with the given WAL rate or that over ``window`` seconds."""
    operation, major = "read the WAL retention", link.version.major
    seconds = optional_seconds(window, "a window")
    # The rate is measured first, so that all other facts are of about the same time.
    wal_rate = wal_rate if seconds is None else _wal_rate(link, seconds)
    kept = KEPT_WAL.read(link.one(operation, KEPT_WAL.sql(major)))
    slots = link.all(operation, SLOTS.sql(major))
    report = wal_retention(
        kept,
        slots=[SLOTS.read(record) for record in slots],
        senders=read_senders(link),
        archiver=ARCHIVER.read(link.one(operation, ARCHIVER.sql(major))),
        ready=_ready(link),
        wal_rate=wal_rate,
        disk_size=disk_size,
    )
    return with_findings(report, kept)


def _wal_rate(link: Link, window: float) -> float | None:
    operation = "measure the WAL rate"
    before = link.one(operation, POSITION_NOW)
    # The server has positions only: a rate needs two of them.
    sleep(window)
    after = link.one(operation, POSITION_NOW)
    # By the server's clock, as the queries themselves take time too.
    seconds: float = (after["at"] - before["at"]).total_seconds()
    size: int = after["lsn"] - before["lsn"]
    return size / seconds if seconds > 0 else None


def _ready(link: Link) -> list[str] | None:
    sql = ready_files(link.version.major)
    operation = "list the files that wait to be archived"
    try:
        return [record["name"] for record in link.all(operation, sql)]
    except InsufficientPrivilege:
        # Before 12 only superusers may list them.
        if link.has("archive.statusdir"):
            raise
        return None
