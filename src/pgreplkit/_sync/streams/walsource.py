# Generated from pgreplkit/_async/streams/walsource.py by `nox -s sync`. Do not edit.
"""WalSource: WAL from START_REPLICATION, across timelines, on a connection kept alive."""

from __future__ import annotations

import attrs

from pgreplkit._sync._io import Lock
from pgreplkit._sync.streams.reporter import Reporter
from pgreplkit._sync.wire.copyboth import CopyBoth
from pgreplkit._sync.wire.walsender import Walsender
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
from pgreplkit.plans.streams.state import StreamState
from pgreplkit.protocol import commands
from pgreplkit.protocol.feedback import Feedback
from pgreplkit.protocol.walfeed import WalChunk, WalFeed
from pgreplkit.values.lsn import LSN
from pgreplkit.values.timeline import TimelineHistory

_MEANING = {FILE_MISSING: WalRemoved, UNDEFINED_OBJECT: SlotNotFound}


@attrs.frozen(kw_only=True)
class WalBatch:
    """The WAL that was received at once."""

    chunks: list[WalChunk]
    history: HistoryFile | None = None
    """The history file of the timeline that begins now, if one begins."""
    asked: bool = False
    """Whether the server asked for a status update; it was sent."""


class WalSource:
    """The WAL from a position on, received on a walsender's connection when it is first needed."""

    def __init__(self, walsender: Walsender, start: LSN, settings: WalSettings) -> None:
        if not isinstance(start, LSN):
            raise TypeError(f"start must be an LSN, not {type(start).__name__}")
        self._walsender = walsender
        self.start: LSN = start
        self.settings: WalSettings = settings
        self.state: StreamState = StreamState.NEW
        # Only the caller confirms positions, including those before the start.
        self.feedback: Feedback = Feedback(LSN.INVALID, advance_when_idle=False)
        self.feedback.deliver(start)
        self.feed: WalFeed | None = None
        self._ending = Lock()
        """Held while the stream is opened, continued or ended: another thread may close it."""
        self._history: HistoryFile | None = None
        self._copy: CopyBoth | None = None
        self._reporter = Reporter(self.feedback, settings.status_interval)
        self._failure: Exception | None = None

    @property
    def operation(self) -> str:
        """The operation, for errors."""
        slot = "" if self.settings.slot is None else f" by the slot {self.settings.slot!r}"
        return f"stream WAL from {self.start}{slot}"

    def open(self) -> WalFeed:
        """Begin to stream, unless it streams already.

        Raises: StreamClosed; WalRemoved; AheadOfServer; SlotNotFound; SlotActive; ServerError.
        """
        # Another thread that closes the stream waits: there is nothing to end yet.
        with self._ending:
            if self.state.is_over:
                remedy = "open another stream"
                ended = StreamClosed(self.operation, "the stream has ended", remedy=remedy)
                raise self._failure or ended
            if self.feed is not None:
                return self.feed
            walsender = self._walsender
            walsender.check_idle(self.operation)
            self._reporter.adapt(walsender)
            timeline = self._timeline()
            feed = WalFeed(self.start, timeline, stop_at=self.settings.stop_at)
            self._request(feed)
            self.feed = feed
            self.state = self.state.to(StreamState.OPEN)
            return feed

    def _timeline(self) -> int:
        """Return the requested timeline, or the one of the server's history that has the WAL."""
        identity = self._walsender.identify()
        if self.start > identity.position:
            raise AheadOfServer(self.operation, str(self.start), str(identity.position))
        if self.settings.timeline is not None:
            return self.settings.timeline
        timeline = identity.timeline
        # The first timeline has no history file.
        if timeline == 1:
            return timeline
        # WAL from before the last switch is streamed from the timeline that wrote it.
        content = self._walsender.history_file(timeline)
        history = TimelineHistory.from_bytes(content, timeline=timeline)
        return history.timeline_of(self.start)

    def _request(self, feed: WalFeed) -> None:
        """Request a timeline, and the next one where nothing is left of it."""
        walsender, slot = self._walsender, self.settings.slot
        while True:
            if self.settings.whole_segments is not None and feed.timeline > 1:
                content = walsender.history_file(feed.timeline)
                self._history = HistoryFile(feed.timeline, content)
            copy = CopyBoth(walsender.connection)
            command = commands.start_physical(feed.position, timeline=feed.timeline, slot=slot)
            try:
                with translate_errors(
                    self.operation,
                    connection=walsender.connection,
                    grant="REPLICATION",
                    meaning=_MEANING,
                ):
                    results = copy.start(command)
            except ServerError as error:
                if error.sqlstate != OBJECT_IN_USE or slot is None:
                    raise
                raise SlotActive(self.operation, slot, None, None, None) from error
            # A timeline that ended at this very position is over at once; the next one follows.
            if not copy.is_over:
                self._copy = copy
                self._reporter.use(copy)
                return
            self._switch(feed, records(results))

    def _switch(self, feed: WalFeed, answer: list[dict[str, str | None]]) -> None:
        """Continue on the timeline that follows the one that ended."""
        # Where a timeline ends, the server names the next one.
        if not answer or answer[0].get("next_tli") is None:
            found = "the server ended the stream: it shuts down"
            raise ConnectionFailed(self.operation, found)
        start = LSN(answer[0]["next_tli_startpos"] or "")
        segment_size = self.settings.whole_segments
        # A file has a whole segment: the new timeline repeats the WAL before its switchpoint.
        if segment_size is not None:
            start = start.wal_file(timeline=1, segment_size=segment_size).first_lsn
        feed.switch(int(answer[0]["next_tli"] or 0), start)

    def next(self) -> WalBatch | None:
        """Return the next WAL; None at the end.

        Raises: WaitTimeout, after which reading may continue; ServerError and its subclasses.
        """
        if self._failure is not None:
            raise self._failure
        if self.state is StreamState.CLOSED and self.feed is not None:
            self.close()
            return None
        # Not open() again: another thread may close the stream now, which ends the iteration.
        feed = self.feed or self.open()
        timeout = self.settings.timeout
        backoff = None if timeout is None else Backoff(timeout)
        while self.state is StreamState.OPEN and not feed.is_over:
            batch = self._received(feed)
            if batch is not None:
                return batch
            if backoff is not None and backoff.is_over:
                raise WaitTimeout(
                    f"timed out after {timeout:g} s waiting for WAL: all before {feed.position}"
                    f" is received ({self.operation})"
                )
            limit = self._reporter.pause
            try:
                self._wait(feed, limit if backoff is None else min(limit, backoff.left))
            except Exception as error:
                self._fail_with(error)
        # If another thread closes the stream, wait for it: the connection is in use until then.
        self.close()
        return None

    def _fail_with(self, error: Exception) -> None:
        """End the stream by an error and raise it, unless the stream has ended already."""
        if not self.state.is_over:
            self._end(StreamState.FAILED, error)
            raise error

    def _received(self, feed: WalFeed) -> WalBatch | None:
        """Return the WAL that was received; None if there is none."""
        try:
            copy = self._copy
            chunks = [] if copy is None else feed.take(copy.views())
        except KeyboardInterrupt:
            # The messages that were read are lost: continuing would leave a gap.
            interrupted = "it was interrupted while it took WAL"
            failure = StreamClosed(self.operation, interrupted, remedy="open another stream")
            self._end(StreamState.FAILED, failure)
            raise
        except Exception as error:
            self._fail_with(error)
            return None
        asked, feed.asked = feed.asked, False
        history, self._history = self._history, None
        if asked:
            self.report()
        if chunks or asked or history is not None:
            return WalBatch(chunks=chunks, history=history, asked=asked)
        return None

    def _wait(self, feed: WalFeed, limit: float) -> None:
        """Wait until there may be more WAL, for at most ``limit`` seconds."""
        copy = self._copy
        if copy is None:
            return
        self._reporter.report_soon()
        with translate_errors(self.operation, meaning=_MEANING):
            if not copy.is_over:
                self._reporter.listen(copy, limit, self.operation)
                return
        with self._ending:
            if self.state.is_over:
                return
            with translate_errors(self.operation, meaning=_MEANING):
                results = copy.finish()
            self._switch(feed, records(results))
            self._request(feed)

    def deliver(self, end: LSN) -> None:
        """Note that the caller has the WAL before a position."""
        self.feedback.deliver(end)

    def written(self) -> None:
        """Report what was delivered as written: the caller asks for more."""
        if self.feedback.delivered > self.start:
            self.feedback.write()

    def acknowledge(self, flushed: LSN, written: LSN | None, applied: LSN | None) -> None:
        """Confirm positions; the server is informed soon."""
        if self.state.is_over:
            raise StreamClosed(f"acknowledge {flushed}", "the stream has ended")
        feedback = self.feedback
        # Storing WAL does not apply it: commits with remote_apply keep waiting.
        feedback.acknowledge(flushed, written=written, applied=applied or feedback.applied)
        self._reporter.report_soon()

    def report(self) -> None:
        """Send a status update now."""
        self._reporter.report()

    def close(self) -> None:
        """Send what is acknowledged, and end the stream; the connection is free then."""
        self._end(StreamState.CLOSED, None)

    def _end(self, state: StreamState, failure: Exception | None) -> None:
        with self._ending:
            if not self.state.is_over:
                self.state, self._failure = self.state.to(state), failure
                self._release()

    def _release(self) -> None:
        self._copy = None
        is_lost = isinstance(self._failure, ConnectionFailed)
        self._reporter.release(self._walsender, reusable=not is_lost)
