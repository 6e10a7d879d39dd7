"""AsyncFeed: sends the changes of a slot to a sink, exactly once."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Literal

import attrs
from psycopg.conninfo import make_conninfo

from pgreplkit._async._io import Runner, sleep
from pgreplkit._async.feeds.check import check_feed
from pgreplkit._async.feeds.copy import AsyncFeedCopy, open_at_new_slot
from pgreplkit._async.feeds.run import AsyncFeedRun, FeedTally
from pgreplkit._async.feeds.start import AsyncFeedStart
from pgreplkit._async.logical.applier import AnyServer, conninfo_of
from pgreplkit._async.logical.applystream import AsyncRawStream
from pgreplkit._async.streams.changes import AsyncPgoutput
from pgreplkit._async.streams.replication import AsyncReplicationConnection
from pgreplkit._async.streams.slotstream import AsyncSlotStream
from pgreplkit._async.wire.closing import AsyncClosing
from pgreplkit._async.wire.sidelink import side_link
from pgreplkit._async.wire.walsender import AsyncWalsender
from pgreplkit._text import one_line
from pgreplkit.catalog.features import has
from pgreplkit.driver.adapters import register
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.conninfo import complete
from pgreplkit.errors import (
    ConnectionFailed,
    FeedError,
    LoginRefused,
    PublicationGap,
    SinkFenced,
    SinkUnreachable,
    SlotActive,
)
from pgreplkit.feeds.batches import FeedBatch
from pgreplkit.feeds.change import FeedSource
from pgreplkit.feeds.goal import RunGoal
from pgreplkit.feeds.position import FeedPosition, FeedStage
from pgreplkit.feeds.retries import Fences
from pgreplkit.feeds.settings import FeedSettings
from pgreplkit.feeds.sink import Encoder, Sink
from pgreplkit.feeds.states import FeedReport, FeedState
from pgreplkit.plans.server.readiness import Readiness
from pgreplkit.plans.streams.options import ChangeSettings
from pgreplkit.protocol.pgoutput.rows import Row, named_rows
from pgreplkit.values.flags import checked_flags
from pgreplkit.values.lsn import LSN
from pgreplkit.values.seconds import Timeout, checked_seconds
from pgreplkit.values.several import several
from pgreplkit.values.tablename import AnyTable, TableName, table_of

_log = logging.getLogger("pgreplkit.feeds")

_WAITS = 0.5
"""Seconds for which a stream waits for a transaction: then stop() and the deadline are checked."""
_MEMORY = 2 << 20
"""Bytes of one transaction that stay in memory; the rest is in a temporary file."""


class AsyncFeed(AsyncClosing):
    """Sends the changes of a slot to a sink, which stores its position with the messages.

    The slot is acknowledged after the sink has answered. Whichever of the server, the feed and the
    engine is killed, the sink gets every change exactly once and in the order of the commits.
    ``source`` is a server or a connection string; the feed opens connections of its own. ``slot``
    identifies the feed in the sink too, and is created if neither the server nor the sink knows it.
    ``snapshot`` sends the existing rows before the changes. With ``"only"``, ``run`` sends the
    existing rows and ends; it leaves no slot.
    ``failover`` creates a slot that a standby takes over when it is promoted (17 on).
    """

    def __init__(
        self,
        source: AnyServer,
        slot: str,
        *,
        publications: Iterable[str],
        sink: Sink,
        encoder: Encoder,
        snapshot: Literal["never", "initial", "only"] = "never",
        on_lost: Literal["stop", "accept"] = "stop",
        parked: str | None = None,
        messages: bool = False,
        failover: bool = False,
        hold: Timeout | None = None,
        heartbeat: Timeout | None = 60.0,
        reconnect: Timeout | None = None,
    ) -> None:
        checked_flags(messages=messages, failover=failover)
        self._settings: FeedSettings = FeedSettings(
            slot=slot,
            publications=publications,
            sink=sink,
            encoder=encoder,
            snapshot=snapshot,
            on_lost=on_lost,
            parked=parked,
            messages=messages,
            failover=failover,
            hold=hold,
            heartbeat=heartbeat,
            reconnect=reconnect,
        )
        self._source = conninfo_of(source)
        self._tally = FeedTally()
        self._state = FeedState.NEW
        self._is_running = self._is_stopping = False

    @property
    def slot(self) -> str:
        """The name of the slot, which is also the feed's name in its sink."""
        return self._settings.slot

    @property
    def state(self) -> FeedState:
        """The state of the feed."""
        return self._state

    @property
    def position(self) -> FeedPosition | None:
        """The last position that this object has stored in the sink, or has read from it."""
        return self._tally.position

    @property
    def lag(self) -> timedelta | None:
        """The age of the last commit when the sink had stored it; None if there was none."""
        return self._tally.lag

    @property
    def report(self) -> FeedReport:
        """Counts of the transactions and messages that this object has sent."""
        tally = self._tally
        return FeedReport(
            transactions=tally.transactions,
            messages=tally.messages,
            copied_rows=tally.copied_rows,
            parked=tally.parked,
            position=None if tally.position is None else tally.position.lsn,
            lag=tally.lag,
        )

    async def run(
        self, *, stop_at: LSN | None = None, timeout: Timeout | None = None
    ) -> FeedReport:
        """Send changes until the sink has all that was committed before ``stop_at``.

        ``stop()`` ends it earlier; without ``stop_at`` it ends with ``stop()`` only.

        Raises: PositionLost; WrongSource; AheadOfServer; SlotActive; PublicationNotFound;
        PublicationGap; UnsupportedByServer for ``messages`` before 14 and ``failover`` before 17;
        InsufficientPrivilege; ConnectionFailed; SinkUnreachable; SinkNotFitting; SinkRefused;
        SinkFenced; EncodingFailed; WaitTimeout after ``timeout`` seconds, or a call of the engine
        later. What was sent stays.
        Needs: REPLICATION, and SELECT on the tables with ``snapshot`` ``"initial"`` or ``"only"``.
        """
        if stop_at is not None and not isinstance(stop_at, LSN):
            raise TypeError(f"stop_at must be an LSN, not {type(stop_at).__name__}")
        return await self._counted(RunGoal(self.slot, stop_at, _deadline(timeout)), ())

    async def add_tables(
        self, tables: Iterable[AnyTable], *, timeout: Timeout | None = None
    ) -> FeedReport:
        """Send the existing rows of tables that the publications got after the feed began.

        First all earlier changes are sent, and then the rows, as they are at one position; the next
        ``run`` sends the changes after it. So the feed must not run. If this is interrupted, the
        feed continues without the rest of the rows: call it again, which sends all of them.

        Raises: TableNotFound for a table that is not published; FeedError while the feed runs; the
        errors of ``run``.
        Needs: a free replication slot, which is temporary; SELECT on the tables.
        """
        wanted = tuple(table_of(one) for one in several(tables, "tables", at_least=1))
        if self._settings.ends_after_copy:
            raise FeedError(self._settings.operation, "with snapshot='only' it sends no changes")
        return await self._counted(RunGoal(self.slot, None, _deadline(timeout)), wanted)

    async def _counted(self, goal: RunGoal, tables: Sequence[TableName]) -> FeedReport:
        if self._is_running:
            raise FeedError(self._settings.operation, "it runs already")
        self._is_running = True
        before = self.report
        try:
            await self._run(goal, tables)
            self._state = FeedState.STOPPED
        except BaseException as error:
            # Cancelled, or Ctrl-C: the caller ended it, and nothing has failed.
            is_end = not isinstance(error, Exception)
            self._state = FeedState.STOPPED if is_end else FeedState.FAILED
            raise
        finally:
            self._is_running = self._is_stopping = False
        return _since(before, self.report)

    async def check(self) -> Readiness:
        """Check the settings, role and tables of the source, and the settings of the engine.

        The sink is opened, unless another process uses the slot.

        Raises: ConnectionFailed; PublicationNotFound; FeedError while it runs.
        """
        if self._is_running:
            raise FeedError(f"check the feed {self.slot!r}", "it runs")
        async with side_link(self._conninfo) as link:
            register(link.connection)
            return await check_feed(link, self._settings)

    def stop(self) -> None:
        """Let ``run`` end after the current batch; may be called from a signal handler.

        If it does not run, the next call ends at once.
        """
        self._is_stopping = True

    async def close(self) -> None:
        """Let ``run`` end, if another task or thread runs it."""
        self._is_stopping = self._is_running

    async def _run(self, goal: RunGoal, tables: Sequence[TableName]) -> None:
        patience: Backoff | None = None
        fences, done = Fences(), self._tally.messages
        while not self._is_stopping:
            self._state = FeedState.STARTING
            try:
                await self._run_once(goal, tables)
                return
            # SlotActive too: after a lost connection the server may still see the slot in use.
            except (ConnectionFailed, SlotActive, SinkUnreachable, SinkFenced) as error:
                if self._settings.reconnect is None or isinstance(error, LoginRefused):
                    raise
                stored = self._tally.messages
                if isinstance(error, SinkFenced) and not fences.may_be_own(error, stored):
                    raise
                # The last attempt has sent messages, so it worked: the time limit begins again.
                if patience is None or stored > done:
                    patience, done = Backoff(self._settings.reconnect), stored
                if patience.is_over:
                    raise
                self._state = FeedState.WAITING
                _log.info("feed %s will connect again: %s", self.slot, one_line(error))
                await sleep(goal.within(patience.next_pause()))
                goal.check(None if self.position is None else self.position.lsn, error)

    async def _run_once(self, goal: RunGoal, tables: Sequence[TableName]) -> None:
        runner = Runner()
        try:
            started = await self._start(runner, goal)
            if started is not None and tables:
                await self._add(runner, goal, tables, *started)
            elif started is not None:
                await self._stream(runner, goal, *started)
        except BaseException:
            # The error that ended the run says more than one of the disconnection.
            with suppress(Exception):
                await self._disconnect(runner)
            raise
        await self._disconnect(runner)

    @property
    def _conninfo(self) -> str:
        # Names of tables and publications are compared as texts, whatever the client's encoding is.
        return make_conninfo(self._source, client_encoding="UTF8")

    async def _start(self, runner: Runner, goal: RunGoal) -> tuple[FeedPosition, FeedSource] | None:
        conninfo = complete(self._conninfo, {})
        # Not connect() of the class: without a database in the string it would be physical, and
        # the environment, a service or the role's name can be the database.
        async with AsyncReplicationConnection(
            await AsyncWalsender.connect(conninfo, is_logical=True)
        ) as walsender:
            start = AsyncFeedStart(
                *(walsender, self._settings, runner, lambda: self._is_stopping, goal)
            )
            try:
                position = await start.begin(self._source)
            finally:
                self._tally.copied_rows += start.copied_rows
                self._tally.parked += start.parked
            return None if position is None else (position, start.source)

    async def _stream(
        self, runner: Runner, goal: RunGoal, position: FeedPosition, source: FeedSource
    ) -> None:
        settings, plugin = self._settings, self._plugin(goal.stop_at, source.server_version)
        # The stream itself does not reconnect: the sink must be opened again first, because the
        # position that it has stored decides where the stream begins.
        stream = AsyncSlotStream(
            self._conninfo,
            settings.slot,
            plugin,
            # A position that is not whole, or not on disk yet, is read again and left out.
            start=position.lsn if position.is_whole and not settings.held else None,
            settings=plugin.settings,
        )
        async with AsyncRawStream(
            stream, plugin, memory_limit=_MEMORY, keeps_messages=settings.messages
        ) as transactions:
            self._state = FeedState.STREAMING
            run = AsyncFeedRun(*(transactions, settings, source, runner, self._tally, position))
            try:
                await run.run(lambda: self._is_stopping, goal)
            except PublicationGap as error:
                error.remedy = (
                    "begin again with another slot and an empty stream; or, from 18 on, run once"
                    " with on_lost='accept', which continues with a gap"
                )
                raise

    async def _add(
        self,
        runner: Runner,
        goal: RunGoal,
        tables: Sequence[TableName],
        position: FeedPosition,
        source: FeedSource,
    ) -> None:
        settings, tally = self._settings, self._tally
        conninfo = complete(self._conninfo, {})
        copy = AsyncFeedCopy(settings, source, runner, lambda: self._is_stopping, goal)
        try:
            lsn = await open_at_new_slot(copy, conninfo, tables, goal)
            # Exactly up to the snapshot: rows of it must not come after their later changes.
            exact = attrs.evolve(goal, stop_at=lsn, is_exact=True)
            await self._stream(runner, exact, position, source)
            before = attrs.evolve(tally.position or position, lsn=lsn, number=0, is_whole=False)
            adding = attrs.evolve(before, stage=FeedStage.ADDING)
            if self._is_stopping or not await copy.send(adding, lsn, FeedStage.ADDING):
                found, remedy = (
                    "it was stopped before all rows were sent",
                    "call add_tables() again",
                )
                raise FeedError(f"add tables to the feed {self.slot!r}", found, remedy=remedy)
            after = attrs.evolve(before, number=copy.copied_rows, is_whole=True)
            await runner.run(settings.sink.send(FeedBatch((), after, ())))
            tally.position = after
        finally:
            tally.copied_rows += copy.copied_rows
            tally.parked += copy.parked
            await copy.close()

    async def _disconnect(self, runner: Runner) -> None:
        try:
            # In the runner, because a client library belongs to the event loop that opened it.
            await runner.run(self._settings.sink.close())
        finally:
            await runner.close()

    def _plugin(self, until: LSN | None, major: int) -> AsyncPgoutput[Row]:
        # Before, the server itself ends the stream there.
        skips = self._settings.accepts_gap and has("publication.gaps", major)
        settings = ChangeSettings(
            on_publication_gap="skip" if skips else "raise",
            messages=self._settings.messages,
            stop_at=until,
            timeout=_WAITS,
            # The stream would acknowledge positions that the sink does not have.
            advance_when_idle=False,
        )
        return AsyncPgoutput(self._settings.publications, settings, named_rows, None)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.slot!r}, {self._state.value}>"


def _deadline(timeout: Timeout | None) -> float | None:
    return None if timeout is None else time.monotonic() + checked_seconds(timeout, "timeout")


def _since(before: FeedReport, after: FeedReport) -> FeedReport:
    """Return the difference of two reports."""
    return attrs.evolve(
        after,
        transactions=after.transactions - before.transactions,
        messages=after.messages - before.messages,
        copied_rows=after.copied_rows - before.copied_rows,
        parked=after.parked - before.parked,
    )
