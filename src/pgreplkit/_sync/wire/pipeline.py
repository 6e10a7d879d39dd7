# Generated from pgreplkit/_async/wire/pipeline.py by `nox -s sync`. Do not edit.
"""Pipeline: statements sent without waiting for the results of those before."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar

from psycopg import Connection, Error as PsycopgError, OperationalError, errors
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult

from pgreplkit._sync._io import wait_sockets, yield_to_others
from pgreplkit.driver.conninfo import conninfo_of
from pgreplkit.driver.watchdog import watched
from pgreplkit.protocol.pgoutput.tuples import Octets

T = TypeVar("T")

_SENT_AT_ONCE = 100
"""Statements after which the socket is served: fewer cost system calls, more let libpq's buffers
grow, and the server wait."""
_WAITS = 1.0
"""Seconds of one wait for the socket, which is repeated until the server answers."""
_BINARY = 1
_FAILING = b"pgreplkit_failing"
_GOOD = (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK)


class Pipeline(Generic[T]):
    """Groups of statements, each a transaction of its own, in the pipeline mode of libpq.

    A group ends with a Sync: the server then commits it, or has rolled it back. Nothing is waited
    for but a full socket. The outcome of each group is handed out in order.
    """

    def __init__(self, connection: Connection[object]) -> None:
        self.connection = connection
        self._pgconn = connection.pgconn
        self._expected: deque[tuple[bool, object]] = deque()
        """For each result to come: whether it is that of a Sync, and its group or a note."""
        self._ended: deque[Outcome[T]] = deque()
        self._current: Outcome[T] | None = None
        self._unserved = 0
        self._prepared: set[bytes] = set()
        self.in_flight = 0
        """The number of groups whose outcome is not known yet."""

    def open(self) -> None:
        """Enter the pipeline mode."""
        # A blocking libpq would wait for the server to read, while the server waits for us to read.
        self._pgconn.nonblocking = 1
        self._pgconn.enter_pipeline_mode()

    def close(self) -> None:
        """Wait for all outcomes, and leave the pipeline mode; ``outcomes`` has them.

        Statements must be prepared again then: one that followed an error was not.
        """
        self.drain()
        self._pgconn.exit_pipeline_mode()
        self._pgconn.nonblocking = 0
        self._prepared.clear()

    def send(
        self,
        name: bytes,
        sql: str,
        values: Sequence[Octets],
        formats: Sequence[int],
        note: object = None,
        weight: int = 1,
    ) -> None:
        """Send a statement; prepare it first if that was not done before.

        The group's outcome has ``note``, unless it is None, if the statement changes no row, or
        returns a value: together with that value. A statement with large values has the ``weight``
        of several.
        """
        pgconn = self._pgconn
        if name not in self._prepared:
            # With its group it may be rolled back, but a prepared statement stays.
            self._prepared.add(name)
            pgconn.send_prepare(name, sql.encode(self.connection.info.encoding))
            self._expected.append((False, None))
        pgconn.send_query_prepared(name, values, formats, _BINARY)
        self._expected.append((False, note))
        self._unserved += weight
        if self._unserved >= _SENT_AT_ONCE:
            self._serve()

    def sync(self, group: T) -> None:
        """End a group of statements."""
        self._pgconn.pipeline_sync()
        self._expected.append((True, group))
        self.in_flight += 1
        self._unserved += 1
        if self._unserved >= _SENT_AT_ONCE:
            self._serve()

    def cancel(self, group: T) -> None:
        """End a group so that it is rolled back; its outcome is an error."""
        # An error rolls the group back at its Sync, without a round trip.
        self.send(_FAILING, "SELECT 1 / 0", (), ())
        self.sync(group)

    def _serve(self) -> None:
        """Send what the socket takes, and read results, so that the server never waits for us."""
        self._unserved = 0
        pgconn = self._pgconn
        while pgconn.flush():
            wait_sockets([pgconn.socket], [pgconn.socket], _WAITS)
            self._read()
        self._read()
        yield_to_others()

    def _read(self) -> None:
        pgconn = self._pgconn
        pgconn.consume_input()
        while self._expected and not pgconn.is_busy():
            result = pgconn.get_result()
            if result is not None:
                self._take(result)
            elif pgconn.status != ConnStatus.OK:
                raise OperationalError("the connection is lost")

    def _take(self, result: PGresult) -> None:
        is_sync, what = self._expected.popleft()
        current = self._current
        if current is None:
            current = self._current = Outcome()
        if is_sync:
            current.group = what  # type: ignore[assignment]
            if result.status != ExecStatus.PIPELINE_SYNC:
                current.fail(self._error(result))
                # An error at the commit itself comes instead of the Sync's result.
                self._expected.appendleft((is_sync, what))
                return
            self._ended.append(current)
            self._current = None
            self.in_flight -= 1
        elif result.status in _GOOD:
            if what is None:
                return
            answer = result.get_value(0, 0) if result.ntuples else None
            if answer is not None or not result.command_tuples:
                current.notes = [*(current.notes or ()), (what, answer)]
        elif result.status != ExecStatus.PIPELINE_ABORTED:
            current.fail(self._error(result))

    def _error(self, result: PGresult) -> PsycopgError:
        return errors.error_from_result(result, encoding=self.connection.info.encoding)

    def flush(self) -> bool:
        """Send what the socket takes; return whether something is left."""
        return bool(self._pgconn.flush())

    def outcomes(self) -> list[Outcome[T]]:
        """Return the outcomes that have come since the last call, in the order of the groups.

        Raises: psycopg's errors when the connection is lost.
        """
        if self._expected:
            self._read()
        ended = [*self._ended]
        self._ended.clear()
        return ended

    def drain(self, *, down_to: int = 0) -> None:
        """Wait until at most ``down_to`` groups are in flight."""
        pgconn = self._pgconn
        self._read()
        with watched(self.connection, lambda: conninfo_of(self.connection)):
            while self.in_flight > down_to:
                # A socket is writable most of the time: the wait would end at once, and again.
                writers = [pgconn.socket] if pgconn.flush() else []
                wait_sockets([pgconn.socket], writers, _WAITS)
                self._read()

    @property
    def socket(self) -> int:
        """The connection's socket, readable when results come."""
        return self._pgconn.socket


class Outcome(Generic[T]):
    """The outcome of a group of statements."""

    __slots__ = ("error", "group", "notes")

    def __init__(self) -> None:
        self.group: T | None = None
        self.notes: list[tuple[object, bytes | None]] | None = None
        """The notes of statements that changed no row or returned a value, with that value."""
        self.error: PsycopgError | None = None

    def fail(self, error: PsycopgError) -> None:
        """Note the first error."""
        self.error = self.error or error
