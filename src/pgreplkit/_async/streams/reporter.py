"""AsyncReporter: tells a server how far its client is, and that the client lives."""

from __future__ import annotations

import time
from contextlib import suppress

from psycopg import Error as PsycopgError

from pgreplkit._async._io import Heartbeat
from pgreplkit._async.wire.copyboth import AsyncCopyBoth
from pgreplkit._async.wire.walsender import AsyncWalsender
from pgreplkit.protocol.feedback import Feedback

TOLD_EVERY = 1.0
"""Seconds after which what is confirmed is told at the latest."""
_TELLS_APART = 0.05
_PATIENCE_SHARES = 3
"""The server hears of the client so many times within wal_sender_timeout."""
_ENDED_WITHIN = 5.0


class AsyncReporter:
    """Sends the status of one client, at least every ``interval`` seconds.

    It does so beside the client's code, which may take its time: a server gives up a client that it
    does not hear.
    """

    def __init__(self, feedback: Feedback, interval: float) -> None:
        self.feedback: Feedback = feedback
        self._interval = max(_TELLS_APART, interval)
        self._copy: AsyncCopyBoth | None = None
        self._heartbeat: Heartbeat | None = None
        self._told_at = 0.0

    async def heed(self, walsender: AsyncWalsender) -> None:
        """Tell often enough for that server."""
        patience = await walsender.patience()
        if patience is not None:
            self._interval = min(self._interval, patience / _PATIENCE_SHARES)

    def use(self, copy: AsyncCopyBoth) -> None:
        """Begin, or go on with another stream."""
        self._copy = copy
        if self._heartbeat is None:
            self._heartbeat = Heartbeat(self._beat, min(TOLD_EVERY, self._interval / 2))

    @property
    def pause(self) -> float:
        """Seconds that may be waited before the server is told something."""
        return _TELLS_APART if self.feedback.has_news else TOLD_EVERY

    def tell(self, *, asks: bool = False) -> None:
        """Tell now; with ``asks`` the server shall answer."""
        self._told_at = time.monotonic()
        copy = self._copy
        if copy is not None:
            # A connection that is lost is told to whoever reads next. What two threads tell must
            # not overtake each other: a slot would go back.
            with suppress(PsycopgError), copy.guard:
                copy.send(self.feedback.status(asks=asks))

    def tell_soon(self) -> None:
        """Tell what is new; a little later when something was told just before."""
        if self.feedback.has_news and time.monotonic() - self._told_at > _TELLS_APART:
            self.tell()

    def _beat(self) -> None:
        if self.feedback.has_news or time.monotonic() - self._told_at >= self._interval / 2:
            self.tell()

    async def end(self) -> bool:
        """Tell the last, and end the stream; whether the server agreed.

        When it did not the connection is of no use.
        """
        heartbeat, copy = self._heartbeat, self._copy
        self._heartbeat = self._copy = None
        if heartbeat is not None:
            heartbeat.close()
        if copy is None:
            return True
        try:
            copy.send(self.feedback.status())
            return await copy.end(timeout=_ENDED_WITHIN)
        except PsycopgError:
            with copy.guard:
                copy.is_over = True
            return False
