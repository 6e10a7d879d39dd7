"""AsyncWalSource: what START_REPLICATION gives of WAL, through all timelines, and kept alive."""

from __future__ import annotations

import attrs

from pgreplkit._async._io import Lock
from pgreplkit._async.streams.reporter import AsyncReporter
from pgreplkit._async.wire.copyboth import AsyncCopyBoth
from pgreplkit._async.wire.walsender import AsyncWalsender
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.failures import (
    FILE_MISSING,
    OBJECT_IN_USE,
    UNDEFINED_OBJECT,
    translate_errors,
)
from pgreplkit.driver.results import records
from pgreplkit.errors import (
    AheadOfServer,
    ConnectionFailed,
    ServerError,
    SlotActive,
    SlotNotFound,
    StreamClosed,
    WaitTimeout,
    WalRemoved,
)
from pgreplkit.plans.streams.options import HistoryFile, WalSettings
from pgreplkit.protocol import commands
from pgreplkit.protocol.feedback import Feedback
from pgreplkit.protocol.walfeed import WalChunk, WalFeed
from pgreplkit.values.lsn import LSN
from pgreplkit.values.timeline import TimelineHistory

_MEANING = {FILE_MISSING: WalRemoved, UNDEFINED_OBJECT: SlotNotFound}


@attrs.frozen(kw_only=True)
class WalBatch:
    """What came at once."""

    chunks: list[WalChunk]
    history: HistoryFile | None = None
    """Of the timeline that comes now."""
    asked: bool = False
    """Whether the server asked how far this side is; it was answered."""


