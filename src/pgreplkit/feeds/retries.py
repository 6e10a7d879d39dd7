"""The pauses before a feed begins again, and the fences after which it does."""

from __future__ import annotations

from pgreplkit.errors import SinkFenced

_FIRST, _LONGEST = 0.5, 10.0
"""Seconds: a server restarts within a few; another process takes over a feed within the longest."""


def retry_pause(failures: int, spread: float) -> float:
    """Return the seconds before the next attempt.

    ``failures`` is the number of attempts that have failed one after the other. ``spread``, from 0
    to 1, keeps the feeds of a server that restarts from connecting all at once.
    """
    # The exponent is limited because a feed may wait for months.
    longest = min(_LONGEST, _FIRST * (1 << min(failures - 1, 10)))
    return longest * (1 + spread) / 2


class Fences:
    """Distinguishes a feed that its own late batch has fenced from one that others have fenced.

    A batch that an engine did not answer in time, or that was under way when its process was
    killed, may be stored after the sink was opened again: then it fences the next batch. Opened
    once more, the sink has it.
    """

    def __init__(self) -> None:
        self._fenced_at: int | None = None
        """The messages that were stored when the feed was fenced last."""

    def may_be_own(self, error: BaseException, messages: int) -> bool:
        """Return True for a fence that the feed's own late batch may have caused.

        ``messages`` is the number of messages that the feed has stored so far. If it is fenced
        again before it has stored another one, some other process writes.
        """
        if not isinstance(error, SinkFenced):
            return False
        is_first = self._fenced_at != messages
        self._fenced_at = messages
        return is_first
