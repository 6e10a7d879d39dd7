"""AsyncSnapshotStream: the rows that are there, and then every change, without gap or overlap."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import suppress
from typing import Self, TypeVar

from psycopg import AsyncConnection, DataError, Error as PsycopgError
from psycopg.sql import SQL, Composed

from pgreplkit._async._io import Lock, sleep
from pgreplkit._async.logical.coverage import insist_on_all_rows
from pgreplkit._async.logical.publication import read_published
from pgreplkit._async.server.server import AsyncServer
from pgreplkit._async.streams.changes import MEMORY_LIMIT, AsyncChangeStream, AsyncTransactionStream
from pgreplkit._async.streams.replication import AsyncReplicationConnection
from pgreplkit._async.streams.slotstream import AsyncSlotStream
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.logical.snapshot import (
    BEGIN_READING,
    COPY_OUT,
    IMPORT_SNAPSHOT,
    ONLY,
    ROW_SECURITY_OFF,
    ROWS,
    WHERE,
    table_shape,
)
from pgreplkit.catalog.logical.stuck import PUBLICATION_NAMES
from pgreplkit.driver import statements as parts
from pgreplkit.driver.conninfo import exact_conninfo
from pgreplkit.driver.failures import translate_errors
from pgreplkit.errors import (
    PublicationNotFound,
    ServerError,
    StreamClosed,
    TableNotFound,
    ValueNotLoadable,
)
from pgreplkit.plans.logical.snapshot import TableCopy, table_copy
from pgreplkit.plans.streams.options import ChangeSettings
from pgreplkit.protocol.answers import Snapshot
from pgreplkit.protocol.pgoutput.messages import Change, Insert, SnapshotEnd
from pgreplkit.protocol.pgoutput.rows import RowFactory
from pgreplkit.values.lsn import LSN
from pgreplkit.values.several import several
from pgreplkit.values.tablename import AnyTable, table_of

R = TypeVar("R")

_CANCELLED_WITHIN = 5.0
_CANCELS_AGAIN = 0.05


class AsyncSnapshotStream(AsyncChangeStream[R]):
    """A new slot's stream that begins with the rows of the tables.

    They come as Insert of transaction 0, as they are at the slot's first position; then
    SnapshotEnd, and then the changes. When it is closed before SnapshotEnd, the slot is dropped:
    the snapshot cannot be seen again. Made by ``snapshot_then_changes`` of a server.
    """

    def __init__(
        self,
        server: AsyncServer,
        stream: AsyncSlotStream,
        settings: ChangeSettings,
        row_factory: RowFactory[R],
        publications: Sequence[str],
        tables: Iterable[AnyTable] | None,
        *,
        failover: bool,
        create_timeout: float,
    ) -> None:
        super().__init__(stream, settings, row_factory, server.connection.adapters)
        self._server, self._publications = server, publications
        self._tables = None
        if tables is not None:
            self._tables = [table_of(t) for t in several(tables, "tables", at_least=1)]
        self._failover, self._create_timeout = failover, create_timeout
        self._make_row = row_factory
        self._reader: AsyncConnection[object] | None = None
        self._rows: AsyncGenerator[Change[R]] | None = None
        self._has_begun = self._has_slot = self._is_copied = False
        self._reading = Lock()
        self._is_ending = False

    async def __aenter__(self) -> Self:
        await self._begin_copy()
        return self

    async def __anext__(self) -> Change[R]:
        if self._is_copied:
            return await super().__anext__()
        if not self._has_begun:
            await self._begin_copy()
        try:
            async with self._reading:
                if self._rows is not None and not self._is_ending:
                    async for change in self._rows:
                        return change
        except BaseException as error:
            if not self._is_ending:
                # The rows that would follow are lost, and the changes alone are of no use.
                await self.close()
                raise
            if not isinstance(error, Exception):
                raise
        raise StopAsyncIteration

    def transactions(self, *, memory_limit: int = MEMORY_LIMIT) -> AsyncTransactionStream[R]:
        """As of any stream of changes, once SnapshotEnd was given.

        Raises: ServerError before that: the rows that were there stand in no transaction.
        """
        if not self._is_copied:
            found = "the rows come first: iterate up to SnapshotEnd, then ask for transactions"
            raise ServerError(f"stream the slot {self.slot!r}", found)
        return super().transactions(memory_limit=memory_limit)

    async def close(self) -> None:
        """End it as the stream of any slot; before SnapshotEnd was given, drop the slot too."""
        self._is_ending = True
        reader = self._reader
        while reader is not None and self._reading.locked():
            # Somebody waits for a row, perhaps for long. What comes too early cancels nothing.
            with suppress(PsycopgError):
                await reader.cancel_safe(timeout=_CANCELLED_WITHIN)
            await sleep(_CANCELS_AGAIN)
        async with self._reading:
            rows, reader, self._rows, self._reader = self._rows, self._reader, None, None
            if reader is not None:
                await reader.close()
            if rows is not None:
                await rows.aclose()
            await super().close()
            if self._has_slot and not self._is_copied:
                self._has_slot = False
                async with await self._walsender() as walsender:
                    await walsender.drop_slot(self.slot)

    async def _walsender(self) -> AsyncReplicationConnection:
        dbname = self._server.connection.info.dbname
        conninfo = self._server._link.another()
        return await AsyncReplicationConnection.connect(conninfo, database=dbname)

    async def _begin_copy(self) -> None:
        if self.is_closed:
            raise StreamClosed(f"copy for the slot {self.slot!r}", "the stream has ended")
        try:
            lsn, reader = await self._begin_snapshot()
            self._reader = reader
            self._rows = self._copied(lsn, reader, await self._copies(AsyncLink(reader)))
            self._has_begun = True
        except BaseException:
            await self.close()
            raise

    async def _begin_snapshot(self) -> tuple[LSN, AsyncConnection[object]]:
        """Make the slot, and a connection that sees what was there before its first change."""
        async with await self._walsender() as walsender:
            created = await walsender.create_slot(
                self.slot,
                plugin="pgoutput",
                snapshot=Snapshot.EXPORT,
                two_phase=self._decoding.settings.two_phase,
                failover=self._failover,
                timeout=self._create_timeout,
            )
            self._has_slot = True
            theirs = self._server.connection
            with translate_errors("take over the snapshot of the slot"):
                reader = await AsyncConnection[object].connect(
                    exact_conninfo(self._server._link.another()), autocommit=True, context=theirs
                )
                await reader.execute(ROW_SECURITY_OFF)
                await reader.execute(BEGIN_READING)
                seen = SQL(IMPORT_SNAPSHOT).format(created.snapshot_name)
                await reader.execute(seen)
        return created.consistent_point, reader

    async def _copies(self, link: AsyncLink) -> list[TableCopy]:
        operation = f"copy for the slot {self.slot!r}"
        names = [*self._publications]
        there = await link.all(operation, PUBLICATION_NAMES, [names])
        missing = {*names} - {record["name"] for record in there}
        if missing:
            raise PublicationNotFound(
                operation, f"there is no publication {', '.join(sorted(missing))}"
            )
        published = await read_published(link, names)
        if self._tables is not None:
            unpublished = {*self._tables} - {one.table for one in published}
            if unpublished:
                listed = ", ".join(map(str, sorted(unpublished)))
                raise TableNotFound(
                    operation, f"not published, so that no change would come: {listed}"
                )
            published = [one for one in published if one.table in self._tables]
        await insist_on_all_rows(link, operation, [one.table for one in published])
        copies = []
        for one in published:
            params = [one.table.schema, one.table.name]
            records = await link.all(operation, table_shape(link.version.major), params)
            copies.append(table_copy(one, records))
        return copies

    async def _copied(
        self, lsn: LSN, reader: AsyncConnection[object], copies: Sequence[TableCopy]
    ) -> AsyncGenerator[Change[R]]:
        for one in copies:
            make = self._make_row(tuple(column.name for column in one.table.columns))
            with translate_errors(f"copy {one.table}"):
                async for values in _rows(reader, one):
                    yield Insert(lsn, 0, one.table, make(values))
        self._reader = None
        await reader.close()
        self._is_copied = True
        yield SnapshotEnd(lsn)


async def _rows(
    reader: AsyncConnection[object], one: TableCopy
) -> AsyncGenerator[tuple[object, ...]]:
    async with reader.cursor().copy(_statement(one)) as copy:
        copy.set_types([column.type_oid for column in one.table.columns])
        try:
            async for values in copy.rows():
                yield values
        except DataError as error:
            if error.sqlstate is not None:
                raise
            # No server's, but a loader's, and psycopg does not tell of which column.
            raise ValueNotLoadable(str(one.table), "(all)", "a value", str(error)) from error


def _statement(one: TableCopy) -> Composed:
    rows = SQL(ROWS).format(
        parts.names(column.name for column in one.table.columns),
        # The rows of other tables that inherit from it are published as theirs.
        SQL("") if one.is_partitioned else SQL(ONLY),
        parts.table(one.table.table_name),
    )
    if one.where is not None:
        rows += SQL(WHERE) + SQL(one.where)
    return SQL(COPY_OUT).format(rows)
