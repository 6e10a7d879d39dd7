# Generated from pgreplkit/_async/wire/pipeline.py by `nox -s sync`. Do not edit.
"""Pipeline: statements sent without waiting for the results of those before."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Generic, TypeVar, cast

import attrs
from psycopg import Connection, Error as PsycopgError, OperationalError, errors
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult

from pgreplkit._sync._io import wait_sockets, yield_to_others
from pgreplkit.apply.notes import Notes
from pgreplkit.catalog.features import has
from pgreplkit.catalog.logical.applying import COMPLETE, IS_COMPLETED
from pgreplkit.driver.watchdog import Watch, watched_at_times
from pgreplkit.protocol.pgoutput.tuples import Octets

T = TypeVar("T")

_SENT_AT_ONCE = 100
"""Statements after which the socket is served: fewer cost system calls, more let libpq's buffers
grow, and the server wait."""
_WAITS = 1.0
"""Seconds of one wait for the socket, which is repeated until the server answers."""
_TEXT, _BINARY = 0, 1
_FAILING = b"pgreplkit_failing"
_BEGIN, _COMMIT, _CHAIN = b"pgreplkit_begin", b"pgreplkit_commit", b"pgreplkit_chain"
_GUARD, _NOTE = b"pgreplkit_guard", b"pgreplkit_note"
IN_A_BATCH = 64
"""Groups of a batch: enough that its beginning and end cost little, few to be sent again."""
_BYTES_IN_A_BATCH = 1 << 20
"""Bytes after which a batch ends: the server keeps results back until then."""
# As integers, which are compared much faster.
_GOOD = frozenset({int(ExecStatus.COMMAND_OK), int(ExecStatus.TUPLES_OK)})
_IS_SYNC = int(ExecStatus.PIPELINE_SYNC)
_STATEMENT, _END_OF_GROUP, _SYNC = range(3)
"""The kinds of things in the pipeline that results belong to."""
_UNNOTED = (_STATEMENT, None)
"""One for all statements without a note: the collector of garbage looks at every other one."""


class Pipeline(Generic[T]):
    """Groups of statements, each a transaction of its own, in the pipeline mode of libpq.

    Groups are sent in batches: after an error the server skips the rest of a batch, and each batch
    refuses to run unless the one before it was completed. Nothing is waited for but a full socket.
    The outcome of each group is returned in order: that of a group which is alone in the pipeline
    at once, others at the end of their batch.
    """

    def __init__(self, connection: Connection[object]) -> None:
        self.connection = connection
        self._pgconn = connection.pgconn
        self._expected: deque[tuple[int, object]] = deque()
        """For each result to come: the kind of its message, and its group or a note."""
        self._ended: list[Outcome[T]] = []
        self._notes: Notes | None = None
        """The notes of the group whose results come."""
        self._error: PsycopgError | None = None
        """The first error of the batch whose results come."""
        self._in_batch = 0
        """The number of groups that were sent of the batch."""
        self._bytes = 0
        """Their size."""
        self._is_begun = False
        """Whether a transaction was begun."""
        self._batches = 0
        self._chains = has("transaction.chain", connection.info.server_version // 10_000)
        self._unserved = 0
        self._prepared: set[bytes] = set()
        self.in_flight = 0
        """The number of groups whose outcome is not known yet."""

    def open(self) -> None:
        """Enter the pipeline mode."""
        self._pgconn.enter_pipeline_mode()

    def close(self) -> None:
        """Wait for all outcomes, and leave the pipeline mode; ``outcomes`` has them.

        Statements must be prepared again then: one that followed an error was not.
        """
        self.drain()
        self._pgconn.exit_pipeline_mode()
        self._prepared.clear()

    def begin(self) -> None:
        """Begin a group, and a batch unless one was begun."""
        if self._is_begun:
            return
        # Once all results are read, the batch before is known to be completed.
        is_sure = not (self._expected or self._ended)
        self._is_begun = True
        self._push(_BEGIN, "BEGIN", (), ())
        if not (is_sure or self._in_batch):
            self._push(_GUARD, IS_COMPLETED, (self.mark,), (_TEXT,))

    @property
    def mark(self) -> bytes:
        """The text that the setting of the session has once the last batch is completed."""
        return b"%d" % self._batches

    def send(
        self,
        name: bytes,
        sql: str,
        values: Sequence[Octets],
        formats: Sequence[int],
        note: object = None,
        weight: int = 1,
        types: Sequence[int] = (),
    ) -> None:
        """Send a statement; prepare it first if that was not done before.

        If the statement changes no row, or returns a value, the group's outcome has its ``note``,
        unless that is None, together with the value. The first item of a note that is a tuple
        identifies the statement. A statement with large values has the ``weight`` of several.
        ``types`` are those of the parameters, if the server cannot infer them.
        """
        self._push(name, sql, values, formats, _STATEMENT, note, types)
        self._unserved += weight
        if self._unserved >= _SENT_AT_ONCE:
            self._serve()

    def _push(
        self,
        name: bytes,
        sql: str,
        values: Sequence[Octets],
        formats: Sequence[int],
        kind: int = _STATEMENT,
        what: object = None,
        types: Sequence[int] = (),
    ) -> None:
        pgconn, expected = self._pgconn, self._expected
        if name not in self._prepared:
            # With its group it may be rolled back, but a prepared statement stays.
            self._prepared.add(name)
            pgconn.send_prepare(name, sql.encode(self.connection.info.encoding), types)
            expected.append(_UNNOTED)
        pgconn.send_query_prepared(name, values, formats, _BINARY)
        expected.append(_UNNOTED if what is None else (kind, what))

    def commit(self, group: T, size: int = 0) -> None:
        """End a group of statements with about ``size`` bytes; the next one is of the same batch.

        The batch ends with it if it is large enough.
        """
        is_alone = not self.in_flight
        # The outcome is known with the result of the commit itself.
        if is_alone:
            self._push(_COMMIT, "COMMIT", (), (), _END_OF_GROUP, group)
            self._is_begun = False
        elif self._chains:
            self._push(_CHAIN, "COMMIT AND CHAIN", (), (), _END_OF_GROUP, group)
        else:
            self._push(_COMMIT, "COMMIT", (), (), _END_OF_GROUP, group)
            self._push(_BEGIN, "BEGIN", (), ())
        self.in_flight += 1
        self._in_batch += 1
        self._bytes += size
        self._unserved += 1
        if self._in_batch >= IN_A_BATCH or self._bytes >= _BYTES_IN_A_BATCH:
            self.sync()
        elif is_alone:
            # The server has nothing else to do, and need not keep the result back. The end of the
            # batch would cost it more, while the next group may come.
            self._insist_on_connection()
            self._pgconn.send_flush_request()
            self._serve()

    def request_results(self) -> None:
        """Let the server send the results of all groups that were sent."""
        # Without a transaction, the last group was alone: its result was requested.
        if self._is_begun:
            self.sync()

    def sync(self) -> None:
        """End the batch, if one was begun: the server then sends all of its results."""
        if not (self._is_begun or self._in_batch):
            return
        is_begun = self._is_begun
        self._is_begun, self._in_batch, self._bytes = False, 0, 0
        self._batches += 1
        # In the transaction that follows the last group.
        self._push(_NOTE, COMPLETE, (self.mark,), (_TEXT,))
        if is_begun:
            self._push(_COMMIT, "COMMIT", (), ())
        self._insist_on_connection()
        self._pgconn.pipeline_sync()
        self._expected.append((_SYNC, None))
        self._serve()

    def cancel(self, group: T) -> None:
        """End a group so that it is rolled back; its outcome is an error."""
        # An error rolls the group back without a round trip.
        self._push(_FAILING, "SELECT 1 / 0", (), ())
        self.commit(group)

    def _serve(self) -> None:
        """Send what the socket takes, and read results, so that the server never waits for us."""
        self._unserved = 0
        pgconn = self._pgconn
        if pgconn.flush():
            with watched_at_times(self.connection) as watch:
                while pgconn.flush():
                    self._wait(watch, [pgconn.socket])
        self._read()
        yield_to_others()

    def _wait(self, watch: Watch, writers: Sequence[int]) -> None:
        """Wait for the socket, and read; watch a server that takes and sends nothing."""
        if wait_sockets([self._pgconn.socket], writers, _WAITS):
            watch.end()
        else:
            watch.begin()
        self._read()

    def _read(self) -> None:
        pgconn, expected = self._pgconn, self._expected
        pgconn.consume_input()
        while expected and not pgconn.is_busy():
            result = pgconn.get_result()
            if result is None:
                self._insist_on_connection()
                continue
            kind, what = expected.popleft()
            status = result.status
            if status != _IS_SYNC:
                # The end of this statement's results, which does not wait.
                pgconn.get_result()
            # Without a call: nearly all results are these.
            if status in _GOOD:
                if kind == _END_OF_GROUP:
                    self._end(what)
                elif what is not None:
                    self._note(what, result)
            else:
                self._take_failure(result, kind, what)

    def _insist_on_connection(self) -> None:
        # With the connection libpq leaves the pipeline mode, and would complain about the mode.
        if self._pgconn.status != ConnStatus.OK:
            raise OperationalError("the connection is lost")

    def _note(self, note: object, result: PGresult) -> None:
        answer = result.get_value(0, 0) if result.ntuples else None
        if answer is not None or not result.command_tuples:
            if self._notes is None:
                self._notes = Notes()
            self._notes.add(note, answer)

    def _take_failure(self, result: PGresult, kind: int, what: object) -> None:
        """Take an error, a message that the server skipped after it, or the Sync that ends that."""
        if result.status == _IS_SYNC:
            self._error = None
            return
        if kind == _SYNC:
            # An error of the Sync itself comes before its result.
            self._expected.appendleft((kind, what))
        if result.status != ExecStatus.PIPELINE_ABORTED:
            encoding = self.connection.info.encoding
            self._error = self._error or errors.error_from_result(result, encoding=encoding)
        if kind == _END_OF_GROUP:
            self._end(what)

    def _end(self, group: object) -> None:
        # The messages after an error of a batch were skipped, and have no error of their own.
        self._ended.append(Outcome(cast(T, group), self._notes, self._error))
        self._notes = None
        self.in_flight -= 1

    def flush(self) -> bool:
        """Send what the socket takes; return whether something is left."""
        return bool(self._pgconn.flush())

    @property
    def has_outcomes(self) -> bool:
        """Whether outcomes have been read since the last call of ``outcomes``."""
        return bool(self._ended)

    def outcomes(self) -> list[Outcome[T]]:
        """Return the outcomes that have come since the last call, in the order of the groups.

        Raises: psycopg's errors when the connection is lost.
        """
        if self._expected:
            self._read()
        ended, self._ended = self._ended, []
        return ended

    def drain(self, *, down_to: int = 0) -> None:
        """Wait until at most ``down_to`` groups are in flight."""
        pgconn = self._pgconn
        # The server keeps results back until the end of their batch.
        self.sync()
        self._read()
        with watched_at_times(self.connection) as watch:
            # The pipeline can be left once the end of its last batch is read, too.
            while self.in_flight > down_to or (self._expected and not down_to):
                # A socket is writable most of the time: the wait would end at once, and again.
                writers = [pgconn.socket] if pgconn.flush() else []
                self._wait(watch, writers)

    @property
    def socket(self) -> int:
        """The connection's socket, readable when results come."""
        return self._pgconn.socket


@attrs.define(eq=False)
class Outcome(Generic[T]):
    """The outcome of a group of statements."""

    group: T
    notes: Notes | None
    """The notes of its statements; None without any."""
    error: PsycopgError | None
    """The first error of the batch, if the group is not committed."""
