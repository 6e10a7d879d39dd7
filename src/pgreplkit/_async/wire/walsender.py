"""AsyncWalsender: a connection to a walsender, and how its commands are run."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import AsyncClientCursor, AsyncConnection
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row

from pgreplkit._async.wire.cancelling import AsyncOwnConnection
from pgreplkit._async.wire.copyboth import run_command
from pgreplkit._async.wire.opening import opening
from pgreplkit._async.wire.session import read_bytes, use_own_settings
from pgreplkit.catalog.features import require
from pgreplkit.catalog.server.identity import IN_RECOVERY
from pgreplkit.catalog.server.settings import seconds_in
from pgreplkit.driver.adapters import register_readable, shared_adapters
from pgreplkit.driver.conninfo import address, replication_conninfo
from pgreplkit.driver.failures import UNDEFINED_OBJECT, Meaning, translate_errors
from pgreplkit.driver.results import records
from pgreplkit.driver.watchdog import answered_in_time
from pgreplkit.errors import ServerError, SettingNotFound
from pgreplkit.protocol import commands
from pgreplkit.values.identity import SystemIdentity
from pgreplkit.values.lsn import LSN
from pgreplkit.values.seconds import Timeout, optional_seconds
from pgreplkit.values.version import ServerVersion


class AsyncWalsender:
    """A connection of the replication protocol.

    ``is_logical`` says whether it belongs to a database, whose changes can be decoded.
    """

    def __init__(
        self, connection: AsyncConnection[object], conninfo: str, *, is_logical: bool
    ) -> None:
        self.connection = connection
        self.conninfo: str = conninfo
        """The connection string, with which others can be opened to the same server."""
        self.is_logical = is_logical
        self.pid: int = connection.info.backend_pid
        """The server's process."""
        self.has_streamed_changes = False
        """Whether there was a logical stream: on a second one, the server sends nothing."""

    @classmethod
    async def connect(cls, conninfo: str, *, is_logical: bool) -> AsyncWalsender:
        """Open a connection.

        Raises: ConnectionFailed; InsufficientPrivilege.
        """
        whole = replication_conninfo(conninfo, is_logical=is_logical)
        operation = f"connect to {address(conninfo)} for replication"
        async with opening(whole, operation):
            # A process may have hundreds of them, for feeds for example.
            context = shared_adapters()
            connection = await AsyncOwnConnection.connect(whole, autocommit=True, context=context)
        walsender = cls(connection, conninfo, is_logical=is_logical)
        try:
            # Without a database a walsender runs no SQL, and sends no values to load.
            if is_logical:
                with translate_errors(operation):
                    await use_own_settings(connection)
                    await read_bytes(connection, conninfo)
        except BaseException:
            await connection.close()
            raise
        return walsender

    @property
    def version(self) -> ServerVersion:
        """The server's version."""
        return ServerVersion(self.connection.info.server_version)

    def require(self, feature: str) -> None:
        """Raise UnsupportedByServer if the server's major version lacks a feature."""
        require(feature, self.version)

    async def ask(
        self,
        operation: str,
        command: bytes,
        *,
        meaning: Meaning | None = None,
        timeout: Timeout | None = None,
    ) -> list[dict[str, str | None]]:
        """Run a command of the protocol; return its rows, with their values as texts."""
        with translate_errors(
            operation, connection=self.connection, grant="REPLICATION", meaning=meaning
        ):
            self.check_idle(operation)
            limit = optional_seconds(timeout, "timeout")
            return records(await run_command(self.connection, command, timeout=limit))

    async def run(self, operation: str, sql: str) -> None:
        """Run SQL statements without parameters or rows, on the connection of a database."""
        await self.ask(operation, sql.encode())

    async def query(self, operation: str, sql: str, params: Sequence[object] = ()) -> list[DictRow]:
        """Return the rows of a query, on the connection of a database."""
        # A walsender takes no parameters: they are quoted into the text.
        cursor = AsyncClientCursor(self.connection, row_factory=dict_row)
        register_readable(cursor)
        with translate_errors(operation), answered_in_time(self.connection):
            await cursor.execute(sql.encode(), params)
            return await cursor.fetchall()

    @property
    def is_streaming(self) -> bool:
        """Whether a stream runs on the connection, so that it takes no command."""
        return self.connection.info.transaction_status == TransactionStatus.ACTIVE

    def check_idle(self, operation: str) -> None:
        """Raise ServerError while a stream runs on the connection."""
        # libpq would only say that another command is in progress.
        if self.is_streaming:
            found = "a stream runs on the connection"
            raise ServerError(operation, found, remedy="close it first")

    async def identify(self) -> SystemIdentity:
        """Return the server's identity, timeline and position."""
        [record] = await self.ask("ask for the identity", commands.IDENTIFY_SYSTEM)
        return SystemIdentity(
            system_id=int(record["systemid"] or 0),
            timeline=int(record["timeline"] or 0),
            position=LSN(record["xlogpos"] or ""),
            database=record["dbname"],
        )

    async def history_file(self, timeline: int) -> bytes:
        """Return the history file of a timeline, byte for byte."""
        operation = f"read the history of timeline {timeline}"
        with translate_errors(operation, connection=self.connection, grant="REPLICATION"):
            self.check_idle(operation)
            # ask() returns texts; a history file has comments in an encoding that is not known.
            results = await run_command(self.connection, commands.timeline_history(timeline))
        return results[0].get_value(0, 1) or b""

    async def show(self, name: str) -> str:
        """Return a setting as SHOW writes it."""
        meaning = {UNDEFINED_OBJECT: SettingNotFound}
        operation = f"read the setting {name!r}"
        [record] = await self.ask(operation, commands.show(name), meaning=meaning)
        # The column has the name of the setting, in the spelling of the server.
        [value] = record.values()
        return value or ""

    async def seconds(self, name: str) -> float:
        """Return a setting that is a time, in seconds."""
        return seconds_in(await self.show(name))

    async def wal_sender_timeout(self) -> float | None:
        """Return wal_sender_timeout in seconds; None if it is disabled."""
        return await self.seconds("wal_sender_timeout") or None

    async def is_in_recovery(self) -> bool:
        """Return whether the server is a standby, asked on the connection of a database."""
        [record] = await self.query("read the server's role", IN_RECOVERY)
        return bool(record["in_recovery"])

    async def close(self) -> None:
        """Close the connection."""
        await self.connection.close()
