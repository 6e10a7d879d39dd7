# Generated from pgreplkit/_async/logical/snapshot.py by `nox -s sync`. Do not edit.
"""SnapshotStream: the existing rows, and then every change, without gap or overlap."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from enum import Enum
from typing import Self, TypeVar

from psycopg import Connection
from psycopg.sql import SQL, Composed

from pgreplkit._sync._io import Lock, sleep
from pgreplkit._sync.logical.coverage import insist_on_all_rows
from pgreplkit._sync.logical.publication import read_published
from pgreplkit._sync.logical.rowcopy import copied_rows, open_at_snapshot
from pgreplkit._sync.streams.changes import (
    MEMORY_LIMIT,
    ChangeStream,
    Pgoutput,
    TransactionStream,
)
from pgreplkit._sync.streams.replication import ReplicationConnection
from pgreplkit._sync.streams.slotstream import SlotStream
from pgreplkit._sync.wire.cancelling import cancel
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.logical.publication import PublishedTable
from pgreplkit.catalog.logical.snapshot import (
    COPY_OUT,
    ONLY,
    ROWS,
    WHERE,
    table_shape,
)
from pgreplkit.catalog.logical.stuck import PUBLICATION_NAMES
from pgreplkit.driver import statements as parts
from pgreplkit.driver.encodings import insist_on_readable
from pgreplkit.driver.failures import read_grant, translate_errors
from pgreplkit.driver.watchdog import answered_in_time
from pgreplkit.errors import ServerError, StreamClosed, TableNotFound
from pgreplkit.plans.logical.snapshot import TableCopy, table_copy
from pgreplkit.plans.streams.slot import missing_publications
from pgreplkit.protocol.answers import Snapshot
from pgreplkit.protocol.copytext import copied_values
from pgreplkit.protocol.pgoutput.messages import Change, Insert, SnapshotEnd
from pgreplkit.protocol.pgoutput.tuples import RowReading, TableReader, UnknownTypes
from pgreplkit.values.flags import checked_flags
from pgreplkit.values.lsn import LSN
from pgreplkit.values.madeby import made_by
from pgreplkit.values.seconds import Timeout
from pgreplkit.values.several import several
from pgreplkit.values.tablename import AnyTable, table_of

R = TypeVar("R")

_CANCELLED_WITHIN = 5.0
"""Seconds for the server to accept a request to cancel: it is a connection of its own."""
_CANCELS_AGAIN = 0.05
"""Seconds. A request that comes before the statement has begun cancels nothing."""


class _Phase(Enum):
    """The progress of the copy."""

    NEW = "new"
    COPYING = "copying"
    COPIED = "copied"
    ENDED = "ended"


@made_by("server.snapshot_then_changes(slot, publications=[…])")
class SnapshotStream(ChangeStream[R]):
    """A new slot's stream that begins with the existing rows of the tables.

    They come as Insert of transaction 0, as they are at the slot's first position; then
    SnapshotEnd, and then the changes. Closed before SnapshotEnd, it drops the slot, since the
    snapshot cannot be read again. Created by ``snapshot_then_changes`` of a server.
    """

    def __init__(
        self,
        conninfo: str,
        database: str,
        stream: SlotStream,
        plugin: Pgoutput[R],
        tables: Iterable[AnyTable] | None,
        *,
        failover: bool,
        slot_timeout: Timeout,
    ) -> None:
        checked_flags(failover=failover)
        super().__init__(stream, plugin)
        self._conninfo, self._database = conninfo, database
        self._tables = None
        if tables is not None:
            self._tables = [table_of(t) for t in several(tables, "tables", at_least=1)]
        self._failover, self._create_timeout = failover, slot_timeout
        self._phase = _Phase.NEW
        self._has_unfinished_slot = False
        self._reader: Connection[object] | None = None
        self._rows: Generator[Change[R]] | None = None
        self._reading = Lock()

    @property
    def _operation(self) -> str:
        return f"copy for the slot {self.slot!r}"

    def __enter__(self) -> Self:
        self._begin_copy()
        return self

    def __next__(self) -> Change[R]:
        if self._phase is _Phase.COPIED:
            return super().__next__()
        if self._phase is _Phase.NEW:
            self._begin_copy()
        try:
            with self._reading:
                row = self._next_row()
            if row is not None:
                return row
        except BaseException as error:
            if self._phase is not _Phase.ENDED:
                # The rows that would follow are lost, and the changes are useless without them.
                self.close()
                raise
            if not isinstance(error, Exception):
                raise
        self._stream.raise_failure()
        raise StopIteration

    def _next_row(self) -> Change[R] | None:
        if self._rows is not None and self._phase is _Phase.COPYING:
            for change in self._rows:
                return change
        return None

    def transactions(self, *, memory_limit: int = MEMORY_LIMIT) -> TransactionStream[R]:
        """Return the changes as whole transactions, once SnapshotEnd was delivered.

        Raises: ServerError before that: the copied rows belong to no transaction.
        """
        if self._phase is not _Phase.COPIED:
            found = "the initial copy is not finished"
            remedy = "iterate up to SnapshotEnd first"
            raise ServerError(f"stream the slot {self.slot!r}", found, remedy=remedy)
        return super().transactions(memory_limit=memory_limit)

    def close(self) -> None:
        """End the stream; before SnapshotEnd was delivered, drop the slot too."""
        self._phase = _Phase.ENDED
        reader = self._reader
        while reader is not None and self._reading.locked():
            # Another thread or task waits for a row, perhaps for long.
            cancel(reader, timeout=_CANCELLED_WITHIN)
            sleep(_CANCELS_AGAIN)
        with self._reading:
            # Taken away first, so that a second call of close() finds nothing to close.
            rows, reader, self._rows, self._reader = self._rows, self._reader, None, None
            if reader is not None:
                reader.close()
            if rows is not None:
                rows.close()
            super().close()
            # No one can continue from a slot whose rows were not all delivered; it would keep WAL.
            if self._has_unfinished_slot:
                self._has_unfinished_slot = False
                with self._walsender() as walsender:
                    walsender.drop_slot(self.slot)

    def _walsender(self) -> ReplicationConnection:
        return ReplicationConnection.connect(self._conninfo, database=self._database)

    def _begin_copy(self) -> None:
        if self.is_closed:
            remedy = "open another stream"
            raise StreamClosed(self._operation, "the stream has ended", remedy=remedy)
        try:
            lsn, reader = self._begin_snapshot()
            self._reader = reader
            link = Link(reader)
            copies = self._copies(link)
            self._rows = self._copied(lsn, reader, link, copies)
            self._phase = _Phase.COPYING
        except BaseException:
            self.close()
            raise

    def _begin_snapshot(self) -> tuple[LSN, Connection[object]]:
        """Create the slot, and open a connection that sees the rows before its first change."""
        with self._walsender() as walsender:
            # The snapshot is valid until the next command on this connection.
            created = walsender.create_slot(
                self.slot,
                plugin="pgoutput",
                snapshot=Snapshot.EXPORT,
                two_phase=self._plugin.settings.two_phase,
                failover=self._failover,
                timeout=self._create_timeout,
            )
            # From here on a slot exists that no one else knows.
            self._has_unfinished_slot = True
            reader = open_at_snapshot(self._conninfo, created.snapshot_name or "")
        return created.consistent_point, reader

    def _copies(self, link: Link) -> list[TableCopy]:
        """Return the tables to copy.

        Raises: PublicationNotFound; TableNotFound; InsufficientPrivilege.
        """
        operation = self._operation
        with answered_in_time(link.connection):
            published = published_in(link, operation, self._plugin.publications)
        if self._tables is not None:
            # The slot would never send a change of them.
            unpublished = {*self._tables} - {one.table for one in published}
            if unpublished:
                listed = ", ".join(map(str, sorted(unpublished)))
                found = f"not published, so that no change would come: {listed}"
                raise TableNotFound(operation, found)
            published = [one for one in published if one.table in self._tables]
        with answered_in_time(link.connection):
            insist_on_all_rows(link, operation, [one.table for one in published])
        # In the transaction of the snapshot: the columns are those of its rows.
        return table_copies(link, operation, published)

    def _copied(
        self,
        lsn: LSN,
        reader: Connection[object],
        link: Link,
        copies: Sequence[TableCopy],
    ) -> Generator[Change[R]]:
        reading = self._plugin.reading(reader)
        for one in copies:
            table_reader = self._table_reader(one, reading, link)
            make, load, count = table_reader.make, table_reader.load, len(one.table.columns)
            operation, grant = f"copy {one.table}", read_grant(one.table.table_name)
            with translate_errors(operation, connection=reader, grant=grant, hides_values=True):
                for data in copied_rows(reader, copy_statement(one), self._check_wanted):
                    values = load(copied_values(data, count))
                    yield Insert(lsn, 0, one.table, make(values))
        self._reader = None
        # The transaction would hold back VACUUM.
        reader.close()
        self._has_unfinished_slot = False
        if self._phase is _Phase.COPYING:
            self._phase = _Phase.COPIED
        yield SnapshotEnd(lsn)

    def _check_wanted(self) -> None:
        if self._phase is not _Phase.COPYING:
            remedy = "open another stream"
            raise StreamClosed(self._operation, "the stream has ended", remedy=remedy)

    def _table_reader(self, one: TableCopy, reading: RowReading[R], link: Link) -> TableReader[R]:
        try:
            return TableReader(one.table, reading)
        except UnknownTypes as unknown:
            # The types were created after the stream was prepared.
            self._plugin.learn(link, unknown.oids)
            return TableReader(one.table, reading)


def published_in(link: Link, operation: str, publications: Sequence[str]) -> list[PublishedTable]:
    """Return the tables of publications.

    Raises: PublicationNotFound.
    """
    names = [*publications]
    existing = link.all(operation, PUBLICATION_NAMES, [names])
    if missing := missing_publications(operation, names, existing):
        raise missing
    return read_published(link, names)


def table_copies(
    link: Link, operation: str, published: Sequence[PublishedTable]
) -> list[TableCopy]:
    """Return the columns and the row filters of published tables."""
    shape = table_shape(link.version.major)
    copies = []
    for one in published:
        with answered_in_time(link.connection):
            records = link.all(operation, shape, [one.table.schema, one.table.name])
        columns = [record["name"] for record in records if record["name"] is not None]
        insist_on_readable(link.connection, operation, [str(one.table), *columns])
        copies.append(table_copy(one, records))
    return copies


def copy_statement(one: TableCopy) -> Composed:
    """Return the COPY of a table's published rows."""
    rows = SQL(ROWS).format(
        parts.names(column.name for column in one.table.columns),
        # The rows of other tables that inherit from it are published as theirs.
        SQL("") if one.is_partitioned else SQL(ONLY),
        parts.table(one.table.table_name),
    )
    if one.where is not None:
        rows += SQL(WHERE) + SQL(one.where)
    return SQL(COPY_OUT).format(rows)
