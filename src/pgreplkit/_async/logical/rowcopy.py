"""The rows of a table at a snapshot, by COPY, over a path that may fall silent."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from psycopg import AsyncConnection, AsyncCopy
from psycopg.sql import SQL, Composed, Literal

from pgreplkit._async.wire.cancelling import AsyncOwnConnection
from pgreplkit._async.wire.copyout import AsyncCopyOut
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit._async.wire.session import read_bytes, use_own_settings
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


async def open_at_snapshot(conninfo: str, snapshot: str) -> AsyncConnection[object]:
    """Open a session that sees the rows as they are at an exported snapshot.

    Raises: ConnectionFailed; ServerError if the snapshot no longer exists.
    """
    with translate_errors("take over the snapshot of the slot"):
        reader = await AsyncOwnConnection[object].connect(in_utf8(conninfo), autocommit=True)
        try:
            # Copied values must load as the streamed ones do. Settings come before BEGIN: a
            # snapshot is imported before any query of the transaction.
            await use_own_settings(reader)
            await read_bytes(reader, conninfo)
            with answered_in_time(reader):
                await reader.execute(ROW_SECURITY_OFF)
                await reader.execute(BEGIN_READING)
                await reader.execute(SQL(IMPORT_SNAPSHOT).format(snapshot))
        except BaseException:
            await reader.close()
            raise
    return reader


async def open_qualified(conninfo: str, snapshot: str) -> AsyncConnection[object]:
    """Open such a session whose values name schemas, for one that has another search_path.

    Raises: ConnectionFailed; ServerError.
    """
    reader = await open_at_snapshot(conninfo, snapshot)
    try:
        with translate_errors("copy rows"), watched(reader):
            await reader.execute(PORTABLE_TEXTS)
    except BaseException:
        await reader.close()
        raise
    return reader


async def has_rows(
    link: AsyncLink, operation: str, table: TableName, *, timeout: Timeout | None = None
) -> bool:
    """Return whether a table has a row that the role may see.

    Raises: InsufficientPrivilege; StatementTimeout after ``timeout``.
    """
    statement = SQL(HAS_ROWS).format(parts.table(table), Literal(str(table)))
    record = await link.one(operation, statement, grant=read_grant(table), timeout=timeout)
    return bool(record["has_rows"])


async def relay(
    reader: AsyncConnection[object],
    statement: Composed,
    sink: AsyncCopy,
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
        async for rows in _blocks(reader, statement, check):
            writing.begin()
            # In blocks: a write for each row would take longer than reading it.
            await sink.write(b"".join(rows))
            writing.end()
    finally:
        writing.begin()


async def copied_rows(
    reader: AsyncConnection[object],
    statement: Composed,
    check: Callable[[], None] = lambda: None,
) -> AsyncGenerator[bytes]:
    """Run a COPY, and yield each row.

    ``check`` is called in between, and raises an error if the rows are no longer wanted.

    Raises: psycopg's errors; ConnectionTimeout if the path falls silent.
    """
    async for rows in _blocks(reader, statement, check):
        for row in rows:
            yield row


async def _blocks(
    reader: AsyncConnection[object], statement: Composed, check: Callable[[], None]
) -> AsyncGenerator[list[bytes]]:
    out = AsyncCopyOut(reader)
    out.send(statement.as_bytes(reader))
    # While the rows are used, the server waits for this client.
    with watched_at_times(reader) as watch:
        while not out.is_over:
            check()
            if rows := out.read():
                yield rows
            elif out.result() is None and not out.is_over:
                await _listen(out, watch)


async def _listen(out: AsyncCopyOut, watch: Watch) -> None:
    """Wait for more; watch a server that sends nothing."""
    if await out.wait(_BEAT):
        watch.end()
    else:
        watch.begin()
