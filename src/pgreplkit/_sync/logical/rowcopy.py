# Generated from pgreplkit/_async/logical/rowcopy.py by `nox -s sync`. Do not edit.
"""The rows of a table at a snapshot, by COPY, over a path that may fall silent."""

from __future__ import annotations

from collections.abc import Callable, Generator

from psycopg import Connection, Copy
from psycopg.sql import SQL, Composed, Literal

from pgreplkit._sync.wire.cancelling import OwnConnection
from pgreplkit._sync.wire.copyout import CopyOut
from pgreplkit._sync.wire.link import Link
from pgreplkit._sync.wire.session import read_bytes, use_own_settings
from pgreplkit.catalog.logical.applying import PORTABLE_TEXTS
from pgreplkit.catalog.logical.snapshot import (
    BEGIN_READING,
    HAS_ROWS,
    IMPORT_SNAPSHOT,
    ROW_SECURITY_OFF,
)
from pgreplkit.driver import statements as parts
from pgreplkit.driver.conninfo import in_utf8
from pgreplkit.driver.failures import read_grant, translate_errors
from pgreplkit.driver.watchdog import Watch, answered_in_time, watched, watched_at_times
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
            use_own_settings(reader)
            read_bytes(reader, conninfo)
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
            reader.execute(PORTABLE_TEXTS)
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
    statement = SQL(HAS_ROWS).format(parts.table(table), Literal(str(table)))
    record = link.one(operation, statement, grant=read_grant(table), timeout=timeout)
    return bool(record["has_rows"])


def relay(
    reader: Connection[object],
    statement: Composed,
    sink: Copy,
    writing: Watch,
    check: Callable[[], None] = lambda: None,
) -> None:
    """Run a COPY, and pass its rows on to another one.

    ``writing`` is the watch of that other one, begun before and after. ``check`` is called in
    between, and raises an error if the rows are no longer wanted.

    Raises: psycopg's errors; ConnectionTimeout if the path falls silent.
    """
    # Between two writes, the server waits for this client.
    writing.end()
    try:
        for rows in _blocks(reader, statement, check):
            writing.begin()
            # In blocks: a write for each row would take longer than reading it.
            sink.write(b"".join(rows))
            writing.end()
    finally:
        writing.begin()


def copied_rows(
    reader: Connection[object],
    statement: Composed,
    check: Callable[[], None] = lambda: None,
) -> Generator[bytes]:
    """Run a COPY, and yield each row.

    ``check`` is called in between, and raises an error if the rows are no longer wanted.

    Raises: psycopg's errors; ConnectionTimeout if the path falls silent.
    """
    for rows in _blocks(reader, statement, check):
        for row in rows:
            yield row


def _blocks(
    reader: Connection[object], statement: Composed, check: Callable[[], None]
) -> Generator[list[bytes]]:
    out = CopyOut(reader)
    out.send(statement.as_bytes(reader))
    # While the rows are used, the server waits for this client.
    with watched_at_times(reader) as watch:
        while not out.is_over:
            check()
            if rows := out.read():
                yield rows
            elif out.result() is None and not out.is_over:
                _listen(out, watch)


def _listen(out: CopyOut, watch: Watch) -> None:
    """Wait for more; watch a server that sends nothing."""
    if out.wait(_BEAT):
        watch.end()
    else:
        watch.begin()
