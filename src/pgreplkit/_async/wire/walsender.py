"""AsyncWalsender: a connection to a walsender, and how its commands are run."""

from __future__ import annotations

from collections.abc import Sequence

from packaging.version import Version
from psycopg import AsyncClientCursor, AsyncConnection
from psycopg.pq import TransactionStatus
from psycopg.rows import DictRow, dict_row

from pgreplkit._async.wire.copyboth import run_command
from pgreplkit.catalog.features import require
from pgreplkit.catalog.server.settings import seconds_in
from pgreplkit.driver.adapters import register
from pgreplkit.driver.conninfo import address, replication_conninfo
from pgreplkit.driver.failures import UNDEFINED_OBJECT, Meaning, translate_errors
from pgreplkit.driver.results import records
from pgreplkit.errors import ServerError, SettingNotFound
from pgreplkit.protocol import commands
from pgreplkit.values.identity import SystemIdentity
from pgreplkit.values.lsn import LSN
from pgreplkit.values.version import server_version


class AsyncWalsender:
    """A connection of the replication protocol."""

    def __init__(self, connection: AsyncConnection[object], *, is_logical: bool) -> None:
        self.connection = connection
        self.is_logical = is_logical
        """Whether it belongs to a database, whose changes can be decoded."""
        self.has_streamed_changes = False

    @classmethod
    async def connect(cls, conninfo: str, *, is_logical: bool) -> AsyncWalsender:
        """Open one.

        Raises: ConnectionFailed; InsufficientPrivilege.
        """
        whole = replication_conninfo(conninfo, is_logical=is_logical)
        tried = f"connect to {address(conninfo)} for replication"
        with translate_errors(tried, grant="REPLICATION"):
            connection = await AsyncConnection.connect(whole, autocommit=True)
        register(connection)
        return cls(connection, is_logical=is_logical)

    @property
    def version(self) -> Version:
        """The server's version."""
        return server_version(self.connection.info.server_version)

    def require(self, feature: str) -> None:
        """Refuse what the server's major does not have, before anything is sent."""
        require(feature, self.version)

    async def ask(
        self,
        tried: str,
        command: bytes,
        *,
        meaning: Meaning | None = None,
        timeout: float | None = None,
    ) -> list[dict[str, str | None]]:
        """The rows of the answer, as texts."""
        with translate_errors(
            tried, connection=self.connection, grant="REPLICATION", meaning=meaning
        ):
            self.insist_on_idle(tried)
            return records(await run_command(self.connection, command, timeout=timeout))

    async def query(self, tried: str, sql: str, params: Sequence[object]) -> list[DictRow]:
        """The rows of a query, on the connection of a database."""
        # A walsender takes no parameters: they are put into the text, quoted.
        cursor = AsyncClientCursor(self.connection, row_factory=dict_row)
        with translate_errors(tried):
            await cursor.execute(sql.encode(), params)
            return await cursor.fetchall()

    def insist_on_idle(self, tried: str) -> None:
        """Refuse to send a command while something streams."""
        if self.connection.info.transaction_status == TransactionStatus.ACTIVE:
            raise ServerError(tried, "a stream runs on the connection: close it first")

    async def identify(self) -> SystemIdentity:
        """Who it is, and where it stands."""
        [record] = await self.ask("ask for the identity", commands.IDENTIFY_SYSTEM)
        return SystemIdentity(
            system_id=int(record["systemid"] or 0),
            timeline=int(record["timeline"] or 0),
            position=LSN(record["xlogpos"] or ""),
            database=record["dbname"],
        )

    async def history_file(self, timeline: int) -> bytes:
        """The history file of a timeline, byte for byte."""
        tried = f"read the history of timeline {timeline}"
        with translate_errors(tried, connection=self.connection, grant="REPLICATION"):
            self.insist_on_idle(tried)
            results = await run_command(self.connection, commands.timeline_history(timeline))
        return results[0].get_value(0, 1) or b""

    async def show(self, name: str) -> str:
        """A setting, as SHOW writes it."""
        meaning = {UNDEFINED_OBJECT: SettingNotFound}
        tried = f"read the setting {name!r}"
        [record] = await self.ask(tried, commands.show(name), meaning=meaning)
        [value] = record.values()
        return value or ""

    async def patience(self) -> float | None:
        """Seconds without a word after which the server gives its client up; None for ever."""
        return seconds_in(await self.show("wal_sender_timeout")) or None

    async def close(self) -> None:
        """Close the connection."""
        await self.connection.close()