class AsyncWalSource:
    """The WAL after a position, on a walsender's connection, begun when it is first needed."""

    def __init__(self, walsender: AsyncWalsender, start: LSN, settings: WalSettings) -> None:
        if not isinstance(start, LSN):
            raise TypeError(f"a stream starts at an LSN, not at a {type(start).__name__}")
        self._walsender = walsender
        self.start: LSN = start
        self.settings: WalSettings = settings
        # Nothing is confirmed that the caller did not confirm: not even what lies before.
        self.feedback: Feedback = Feedback(LSN.INVALID, advance_when_idle=False)
        self.feedback.deliver(start)
        self.feed: WalFeed | None = None
        self.is_closed: bool = False
        self._ending = Lock()
        self._history: HistoryFile | None = None
        self._copy: AsyncCopyBoth | None = None
        self._reporter = AsyncReporter(self.feedback, settings.status_interval)
        self._failure: Exception | None = None

    @property
    def tried(self) -> str:
        """What is being done, for errors."""
        slot = "" if self.settings.slot is None else f" by the slot {self.settings.slot!r}"
        return f"stream WAL from {self.start}{slot}"

    async def open(self) -> WalFeed:
        """Begin, where it has not begun."""
        # Who closes it meanwhile waits: there is nothing yet that could be ended.
        async with self._ending:
            if self.is_closed:
                ended = StreamClosed(self.tried, "the stream has ended: open another")
                raise self._failure or ended
            if self.feed is not None:
                return self.feed
            walsender = self._walsender
            walsender.insist_on_idle(self.tried)
            await self._reporter.heed(walsender)
            timeline = await self._timeline()
            feed = WalFeed(self.start, timeline, stop_at=self.settings.stop_at)
            await self._begin(feed)
            self.feed = feed
            return feed

    async def _timeline(self) -> int:
        """The timeline that was asked for, or the one of the server's history that has the WAL."""
        identity = await self._walsender.identify()
        if self.start > identity.position:
            raise AheadOfServer(self.tried, str(self.start), str(identity.position))
        if self.settings.timeline is not None:
            return self.settings.timeline
        timeline = identity.timeline
        if timeline == 1:
            return timeline
        content = await self._walsender.history_file(timeline)
        history = TimelineHistory.parse(content.decode(errors="replace"), timeline=timeline)
        return history.timeline_of(self.start)

    async def _begin(self, feed: WalFeed) -> None:
        """Ask for a timeline, and for the next one where nothing is left of it."""
        walsender, slot = self._walsender, self.settings.slot
        while True:
            if self.settings.whole_segments is not None and feed.timeline > 1:
                content = await walsender.history_file(feed.timeline)
                self._history = HistoryFile(feed.timeline, content)
            copy = AsyncCopyBoth(walsender.connection)
            command = commands.start_physical(feed.position, timeline=feed.timeline, slot=slot)
            try:
                with translate_errors(
                    self.tried,
                    connection=walsender.connection,
                    grant="REPLICATION",
                    meaning=_MEANING,
                ):
                    results = await copy.start(command)
            except ServerError as error:
                if error.sqlstate != OBJECT_IN_USE or slot is None:
                    raise
                raise SlotActive(self.tried, slot, None, None, None) from error
            if not copy.is_over:
                self._copy = copy
                self._reporter.use(copy)
                return
            self._switch(feed, records(results))

    def _switch(self, feed: WalFeed, answer: list[dict[str, str | None]]) -> None:
        """Go on where a timeline ended."""
        if not answer or answer[0].get("next_tli") is None:
            raise ConnectionFailed(self.tried, "the server ended the stream: it shuts down")
        start = LSN(answer[0]["next_tli_startpos"] or "")
        segment_size = self.settings.whole_segments
        if segment_size is not None:
            start = start.wal_file(timeline=1, segment_size=segment_size).first_lsn
        feed.switch(int(answer[0]["next_tli"] or 0), start)

    async def next(self) -> WalBatch | None:
        """What comes next; None at the end.

        Raises: WaitTimeout, after which one can go on; ServerError and its kinds; StreamClosed.
        """
        if self._failure is not None:
            raise self._failure
        if self.is_closed and self.feed is not None:
            await self.close()
            return None
        feed = await self.open()
        timeout = self.settings.timeout
        backoff = None if timeout is None else Backoff(timeout)
        try:
            while not self.is_closed and not feed.is_over:
                try:
                    batch = self._taken(feed)
                except KeyboardInterrupt:
                    # What the connection gave is lost, and what follows would leave a gap.
                    interrupted = "it was interrupted while it took WAL: open another"
                    self._failure = StreamClosed(self.tried, interrupted)
                    await self.close()
                    raise
                if batch is not None:
                    return batch
                if backoff is not None and backoff.is_over:
                    raise WaitTimeout(
                        f"{self.tried}: no WAL came in {timeout:g} s,"
                        f" all before {feed.position} did"
                    )
                limit = self._reporter.pause
                await self._wait(feed, limit if backoff is None else min(limit, backoff.left))
        except WaitTimeout:
            raise
        except Exception as error:
            if not self.is_closed:
                self._failure = error
                await self.close()
                raise
        # Where another thread closes it, its end is waited for: the connection is in use till then.
        await self.close()
        return None

    def _taken(self, feed: WalFeed) -> WalBatch | None:
        copy = self._copy
        chunks = [] if copy is None else feed.take(copy.views())
        asked, feed.asked = feed.asked, False
        history, self._history = self._history, None
        if asked:
            self.tell()
        if chunks or asked or history is not None:
            return WalBatch(chunks=chunks, history=history, asked=asked)
        return None

    async def _wait(self, feed: WalFeed, limit: float) -> None:
        """Wait until there may be more, or for some time."""
        copy = self._copy
        if copy is None:
            return
        self._reporter.tell_soon()
        with translate_errors(self.tried, meaning=_MEANING):
            if not copy.is_over:
                await copy.wait(limit)
                return
        async with self._ending:
            if self.is_closed:
                return
            with translate_errors(self.tried, meaning=_MEANING):
                results = await copy.finish()
            self._switch(feed, records(results))
            await self._begin(feed)

    def give(self, end: LSN) -> None:
        """The caller has the WAL before that position."""
        self.feedback.deliver(end)

    def written(self) -> None:
        """The caller has done with what was given, without a word of where it is safe."""
        if self.feedback.delivered > self.start:
            self.feedback.write()

    def acknowledge(self, flushed: LSN, written: LSN | None, applied: LSN | None) -> None:
        """Confirm; the server is told soon."""
        if self.is_closed:
            raise StreamClosed(f"acknowledge {flushed}", "the stream has ended")
        feedback = self.feedback
        feedback.acknowledge(flushed, written=written, applied=applied or feedback.applied)
        self._reporter.tell_soon()

    def tell(self) -> None:
        """Tell the server now."""
        self._reporter.tell()

    async def close(self) -> None:
        """Tell what is confirmed, and end; the connection can be used for something else then."""
        async with self._ending:
            if not self.is_closed:
                self.is_closed = True
                await self._end()

    async def _end(self) -> None:
        self._copy = None
        has_ended = False
        try:
            has_ended = await self._reporter.end()
        finally:
            if not has_ended or isinstance(self._failure, ConnectionFailed):
                await self._walsender.close()
