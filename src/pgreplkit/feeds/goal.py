"""RunGoal: the position and the time at which one run of a feed ends."""

from __future__ import annotations

import time

import attrs

from pgreplkit.errors import WaitTimeout
from pgreplkit.values.lsn import LSN


@attrs.frozen
class RunGoal:
    """The end of a run: a position, a time, both or neither."""

    slot: str
    stop_at: LSN | None = None
    deadline: float | None = None
    """A time of time.monotonic()."""
    is_exact: bool = False
    """Whether no transaction that ends after ``stop_at`` may be sent."""

    @property
    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    def allows(self, end: LSN) -> bool:
        """Return whether a position of this end may be sent."""
        return not self.is_exact or self.stop_at is None or end <= self.stop_at

    def within(self, seconds: float) -> float:
        """Return ``seconds``, or the time until the deadline if that is less."""
        if self.deadline is None:
            return seconds
        return max(0.0, min(seconds, self.deadline - time.monotonic()))

    def check(self, reached: LSN | None, error: Exception | None = None) -> None:
        """Raise WaitTimeout after the deadline.

        The sink has everything up to ``reached``; ``error`` is that of the last attempt.
        """
        if not self.is_late:
            return
        goal = "the end" if self.stop_at is None else str(self.stop_at)
        has = "it has not begun" if reached is None else f"its sink has everything up to {reached}"
        why = "" if error is None else f"; the last attempt failed: {error}"
        raise WaitTimeout(
            f"timed out waiting until the feed {self.slot!r} has sent everything before {goal}:"
            f" {has}{why}"
        )
