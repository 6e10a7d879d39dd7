# Generated from pgreplkit/_async/logical/compare.py by `nox -s sync`. Do not edit.
"""compare: compare the rows of two databases, range by range, while both are in use."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from psycopg.rows import DictRow
from psycopg.sql import Composed

from pgreplkit._sync._io import TaskGroup, sleep
from pgreplkit._sync.logical.coverage import insist_on_all_rows, tables_between
from pgreplkit._sync.logical.drift import other_relations
from pgreplkit._sync.logical.subscribing import read_subscriptions
from pgreplkit._sync.server.positions import write_marker
from pgreplkit._sync.server.server import Server, insist_on_servers
from pgreplkit._sync.server.slot import Slot, read_slot
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.logical.compare import (
    ESTIMATE,
    ColumnShape,
    columns_of,
    key_of,
)
from pgreplkit.catalog.logical.publication import AnyPublished, PublishedTable
from pgreplkit.catalog.logical.stuck import COPIED_NOW
from pgreplkit.catalog.logical.types import Types, TypeShape, types_of_tables
from pgreplkit.catalog.view import table_in
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.encodings import common_encoding, insist_on_readable
from pgreplkit.driver.failures import read_grant
from pgreplkit.driver.tablescan import TableScan, columns_named
from pgreplkit.errors import (
    InsufficientPrivilege,
    KeyMissing,
    ServerError,
    SlotNotFound,
    TableNotFound,
)
from pgreplkit.plans.logical.compare import (
    ComparedPart,
    CompareProgress,
    DiffKind,
    Digest,
    Key,
    KeyRange,
    Observation,
    RowDiff,
    Tally,
    Verdict,
    classify,
    replica_hashes,
)
from pgreplkit.values.seconds import Timeout, checked_seconds
from pgreplkit.values.tablename import TableName, schemas_and_names

_LOOKS = 6
"""How often rows that change at each look are read again: a row that a client writes all the time
stays undecided, and would hold up the comparison."""
_KEYS_AT_ONCE = 200
"""Keys in one statement: parsing a longer list takes longer than reading the range."""


def compare(
    publisher: Server,
    subscriber: Server,
    tables: Iterable[AnyPublished] | None = None,
    *,
    range_rows: int = 20_000,
    timeout: Timeout = 60.0,
) -> Iterator[CompareProgress]:
    """Compare tables of a publisher and a subscriber, range by range of their keys.

    Both sides may be in use. A range whose hashes differ is read again, from the subscriber after
    it has applied what the publisher had written; a row counts as different only if the publisher
    did not change it in between. The ``diffs`` of each range are final; ``undecided`` rows changed
    at each look. Only the keys and hashes of one range are held in memory.

    By default the tables are those of the subscriber's subscriptions to this publisher; without
    such a subscription, all published tables. Only the published columns and rows are compared,
    and no generated columns. ``range_rows`` is the number of rows that one statement reads.
    ``timeout`` in seconds bounds each statement, and the time that the subscriber needs to apply
    what was written.

    Both connections must be in autocommit, and are in use until the end.

    Raises: KeyMissing for a table without a key; TableNotFound, PublicationNotFound when there is
    nothing to compare; WaitTimeout when the subscriber does not catch up; StatementTimeout;
    InsufficientPrivilege; ServerError, for example if both are one database.
    Needs: SELECT on the tables; BYPASSRLS where row level security hides rows from the role.
    Source: the tables; pg_logical_emit_message() and the slot's confirmed_flush_lsn.
    """
    insist_on_servers(publisher=publisher, subscriber=subscriber)
    comparison = _Comparison(publisher._link, subscriber._link, range_rows, timeout)
    covered = tables_between(publisher._link, subscriber._link, tables, "compare")
    # Before anything is read: a comparison that fails in its last table has taken hours.
    comparison.insist_on_ready([published.table for published in covered])
    scans = [comparison.scan(published) for published in covered]
    estimated = comparison.estimate([scan.table for scan in scans])
    tally = Tally(len(scans), estimated)
    group = TaskGroup(1)
    try:
        for scan in scans:
            for part in comparison.parts(scan, group):
                yield tally.add(scan.table, part)
    finally:
        group.close()


class _Comparison:
    """Reads both servers, and looks again where they differ."""

    def __init__(
        self, publisher: Link, subscriber: Link, range_rows: int, timeout: Timeout
    ) -> None:
        self._links = (publisher, subscriber)
        self._publisher, self._subscriber = publisher, subscriber
        self._range_rows = range_rows
        self._timeout = checked_seconds(timeout, "timeout")
        self._slots: list[str] | None = None

    def insist_on_ready(self, tables: Sequence[TableName]) -> None:
        """Raise if a table is still being copied, or hides rows from a role.

        The position that a slot confirms does not cover a table that is being copied.
        """
        records = self._subscriber.all("look for copies", COPIED_NOW)
        copied = {*map(table_in, records)} & {*tables}
        if copied:
            which = ", ".join(map(str, sorted(copied)))
            raise ServerError("compare", f"{which} is not synchronized yet: wait_for_sync() first")
        for link in self._links:
            insist_on_all_rows(link, "compare", tables)

    def scan(self, published: PublishedTable) -> TableScan:
        """Return how a table is read, the same way on both sides.

        Raises: TableNotFound; KeyMissing.
        """
        operation = f"compare {published.table}"
        theirs = self._shapes(self._publisher, published.table, "publisher")
        ours = self._shapes(self._subscriber, published.table, "subscriber")
        names = _compared(published, theirs, ours, operation)
        key = self._key(published.table)
        # Rows are matched by the key, which a column list may leave out.
        if not {*key} <= {*names}:
            found = f"its key ({', '.join(key)}) is not among the columns"
            raise KeyMissing(operation, found, remedy="publish the key too, or leave the table out")
        collations = {shape.name: shape.collation for shape in ours}
        shapes = columns_named(theirs, key)
        scan = TableScan(
            table=published.table,
            columns=columns_named(theirs, names),
            key=shapes,
            where=published.where,
            is_ordered_alike=all(collations[s.name] == s.collation for s in shapes),
            has_hash64=self._both_have("function.hash64"),
            encoding=common_encoding(link.connection for link in self._links),
            types=float_types(self._links, published.table),
        )
        if scan.unreadable_key:
            which = ", ".join(scan.unreadable_key)
            found = f"its key column {which} holds floats, which servers before 12 write otherwise"
            raise KeyMissing(operation, found, remedy="leave the table out")
        return scan

    def _both_have(self, feature: str) -> bool:
        return all(link.has(feature) for link in self._links)

    def _shapes(self, link: Link, table: TableName, side: str) -> list[ColumnShape]:
        operation = f"compare {table}"
        statement = columns_of(link.version.major)
        with link.qualified(operation) as within:
            records = within.all(operation, statement, [table.schema, table.name])
        if not records:
            kind = (other_relations(link, [table])).get(table)
            found = f"on the {side} it is a {kind}" if kind else f"the {side} has no such table"
            raise TableNotFound(operation, found)
        insist_on_readable(link.connection, operation, [record["name"] for record in records])
        return [ColumnShape(**record) for record in records]

    def _key(self, table: TableName) -> list[str]:
        operation = f"compare {table}"
        statement = key_of(self._publisher.version.major)
        for record in self._publisher.all(operation, statement, [table.schema, table.name]):
            key: list[str] = record["columns"]
            return key
        raise KeyMissing(operation, "it has no unique key of columns that are NOT NULL")

    def estimate(self, tables: Sequence[TableName]) -> int:
        """Return the number of the publisher's rows in the planner's statistics."""
        columns = [*schemas_and_names(tables)]
        record = self._publisher.one("estimate the rows", ESTIMATE, columns)
        rows: int | None = record["rows"]
        return rows or 0

    def parts(self, scan: TableScan, group: TaskGroup) -> Iterator[ComparedPart]:
        """Compare a table, and yield the result for each range."""
        for whole, published, replicated in self._ranges(scan, group):
            for part in self._split(scan, whole, replicated.rows):
                is_last = part.high == whole.high
                rows = published.rows if is_last else 0
                is_end = is_last and whole.high is None
                # Hashes of a whole range: only ranges that differ cost more than one row each.
                if published == replicated:
                    yield ComparedPart(rows, is_end)
                else:
                    diffs, undecided = self._recheck(scan, part)
                    yield ComparedPart(rows, is_end, diffs, undecided)

    def _ranges(
        self, scan: TableScan, group: TaskGroup
    ) -> Iterator[tuple[KeyRange, Digest, Digest]]:
        """Yield the ranges of the publisher's keys, with the digests of both sides."""
        low: Key | None = None
        high = self._last_key(self._publisher, scan, KeyRange(low, None))
        while True:
            whole = KeyRange(low, high)
            # Both servers read the range at the same time.
            job = group.start(partial(self._digest, self._subscriber, scan, whole))
            published = self._digest(self._publisher, scan, whole)
            following = None
            if high is not None:
                # The next last key is searched while the subscriber still reads this range.
                following = self._last_key(self._publisher, scan, KeyRange(high, None))
            # Two statements: one may have waited for the other's end.
            group.wait([job], 2 * self._timeout)
            yield whole, published, job.result()
            if high is None:
                return
            low, high = high, following

    def _split(self, scan: TableScan, whole: KeyRange, replicated: int) -> Iterator[KeyRange]:
        """Yield a range in parts, if the subscriber has many rows where the publisher has few."""
        low = whole.low
        while replicated > 2 * self._range_rows:
            end = self._last_key(self._subscriber, scan, KeyRange(low, whole.high))
            if end is None or end == whole.high:
                break
            yield KeyRange(low, end)
            low = end
        yield KeyRange(low, whole.high)

    def _last_key(self, link: Link, scan: TableScan, within: KeyRange) -> Key | None:
        """Return the last key of the next ``range_rows`` rows; None if there are fewer."""
        records = self._read(link, scan, scan.last_key(within, self._range_rows))
        return scan.key_in(records[0]) if records else None

    def _digest(self, link: Link, scan: TableScan, within: KeyRange) -> Digest:
        [record] = self._read(link, scan, scan.digest(within))
        return Digest(record["rows"], record["hash"])

    def _recheck(
        self, scan: TableScan, within: KeyRange
    ) -> tuple[tuple[RowDiff, ...], tuple[dict[str, str], ...]]:
        """Return the rows of a range that differ, and the keys of those that stay undecided."""
        backoff = Backoff(self._timeout)
        verdict = Verdict()
        for _ in range(_LOOKS):
            # After the first look only the rows in doubt are of interest.
            few = len(verdict.doubtful) <= _KEYS_AT_ONCE
            statement = scan.hashes(within, verdict.doubtful if few else ())
            # Publisher, subscriber, publisher again: a row that has one version in both looks was
            # the same while the subscriber was read.
            before = self._observe(scan, statement)
            self._catch_up()
            records = self._read(self._subscriber, scan, statement)
            replica, repeated = replica_hashes([(scan.key_in(r), r["hash"]) for r in records])
            diffs, changing = classify(before, replica, self._observe(scan, statement))
            for key in repeated & diffs.keys() & before.hashes.keys():
                diffs[key] = DiffKind.REPEATED
            verdict.add(diffs, changing)
            if not verdict.doubtful:
                break
            sleep(backoff.next_pause())
        diffs = {key: verdict.confirmed[key] for key in sorted(verdict.confirmed)}
        return self._diffs(scan, diffs), tuple(map(scan.named, verdict.doubtful))

    def _observe(self, scan: TableScan, statement: Composed) -> Observation:
        records = self._read(self._publisher, scan, statement)
        keys = [scan.key_in(record) for record in records]
        return Observation(
            {key: record["hash"] for key, record in zip(keys, records, strict=True)},
            {key: record["version"] for key, record in zip(keys, records, strict=True)},
        )

    def _diffs(self, scan: TableScan, kinds: Mapping[Key, DiffKind]) -> tuple[RowDiff, ...]:
        here = self._rows(self._publisher, scan, [*kinds])
        there = self._rows(self._subscriber, scan, [*kinds])
        return tuple(
            RowDiff(
                table=scan.table,
                kind=kind,
                key=scan.named(key),
                publisher=here.get(key),
                subscriber=there.get(key),
            )
            for key, kind in kinds.items()
        )

    def _rows(
        self, link: Link, scan: TableScan, keys: Sequence[Key]
    ) -> dict[Key, dict[str, str | None]]:
        rows = {}
        for begin in range(0, len(keys), _KEYS_AT_ONCE):
            statement = scan.rows(keys[begin : begin + _KEYS_AT_ONCE])
            for record in self._read(link, scan, statement):
                rows[scan.key_in(record)] = scan.values_in(record)
        return rows

    def _read(self, link: Link, scan: TableScan, statement: Composed) -> list[DictRow]:
        operation, grant = f"compare {scan.table}", read_grant(scan.table)
        try:
            with link.transaction(operation, timeout=self._timeout, hides_values=True) as within:
                # Texts depend on settings of the session, which may differ between the servers.
                within.one(operation, scan.settings)
                return within.all(operation, statement, grant=grant)
        except InsufficientPrivilege:
            # The server reports a policy created after the check like a missing privilege.
            insist_on_all_rows(link, operation, [scan.table])
            raise

    def _catch_up(self) -> None:
        """Wait until the subscriber has applied what the publisher has committed by now.

        Raises: WaitTimeout.
        """
        # On an idle publisher no commit would move the slot.
        lsn = write_marker(self._publisher)
        if self._slots is None:
            states = read_subscriptions(self._subscriber)
            self._slots = [s.subslotname for s in states if s.subenabled and s.subslotname]
        for name in self._slots:
            try:
                slot = Slot(self._publisher, read_slot(self._publisher, name))
            except SlotNotFound:
                continue  # The subscription has another publisher.
            slot.wait_for_catchup(lsn, timeout=self._timeout)


def float_types(links: Sequence[Link], table: TableName) -> Types:
    """Return the first server's types, which show where floats are.

    They are empty if all servers write floats alike.
    """
    if all(link.has("type.short_float") for link in links):
        return {}
    operation = f"compare {table}"
    statement = types_of_tables(links[0].version.major)
    with links[0].qualified(operation) as within:
        records = within.all(operation, statement, [[table.schema], [table.name]])
    return {record["oid"]: TypeShape(**record) for record in records}


def _compared(
    published: PublishedTable,
    theirs: Sequence[ColumnShape],
    ours: Sequence[ColumnShape],
    operation: str,
) -> list[str]:
    """Return the names of the columns that are compared.

    Raises: TableNotFound for a column that one side lacks.
    """
    there, here = ({shape.name for shape in side} for side in (theirs, ours))
    wanted = published.columns
    if wanted is None:
        wanted = tuple(shape.name for shape in theirs)
    # A generated column may be computed differently on each side.
    generated = {shape.name for shape in (*theirs, *ours) if shape.is_generated}
    names = [name for name in wanted if name not in generated]
    if lacking := [name for name in names if name not in there & here]:
        raise TableNotFound(operation, f"not both sides have the columns {', '.join(lacking)}")
    return names
