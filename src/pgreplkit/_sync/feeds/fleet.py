# Generated from pgreplkit/_async/feeds/fleet.py by `nox -s sync`. Do not edit.
"""Fleet: runs many feeds in one process."""

from __future__ import annotations

import logging
import time
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import attrs

from pgreplkit._sync._io import Job, TaskGroup
from pgreplkit._sync.feeds.feed import Feed
from pgreplkit._sync.wire.closing import Closing
from pgreplkit._text import counted, one_line
from pgreplkit.errors import Error, FeedError, WaitTimeout
from pgreplkit.feeds.fleet import Attempts, FeedStatus
from pgreplkit.feeds.states import FeedReport, FeedState
from pgreplkit.values.rows import Rows
from pgreplkit.values.seconds import Timeout, checked_seconds

_log = logging.getLogger("pgreplkit.feeds")

_LOOKS_EVERY = 0.2
"""Seconds between two looks at the feeds and at stop."""
_BEGIN_AT_ONCE = 50
"""Attempts that begin at one look: hundreds at once would time out while each waits for others."""
_ENDS_WITHIN = 60.0
"""Seconds for the feeds to end their current batches after stop: sinks wait less for an answer."""
_HAS_ENDED = (FeedState.NEW, FeedState.FAILED, FeedState.STOPPED)


@attrs.define
class _Member:
    feed: Feed
    attempts: Attempts = attrs.field(factory=Attempts)
    job: Job[FeedReport] | None = None
    since: datetime | None = None


class Fleet(Closing):
    """Runs many feeds in one process, each with its own connections, state and retries.

    ``feeds`` maps a name to a feed with a sink of its own. A feed whose server or engine cannot be
    reached, or whose slot another process uses, starts again, after up to 10 seconds. A feed with
    an error that needs a decision has failed; the other feeds continue.
    """

    def __init__(self, feeds: Mapping[str, Feed]) -> None:
        if not isinstance(feeds, Mapping):
            raise TypeError(f"feeds must map names to feeds, not {type(feeds).__name__}")
        if not feeds:
            raise ValueError("feeds is empty; it takes at least 1")
        for name, feed in feeds.items():
            if not isinstance(feed, Feed):
                kind, given = Feed.__name__, type(feed).__name__
                raise TypeError(f"the feed {name!r} must be a {kind}, not {given}")
        # A sink holds the connection and the position of one feed.
        owners: dict[int, str] = {}
        for name, feed in feeds.items():
            other = owners.setdefault(id(feed._settings.sink), name)
            if other != name:
                raise ValueError(f"{other!r} and {name!r} have one sink; each needs its own")
        self._members = {name: _Member(feed) for name, feed in feeds.items()}
        self._is_running = self._is_stopping = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the feeds."""
        return tuple(self._members)

    @property
    def is_healthy(self) -> bool:
        """Whether no feed has failed, or waits for longer than a restart or a failover takes."""
        return all(status.is_healthy for status in self.status())

    @property
    def errors(self) -> Mapping[str, BaseException]:
        """The errors of the feeds that have failed, by the feeds' names."""
        return {
            name: one.attempts.error
            for name, one in self._members.items()
            if one.attempts.error is not None and one.attempts.state is FeedState.FAILED
        }

    def status(self) -> Rows[FeedStatus]:
        """Return the status of each feed; may be called while the fleet runs."""
        now = time.monotonic()
        return Rows(_status(name, one, now) for name, one in self._members.items())

    def run(self, *, timeout: Timeout | None = None) -> Rows[FeedStatus]:
        """Run all feeds until ``stop()`` is called, or until none is left; return their status.

        No error of a feed is raised: see ``status()`` and ``errors``. A failed feed is started
        again by the next ``run()``.

        Raises: WaitTimeout after ``timeout`` seconds, when the feeds have ended; FeedError if the
        fleet runs already.
        """
        deadline = None
        if timeout is not None:
            deadline = time.monotonic() + checked_seconds(timeout, "timeout")
        if self._is_running:
            raise FeedError("run the fleet", "it runs already")
        self._is_running = True
        group = TaskGroup(len(self._members))
        for one in self._members.values():
            # A new call of run() starts failed feeds again.
            one.attempts = Attempts()
        try:
            self._run(group, deadline)
        finally:
            self._end(group)
            self._is_running = self._is_stopping = False
        return self.status()

    def stop(self) -> None:
        """Let ``run`` end after the current batches; may be called from a signal handler.

        If it does not run, the next call ends at once.
        """
        self._is_stopping = True

    def close(self) -> None:
        """Let ``run`` end, if another task or thread runs it."""
        self._is_stopping = self._is_running

    def _run(self, group: TaskGroup, deadline: float | None) -> None:
        while not self._is_stopping:
            now, begun = time.monotonic(), 0
            for name, one in self._members.items():
                _collect(name, one, now)
                if begun < _BEGIN_AT_ONCE and one.attempts.is_due(now):
                    begun += 1
                    one.attempts.begin(now, one.feed.report.messages)
                    one.since = datetime.now(UTC)
                    one.job = group.start(one.feed.run)
            left = [name for name, one in self._members.items() if not one.attempts.is_over]
            if not left:
                return
            if deadline is not None and now >= deadline:
                raise WaitTimeout(f"timed out while the fleet runs its feeds: {', '.join(left)}")
            group.rest(_LOOKS_EVERY)

    def _end(self, group: TaskGroup) -> None:
        jobs = []
        for one in self._members.values():
            # stop() of a feed that has ended would end its next run.
            if one.job is not None and not one.job.done():
                one.feed.stop()
                jobs.append(one.job)
        try:
            group.wait(jobs, _ENDS_WITHIN)
        finally:
            group.close()
        for name, one in self._members.items():
            _collect(name, one, time.monotonic())
            one.attempts.stop()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {counted(len(self._members), 'feed')}>"


def _collect(name: str, one: _Member, now: float) -> None:
    """Note the end of a feed that has ended, or the progress of one that runs."""
    job = one.job
    if job is None:
        return
    if not job.done():
        is_streaming = one.feed.state is FeedState.STREAMING
        one.attempts.note_progress(now, one.feed.report.messages, is_streaming=is_streaming)
        return
    # A job is cancelled only at the end of run(), when a batch was not answered in time.
    error = None if job.cancelled() else job.exception()
    one.job, one.since = None, datetime.now(UTC)
    # Always the same for one feed, and different for the feeds of one server.
    spread = zlib.crc32(name.encode()) / (1 << 32)
    one.attempts.end(error, now, one.feed.report.messages, spread)
    if error is None:
        return
    if one.attempts.state is FeedState.FAILED:
        # The cause of a defect is in its traceback.
        trace = None if isinstance(error, Error) else error
        _log.error("the feed %s has failed: %s", name, one_line(error), exc_info=trace)
    else:
        _log.warning("the feed %s starts again: %s", name, one_line(error))


def _status(name: str, one: _Member, now: float) -> FeedStatus:
    attempts, report, state = one.attempts, one.feed.report, one.attempts.state
    # Its task may not have begun, and then it still has the state of the last attempt.
    if attempts.is_running and one.feed.state not in _HAS_ENDED:
        state = one.feed.state
    wait = attempts.retry_in(now)
    error = attempts.error
    return FeedStatus(
        name=name,
        slot=one.feed.slot,
        state=state,
        position=report.position,
        lag=report.lag,
        messages=report.messages,
        parked=report.parked,
        since=one.since,
        retry_in=None if wait is None else timedelta(seconds=round(wait, 3)),
        error=None if error is None else f"{type(error).__name__}: {error}",
        failures=attempts.failures,
    )
