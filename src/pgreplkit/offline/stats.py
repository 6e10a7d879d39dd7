"""WalStats: the volume of WAL by kind, resource manager, relation, database, xid or second."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from typing import TypeAlias

import attrs

from pgreplkit.offline.counts import Counts
from pgreplkit.offline.kinds import kind_of, manager_name
from pgreplkit.offline.records import RelationFile, WalRecord
from pgreplkit.offline.xacts import commit_of, end_time, is_end
from pgreplkit.values.flat import to_records
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record
from pgreplkit.values.text import clean

StatsKey: TypeAlias = str | int | RelationFile | datetime | None
"""The common property of the records of a row; None for records without it."""

_RECORDS, _BYTES, _IMAGES = 0, 1, 2
Sums: TypeAlias = "dict[StatsKey, list[int]]"


class WalBy(OpenEnum):
    """What to group the volume of WAL by."""

    KIND = "kind"
    """Resource manager and kind, such as ``Heap/INSERT``: ``pg_waldump --stats=record``."""
    RESOURCE_MANAGER = "resource manager"
    """``pg_waldump --stats``."""
    RELATION = "relation"
    """The file of the relation, by the first block of each record; images by their own block."""
    DATABASE = "database"
    """The OID of the database, by the first block of each record or by its commit."""
    XID = "xid"
    SECOND = "second"
    """The second of the commit or abort that follows; None for records after the last one."""


@attrs.frozen
class WalStatsRow(Record):
    """The volume of the records with one key."""

    key: StatsKey
    records: int
    record_bytes: int
    """Length without full page images."""
    fpi_bytes: int

    @property
    def bytes(self) -> int:
        """Length with full page images."""
        return self.record_bytes + self.fpi_bytes


@attrs.frozen
class WalStats(Record):
    """The volume of WAL, the largest rows first.

    >>> rows = (WalStatsRow("Heap", 2, 120, 8000), WalStatsRow("Btree", 1, 64, 0))
    >>> stats = WalStats(WalBy.RESOURCE_MANAGER, rows)
    >>> stats.records, stats.bytes, f"{stats.share(stats.rows[1]):.1%}"
    (3, 8184, '0.8%')
    >>> print(stats)
    resource manager        records  record bytes     FPI bytes   share
    Heap                          2           120          8000   99.2%
    Btree                         1            64             0    0.8%
    """

    by: WalBy
    rows: tuple[WalStatsRow, ...]

    @property
    def records(self) -> int:
        """Number of records."""
        return sum(row.records for row in self.rows)

    @property
    def record_bytes(self) -> int:
        """Length of all records without full page images."""
        return sum(row.record_bytes for row in self.rows)

    @property
    def fpi_bytes(self) -> int:
        """Size of all full page images."""
        return sum(row.fpi_bytes for row in self.rows)

    @property
    def bytes(self) -> int:
        """Length of all records with full page images."""
        return self.record_bytes + self.fpi_bytes

    def share(self, row: WalStatsRow) -> float:
        """Return the share of a row in all bytes, from 0 to 1."""
        return row.bytes / self.bytes if self.bytes else 0.0

    def to_records(self) -> list[dict[str, object]]:
        """Return the rows as flat records, for example for pandas.DataFrame."""
        return to_records(self.rows)

    def __iter__(self) -> Iterator[WalStatsRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __str__(self) -> str:
        lines = [f"{self.by:<20} {'records':>10} {'record bytes':>13} {'FPI bytes':>13}   share"]
        for row in self.rows:
            numbers = f"{row.records:>10} {row.record_bytes:>13} {row.fpi_bytes:>13}"
            key = clean(_text(row.key) or "-")[:40]
            lines.append(f"{key:<20} {numbers} {self.share(row):>7.1%}")
        return "\n".join(lines)


def _text(key: StatsKey) -> str | None:
    return key.isoformat() if isinstance(key, datetime) else None if key is None else str(key)


def stats_of(records: Iterable[WalRecord], by: WalBy, counts: Counts | None = None) -> WalStats:
    """Sum up the records, and those that were counted while the records were read.

    Raises: InvalidWal; ValueError if ``by`` is not a member.
    """
    if by not in _SUMS:
        raise ValueError(f"by must be one of {', '.join(WalBy)}, got {str(by)!r}")
    sums = _SUMS[by](records)
    if counts is not None:
        for kind, (number, size) in counts.sums.items():
            names = kind_of(counts.major, kind >> 8, kind & 0xFF)
            add(sums, "/".join(names) if by is WalBy.KIND else names[0], number, size, 0)
    rows = [WalStatsRow(key, *numbers) for key, numbers in sums.items()]
    # By the key too, so that equal rows are always in the same order.
    rows.sort(key=lambda row: (-row.bytes, _text(row.key) or ""))
    return WalStats(by, tuple(rows))


def add(sums: Sums, key: StatsKey, records: int, size: int, images: int) -> None:
    """Add to the sums of a key."""
    if (row := sums.get(key)) is None:
        row = sums[key] = [0, 0, 0]
    row[_RECORDS] += records
    row[_BYTES] += size
    row[_IMAGES] += images


def _by_kind(records: Iterable[WalRecord]) -> Sums:
    sums: Sums = {}
    for record in records:
        key = "/".join(kind_of(record.major, record.manager, record.info))
        add(sums, key, 1, record.record_bytes, record.fpi_bytes)
    return sums


def _by_manager(records: Iterable[WalRecord]) -> Sums:
    sums: Sums = {}
    for record in records:
        add(sums, manager_name(record.manager), 1, record.record_bytes, record.fpi_bytes)
    return sums


def _by_xid(records: Iterable[WalRecord]) -> Sums:
    sums: Sums = {}
    for record in records:
        # 0 stands for no transaction, as for checkpoints.
        add(sums, record.xid or None, 1, record.record_bytes, record.fpi_bytes)
    return sums


def _by_relation(records: Iterable[WalRecord]) -> Sums:
    sums: Sums = {}
    for record in records:
        blocks = record.blocks
        add(sums, blocks[0].relation if blocks else None, 1, record.record_bytes, 0)
        # A record counts once, but its images are of as many relations as it has blocks.
        for block in blocks:
            if block.image is not None:
                add(sums, block.relation, 0, 0, block.image.size)
    return sums


def _by_database(records: Iterable[WalRecord]) -> Sums:
    sums: Sums = {}
    for record in records:
        key = None
        if record.blocks:
            key = record.blocks[0].relation.database
        # A commit has no block, and may name its database itself.
        elif is_end(record):
            key = commit_of(record).database
        add(sums, key, 1, record.record_bytes, record.fpi_bytes)
    return sums


def _by_second(records: Iterable[WalRecord]) -> Sums:
    sums: Sums = {}
    # Only commits and aborts have a time: the records before one are counted with it.
    waiting = [0, 0, 0]
    for record in records:
        images = record.fpi_bytes
        waiting[_RECORDS] += 1
        waiting[_BYTES] += record.length - images
        waiting[_IMAGES] += images
        at = end_time(record)
        if at is not None:
            add(sums, at.replace(microsecond=0), *waiting)
            waiting = [0, 0, 0]
    if any(waiting):
        add(sums, None, *waiting)
    return sums


COUNTABLE = frozenset({WalBy.KIND, WalBy.RESOURCE_MANAGER})
"""The sums that need only the kind and the length of a record without images."""
_SUMS: dict[WalBy, Callable[[Iterable[WalRecord]], Sums]] = {
    WalBy.KIND: _by_kind,
    WalBy.RESOURCE_MANAGER: _by_manager,
    WalBy.RELATION: _by_relation,
    WalBy.DATABASE: _by_database,
    WalBy.XID: _by_xid,
    WalBy.SECOND: _by_second,
}
