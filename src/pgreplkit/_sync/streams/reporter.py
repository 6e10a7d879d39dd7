# Generated from pgreplkit/_async/streams/reporter.py by `nox -s sync`. Do not edit.
"""Reporter: sends status updates and keepalives to the server, and notices its silence."""

from __future__ import annotations

import time
from contextlib import suppress

from psycopg import Error as PsycopgError

from pgreplkit._sync._io import Heartbeat
from pgreplkit._sync.wire.copyboth import CopyBoth
from pgreplkit._sync.wire.walsender import Walsender
from pgreplkit.errors import ConnectionFailed
from pgreplkit.plans.streams.feedbacktiming import FeedbackTiming
from pgreplkit.plans.streams.silence import Silence
from pgreplkit.protocol.feedback import Feedback

_ENDED_WITHIN = 5.0
"""Seconds for the server to agree to the end: it may still send what it has decoded."""


class Reporter:
    """Sends the status of one client, at least every ``interval`` seconds.

    It does so while the client's own code runs, which may take its time: a server ends a client
    from which it hears nothing.
    """

    def __init__(self, feedback: Feedback, interval: float) -> None:
        self.feedback: Feedback = feedback
        self._timing = FeedbackTiming(interval)
        self._silence = Silence.of_server(None)
        self._copy: CopyBoth | None = None
        self._heartbeat: Heartbeat | None = None

    def adapt(self, walsender: Walsender) -> None:
        """Take over the server's wal_sender_timeout: report often enough, and wait that long."""
        timeout = walsender.wal_sender_timeout()
        self._timing.adapt(timeout)
        self._silence = Silence.of_server(timeout)

    def use(self, copy: CopyBoth) -> None:
        """Begin to report, or continue on another connection."""
        self._copy = copy
        if self._heartbeat is None:
            self._heartbeat = Heartbeat(self._beat, self._timing.beat)

    @property
    def pause(self) -> float:
        """The seconds that a reader may wait before it has to report."""
        return self._timing.pause(has_news=self.feedback.has_news)

    def report(self, *, asks: bool = False) -> None:
        """Send a status update now; with ``asks`` the server answers it."""
        self._timing.sent(time.monotonic())
        copy = self._copy
        if copy is not None:
            # The reader raises the error of a lost connection. Two threads must not overtake each
            # other here: an older position sent last would move the slot back.
            with suppress(PsycopgError), copy.guard:
                copy.send(self.feedback.status(asks=asks))

    def report_soon(self) -> None:
        """Send a status update if there is news; a little later if one was sent just before."""
        if self.feedback.has_news and self._timing.may_report(time.monotonic()):
            self.report()

    def _beat(self) -> None:
        if self.feedback.has_news or self._timing.must_report(time.monotonic()):
            self.report()

    def heard(self) -> None:
        """Note that something was received while nothing waited for it."""
        self._silence.heard()

    def listen(self, copy: CopyBoth, limit: float, operation: str) -> None:
        """Wait until something was received, for at most ``limit`` seconds.

        Raises: ConnectionFailed when the server has been silent for too long, though probed.
        """
        if copy.wait(limit):
            self._silence.heard()
        elif self._silence.listened(limit):
            self.report(asks=True)
        elif self._silence.is_over:
            found = f"the server sent nothing for {self._silence.limit:g} s, though it was probed"
            remedy = "check the network between; the limit follows its wal_sender_timeout"
            raise ConnectionFailed(operation, found, remedy=remedy)

    def release(self, walsender: Walsender | None, *, reusable: bool) -> None:
        """End the stream, and close its connection unless it is ``reusable`` after a clean end."""
        has_ended = False
        try:
            has_ended = self.end()
        finally:
            if walsender is not None and not (reusable and has_ended):
                walsender.close()

    def end(self) -> bool:
        """Send the last status update, and end the stream; return whether the server agreed.

        If it did not, the connection cannot be used again.
        """
        heartbeat, copy = self._heartbeat, self._copy
        self._heartbeat = self._copy = None
        if heartbeat is not None:
            heartbeat.close()
        if copy is None:
            return True
        try:
            copy.send(self.feedback.status())
            return copy.end(timeout=_ENDED_WITHIN)
        except PsycopgError:
            with copy.guard:
                # Nothing may be written to it afterwards, also by a heartbeat that is under way.
                copy.is_over = True
            return False
