"""AsyncSlotStream: what a logical slot gives, read, confirmed and kept alive."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from psycopg import AsyncConnection

from pgreplkit._async._io import Lock, sleep
from pgreplkit._async.streams.reporter import TOLD_EVERY, AsyncReporter
from pgreplkit._async.wire.copyboth import AsyncCopyBoth
from pgreplkit._async.wire.walsender import AsyncWalsender
from pgreplkit.catalog.logical.stuck import PUBLICATION_NAMES
from pgreplkit.catalog.server.slot import TROUBLE, USED_BY
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.failures import (
    FEATURE_NOT_SUPPORTED,
    NOT_IN_PREREQUISITE_STATE,
    OBJECT_IN_USE,
    UNDEFINED_OBJECT,
    translate_errors,
)
from pgreplkit.errors import (
    AheadOfServer,
    ConnectionFailed,
    Error,
    PublicationNotFound,
    ServerError,
    SlotActive,
    SlotLost,
    SlotNotFound,
    StreamClosed,
    WaitTimeout,
)
from pgreplkit.plans.streams.options import StreamSettings
from pgreplkit.protocol import commands
from pgreplkit.protocol.changefeed import ChangeFeed
from pgreplkit.protocol.feedback import Feedback
from pgreplkit.values.identity import SystemIdentity
from pgreplkit.values.lsn import LSN
from pgreplkit.values.slotname import checked_slot_name

Item = TypeVar("Item")

_OF_THE_SLOT = {UNDEFINED_OBJECT, OBJECT_IN_USE, NOT_IN_PREREQUISITE_STATE, FEATURE_NOT_SUPPORTED}


class AsyncSlotStream:
    """The walsender that decodes one slot, opened when it is first needed.

    It has a connection of its own, made by ``conninfo``, or uses a ``walsender`` of the caller's.
    """

    def __init__(
        self,
        source: str | AsyncWalsender,
        slot: str,
        *,
        start: LSN | None,
        options: Callable[[AsyncWalsender], Mapping[str, str]],
        publications: Sequence[str] = (),
        settings: StreamSettings,
    ) -> None:
        if start is not None and not isinstance(start, LSN):
            raise TypeError(f"a stream starts at an LSN, not at a {type(start).__name__}")
        self._source = source
        self.slot: str = checked_slot_name(slot)
        self._options, self._publications = options, publications
        self.settings: StreamSettings = settings
        self.feedback: Feedback = Feedback(
            start or LSN.INVALID, advance_when_idle=settings.advance_when_idle
        )
        self.walsender: AsyncWalsender | None = None
        self.is_closed: bool = False
        self._is_taken = False
        self._ending = Lock()
        self._copy: AsyncCopyBoth | None = None
        self._reporter = AsyncReporter(self.feedback, settings.status_interval)
        self._identity: SystemIdentity | None = None
        self._batch: Iterator[bytes] = iter(())
        self._asked_at = time.monotonic()
        self._failure: Exception | None = None
        self._is_cut = False
        """Whether the connection was lost, and what comes next begins anew."""
        self._patience: Backoff | None = None
        """How long the client waits for the next item."""

    def take(self) -> None:
        """Let one reader have what comes, and no other after it.

        Raises: ServerError; StreamClosed.
        """
        if self.is_closed:
            raise StreamClosed(self._tried, "the stream has ended: open another")
        if self._is_taken:
            raise ServerError(self._tried, "its changes are taken elsewhere: open another stream")
        self._is_taken = True

    @property
    def _tried(self) -> str:
        return f"stream the slot {self.slot!r}"

    @property
    def connection(self) -> AsyncConnection[object]:
        """The connection that there is now."""
        if self.walsender is None:
            raise StreamClosed(self._tried, "the stream is not open")
        return self.walsender.connection

    async def open(self) -> AsyncWalsender:
        """Begin, where it has not begun; gives the walsender."""
        if self.is_closed:
            raise StreamClosed(self._tried, "the stream has ended: open another")
        return self.walsender or await self._open()

    async def _open(self) -> AsyncWalsender:
        walsender = self._source
        if isinstance(walsender, str):
            walsender = await AsyncWalsender.connect(walsender, is_logical=True)
        try:
            copy = await self._start(walsender)
            async with self._ending:
                self.walsender, self._copy = walsender, copy
                self._reporter.use(copy)
                if self.is_closed:
                    # By somebody else, who found nothing yet that could be ended.
                    await self._let_go()
                    raise StreamClosed(self._tried, "the stream has ended: open another")
        except BaseException:
            if isinstance(self._source, str):
                await walsender.close()
            raise
        return walsender

    async def _start(self, walsender: AsyncWalsender) -> AsyncCopyBoth:
        walsender.insist_on_idle(self._tried)
        if not walsender.is_logical:
            raise ServerError(self._tried, "the connection has no database: connect with one")
        if walsender.has_streamed_changes:
            # The server would end the second one at once, and send nothing.
            found = "a connection carries one stream of changes: open another connection"
            raise ServerError(self._tried, found)
        options = self._options(walsender)
        await self._insist_on_slot(walsender)
        await self._insist_on_publications(walsender)
        start = self.feedback.delivered
        await self._insist_on_reach(walsender, start)
        await self._reporter.heed(walsender)
        copy = AsyncCopyBoth(walsender.connection)
        try:
            with translate_errors(
                self._tried, connection=walsender.connection, grant="REPLICATION"
            ):
                await copy.start(commands.start_logical(self.slot, start, options))
        except ServerError as error:
            raise await self._explained(walsender, error) from None
        walsender.has_streamed_changes = True
        return copy

    async def _insist_on_publications(self, walsender: AsyncWalsender) -> None:
        """Refuse publications that are not there: from 18 on the server passes them over."""
        names = [*self._publications]
        there = await walsender.query(self._tried, PUBLICATION_NAMES, [names]) if names else []
        missing = sorted({*names} - {record["name"] for record in there})
        if missing:
            found = f"there is no publication {', '.join(missing)}"
            raise PublicationNotFound(self._tried, found, UNDEFINED_OBJECT)

    async def _insist_on_reach(self, walsender: AsyncWalsender, start: LSN) -> None:
        """Refuse a server that never had what lies before ``start``."""
        identity = await walsender.identify()
        if self._identity is not None and identity.system_id != self._identity.system_id:
            found = f"another cluster answers: its system identifier is {identity.system_id}"
            raise ServerError(self._tried, found)
        if start > identity.position:
            raise AheadOfServer(self._tried, str(start), str(identity.position))
        self._identity = identity

    async def next(self, feed: ChangeFeed[Item]) -> Item:
        """What comes next.

        Raises: StopAsyncIteration at the end, and what the streams say.
        """
        if self._failure is not None:
            raise self._failure
        feedback = self.feedback
        if (
            self.settings.auto_acknowledge
            and feedback.delivered > feedback.flushed
            and not self.is_closed
        ):
            feedback.acknowledge(feedback.delivered, written=None, applied=None)
            self._reporter.tell_soon()
        while not self.is_closed:
            if feed.is_over:
                await self.close()
                break
            try:
                for data in self._batch:
                    item = feed.take(data)
                    if feed.asked:
                        self._reporter.tell()
                        feed.asked = False
                    if item is not None:
                        self._patience = None
                        return item
                    if feed.is_over or self.is_closed:
                        break
            except BaseException as error:
                await self._spoil(error)
                raise
            if not feed.is_over:
                await self._fill(feed)
        raise StopAsyncIteration

    async def _spoil(self, error: BaseException) -> None:
        """End it where something was lost: what follows would be acknowledged, and that not given.

        So does Ctrl-C, but not while it waits.
        """
        if isinstance(error, Exception):
            self._failure = error
        else:
            interrupted = "it was interrupted while it took a change: open another"
            self._failure = StreamClosed(self._tried, interrupted)
        await self.close()

    async def _fill(self, feed: ChangeFeed[Item]) -> None:
        """Wait for more messages."""
        if self._is_cut:
            await self._reopen(feed)
        timeout = self.settings.timeout
        if self._patience is None and timeout is not None:
            self._patience = Backoff(timeout)
        while not self.is_closed:
            self._reporter.tell_soon()
            try:
                batch = self._read()
                self._batch = iter(batch)
            except BaseException as error:
                await self._spoil(error)
                raise
            if batch:
                return
            if self._patience is not None and self._patience.is_over:
                self._patience = None
                raise WaitTimeout(
                    f"the slot {self.slot!r} gave no change in {timeout:g} s:"
                    f" all before {self.feedback.delivered} is given"
                )
            try:
                await self._wait()
            except ServerError as error:
                await self._recover(feed, error)

    def _read(self) -> list[bytes]:
        copy = self._copy
        return [] if copy is None else copy.read()

    async def _wait(self) -> None:
        """Wait until there may be more, or for some time."""
        copy = self._copy
        if copy is None:
            return
        if self.settings.stop_at is not None and time.monotonic() - self._asked_at > TOLD_EVERY:
            # An idle server says only on request how far it is.
            self._asked_at = time.monotonic()
            self._reporter.tell(asks=True)
        with translate_errors(self._tried):
            if copy.is_over:
                # Who closes it meanwhile reads the same end of the server's.
                async with self._ending:
                    if self.is_closed:
                        return
                    await copy.finish()
                raise ConnectionFailed(self._tried, "the server ended the stream: it shuts down")
            limit = self._reporter.pause
            if self._patience is not None:
                limit = min(limit, self._patience.left)
            await copy.wait(limit)

    async def _recover(self, feed: ChangeFeed[Item], error: ServerError) -> None:
        """Connect anew, where that is asked for and can help; raise otherwise."""
        if self.is_closed:
            return
        self._is_cut = self.settings.reconnect is not None
        if not isinstance(error, ConnectionFailed) and self.walsender is not None:
            error = await self._explained(self.walsender, error)
        async with self._ending:
            await self._let_go()
        if not self._is_cut or not isinstance(error, ConnectionFailed):
            self._failure = error
            self.is_closed = True
            raise error
        await self._reopen(feed)

    async def _reopen(self, feed: ChangeFeed[Item]) -> None:
        """Go on with another connection; who is cancelled meanwhile does so the next time."""
        backoff = Backoff(self.settings.reconnect or 0.0)
        while not self.is_closed:
            try:
                await self.open()
            except Error as again:
                if self.is_closed:
                    return
                # The walsender of the lost connection may have the slot for a while.
                if backoff.is_over or not isinstance(again, ConnectionFailed | SlotActive):
                    self._failure = again
                    self.is_closed = True
                    raise
                await sleep(backoff.next_pause())
            else:
                feed.restart()
                self._is_cut = False
                return

    async def _explained(self, walsender: AsyncWalsender, error: ServerError) -> ServerError:
        """A better error, where the slot's state tells more than the server did."""
        if error.sqlstate not in _OF_THE_SLOT or walsender.connection.closed:
            return error
        try:
            await self._insist_on_slot(walsender, error.sqlstate)
        except ServerError as better:
            return better
        if error.sqlstate == OBJECT_IN_USE:
            [user] = await walsender.query(self._tried, USED_BY, [self.slot])
            names = ("pid", "client_addr", "application_name")
            return SlotActive(self._tried, self.slot, *(user[name] for name in names))
        if error.sqlstate == UNDEFINED_OBJECT:
            found = f"{error.found}, or it was not there yet when the change was made"
            return PublicationNotFound(self._tried, found, error.sqlstate)
        return error

    async def _insist_on_slot(self, walsender: AsyncWalsender, sqlstate: str | None = None) -> None:
        """Refuse a slot that cannot be streamed here: before 13 the server tells it too late."""
        slots = await walsender.query(self._tried, TROUBLE, [self.slot])
        if not slots:
            found = "there is no slot of that name"
            raise SlotNotFound(self._tried, found, sqlstate or UNDEFINED_OBJECT)
        [slot] = slots
        if slot["slot_type"] != "logical":
            raise ServerError(self._tried, "it is a physical slot, which decodes nothing", sqlstate)
        if slot["database"] != slot["here"]:
            found = f"it belongs to the database {slot['database']!r}, this is {slot['here']!r}"
            raise ServerError(self._tried, f"{found}: connect to that one", sqlstate)
        if slot["status"] == "lost" or slot["reason"]:
            why = slot["reason"] or "its WAL is gone"
            raise SlotLost(self._tried, f"it is lost ({why})", sqlstate)

    def acknowledge(self, flushed: LSN, written: LSN | None, applied: LSN | None) -> None:
        """Confirm; the server is told soon."""
        if self.is_closed:
            raise StreamClosed(f"acknowledge {flushed}", "the stream has ended")
        self.feedback.acknowledge(flushed, written=written, applied=applied)
        self._reporter.tell_soon()

    async def close(self) -> None:
        """Tell what is confirmed, and end; the slot is free then."""
        # Who closes it while another does waits: what comes next may close the connection.
        async with self._ending:
            if not self.is_closed:
                self.is_closed = True
                await self._let_go()

    async def _let_go(self) -> None:
        walsender, self.walsender, self._copy = self.walsender, None, None
        has_ended = False
        try:
            has_ended = await self._reporter.end()
        finally:
            if walsender is not None and (isinstance(self._source, str) or not has_ended):
                await walsender.close()
