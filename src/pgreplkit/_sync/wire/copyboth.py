# Generated from pgreplkit/_async/wire/copyboth.py by `nox -s sync`. Do not edit.
"""CopyBoth: messages in both directions on a walsender's connection."""

from __future__ import annotations

import time
from collections.abc import Callable, Sized
from typing import TypeVar
from weakref import WeakMethod

from psycopg import Connection, errors, generators
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from pgreplkit._sync._io import guard, wait_readable
from pgreplkit._sync.wire.cancelling import cancel
from pgreplkit.driver.results import CANCELLED_WITHIN, Fetching, raise_failure
from pgreplkit.driver.watchdog import answered_in_time

T = TypeVar("T")

_BATCH, _BATCH_BYTES = 512, 1 << 20
"""Messages and bytes that are taken at once, so that a client waits little for the first one."""
_CHECKED_EVERY = 0.1
"""Seconds after which a wait checks whether another thread has closed the stream."""


def run_command(
    connection: Connection[object], command: bytes, *, timeout: float | None = None
) -> list[PGresult]:
    """Run a command of the protocol and return its results; cancel it after ``timeout`` seconds.

    Without a timeout it must be a command that a server answers at once.

    Raises: psycopg's errors.
    """
    pgconn = connection.pgconn
    # The simple query protocol is the only one that a walsender knows.
    pgconn.send_query(command)
    fetching = generators.execute(pgconn)
    if timeout is None:
        with answered_in_time(connection):
            results: list[PGresult] = connection.wait(fetching)
    else:
        results = _cancelled_after(timeout, connection, Fetching(fetching))
    raise_failure(results, connection.info.encoding)
    return results


def _cancelled_after(
    timeout: float, connection: Connection[object], fetching: Fetching
) -> list[PGresult]:
    results = connection.wait(fetching.within(timeout))
    if results is None:
        # On a connection of its own, which may meet the same silence: the next wait shows it.
        cancel(connection, timeout=CANCELLED_WITHIN)
        results = connection.wait(fetching.within(CANCELLED_WITHIN))
    if results is None:
        raise errors.ConnectionTimeout("the server does not respond")
    return results


class CopyBoth:
    """A COPY BOTH, from the command that starts it to its end.

    One thread may read while others send: each takes the guard.

    Raises: psycopg's errors.
    """

    def __init__(self, connection: Connection[object]) -> None:
        self.connection = connection
        self.guard = guard()
        self.is_over = False
        """Whether the server or this side has sent its last message."""
        self.warning: str | None = None
        """The text of the warning that the stream ends at."""
        self._ends_at = ""
        self._listener: Callable[[errors.Diagnostic], None] | None = None
        self._batch: Sized = ()
        """The messages that are being received."""
        self._wanted = 0
        """The number of messages of the batch that came before the warning."""

    def watch(self, sqlstate: str) -> None:
        """Deliver no message that follows a warning of this SQLSTATE."""
        self._ends_at = sqlstate
        noticed = WeakMethod(self._noticed)

        # A stream that is no longer used must end, which the connection would prevent.
        def listen(notice: errors.Diagnostic) -> None:
            if (call := noticed()) is not None:
                call(notice)

        self._listener = listen
        self.connection.add_notice_handler(listen)

    def unwatch(self) -> None:
        """Remove the handler of warnings from the connection."""
        if self._listener is not None:
            self.connection.remove_notice_handler(self._listener)
            self._listener = None

    def _noticed(self, notice: errors.Diagnostic) -> None:
        # libpq calls it in the order of the messages, when the server's next one is taken.
        if notice.sqlstate == self._ends_at and self.warning is None:
            self.warning, self._wanted = notice.message_primary or "", len(self._batch)

    def start(self, command: bytes) -> list[PGresult]:
        """Begin; return the results, which are an answer if the server has nothing to stream."""
        results = run_command(self.connection, command)
        self.is_over = results[-1].status != ExecStatus.COPY_BOTH
        return results

    def read(self) -> list[bytes]:
        """Return the received messages; none if there is nothing yet, or at the end."""
        # Without a list of views, which the collector of garbage would go through every time.
        return self._received(bytes)

    def views(self) -> list[memoryview]:
        """Return the received messages as views, each of a buffer of its own."""
        return self._received(memoryview)

    def _received(self, kind: Callable[[memoryview], T]) -> list[T]:
        messages: list[T] = []
        size = 0
        with self.guard:
            if self.is_over or self.warning is not None:
                return messages
            self._batch = messages
            receive = self.connection.pgconn.get_copy_data
            while len(messages) < _BATCH and size < _BATCH_BYTES:
                # 1 means: do not wait for the rest of a message.
                count, data = receive(1)
                if count <= 0:
                    self.is_over = count < 0
                    break
                messages.append(kind(data))
                size += count
            self._batch = ()
            if self.warning is not None:
                del messages[self._wanted :]
        return messages

    def wait(self, timeout: float) -> bool:
        """Wait until something was received, or the time is over; return whether it was."""
        deadline = time.monotonic() + timeout
        while True:
            with self.guard:
                # The end counts as received: the reader fetches the results then.
                if self.is_over:
                    return True
                descriptor = self.connection.pgconn.socket
            pause = min(_CHECKED_EVERY, max(0.0, deadline - time.monotonic()))
            try:
                is_readable = wait_readable(descriptor, pause)
            except OSError:
                # Another thread may have ended the stream and closed the connection.
                is_readable = self.is_over
                if not is_readable:
                    raise
            if is_readable:
                self.consume()
                return True
            if time.monotonic() >= deadline:
                return False

    def consume(self) -> None:
        """Take what the socket has, without waiting."""
        with self.guard:
            if not self.is_over:
                self.connection.pgconn.consume_input()

    def send(self, message: bytes) -> None:
        """Send a message; the part that the socket does not take yet is sent with the next one."""
        with self.guard:
            if not self.is_over:
                self.connection.pgconn.put_copy_data(message)
                self.connection.pgconn.flush()

    def finish(self, *, within: float | None = None) -> list[PGresult]:
        """Return the results that follow the server's last message.

        A server sends them at once, so that the connection is cut after ``within`` seconds.
        """
        results = self._results(within)
        if results and results[-1].status == ExecStatus.COPY_IN:
            # A timeline has ended; the server waits until this side ends it too.
            self.connection.pgconn.put_copy_end()
            results += self._results(within)
        return results

    def end(self, *, timeout: float) -> bool:
        """End the COPY; return whether the server agreed within that many seconds.

        Messages that it still sends are discarded. If it does not agree, the connection cannot be
        used again.
        """
        pgconn = self.connection.pgconn
        deadline = time.monotonic() + timeout
        with self.guard:
            was_over, self.is_over = self.is_over, True
            if not was_over:
                pgconn.put_copy_end()
                pgconn.flush()
        while not was_over:
            count, _ = pgconn.get_copy_data(1)
            if count < 0:
                break
            if not count:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                # An event loop has one reader of a socket: a task that waited before may remove it.
                wait_readable(pgconn.socket, min(left, _CHECKED_EVERY))
                pgconn.flush()
                pgconn.consume_input()
        self.finish(within=max(0.0, deadline - time.monotonic()))
        return True

    def _results(self, within: float | None) -> list[PGresult]:
        fetching = generators.fetch_many(self.connection.pgconn)
        with answered_in_time(self.connection, within=within):
            results: list[PGresult] = self.connection.wait(fetching)
        raise_failure(results, self.connection.info.encoding)
        return results
