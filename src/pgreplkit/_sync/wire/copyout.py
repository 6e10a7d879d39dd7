# Generated from pgreplkit/_async/wire/copyout.py by `nox -s sync`. Do not edit.
"""CopyOut: the answer to a command, result by result, with what is copied between them."""

from __future__ import annotations

import time
from contextlib import suppress

from psycopg import Connection, Error as PsycopgError, errors, generators
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from pgreplkit._sync._io import wait_readable

_BATCH_BYTES = 1 << 20


class CopyOut:
    """One command's answer, read without waiting longer than one wants.

    What goes wrong is told as psycopg does, once the server has said all of it.
    """

    def __init__(self, connection: Connection[object]) -> None:
        self.connection = connection
        self.is_copying = False
        """Whether messages come now, and no results."""
        self.is_over = False
        self._failure: PsycopgError | None = None

    def upload(self, command: bytes, content: bytes) -> None:
        """Run a command that takes a COPY."""
        pgconn = self.connection.pgconn
        pgconn.send_query(command)
        results: list[PGresult] = self.connection.wait(generators.execute(pgconn))
        self._look(results[-1])
        if self._failure is None:
            for at in range(0, len(content), _BATCH_BYTES):
                part = content[at : at + _BATCH_BYTES]
                self.connection.wait(generators.copy_to(pgconn, part, True))
            self._look(self.connection.wait(generators.copy_end(pgconn, None)))
        if self._failure is not None:
            raise self._failure

    def send(self, command: bytes) -> None:
        """Begin."""
        self.connection.pgconn.send_query(command)
        self.connection.pgconn.flush()

    def result(self) -> PGresult | None:
        """The next result; None while the server has none, and at the end."""
        pgconn = self.connection.pgconn
        if self.is_over or self.is_copying or pgconn.is_busy():
            return None
        result = pgconn.get_result()
        if result is None:
            self.is_over = True
            if self._failure is not None:
                raise self._failure
            return None
        self._look(result)
        self.is_copying = result.status == ExecStatus.COPY_OUT
        return result

    def _look(self, result: PGresult) -> None:
        if result.status == ExecStatus.FATAL_ERROR and self._failure is None:
            encoding = self.connection.info.encoding
            self._failure = errors.error_from_result(result, encoding=encoding)

    def views(self) -> list[memoryview]:
        """The messages that are there, each of a buffer that is its own."""
        messages: list[memoryview] = []
        pgconn, size = self.connection.pgconn, 0
        while self.is_copying and size < _BATCH_BYTES:
            count, data = pgconn.get_copy_data(1)
            if not count and messages:
                # What has come meanwhile costs less than to wait for it.
                pgconn.consume_input()
                count, data = pgconn.get_copy_data(1)
            if count <= 0:
                self.is_copying = not count
                break
            messages.append(data)
            size += count
        return messages

    def wait(self, timeout: float) -> None:
        """Wait until something was received, or that many seconds."""
        pgconn = self.connection.pgconn
        if wait_readable(pgconn.socket, timeout):
            pgconn.consume_input()

    def cancel(self, *, timeout: float) -> bool:
        """Ask the server to give up; whether it has within that many seconds.

        When it has not the connection is of no use.
        """
        deadline = time.monotonic() + timeout
        with suppress(PsycopgError):
            self.connection.cancel_safe(timeout=timeout)
            while time.monotonic() < deadline and not self.is_over:
                was_copying = self.is_copying
                if self.views() or self.result() is not None or was_copying != self.is_copying:
                    continue
                if not self.is_over:
                    self.wait(deadline - time.monotonic())
        return self.is_over
