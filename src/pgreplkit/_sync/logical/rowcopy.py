# Generated from pgreplkit/_async/logical/rowcopy.py by `nox -s sync`. Do not edit.
"""The rows of a table at a snapshot, by COPY, over a path that may fall silent."""

from __future__ import annotations

from collections.abc import Callable, Generator

from psycopg import Connection, Copy, Error as PsycopgError
from psycopg.sql import SQL, Composed

from pgreplkit._sync._io import to_thread
from pgreplkit._sync.wire.cancelling import OwnConnection
from pgreplkit._sync.wire.copyout import CopyOut
from pgreplkit._sync.wire.link import Link
from pgreplkit._sync.wire.session import lift_limits, read_exactly
from pgreplkit._text import one_line
from pgreplkit.catalog.logical.applying import QUALIFY
from pgreplkit.catalog.logical.snapshot import (
    BEGIN_READING,
    HAS_ROWS,
    IMPORT_SNAPSHOT,
    IS_COPYING,
    ROW_SECURITY_OFF,
)
from pgreplkit.driver import statements as parts
from pgreplkit.driver.conninfo import in_utf8
from pgreplkit.driver.failures import read_grant, translate_errors
from pgreplkit.driver.probe import probe
from pgreplkit.driver.watchdog import answered_in_time, watched
from pgreplkit.errors import ConnectionFailed, StreamClosed
from pgreplkit.plans.streams.silence import Silence
from pgreplkit.values.seconds import Timeout
from pgreplkit.values.tablename import TableName

_BEAT = 1.0
"""Seconds between two looks whether the rows are still wanted."""


def open_at_snapshot(conninfo: str, snapshot: str) -> Connection[object]:
    """Open a session that sees the rows as they are at an exported snapshot.

    Raises: ConnectionFailed; ServerError if the snapshot no longer exists.
    """
    with translate_errors("take over the snapshot of the slot"):
        reader = OwnConnection[object].connect(in_utf8(conninfo), autocommit=True)
        try:
            # Copied values must load as the streamed ones do. Settings come before BEGIN: a
            # snapshot is imported before any query of the transaction.
            read_exactly(reader, conninfo)
            lift_limits(reader)
            with answered_in_time(reader):
                reader.execute(ROW_SECURITY_OFF)
                reader.execute(BEGIN_READING)
                reader.execute(SQL(IMPORT_SNAPSHOT).format(snapshot))
        except BaseException:
            reader.close()
            raise
    return reader


def open_qualified(conninfo: str, snapshot: str) -> Connection[object]:
    """Open such a session whose values name schemas, for one that has another search_path.

    Raises: ConnectionFailed; ServerError.
    """
    reader = open_at_snapshot(conninfo, snapshot)
    try:
        with translate_errors("copy rows"), watched(reader):
            reader.execute(QUALIFY)
    except BaseException:
        reader.close()
        raise
    return reader


def has_rows(
    link: Link, operation: str, table: TableName, *, timeout: Timeout | None = None
) -> bool:
    """Return whether a table has a row that the role may see.

    Raises: InsufficientPrivilege; StatementTimeout after ``timeout``.
    """
    statement = SQL(HAS_ROWS).format(parts.table(table))
    record = link.one(operation, statement, grant=read_grant(table), timeout=timeout)
    return bool(record["has_rows"])


def relay(
    reader: Connection[object],
    statement: Composed,
    sink: Copy,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Run a COPY, and pass its rows on to another one.

    ``check`` is called in between, and raises an error if the rows are no longer wanted.

    Raises: psycopg's errors.
    """
    out = CopyOut(reader)
    out.send(statement.as_bytes(reader))
    with watched(reader):
        while not out.is_over:
            check()
            if rows := out.read():
                # In blocks: a write for each row would take longer than reading it.
                sink.write(b"".join(rows))
            elif out.result() is None and not out.is_over:
                out.wait(_BEAT)


class RowCopy:
    """Reads COPY data, and distinguishes a busy server from a path that is cut.

    A server sends nothing while it waits for a lock, or for rows that a filter accepts, and it
    does not read what its client sends. So a second connection asks what it is doing.
    """

    def __init__(
        self,
        reader: Connection[object],
        conninfo: str,
        silence: Silence,
        is_wanted: Callable[[], bool],
    ) -> None:
        self.connection = self._reader = reader
        self._conninfo = conninfo
        self._silence, self._is_wanted = silence, is_wanted

    def rows(self, operation: str, statement: Composed) -> Generator[bytes]:
        """Run the COPY, and yield each row.

        Raises: ConnectionFailed when the path is cut; StreamClosed when the rows are no longer
        wanted; psycopg's errors.
        """
        out = CopyOut(self._reader)
        out.send(statement.as_bytes(self._reader))
        self._silence.heard()
        while not out.is_over:
            messages = out.read()
            for message in messages:
                yield message
            if out.result() is None and not messages and not out.is_over:
                self._listen(out, operation)

    def _listen(self, out: CopyOut, operation: str) -> None:
        silence = self._silence
        if out.wait(_BEAT):
            silence.heard()
            return
        if not self._is_wanted():
            raise StreamClosed(operation, "the stream has ended", remedy="open another stream")
        silence.listened(_BEAT)
        if not silence.is_over:
            return
        found = self._why_cut()
        # The last bytes of the server may be on their way.
        if found and not out.wait(_BEAT):
            found = f"the server sent nothing for {silence.limit:g} s, {found}"
            raise ConnectionFailed(operation, found, remedy="check the network between")
        silence.heard()

    def _why_cut(self) -> str | None:
        """Return why the path to the server counts as cut; None if the server is busy."""
        pid = self._reader.info.backend_pid
        try:
            opened = OwnConnection.connect(self._conninfo, autocommit=True)
            with opened as second:
                with answered_in_time(second):
                    cursor = second.execute(IS_COPYING, [pid], prepare=False)
                record = cursor.fetchone()
        except PsycopgError as error:
            reply = to_thread(lambda: probe(self._conninfo))
            # A server that has no place for a second connection is alive.
            if reply.is_alive:
                return None
            return f"and a second connection failed: {one_line(error)}"
        if record is None:
            return "and its process has ended"
        return None if record[0] else "and its process waits for this client"
