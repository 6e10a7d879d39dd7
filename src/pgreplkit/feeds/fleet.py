"""FeedStatus and Attempts: the status of a fleet's feeds, and their attempts."""

from datetime import datetime, timedelta

import attrs

from pgreplkit.feeds.retries import Fences, retry_pause
from pgreplkit.feeds.states import FeedState
from pgreplkit.plans.streams.retries import may_succeed_later
from pgreplkit.values.lsn import LSN
from pgreplkit.values.record import Record

_STEADY = 30.0
"""Seconds of streaming after which an attempt counts as a success, since an idle feed stores no
message."""
_TOO_MANY = 30
"""Attempts: after some 5 minutes it is no longer a restart or a failover."""


@attrs.frozen(kw_only=True)
class FeedStatus(Record):
    """The status of one feed of a fleet."""

    _first = ("name", "slot", "state", "lag", "error")

    name: str
    """Its name in the fleet."""
    slot: str
    state: FeedState = attrs.field(converter=FeedState)
    position: LSN | None
    """The end of the last transaction of which the sink has changes; None if it is unknown."""
    lag: timedelta | None
    """The age of the last commit when the sink had stored it; None if there was none."""
    messages: int
    """The messages that the sink has stored since the fleet was created."""
    parked: int
    """The changes that the sink refused, and that were replaced by a message that says so."""
    since: datetime | None
    """The time at which it was last started, or has ended; None if it was never started."""
    retry_in: timedelta | None
    """The time until the next attempt; None if it does not wait for one."""
    error: str | None
    """The error of the last attempt; None if that runs, or ended without an error."""
    failures: int
    """The attempts that have failed one after the other."""

    @property
    def is_healthy(self) -> bool:
        """Whether the feed runs, or will probably run without help.

        A feed that has failed needs a decision. So does one that has waited for some 5 minutes: the
        server may be lost, or refuse connections until its settings are changed.
        """
        return self.state is not FeedState.FAILED and self.failures < _TOO_MANY


@attrs.define
class Attempts:
    """The attempts to run one feed. Times are seconds of a clock that only moves forward."""

    state: FeedState = FeedState.NEW
    """STARTING while an attempt runs; otherwise how the last one has ended."""
    error: BaseException | None = None
    """The error with which the last attempt has ended."""
    failures: int = 0
    """The attempts that have failed one after the other."""
    _due: float = 0.0
    _steady_from: float = 0.0
    _messages: int = 0
    _fences: Fences = attrs.field(factory=Fences)

    @property
    def is_running(self) -> bool:
        """Whether an attempt runs."""
        return self.state is FeedState.STARTING

    @property
    def is_over(self) -> bool:
        """Whether there will be no other attempt."""
        return self.state in (FeedState.FAILED, FeedState.STOPPED)

    def is_due(self, now: float) -> bool:
        """Return whether to begin an attempt."""
        return not self.is_running and not self.is_over and now >= self._due

    def retry_in(self, now: float) -> float | None:
        """Return the seconds until the next attempt; None if the feed does not wait for one."""
        return max(0.0, self._due - now) if self.state is FeedState.WAITING else None

    def begin(self, now: float, messages: int) -> None:
        """Note that an attempt begins, and the messages that the sink has stored before."""
        self.state, self.error = FeedState.STARTING, None
        self._steady_from, self._messages = now + _STEADY, messages

    def note_progress(self, now: float, messages: int, *, is_streaming: bool) -> None:
        """Forget the failures if the attempt that runs, or has just ended, is a success."""
        # A server or an engine that does not answer may let an attempt hang for long.
        if not is_streaming:
            self._steady_from = now + _STEADY
        # The feed is healthy from now on, and its next pauses are short again.
        if messages > self._messages or now >= self._steady_from:
            self.failures = 0

    def end(self, error: BaseException | None, now: float, messages: int, spread: float) -> None:
        """Note that an attempt has ended, and decide whether there will be another."""
        self.error = error
        if error is None:
            self.state, self.failures = FeedState.STOPPED, 0
        elif not (may_succeed_later(error) or self._fences.may_be_own(error, messages)):
            self.state = FeedState.FAILED
        else:
            # The time that it has streamed was noted while it ran.
            self.note_progress(now, messages, is_streaming=False)
            self.failures += 1
            self.state, self._due = FeedState.WAITING, now + retry_pause(self.failures, spread)

    def stop(self) -> None:
        """Note that a feed that waits will not be started again."""
        if self.state is FeedState.WAITING:
            self.state = FeedState.STOPPED
