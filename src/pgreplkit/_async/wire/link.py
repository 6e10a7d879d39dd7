"""AsyncLink: a psycopg connection, and how statements of ours are run on it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from weakref import WeakKeyDictionary

import psycopg
from packaging.version import Version
from psycopg import AsyncConnection, AsyncCursor
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import DictRow, dict_row
from psycopg.sql import SQL, Composed, Identifier, Literal

from pgreplkit._async._io import Lock, sleep
from pgreplkit.catalog.features import has, require
from pgreplkit.catalog.server.settings import (
    ALTER_SYSTEM,
    ONE_TEXT,
    READ_ONLY,
    RELOAD,
    SEARCH_PATH,
    SET_SEARCH_PATH,
    SET_SESSION_TIMEOUT,
    SET_STATEMENT_TIMEOUT,
    STATEMENT_TIMEOUT,
)
from pgreplkit.driver.adapters import register, register_readable
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.conninfo import conninfo_of
from pgreplkit.driver.encodings import role_of
from pgreplkit.driver.failures import READ_ONLY_TRANSACTION, Meaning, translate_errors
from pgreplkit.errors import ConnectionFailed, ServerError, WaitTimeout
from pgreplkit.values.seconds import checked_seconds
from pgreplkit.values.version import server_version

_RELOADED_WITHIN = 10.0
# For all that is bound to a connection, whichever object it is: two transactions of ours on it
# at once would undo each other.
_TURNS: WeakKeyDictionary[AsyncConnection[object], Lock] = WeakKeyDictionary()
_LONGEST_TIMEOUT = (1 << 31) - 1


class AsyncLink:
    """A connection that is used without a trace on it, whoever opened it."""

    def __init__(self, connection: AsyncConnection[object], *, opened_here: bool = False) -> None:
        self.connection = connection
        self.conninfo: str | None = None
        """What it was opened with, if it was opened here: all hosts, of which it has but one."""
        self._turn = _TURNS.setdefault(connection, Lock())
        self.opened_here = opened_here

    @property
    def version(self) -> Version:
        """The server's version.

        Raises: ConnectionFailed when the connection is closed.
        """
        tried = "ask the server's version"
        with translate_errors(tried):
            number = self.connection.info.server_version
        if not number:  # what libpq says of a connection that was lost
            raise ConnectionFailed(tried, "the connection is lost")
        return server_version(number)

    def another(self) -> str:
        """How to connect as this connection did, with its password, if any."""
        return self.conninfo or conninfo_of(self.connection)

    @property
    def role(self) -> str:
        """The role that is connected."""
        return role_of(self.connection)

    @property
    def is_autocommit(self) -> bool:
        """Whether a statement stands alone, in no transaction of the caller's."""
        idle = self.connection.info.transaction_status == TransactionStatus.IDLE
        return self.connection.autocommit and idle

    def has(self, feature: str) -> bool:
        """Return whether the server's major version has a feature."""
        return has(feature, self.version.major)

    def require(self, feature: str) -> None:
        """Refuse what the server's major does not have, before anything is sent."""
        require(feature, self.version)

    async def one(
        self,
        tried: str,
        sql: str,
        params: Sequence[object] | None = None,
        *,
        grant: str = "pg_monitor",
        meaning: Meaning | None = None,
        timeout: float | None = None,
    ) -> DictRow:
        """The one row of a statement; see ``all``."""
        [record] = await self.all(tried, sql, params, grant=grant, meaning=meaning, timeout=timeout)
        return record

    async def all(
        self,
        tried: str,
        sql: str,
        params: Sequence[object] | None = None,
        *,
        grant: str = "pg_monitor",
        meaning: Meaning | None = None,
        timeout: float | None = None,
    ) -> list[DictRow]:
        """Every row of a statement.

        ``grant`` is what allows it, ``timeout`` the seconds that it may take.
        """
        milliseconds = 0 if timeout is None else _milliseconds(timeout)
        async with self._turn:
            return await self._all(tried, sql, params, grant, meaning, milliseconds)

    async def _all(
        self,
        tried: str,
        sql: str,
        params: Sequence[object] | None,
        grant: str,
        meaning: Meaning | None,
        milliseconds: int,
    ) -> list[DictRow]:
        async with self._translated(tried, grant, meaning):
            if self.is_autocommit and not milliseconds:
                return await self._fetch(sql.encode(), params)
            # A savepoint in the caller's transaction, or a transaction that ends here.
            async with self.connection.transaction(), self._limited(milliseconds):
                return await self._fetch(sql.encode(), params)

    @asynccontextmanager
    async def _limited(self, milliseconds: int) -> AsyncIterator[None]:
        """Let each statement of a transaction take so long at most; 0 is no limit of ours."""
        if not milliseconds:
            yield
            return
        [before] = await self._fetch(STATEMENT_TIMEOUT.encode(), None)
        limit = min(milliseconds, before["ms"] or milliseconds)
        await self._fetch(SET_STATEMENT_TIMEOUT.encode(), [limit])
        yield
        # The caller's transaction goes on with what it had; one that failed is rolled back to it.
        await self._fetch(SET_STATEMENT_TIMEOUT.encode(), [before["ms"]])

    @asynccontextmanager
    async def transaction(self, tried: str, *, timeout: float) -> AsyncIterator[AsyncLink]:
        """What is done on the link that it gives stands or falls together, and alone.

        An error within undoes it; each statement may take ``timeout`` seconds.
        """
        milliseconds = _milliseconds(timeout)
        async with self._turn:
            within = AsyncLink(self.connection)
            with self._translate_errors(tried, "pg_monitor", None):
                within._turn = Lock()
                async with self.connection.transaction(), self._limited(milliseconds):
                    yield within

    @asynccontextmanager
    async def qualified(self, tried: str, *, timeout: float = 60.0) -> AsyncIterator[AsyncLink]:
        """On the link that it gives the server writes names with their schemas, as in types and
        definitions, whatever the session's search_path is."""
        async with self.transaction(tried, timeout=timeout) as within:
            [before] = await within.all(tried, SEARCH_PATH)
            await within.all(tried, SET_SEARCH_PATH, [""])
            yield within
            # The caller's transaction goes on with what it had.
            await within.all(tried, SET_SEARCH_PATH, [before["path"]])

    async def run(
        self,
        tried: str,
        *statements: Composed,
        grant: str = "pg_monitor",
        meaning: Meaning | None = None,
    ) -> None:
        """Execute statements that take no parameters and give no rows, all of them or none."""
        async with self._turn:
            await self._run(tried, statements, grant, meaning)

    async def _run(
        self, tried: str, statements: Sequence[Composed], grant: str, meaning: Meaning | None
    ) -> None:
        async with self._translated(tried, grant, meaning):
            texts = [statement.as_bytes(self.connection) for statement in statements]
            if self.is_autocommit and len(texts) == 1:
                await self._execute(texts[0])
                return
            async with self.connection.transaction():
                for text in texts:
                    await self._execute(text)

    async def _execute(self, text: bytes) -> None:
        async with AsyncCursor(self.connection) as cursor:
            await cursor.execute(text, prepare=False)

    async def alter_system(self, tried: str, name: str, value: str) -> None:
        """Set a setting for the whole server, reload, and wait until it counts.

        ``value`` is in the setting's own unit, as pg_settings shows it.

        Raises: ServerError in a transaction; WaitTimeout when the setting stays another, as when
        the server's command line has it too.
        """
        self._insist_on_autocommit(tried)
        statement = SQL(ALTER_SYSTEM).format(Identifier(name), Literal(value))
        privilege = f"ALTER SYSTEM ON PARAMETER {name}"
        grant = privilege if self.has("settings.grantable") else "SUPERUSER"
        await self.run(tried, statement, grant=grant)
        await self.one(tried, RELOAD, grant="EXECUTE ON FUNCTION pg_reload_conf()")
        backoff = Backoff(_RELOADED_WITHIN)
        while (shown := await self.one(tried, ONE_TEXT, [name]))["setting"] != value:
            if backoff.is_over:
                where = shown["source"]
                raise WaitTimeout(
                    f"{tried}: {name} was written to postgresql.auto.conf and reloaded, but is"
                    f" still {shown['setting']!r}, from the {where}"
                )
            await sleep(backoff.next_pause())

    async def alone(
        self,
        tried: str,
        statement: Composed,
        *,
        timeout: float,
        grant: str,
        meaning: Meaning | None = None,
    ) -> None:
        """Execute a statement that no transaction may hold, for ``timeout`` seconds at most."""
        self._insist_on_autocommit(tried)
        async with self._turn:
            limit = _milliseconds(timeout)
            async with self._translated(tried, grant, meaning):
                [before] = await self._fetch(STATEMENT_TIMEOUT.encode(), None)
                limit = min(limit, before["ms"] or limit)
                await self._fetch(SET_SESSION_TIMEOUT.encode(), [limit])
                try:
                    await self._execute(statement.as_bytes(self.connection))
                finally:
                    if not self.connection.closed:
                        await self._fetch(SET_SESSION_TIMEOUT.encode(), [before["ms"]])

    def _insist_on_autocommit(self, tried: str) -> None:
        if not self.is_autocommit:
            raise ServerError(tried, "it runs in no transaction: use an autocommit connection")

    @asynccontextmanager
    async def _translated(
        self, tried: str, grant: str, meaning: Meaning | None
    ) -> AsyncIterator[None]:
        """Translate errors, and find out why a transaction was read-only."""
        try:
            with self._translate_errors(tried, grant, meaning):
                yield
        except ServerError as error:
            if error.sqlstate != READ_ONLY_TRANSACTION:
                raise
            raise await self._read_only(error) from error.__cause__

    async def _read_only(self, error: ServerError) -> ServerError:
        """Return the error of a read-only transaction: the server need not be a standby."""
        try:
            [facts] = await self._fetch(READ_ONLY.encode(), None)
        except psycopg.Error:
            return error
        if facts["in_recovery"]:
            return error
        found, remedy = "the transaction is read-only", "repeat it in a read-write transaction"
        if facts["by_default"]:
            found = f"default_transaction_read_only is on (source: {facts['source']})"
            remedy = (
                "reset that setting, or connect with options='-c default_transaction_read_only=off'"
            )
        return ServerError(
            error.operation,
            f"{error.found}: the server is a primary, but {found}",
            error.sqlstate,
            remedy=remedy,
        )

    @contextmanager
    def _translate_errors(self, tried: str, grant: str, meaning: Meaning | None) -> Iterator[None]:
        with translate_errors(tried, connection=self.connection, grant=grant, meaning=meaning):
            if self.connection.info.transaction_status == TransactionStatus.INERROR:
                raise ServerError(tried, "the connection's transaction has failed: roll it back")
            if self.connection.pgconn.pipeline_status != PipelineStatus.OFF:
                raise ServerError(tried, "the connection is in pipeline mode: end that first")
            try:
                yield
            except UnicodeEncodeError:
                # Its own text would repeat what may be a password.
                found = "a text cannot be written in the connection's encoding"
                raise ServerError(tried, found) from None

    async def _fetch(self, sql: bytes, params: Sequence[object] | None) -> list[DictRow]:
        # A plain cursor, whatever kind the connection makes. Binary, because the text of times
        # depends on the session's DateStyle and IntervalStyle.
        async with AsyncCursor(self.connection, row_factory=dict_row) as cursor:
            register(cursor)
            register_readable(cursor)
            await cursor.execute(sql, params, prepare=False, binary=True)
            return await cursor.fetchall()


def _milliseconds(timeout: float) -> int:
    seconds = checked_seconds(timeout, "a timeout")
    return min(max(1, round(seconds * 1000)), _LONGEST_TIMEOUT)
