"""AsyncCopyOut: the results of one command, with the COPY data between them."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from psycopg import AsyncConnection, Error as PsycopgError, errors, generators
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from pgreplkit._async._io import wait_readable
from pgreplkit._async.wire.cancelling import cancel
from pgreplkit.driver.watchdog import answered_in_time

T = TypeVar("T")

# Enough for some messages of a backup (32 kB each), little enough to keep in memory.
_BATCH_BYTES = 1 << 20


class AsyncCopyOut:
    """The answer to one command, read without blocking.

    Raises: psycopg's errors, once the whole answer is read.
    """

    def __init__(self, connection: AsyncConnection[object]) -> None:
        self.connection = connection
        self.is_copying = False
        """Whether a COPY is under way, so that messages come and no results."""
        self.is_over = False
        self._failure: PsycopgError | None = None

    async def upload(self, command: bytes, content: bytes) -> None:
        """Run a command that takes COPY data, and send it."""
        pgconn = self.connection.pgconn
        pgconn.send_query(command)
        with answered_in_time(self.connection):
            results: list[PGresult] = await self.connection.wait(generators.execute(pgconn))
        self._note_failure(results[-1])
        if self._failure is None:
            # libpq would copy the whole of a large manifest into its own buffer.
            for at in range(0, len(content), _BATCH_BYTES):
                part = content[at : at + _BATCH_BYTES]
                with answered_in_time(self.connection):
                    await self.connection.wait(generators.copy_to(pgconn, part, True))
            with answered_in_time(self.connection):
                self._note_failure(await self.connection.wait(generators.copy_end(pgconn, None)))
        if self._failure is not None:
            raise self._failure

    def send(self, command: bytes) -> None:
        """Send the command."""
        self.connection.pgconn.send_query(command)
        self.connection.pgconn.flush()

    def result(self) -> PGresult | None:
        """Return the next result; None while none was received, and at the end."""
        pgconn = self.connection.pgconn
        if self.is_over or self.is_copying or pgconn.is_busy():
            return None
        result = pgconn.get_result()
        if result is None:
            self.is_over = True
            if self._failure is not None:
                raise self._failure
            return None
        self._note_failure(result)
        self.is_copying = result.status == ExecStatus.COPY_OUT
        return result

    def _note_failure(self, result: PGresult) -> None:
        if result.status == ExecStatus.FATAL_ERROR and self._failure is None:
            encoding = self.connection.info.encoding
            self._failure = errors.error_from_result(result, encoding=encoding)

    def read(self) -> list[bytes]:
        """Return the received messages: for those that are many and small, as rows are."""
        # The collector of garbage would go through thousands of views again and again.
        return self._received(bytes)

    def views(self) -> list[memoryview]:
        """Return the received messages, each with a buffer of its own."""
        return self._received(memoryview)

    def _received(self, kind: Callable[[memoryview], T]) -> list[T]:
        messages: list[T] = []
        pgconn, size = self.connection.pgconn, 0
        while self.is_copying and size < _BATCH_BYTES:
            count, data = pgconn.get_copy_data(1)
            if not count and messages:
                # Data that arrived in the meantime costs less than another wait.
                pgconn.consume_input()
                count, data = pgconn.get_copy_data(1)
            if count <= 0:
                # A negative count ends the COPY; its result is next.
                self.is_copying = not count
                break
            messages.append(kind(data))
            size += count
        return messages

    async def wait(self, timeout: float) -> bool:
        """Wait until something was received, or the time is over; return whether it was."""
        pgconn = self.connection.pgconn
        is_readable = await wait_readable(pgconn.socket, timeout)
        if is_readable:
            pgconn.consume_input()
        return is_readable

    async def cancel(self, *, timeout: float) -> bool:
        """Cancel the command; return whether the server ended it within that many seconds.

        If it did not, the connection cannot be used again.
        """
        deadline = time.monotonic() + timeout
        with suppress(PsycopgError):
            await cancel(self.connection, timeout=timeout)
            # Messages that the server has sent already must be read before the next command.
            while time.monotonic() < deadline and not self.is_over:
                was_copying = self.is_copying
                if self.views() or self.result() is not None or was_copying != self.is_copying:
                    continue
                if not self.is_over:
                    await self.wait(deadline - time.monotonic())
        return self.is_over
