"""acompare: whether a subscriber has what its publisher has, row by row, while both are in use."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial

from psycopg.rows import DictRow
from psycopg.sql import Composed

from pgreplkit._async._io import TaskGroup, sleep
from pgreplkit._async.logical.coverage import insist_on_all_rows, tables_between
from pgreplkit._async.logical.subscribing import read_subscriptions
from pgreplkit._async.server.positions import write_marker
from pgreplkit._async.server.server import AsyncServer
from pgreplkit._async.server.slot import AsyncSlot, read_slot
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.logical.compare import (
    ESTIMATE,
    WRITTEN_ALIKE,
    ColumnShape,
    columns_of,
    key_of,
)
from pgreplkit.catalog.logical.publication import AnyPublished, PublishedTable
from pgreplkit.catalog.logical.stuck import COPIED_NOW
from pgreplkit.catalog.view import table_in
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.tablescan import TableScan, columns_named, key_in
from pgreplkit.errors import KeyMissing, ServerError, SlotNotFound, TableNotFound
from pgreplkit.plans.logical.compare import (
    CompareProgress,
    DiffKind,
    Key,
    RowDiff,
    Seen,
    judged,
)
from pgreplkit.values.tablename import TableName

_TRIES = 6
"""How often rows that change whenever they are looked at are looked at again."""
_SEVERAL = "several rows"
_AT_ONCE = 200
"""Rows that are read by one statement."""


async def acompare(
    publisher: AsyncServer,
    subscriber: AsyncServer,
    tables: Iterable[AnyPublished] | None = None,
    *,
    range_rows: int = 20_000,
    timeout: float = 60.0,
) -> AsyncIterator[CompareProgress]:
    """Compare tables of a publisher and a subscriber, range by range of their keys.

    Nothing needs to stand still: ranges whose hashes differ are read again, the subscriber after
    it has applied what the publisher had written, and a row counts as different only when the
    publisher did not change it meanwhile. The ``diffs`` of each range are final; what is
    ``undecided`` changed each time. Memory holds the rows of one range, keys and hashes only.

    By default the tables are those of the subscriber's subscriptions to this publisher; without
    such a subscription, all published tables. Each is compared by the columns and rows that are
    published. Columns that are generated are left out. ``range_rows`` is how many
    rows are read by one statement, and ``timeout`` the seconds that one may take, and that the
    subscriber may need to apply what is written.

    Both connections must be in autocommit, and are in use until the end.

    Raises: KeyMissing for a table without a key; TableNotFound, PublicationNotFound when there is
    nothing to compare; WaitTimeout when the subscriber
    does not catch up; StatementTimeout; InsufficientPrivilege;
    ServerError.
    Needs: SELECT on the tables; BYPASSRLS where row level security hides rows from the role.
    Source: the tables; pg_logical_emit_message() and the slot's confirmed_flush_lsn.
    """
    sides = _Sides(publisher, subscriber, timeout)
    asked = await tables_between(publisher._link, subscriber._link, tables, "compare")
    await sides.insist_on_ready([table.table for table in asked])
    scans = [await sides.scan(table) for table in asked]
    estimated = await sides.estimate([scan.table for scan in scans])
    done = 0
    crew = TaskGroup(1)
    try:
        for tables_done, scan in enumerate(scans):
            low: Key | None = None
            high = await sides.boundary(publisher, scan, low, None, range_rows)
            while True:
                # The next boundary is found while the subscriber is still at this range.
                job = crew.start(partial(sides.digest, subscriber, scan, low, high))
                rows, hashed = await sides.digest(publisher, scan, low, high)
                following = None
                if high is not None:
                    following = await sides.boundary(publisher, scan, high, None, range_rows)
                await crew.wait([job], 2 * timeout)
                replicated, replica_hash = job.result()
                is_alike = (rows, hashed) == (replicated, replica_hash)
                begin: Key | None = low
                while True:
                    # The subscriber may have any number of rows where the publisher has few.
                    end = high
                    if replicated > 2 * range_rows:
                        part = await sides.boundary(subscriber, scan, begin, high, range_rows)
                        end = high if part is None else part
                    is_last = end == high
                    diffs: tuple[RowDiff, ...] = ()
                    undecided: tuple[dict[str, str], ...] = ()
                    if not is_alike:
                        diffs, undecided = await sides.recheck(scan, begin, end)
                    done += rows if is_last else 0
                    yield CompareProgress(
                        table=scan.table,
                        rows=rows if is_last else 0,
                        rows_done=done,
                        rows_estimated=max(estimated, done),
                        tables_done=tables_done + (high is None and is_last),
                        tables=len(scans),
                        diffs=diffs,
                        undecided=undecided,
                    )
                    if is_last:
                        break
                    begin = end
                if high is None:
                    break
                low, high = high, following
    finally:
        await crew.close()


class _Sides:
    """Both servers, and what is asked of them."""

    def __init__(self, publisher: AsyncServer, subscriber: AsyncServer, timeout: float) -> None:
        self._publisher, self._subscriber = publisher._link, subscriber._link
        self._timeout = timeout
        self._slots: list[str] | None = None

    async def insist_on_ready(self, tables: Sequence[TableName]) -> None:
        """Raise when one of them is still being copied, or hides rows from a role.

        What the slot confirms does not cover a table that is being copied.
        """
        records = await self._subscriber.all("look for copies", COPIED_NOW)
        copied = {*map(table_in, records)} & {*tables}
        if copied:
            which = ", ".join(map(str, sorted(copied)))
            raise ServerError("compare", f"{which} is not synchronized yet: wait_synced() first")
        for link in (self._publisher, self._subscriber):
            await insist_on_all_rows(link, "compare", tables)

    async def scan(self, asked: PublishedTable) -> TableScan:
        """How a table is read, alike on both.

        Raises: TableNotFound, KeyMissing.
        """
        theirs = await self._shapes(self._publisher, asked.table, "publisher")
        ours = {s.name: s for s in await self._shapes(self._subscriber, asked.table, "subscriber")}
        wanted = asked.columns
        if wanted is None:
            wanted = tuple(shape.name for shape in theirs)
        left_out = {shape.name for shape in (*theirs, *ours.values()) if shape.is_generated}
        names = [name for name in wanted if name not in left_out]
        tried = f"compare {asked.table}"
        lacking = [n for n in names if n not in ours or n not in {s.name for s in theirs}]
        if lacking:
            raise TableNotFound(tried, f"not both sides have the columns {', '.join(lacking)}")
        key = await self._key(asked.table)
        if not {*key} <= {*names}:
            raise KeyMissing(tried, f"its key ({', '.join(key)}) is not among what is compared")
        majors = [link.version.major for link in (self._publisher, self._subscriber)]
        shapes = columns_named(theirs, key)
        return TableScan(
            table=asked.table,
            columns=columns_named(theirs, names),
            key=shapes,
            where=asked.where,
            is_ordered_alike=all(ours[s.name].collation == s.collation for s in shapes),
            has_fast_hash=min(majors) >= 11,
            has_short_floats=min(majors) >= 12,
        )

    async def _shapes(self, link: AsyncLink, table: TableName, side: str) -> list[ColumnShape]:
        tried = f"compare {table}"
        sql = columns_of(link.version.major)
        async with link.qualified(tried) as within:
            records = await within.all(tried, sql, [table.schema, table.name])
        if not records:
            raise TableNotFound(tried, f"the {side} has no such table")
        return [ColumnShape(**record) for record in records]

    async def _key(self, table: TableName) -> list[str]:
        tried = f"compare {table}"
        sql = key_of(self._publisher.version.major)
        for record in await self._publisher.all(tried, sql, [table.schema, table.name]):
            key: list[str] = record["columns"]
            return key
        raise KeyMissing(tried, "it has no unique key of columns that are NOT NULL")

    async def estimate(self, tables: Sequence[TableName]) -> int:
        """How many rows the publisher's tables have, as its planner knows it."""
        columns = [[table.schema for table in tables], [table.name for table in tables]]
        record = await self._publisher.one("estimate the rows", ESTIMATE, columns)
        rows: int | None = record["rows"]
        return rows or 0

    async def boundary(
        self, server: AsyncServer, scan: TableScan, low: Key | None, high: Key | None, rows: int
    ) -> Key | None:
        """The last key of the range of so many rows after ``low``; None for the last range."""
        records = await self._read(server._link, scan, scan.boundary(low, high, rows))
        return key_in(records[0], scan) if records else None

    async def digest(
        self, server: AsyncServer, scan: TableScan, low: Key | None, high: Key | None
    ) -> tuple[int, object]:
        """How many rows a range has on that side, and the sum of their hashes."""
        [record] = await self._read(server._link, scan, scan.digest(low, high))
        return record["rows"], record["hash"]

    async def recheck(
        self, scan: TableScan, low: Key | None, high: Key | None
    ) -> tuple[tuple[RowDiff, ...], tuple[dict[str, str], ...]]:
        """The rows of a range that differ, and those that never kept still.

        A difference counts when it is seen twice: a row that is written and deleted between the
        looks at the publisher may be seen by the look at the subscriber.
        """
        backoff = Backoff(self._timeout)
        confirmed: dict[Key, DiffKind] = {}
        seen: dict[Key, DiffKind] = {}
        doubtful: list[Key] = []
        for _ in range(_TRIES):
            # After the first look only what it left in doubt is of interest.
            sql = scan.hashes(low, high, doubtful if len(doubtful) <= _AT_ONCE else ())
            before = await self._seen(scan, sql)
            await self._catch_up()
            replica: dict[Key, object] = {}
            repeated: set[Key] = set()
            for record in await self._read(self._subscriber, scan, sql):
                key = key_in(record, scan)
                if key in replica:
                    repeated.add(key)
                # Two rows are not what one row is, whatever they hash to.
                replica[key] = _SEVERAL if key in replica else record["hash"]
            diffs, changing = judged(before, replica, await self._seen(scan, sql))
            for key in repeated & diffs.keys() & before.hashes.keys():
                diffs[key] = DiffKind.REPEATED
            confirmed |= {key: kind for key, kind in diffs.items() if seen.get(key) == kind}
            seen, doubtful = diffs, sorted({*changing, *diffs} - confirmed.keys())
            if not doubtful:
                break
            await sleep(backoff.next_pause())
        found = {key: confirmed[key] for key in sorted(confirmed)}
        return await self._diffs(scan, found), tuple(map(scan.named, doubtful))

    async def _seen(self, scan: TableScan, sql: Composed) -> Seen:
        records = await self._read(self._publisher, scan, sql)
        keys = [key_in(record, scan) for record in records]
        return Seen(
            {key: record["hash"] for key, record in zip(keys, records, strict=True)},
            {key: record["version"] for key, record in zip(keys, records, strict=True)},
        )

    async def _diffs(self, scan: TableScan, found: Mapping[Key, DiffKind]) -> tuple[RowDiff, ...]:
        here = await self._rows(self._publisher, scan, [*found])
        there = await self._rows(self._subscriber, scan, [*found])
        return tuple(
            RowDiff(
                table=scan.table,
                kind=kind,
                key=scan.named(key),
                publisher=here.get(key),
                subscriber=there.get(key),
            )
            for key, kind in found.items()
        )

    async def _rows(
        self, link: AsyncLink, scan: TableScan, keys: Sequence[Key]
    ) -> dict[Key, dict[str, str | None]]:
        rows = {}
        for begin in range(0, len(keys), _AT_ONCE):
            statement = scan.rows(keys[begin : begin + _AT_ONCE])
            for record in await self._read(link, scan, statement):
                rows[key_in(record, scan)] = scan.values(record)
        return rows

    async def _read(self, link: AsyncLink, scan: TableScan, statement: Composed) -> list[DictRow]:
        tried, grant = f"compare {scan.table}", f"SELECT ON {scan.table}"
        async with link.transaction(tried, timeout=self._timeout) as within:
            await within.one(tried, WRITTEN_ALIKE)
            return await within.all(tried, statement.as_string(link.connection), grant=grant)

    async def _catch_up(self) -> None:
        """Wait until the subscriber has applied what the publisher has committed by now.

        Raises: WaitTimeout.
        """
        lsn = await write_marker(self._publisher)
        if self._slots is None:
            states = await read_subscriptions(self._subscriber)
            self._slots = [s.subslotname for s in states if s.subenabled and s.subslotname]
        for name in self._slots:
            try:
                slot = AsyncSlot(self._publisher, await read_slot(self._publisher, name))
            except SlotNotFound:
                continue  # The subscription is to another publisher.
            await slot.wait_caught_up(lsn, timeout=self._timeout)
