"""Backoff: increasing pauses between polls, with a deadline."""

from __future__ import annotations

import time

from pgreplkit.values.seconds import Timeout, checked_seconds

_FIRST, _GROWTH, _LONGEST = 0.01, 1.1, 0.5
"""Seconds: many waits end within milliseconds; for the others half a second is soon enough."""


class Backoff:
    """Pauses between polls that grow up to half a second, and end at the deadline.

    ``limit`` is the timeout in seconds, and ``first`` the length of the first pause.
    """

    def __init__(self, timeout: Timeout, *, first: float = _FIRST) -> None:
        self.limit: float = checked_seconds(timeout, "a timeout")
        self._deadline = time.monotonic() + self.limit
        self._pause = first

    @property
    def is_over(self) -> bool:
        """Whether the deadline has passed."""
        return time.monotonic() >= self._deadline

    @property
    def left(self) -> float:
        """Seconds until the deadline."""
        return max(0.0, self._deadline - time.monotonic())

    def next_pause(self) -> float:
        """Return the seconds to sleep before the next poll."""
        pause, self._pause = self._pause, min(self._pause * _GROWTH, _LONGEST)
        return min(pause, self.left)
