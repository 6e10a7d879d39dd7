"""AsyncFeedCopy: sends the existing rows of tables, as they are at a snapshot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from psycopg import AsyncConnection

from pgreplkit._async._io import Runner
from pgreplkit._async.logical.coverage import insist_on_all_rows
from pgreplkit._async.logical.rowcopy import copied_rows, open_at_snapshot
from pgreplkit._async.logical.snapshot import copy_statement, published_in, table_copies
from pgreplkit._async.streams.replication import AsyncReplicationConnection
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit._async.wire.walsender import AsyncWalsender
from pgreplkit.driver.failures import read_grant, translate_errors
from pgreplkit.driver.watchdog import answered_in_time
from pgreplkit.errors import StreamClosed
from pgreplkit.feeds.batches import Batching, FeedBatch
from pgreplkit.feeds.change import FeedChange, FeedOperation, FeedSource
from pgreplkit.feeds.goal import RunGoal
from pgreplkit.feeds.position import FeedPosition, FeedStage
from pgreplkit.feeds.settings import FeedSettings
from pgreplkit.feeds.start import added_tables
from pgreplkit.plans.logical.snapshot import TableCopy
from pgreplkit.protocol.answers import Snapshot
from pgreplkit.protocol.copytext import copied_values
from pgreplkit.protocol.pgoutput.tuples import TEXT
from pgreplkit.values.lsn import LSN
from pgreplkit.values.tablename import TableName

CREATED_WITHIN = 60.0
"""Seconds for the transactions that are open when a slot is created to end."""


class AsyncFeedCopy:
    """One copy of existing rows, read by a session of its own."""

    def __init__(
        self,
        settings: FeedSettings,
        source: FeedSource,
        runner: Runner,
        stops: Callable[[], bool],
        goal: RunGoal,
    ) -> None:
        self._settings, self._source, self._runner = settings, source, runner
        self._stops, self._goal = stops, goal
        self.copied_rows = self.parked = 0
        self._number = 0
        """The number of the last row that was read."""
        self._reader: AsyncConnection[object] | None = None
        self._copies: Sequence[TableCopy] = ()

    async def open(
        self,
        conninfo: str,
        snapshot: str,
        tables: Sequence[TableName] | None = None,
    ) -> None:
        """Open a session at an exported snapshot, and look at the published tables.

        With ``tables`` only these are copied.

        Raises: PublicationNotFound; TableNotFound; ConnectionFailed; InsufficientPrivilege.
        """
        operation = self._settings.operation
        reader = self._reader = await open_at_snapshot(conninfo, snapshot)
        link = AsyncLink(reader)
        with answered_in_time(reader):
            published = await published_in(link, operation, self._settings.publications)
            if tables is not None:
                published = added_tables(operation, published, tables)
            await insist_on_all_rows(link, operation, [one.table for one in published])
        self._copies = await table_copies(link, operation, published)

    async def send(self, position: FeedPosition, lsn: LSN, stage: FeedStage) -> bool:
        """Send the rows, named by the position of the snapshot; return False if it was stopped."""
        settings, reader = self._settings, self._reader
        if reader is None:
            raise StreamClosed(settings.operation, "its copy is not open")
        limits = settings.sink.limits()
        batching = Batching(settings.encoder, limits, position, parked=settings.parked)
        try:
            for one in self._copies:
                await self._send_table(reader, one, lsn, stage, batching)
            if batching.has_messages:
                await self._send((batching.batch(),))
            return True
        # The copy ends with it when it is stopped; otherwise the error is of the connection.
        except StreamClosed:
            self._goal.check(None)
            if not self._stops():
                raise
            return False

    async def _send_table(
        self,
        reader: AsyncConnection[object],
        one: TableCopy,
        lsn: LSN,
        stage: FeedStage,
        batching: Batching,
    ) -> None:
        async for change in self._rows(reader, one, lsn):
            await self._send(batching.take((change,), lsn, stage))
            self.parked = batching.parked
            self._check_wanted()

    def _check_wanted(self) -> None:
        if self._stops() or self._goal.is_late:
            raise StreamClosed(self._settings.operation, "it was stopped")

    async def _send(self, batches: Iterable[FeedBatch]) -> None:
        for batch in batches:
            await self._runner.run(self._settings.sink.send(batch))
            self.copied_rows = batch.position.number

    async def _rows(
        self, reader: AsyncConnection[object], one: TableCopy, lsn: LSN
    ) -> AsyncIterator[FeedChange]:
        """Yield the rows of a table, numbered after those of the tables before."""
        count, tables = len(one.table.columns), (one.table,)
        operation, grant = f"copy {one.table}", read_grant(one.table.table_name)
        source = self._source
        with translate_errors(operation, connection=reader, grant=grant, hides_values=True):
            async for data in copied_rows(reader, copy_statement(one), self._check_wanted):
                # Over all tables, because the position of a copy is one number.
                self._number += 1
                values = copied_values(data, count)
                yield FeedChange(
                    *(source, FeedOperation.READ, lsn, self._number, 0, 0, tables),
                    new=(values, [TEXT] * count),
                )

    async def close(self) -> None:
        """Close the session: its transaction would hold back VACUUM."""
        if self._reader is not None:
            await self._reader.close()


async def open_at_new_slot(
    copy: AsyncFeedCopy,
    conninfo: str,
    tables: Sequence[TableName],
    goal: RunGoal,
) -> LSN:
    """Open a copy at the snapshot of a temporary slot, and return the slot's first position."""
    async with AsyncReplicationConnection(
        await AsyncWalsender.connect(conninfo, is_logical=True)
    ) as walsender:
        # No other snapshot has a position in the WAL.
        created = await walsender.create_slot(
            # The session's own, since a temporary slot is dropped with its session.
            f"pgreplkit_{walsender._walsender.pid}",
            plugin="pgoutput",
            snapshot=Snapshot.EXPORT,
            temporary=True,
            timeout=goal.within(CREATED_WITHIN),
        )
        # Once it is imported, the snapshot lasts as long as the session that has imported it.
        await copy.open(conninfo, created.snapshot_name or "", tables)
    return created.consistent_point
