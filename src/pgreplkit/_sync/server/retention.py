# Generated from pgreplkit/_async/server/retention.py by `nox -s sync`. Do not edit.
"""Reading what a report on the retention of WAL is made from."""

from __future__ import annotations

from pgreplkit._sync._io import sleep
from pgreplkit._sync.server.senders import read_senders
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.server.retention import ARCHIVER, KEPT_WAL, POSITION_NOW, ready_files
from pgreplkit.catalog.server.slot import SLOTS
from pgreplkit.errors import InsufficientPrivilege
from pgreplkit.plans.server.retention import WalRetention, wal_retention
from pgreplkit.values.seconds import checked_seconds


def read_retention(link: Link, *, window: float | None, disk_size: int | None) -> WalRetention:
    """The report of this server, with the WAL rate over ``window`` seconds."""
    tried, major = "read the WAL retention", link.version.major
    if window is not None:
        checked_seconds(window, "a window")
    wal_rate = None if window is None else _wal_rate(link, window)
    kept = KEPT_WAL.read(link.one(tried, KEPT_WAL.sql(major)))
    slots = link.all(tried, SLOTS.sql(major))
    return wal_retention(
        kept,
        slots=[SLOTS.read(record) for record in slots],
        senders=read_senders(link),
        archiver=ARCHIVER.read(link.one(tried, ARCHIVER.sql(major))),
        ready=_ready(link),
        wal_rate=wal_rate,
        disk_size=disk_size,
    )


def _wal_rate(link: Link, window: float) -> float | None:
    tried = "measure the WAL rate"
    before = link.one(tried, POSITION_NOW)
    sleep(window)
    after = link.one(tried, POSITION_NOW)
    seconds: float = (after["at"] - before["at"]).total_seconds()
    size: int = after["lsn"] - before["lsn"]
    return size / seconds if seconds > 0 else None


def _ready(link: Link) -> list[str] | None:
    major = link.version.major
    tried, sql = "list the files that wait to be archived", ready_files(major)
    try:
        return [record["name"] for record in link.all(tried, sql)]
    except InsufficientPrivilege:
        # From 12 on pg_monitor may see them; before that only a superuser.
        if major >= 12:
            raise
        return None
