"""Holding: positions that the sink has, and that are not confirmed to the slot yet."""

from __future__ import annotations

from collections import deque

from pgreplkit.values.lsn import LSN


class Holding:
    """Positions that the sink has answered, until they are ``hold`` seconds old.

    An engine that answers before a message is on disk can lose the last ones. The slot still sends
    them, as long as they are not confirmed to it.
    """

    def __init__(self, hold: float) -> None:
        self._hold = hold
        self._answered: deque[tuple[float, LSN]] = deque()

    def answered(self, lsn: LSN, now: float) -> None:
        """Note that the sink has all transactions up to a position."""
        self._answered.append((now, lsn))

    def due(self, now: float) -> LSN | None:
        """Return the last position that is old enough, once; None if there is none."""
        lsn = None
        while self._answered and self._answered[0][0] + self._hold <= now:
            lsn = self._answered.popleft()[1]
        return lsn
