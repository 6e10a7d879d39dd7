"""AsyncSlotStream: reads a logical slot, acknowledges what was processed, and reconnects."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from itertools import chain
from logging import getLogger
from typing import Protocol

from psycopg import Error as PsycopgError

from pgreplkit._async._io import Lock, sleep
from pgreplkit._async.streams.reporter import AsyncReporter
from pgreplkit._async.streams.slotchecks import (
    check_publications,
    check_slot,
    check_start,
    explained,
)
from pgreplkit._async.wire.copyboth import AsyncCopyBoth
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit._async.wire.sidelink import side_link
from pgreplkit._async.wire.walsender import AsyncWalsender
from pgreplkit._text import one_line
from pgreplkit.catalog.features import has
from pgreplkit.catalog.logical.stuck import PUBLICATION_NAMES
from pgreplkit.catalog.server.slot import END_PROCESS
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.failures import NOT_IN_PREREQUISITE_STATE, translate_errors
from pgreplkit.errors import (
    ConnectionFailed,
    Error,
    LoginRefused,
    ServerError,
    SlotActive,
    StreamClosed,
    WaitTimeout,
)
from pgreplkit.plans.streams.feedbacktiming import REPORTED_WITHIN
from pgreplkit.plans.streams.options import StreamSettings
from pgreplkit.plans.streams.slot import (
    PUBLICATIONS_CHECKED_EVERY,
    missing_publications,
    publication_gap,
)
from pgreplkit.plans.streams.state import StreamState
from pgreplkit.protocol import commands
from pgreplkit.protocol.changefeed import ChangeFeed
from pgreplkit.protocol.feedback import Feedback
from pgreplkit.protocol.pgoutput.tuples import UnknownTypes
from pgreplkit.values.lsn import LSN
from pgreplkit.values.slotname import checked_slot_name

_LOGGER = getLogger("pgreplkit.streams")


class AsyncPlugin(Protocol):
    """The output plugin of a slot, as far as a stream needs it."""

    publications: tuple[str, ...]
    skips_gaps: bool

    async def options(self, walsender: AsyncWalsender) -> Mapping[str, str]:
        """Return the options of START_REPLICATION."""

    async def learn(self, link: AsyncLink, oids: frozenset[int]) -> None:
        """Look up types that a message mentions."""


# How the data flows, from the server to the reader and back:
#
#   walsender ── AsyncCopyBoth ── messages ──▶ ChangeFeed ── item ──▶ AsyncSlotReader (changes.py)
#       ▲                                                                       │ acknowledge()
#       └───── AsyncReporter ◀── status update ── Feedback ◀── positions ───────┘
#
# fill() reads a batch of messages; the reader's feed takes one after another until it has an item.
class AsyncSlotStream:
    """The life of a stream of one slot: its connection, its state and its positions.

    It has a connection of its own, made by the ``source`` conninfo when it is first needed, or uses
    a walsender of the caller's, which it leaves open.
    """

    def __init__(
        self,
        source: str | AsyncWalsender,
        slot: str,
        plugin: AsyncPlugin,
        *,
        start: LSN | None,
        settings: StreamSettings,
    ) -> None:
        if start is not None and not isinstance(start, LSN):
            raise TypeError(f"start must be an LSN, not {type(start).__name__}")
        self.slot: str = checked_slot_name(slot)
        self.settings: StreamSettings = settings
        self.state: StreamState = StreamState.NEW
        self.feedback: Feedback = Feedback(
            start or LSN.INVALID, advance_when_idle=settings.advance_when_idle
        )
        self.walsender: AsyncWalsender | None = None
        self.messages: Iterator[bytes] = iter(())
        """Messages that were received and not yet processed."""
        self._source, self._plugin = source, plugin
        self._feed: ChangeFeed[object] | None = None
        self._copy: AsyncCopyBoth | None = None
        self._reporter = AsyncReporter(self.feedback, settings.status_interval)
        self._failure: Exception | None = None
        self._ending = Lock()
        """Held while the stream is opened or ended: another thread or task may close it."""
        self._system_id: int | None = None
        self._lost_pid: int | None = None
        """The server process of the connection that was lost last."""
        self.patience: Backoff | None = None
        """The time left until WaitTimeout; a delivered item sets it to None: it begins again."""
        self._checked_at = self._asked_at = time.monotonic()

    @property
    def _operation(self) -> str:
        return f"stream the slot {self.slot!r}"

    # Opening

    def bind(self, feed: ChangeFeed[object]) -> None:
        """Bind the stream to the feed of one reader; a second reader is refused.

        Raises: ServerError; StreamClosed.
        """
        self._check_alive()
        if self._feed is not None:
            found, remedy = "another iterator takes its changes", "open another stream"
            raise ServerError(self._operation, found, remedy=remedy)
        self._feed = feed
        feed.restart()

    def _check_alive(self) -> None:
        if self.state.is_over:
            remedy = "open another stream"
            raise StreamClosed(self._operation, "the stream has ended", remedy=remedy)

    async def open(self) -> None:
        """Connect and begin to stream, unless it streams already.

        Raises: StreamClosed; ConnectionFailed; the errors of the checks.
        """
        self._check_alive()
        if self.state is StreamState.OPEN:
            return
        walsender = self._source
        if isinstance(walsender, str):
            walsender = await AsyncWalsender.connect(walsender, is_logical=True)
        try:
            copy = await self._start(walsender)
            async with self._ending:
                self.walsender, self._copy = walsender, copy
                self._reporter.use(copy)
                if self.state.is_over:
                    # Closed by another thread or task, when there was nothing to end yet.
                    await self._release()
                    self._check_alive()
                if self._feed is not None:
                    self._feed.restart()
                self.state = self.state.to(StreamState.OPEN)
        except BaseException:
            # A walsender of the caller's stays open.
            if isinstance(self._source, str):
                await walsender.close()
            raise

    async def _start(self, walsender: AsyncWalsender) -> AsyncCopyBoth:
        operation = self._operation
        walsender.check_idle(operation)
        if not walsender.is_logical:
            found = "the connection is for physical replication"
            raise ServerError(operation, found, remedy="connect with database=…")
        if walsender.has_streamed_changes:
            # The server would end the second stream at once, without an error.
            found = "a connection carries one stream of changes"
            raise ServerError(operation, found, remedy="open another connection")
        options = await self._plugin.options(walsender)
        await check_slot(walsender, operation, self.slot)
        await check_publications(walsender, operation, self._plugin.publications)
        start = self.feedback.delivered
        self._system_id = await check_start(walsender, operation, start, self._system_id)
        await self._reporter.adapt(walsender)
        copy = AsyncCopyBoth(walsender.connection)
        await self._watch(walsender, copy)
        try:
            with translate_errors(operation, connection=walsender.connection, grant="REPLICATION"):
                await copy.start(commands.start_logical(self.slot, start, options))
        except ServerError as error:
            copy.unwatch()
            raise await explained(
                walsender, operation, self.slot, self._plugin.publications, error
            ) from None
        except BaseException:
            # The connection may be the caller's, who continues with it after a cancelled start.
            copy.unwatch()
            raise
        walsender.has_streamed_changes = True
        self._checked_at = time.monotonic()
        return copy

    async def _watch(self, walsender: AsyncWalsender, copy: AsyncCopyBoth) -> None:
        """Let the stream end at a change that was made while a publication did not exist.

        From 18 on the server only warns of it, and sends the changes of the others.
        """
        plugin = self._plugin
        has_warning = has("publication.gaps", walsender.version.major)
        if not plugin.publications or plugin.skips_gaps or not has_warning:
            return
        # A setting of the role or database can suppress warnings; a caller's session keeps it.
        if isinstance(self._source, str):
            await walsender.run("receive warnings", "SET client_min_messages = warning")
        copy.watch(NOT_IN_PREREQUISITE_STATE)

    # Reading

    def acknowledge_delivered(self) -> None:
        """Acknowledge what was delivered before: the reader asks for more."""
        feedback = self.feedback
        if feedback.delivered > feedback.flushed and not self.state.is_over:
            feedback.acknowledge(feedback.delivered, written=None, applied=None)
            self._reporter.report_soon()

    def answer(self) -> None:
        """Send the status update that the server asked for."""
        self._reporter.report()

    async def fail(self, error: BaseException) -> None:
        """End the stream where a message was lost: later ones must not be acknowledged.

        An interrupt such as Ctrl-C loses one too, unless it comes while the stream waits.
        """
        if not isinstance(error, Exception):
            interrupted = "it was interrupted while it processed a change"
            error = StreamClosed(self._operation, interrupted, remedy="open another stream")
        await self._end(StreamState.FAILED, error)

    def raise_failure(self) -> None:
        """Raise the error that ended the stream, if one did."""
        if self._failure is not None:
            raise self._failure

    async def fill(self) -> None:
        """Wait for more messages.

        Raises: WaitTimeout, after which reading may continue; ConnectionFailed; ServerError.
        """
        if self.state is StreamState.CUT:
            await self._reconnect()
        timeout = self.settings.timeout
        if self.patience is None and timeout is not None:
            self.patience = Backoff(timeout)
        while self.state is StreamState.OPEN:
            self._reporter.report_soon()
            try:
                batch = self._read()
                # An interrupt between these two would lose messages.
                self.messages = iter(batch)
            except BaseException as error:
                await self.fail(error)
                raise
            if batch:
                return
            await self._check_gap()
            if self.patience is not None and self.patience.is_over:
                self.patience = None
                raise WaitTimeout(
                    f"timed out after {timeout:g} s waiting for a change from slot {self.slot!r}:"
                    f" everything before {self.feedback.delivered} is delivered"
                )
            try:
                await self._wait()
                await self._check_publications()
            except ServerError as error:
                await self._recover(error)

    async def receive(self) -> bool:
        """Take messages that have arrived; return False, without waiting, if there are none."""
        copy = self._copy
        if copy is None or self.state is not StreamState.OPEN:
            return False
        self._reporter.report_soon()
        try:
            batch = copy.read()
            if not batch:
                copy.consume()
                batch = copy.read()
            self.messages = iter(batch)
            # The answer to a probe often comes here, and not while fill() listens.
            if batch:
                self._reporter.heard()
        except PsycopgError:
            # The next wait meets the same error, and reports or recovers it.
            return False
        except BaseException as error:
            await self.fail(error)
            raise
        return bool(batch)

    @property
    def socket(self) -> int | None:
        """The socket of the connection that streams."""
        copy = self._copy
        return None if copy is None or copy.is_over else copy.connection.pgconn.socket

    def _read(self) -> list[bytes]:
        copy = self._copy
        return [] if copy is None else copy.read()

    async def _wait(self) -> None:
        """Wait until there may be more messages, at most until something else has to be done."""
        copy = self._copy
        if copy is None:
            return
        if (
            self.settings.stop_at is not None
            and time.monotonic() - self._asked_at > REPORTED_WITHIN
        ):
            # An idle server reports its position only on request.
            self._asked_at = time.monotonic()
            self._reporter.report(asks=True)
        limit = self._reporter.pause
        if self.patience is not None:
            limit = min(limit, self.patience.left)
        # A filter of the publication may fail at the values of a row.
        with translate_errors(self._operation, hides_values=True):
            if copy.is_over:
                await self._read_end(copy)
            else:
                await self._reporter.listen(copy, limit, self._operation)

    async def _read_end(self, copy: AsyncCopyBoth) -> None:
        """Raise the error by which the server ended the stream."""
        # Another thread or task that closes the stream reads the same end.
        async with self._ending:
            if self.state.is_over:
                return
            await copy.finish()
        raise ConnectionFailed(self._operation, "the server ended the stream: it shuts down")

    async def learn(self, data: bytes, unknown: UnknownTypes) -> None:
        """Look up the types that a message mentions; the message is processed again then.

        Raises: ConnectionFailed.
        """
        self.messages = chain((data,), self.messages)
        async with self._side_link() as link:
            await self._plugin.learn(link, unknown.oids)

    async def _check_gap(self) -> None:
        """End the stream at a change that was made while a publication did not exist.

        Raises: PublicationGap.
        """
        if self._copy is not None and self._copy.warning is not None:
            names = self._plugin.publications
            error = publication_gap(self._operation, names, self._copy.warning)
            await self._end(StreamState.FAILED, error)
            raise error

    async def _check_publications(self) -> None:
        """Raise PublicationNotFound if a publication was dropped and the server skips it."""
        names, walsender = self._plugin.publications, self.walsender
        is_due = time.monotonic() - self._checked_at > PUBLICATIONS_CHECKED_EVERY
        if not names or not is_due or walsender is None:
            return
        if not has("publication.gaps", walsender.version.major):
            return
        try:
            async with self._side_link() as link:
                existing = await link.all(self._operation, PUBLICATION_NAMES, [[*names]])
        except ConnectionFailed:
            # The server may have no connection to spare; the stream itself is well.
            return
        finally:
            self._checked_at = time.monotonic()
        missing = missing_publications(self._operation, names, existing)
        if missing is not None:
            raise missing

    def _side_link(self) -> AbstractAsyncContextManager[AsyncLink]:
        """Open a connection for queries: the one that streams takes none."""
        source = self._source
        return side_link(source if isinstance(source, str) else source.conninfo)

    # Reconnecting

    async def _recover(self, error: ServerError) -> None:
        """Reconnect if that was asked for and can help; raise the error otherwise."""
        if self.state.is_over:
            return
        walsender = self.walsender
        if not isinstance(error, ConnectionFailed) and walsender is not None:
            names = self._plugin.publications
            error = await explained(walsender, self._operation, self.slot, names, error)
        if self.settings.reconnect is None or not isinstance(error, ConnectionFailed):
            await self._end(StreamState.FAILED, error)
            raise error
        async with self._ending:
            if self.state.is_over:
                return
            self.state = self.state.to(StreamState.CUT)
            if walsender is not None and isinstance(self._source, str):
                self._lost_pid = walsender.pid
            await self._release()
        _LOGGER.warning(
            "slot %s: the connection is lost, reconnecting for up to %g s: %s",
            *(self.slot, self.settings.reconnect, one_line(error)),
        )
        await self._reconnect()

    async def _reconnect(self) -> None:
        """Open another connection and continue; if cancelled here, the next call does so."""
        backoff = Backoff(self.settings.reconnect or 0.0)
        while self.state is StreamState.CUT:
            try:
                await self.open()
                _LOGGER.info("slot %s: reconnected after %s", self.slot, self.feedback.delivered)
            except Error as error:
                if self.state.is_over:
                    return
                is_passing = isinstance(error, ConnectionFailed | SlotActive)
                if backoff.is_over or not is_passing or isinstance(error, LoginRefused):
                    await self._end(StreamState.FAILED, error)
                    raise
                if isinstance(error, SlotActive):
                    # The lost connection has not ended on the server yet.
                    await self._end_lost_process(error)
                _LOGGER.info("slot %s: could not reconnect yet: %s", self.slot, one_line(error))
                await sleep(backoff.next_pause())

    async def _end_lost_process(self, active: SlotActive) -> None:
        """End the server's process of the lost connection, if it still holds the slot.

        It would notice the loss by itself, but only after wal_sender_timeout, if that is not off.
        """
        if active.pid is None or active.pid != self._lost_pid:
            return
        try:
            async with self._side_link() as link:
                await link.all(self._operation, END_PROCESS, [self.slot, active.pid])
        except ServerError:
            # The role may not, or the server is not reached: the next attempt shows it.
            self._lost_pid = None

    # Ending

    def acknowledge(self, flushed: LSN, written: LSN | None, applied: LSN | None) -> None:
        """Confirm positions; the server is informed soon."""
        if self.state.is_over:
            raise StreamClosed(f"acknowledge {flushed}", "the stream has ended")
        self.feedback.acknowledge(flushed, written=written, applied=applied)
        self._reporter.report_soon()

    async def close(self) -> None:
        """Send what is acknowledged, and end the stream; the slot is free then."""
        await self._end(StreamState.CLOSED, None)

    async def _end(self, state: StreamState, failure: Exception | None) -> None:
        # A second call waits for the first: its caller may close the connection next.
        async with self._ending:
            if not self.state.is_over:
                self.state, self._failure = self.state.to(state), failure
                await self._release()

    async def _release(self) -> None:
        walsender, copy, self.walsender, self._copy = self.walsender, self._copy, None, None
        if copy is not None:
            copy.unwatch()
        # A walsender of the caller's stays open for its other commands.
        await self._reporter.release(walsender, reusable=not isinstance(self._source, str))
