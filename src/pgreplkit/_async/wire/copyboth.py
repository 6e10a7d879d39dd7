"""AsyncCopyBoth: messages to and fro on a walsender's connection."""

from __future__ import annotations

import time

from psycopg import AsyncConnection, generators
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from pgreplkit._async._io import guard, wait_readable
from pgreplkit.driver.results import cancelled_after, raise_failure

_BATCH, _BATCH_BYTES = 512, 1 << 20
_LOOKS_AGAIN = 0.1
"""Seconds after which a wait looks whether another thread has closed the stream."""


async def run_command(
    connection: AsyncConnection[object], command: bytes, *, timeout: float | None = None
) -> list[PGresult]:
    """The results of a command of the protocol, which is cancelled after that many seconds.

    Raises: what psycopg raises.
    """
    pgconn = connection.pgconn
    pgconn.send_query(command)
    fetching = generators.execute(pgconn)
    if timeout is not None:
        fetching = cancelled_after(timeout, fetching, pgconn)
    results: list[PGresult] = await connection.wait(fetching)
    raise_failure(results, connection.info.encoding)
    return results


class AsyncCopyBoth:
    """COPY BOTH, from the command that starts it to its end.

    The connection may be used by one thread that reads and others that send: each takes the guard.
    What goes wrong is told as psycopg does.
    """

    def __init__(self, connection: AsyncConnection[object]) -> None:
        self.connection = connection
        self.guard = guard()
        self.is_over = False
        """Whether the server has sent its last message, or this side its own."""

    async def start(self, command: bytes) -> list[PGresult]:
        """Begin; gives what came instead where the server has nothing to stream."""
        results = await run_command(self.connection, command)
        self.is_over = results[-1].status != ExecStatus.COPY_BOTH
        return results

    def read(self) -> list[bytes]:
        """The messages that are there; none when one has to wait, or when it is over."""
        return [bytes(message) for message in self.views()]

    def views(self) -> list[memoryview]:
        """The same as views, each of a buffer that is its own."""
        messages: list[memoryview] = []
        size = 0
        with self.guard:
            if self.is_over:
                return messages
            receive = self.connection.pgconn.get_copy_data
            while len(messages) < _BATCH and size < _BATCH_BYTES:
                count, data = receive(1)
                if count <= 0:
                    self.is_over = count < 0
                    break
                messages.append(data)
                size += count
        return messages

    async def wait(self, timeout: float) -> bool:
        """Wait until something was received, or that many seconds; whether it was."""
        deadline = time.monotonic() + timeout
        while True:
            with self.guard:
                if self.is_over:
                    return True
                descriptor = self.connection.pgconn.socket
            pause = min(_LOOKS_AGAIN, max(0.0, deadline - time.monotonic()))
            try:
                is_readable = await wait_readable(descriptor, pause)
            except OSError:
                # Another thread may have ended it, and closed the connection.
                if self.is_over:
                    return True
                raise
            if is_readable:
                with self.guard:
                    if not self.is_over:
                        self.connection.pgconn.consume_input()
                return True
            if time.monotonic() >= deadline:
                return False

    def send(self, message: bytes) -> None:
        """Send a message, as far as the socket takes it; the rest goes with what follows."""
        with self.guard:
            if not self.is_over:
                self.connection.pgconn.put_copy_data(message)
                self.connection.pgconn.flush()

    async def finish(self) -> list[PGresult]:
        """What the server says after its last message."""
        results = await self._results()
        if results and results[-1].status == ExecStatus.COPY_IN:
            # A timeline has ended; the server waits until this side ends, too.
            self.connection.pgconn.put_copy_end()
            results += await self._results()
        return results

    async def end(self, *, timeout: float) -> bool:
        """End it, if the server has not; whether the server agreed within that many seconds.

        What it still sends is thrown away. When it does not agree the connection is of no use.
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
                # A loop has one reader of a socket: who waited before may take this one away.
                await wait_readable(pgconn.socket, min(left, _LOOKS_AGAIN))
                pgconn.flush()
                pgconn.consume_input()
        await self.finish()
        return True

    async def _results(self) -> list[PGresult]:
        fetching = generators.fetch_many(self.connection.pgconn)
        results: list[PGresult] = await self.connection.wait(fetching)
        raise_failure(results, self.connection.info.encoding)
        return results
