"""FeedbackTiming: when a client sends status updates to its walsender."""

from __future__ import annotations

import attrs

REPORTED_WITHIN = 1.0
"""Seconds within which an acknowledged position is sent: a commit may wait for it."""
_APART = 0.05
"""Seconds between two status updates at least: one for each acknowledged change would cost more
than the changes."""
_REPORTS_IN_TIMEOUT = 3
"""Status updates within wal_sender_timeout: one may be late without consequence."""


def _not_too_often(interval: float) -> float:
    return max(_APART, interval)


@attrs.define
class FeedbackTiming:
    """The times of one client's status updates, at least one every ``interval`` seconds."""

    interval: float = attrs.field(converter=_not_too_often)
    _sent_at: float = attrs.field(default=float("-inf"), init=False)

    def adapt(self, wal_sender_timeout: float | None) -> None:
        """Report often enough for the server's wal_sender_timeout in seconds; None if disabled."""
        if wal_sender_timeout is not None:
            self.interval = min(self.interval, wal_sender_timeout / _REPORTS_IN_TIMEOUT)

    def sent(self, now: float) -> None:
        """Note that a status update is sent at ``now``, in seconds of a monotonic clock."""
        self._sent_at = now

    def may_report(self, now: float) -> bool:
        """Return True if the last status update is long enough ago for the next one."""
        return now - self._sent_at > _APART

    def must_report(self, now: float) -> bool:
        """Return True if the server should hear from the client, even without news."""
        # Half of it: the next check comes a beat later, which must still be in time.
        return now - self._sent_at >= self.interval / 2

    @property
    def beat(self) -> float:
        """The seconds between two checks of a heartbeat."""
        return min(REPORTED_WITHIN, self.interval / 2)

    def pause(self, *, has_news: bool) -> float:
        """Return the seconds that a reader may wait before it has to report."""
        return _APART if has_news else REPORTED_WITHIN
