"""Pace: when to look again while waiting for a server."""

from __future__ import annotations

import time

from pgreplkit.values.seconds import checked_seconds

_FIRST, _GROWTH, _LONGEST = 0.01, 1.5, 0.5


class Backoff:
    """Looks soon at first, then less and less often, and never past the deadline.

    ``timeout`` is in seconds.
    """

    def __init__(self, timeout: float) -> None:
        self._deadline = time.monotonic() + checked_seconds(timeout, "a timeout")
        self._pause = _FIRST

    @property
    def is_over(self) -> bool:
        """Whether the time is up."""
        return time.monotonic() >= self._deadline

    @property
    def left(self) -> float:
        """How many seconds are left."""
        return max(0.0, self._deadline - time.monotonic())

    def next_pause(self) -> float:
        """How many seconds to sleep before the next look."""
        pause, self._pause = self._pause, min(self._pause * _GROWTH, _LONGEST)
        return min(pause, self.left)
