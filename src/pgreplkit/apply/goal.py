"""ApplyGoal: the position and the time at which one run of an applier ends."""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs

from pgreplkit.errors import WaitTimeout
from pgreplkit.values.lsn import LSN

_STOPS_WITHIN = 5.0
"""Seconds for the transactions in flight, once the run is stopped: supervisors kill a process that
does not end within 10 s or more."""


class RunStopped(Exception):
    """A run that was stopped; what is not applied or copied comes again with the next one."""


@attrs.frozen
class ApplyGoal:
    """The end of a run: a position, a time, or a call of ``stop()``."""

    applier: str
    stop_at: LSN | None
    deadline: float | None
    """A time of time.monotonic()."""
    stopping_since: Callable[[], float | None]
    """Returns the time of time.monotonic() at which ``stop()`` was called."""

    @property
    def is_stopping(self) -> bool:
        """Whether the run ends after the current transaction."""
        return self.stopping_since() is not None

    @property
    def is_late(self) -> bool:
        """Whether the deadline has passed."""
        return self.deadline is not None and time.monotonic() >= self.deadline

    @property
    def is_over(self) -> bool:
        """Whether the run ends now, and rolls back the transactions in flight."""
        since = self.stopping_since()
        return self.is_late or (since is not None and time.monotonic() - since >= _STOPS_WITHIN)

    def within(self, seconds: float) -> float:
        """Return ``seconds``, or the time until the deadline if that is less."""
        if self.deadline is None:
            return seconds
        return max(0.0, min(seconds, self.deadline - time.monotonic()))

    def check_time(self, found: str, error: Exception | None = None) -> None:
        """Raise WaitTimeout after the deadline.

        ``found`` says what the applier has done, ``error`` is that of the last attempt.
        """
        if not self.is_late:
            return
        goal = "the end" if self.stop_at is None else str(self.stop_at)
        why = "" if error is None else f"; the last attempt failed: {error}"
        raise WaitTimeout(
            f"timed out waiting until the applier {self.applier!r} has applied everything before"
            f" {goal}: {found}{why}"
        )

    def check(self, found: str, error: Exception | None = None) -> None:
        """Raise if the run has to end, although a transaction is not applied yet.

        Raises: RunStopped; WaitTimeout.
        """
        if self.is_stopping:
            raise RunStopped
        self.check_time(found, error)


def applied(position: LSN) -> str:
    """Return the progress of an applier that streams, as a text for errors."""
    return f"it has applied everything before {position}"
