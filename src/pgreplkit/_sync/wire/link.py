# Generated from pgreplkit/_async/wire/link.py by `nox -s sync`. Do not edit.
"""Link: runs statements on a psycopg connection without changing its session state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from weakref import WeakKeyDictionary

import psycopg
from psycopg import Connection, Cursor
from psycopg.pq import PipelineStatus, TransactionStatus
from psycopg.rows import DictRow, dict_row
from psycopg.sql import SQL, Composed, Identifier, Literal

from pgreplkit._sync._io import Lock, sleep
from pgreplkit._sync.wire.cursors import cursor_class
from pgreplkit.catalog.features import has, require
from pgreplkit.catalog.server.settingcommands import (
    ALTER_SYSTEM,
    ENGLISH_MESSAGES,
    HOW_NAMES_ARE_WRITTEN,
    LIMIT_TRANSACTION,
    MAY_ALTER_SYSTEM,
    ONE_TEXT,
    READ_ONLY,
    RELOAD,
    SET_SESSION_TIMEOUT,
    SET_STATEMENT_TIMEOUT,
    STATEMENT_TIMEOUT,
    WRITE_NAMES,
)
from pgreplkit.driver.adapters import register, register_readable
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.conninfo import conninfo_of
from pgreplkit.driver.encodings import name_encoding, role_of
from pgreplkit.driver.failures import READ_ONLY_TRANSACTION, Meaning, translate_errors
from pgreplkit.driver.statementlog import Secret, has_secret, log_statement
from pgreplkit.driver.watchdog import watched
from pgreplkit.errors import ConnectionFailed, InsufficientPrivilege, ServerError, WaitTimeout
from pgreplkit.values.milliseconds import timeout_milliseconds
from pgreplkit.values.seconds import Timeout
from pgreplkit.values.version import ServerVersion

_RELOADED_WITHIN = 10.0
"""Seconds: the postmaster and this session reread the configuration within milliseconds."""
_SECRET_SETTINGS = {"primary_conninfo"}
"""Settings whose values may contain a password."""
# One lock for each connection, shared by all objects bound to it: two concurrent transactions on
# the same connection would roll back each other.
_TURNS: WeakKeyDictionary[Connection[object], Lock] = WeakKeyDictionary()


class Link:
    """Runs statements without changing the connection's session state."""

    def __init__(
        self,
        connection: Connection[object],
        *,
        opened_here: bool = False,
        hides_values: bool = False,
    ) -> None:
        self.connection = connection
        self._hides_values = hides_values
        """Whether errors are without values of rows, since statements read or write them."""
        self.conninfo: str | None = None
        """The connection string of a connection opened here, with all hosts; otherwise None."""
        self._turn = _TURNS.setdefault(connection, Lock())
        self.opened_here = opened_here

    @property
    def version(self) -> ServerVersion:
        """The server's version.

        Raises: ConnectionFailed if the connection is closed.
        """
        operation = "read the server's version"
        with translate_errors(operation):
            number = self.connection.info.server_version
        if not number:  # libpq returns 0 for a lost connection
            raise ConnectionFailed(operation, "the connection is lost")
        return ServerVersion(number)

    def conninfo_for_another(self) -> str:
        """Return a connection string like this connection's, with its password if it has one."""
        return self.conninfo or conninfo_of(self.connection)

    @property
    def role(self) -> str:
        """The role of the session."""
        return role_of(self.connection)

    @property
    def is_autocommit(self) -> bool:
        """Whether a statement runs on its own, outside of a transaction of the caller."""
        status = self.connection.info.transaction_status
        # A lost connection has no transaction either: the next statement says that it is lost.
        is_outside = status in (TransactionStatus.IDLE, TransactionStatus.UNKNOWN)
        return self.connection.autocommit and is_outside

    def use_english(self) -> None:
        """Set lc_messages to C where the role may, unless the connection string chooses it.

        The server's messages are then in the language of the errors that contain them. No decision
        depends on it.
        """
        info = self.connection.info
        is_superuser = info.parameter_status("is_superuser") == "on"
        if is_superuser and "lc_messages" not in info.options:
            self.all("set lc_messages", ENGLISH_MESSAGES)

    def has(self, feature: str) -> bool:
        """Return whether the server's major version has a feature."""
        return has(feature, self.version.major)

    def require(self, feature: str) -> None:
        """Raise UnsupportedByServer if the server lacks a feature, before anything is sent."""
        require(feature, self.version)

    def one(
        self,
        operation: str,
        sql: str | Composed,
        params: Sequence[object] | None = None,
        *,
        grant: str = "pg_monitor",
        meaning: Meaning | None = None,
        timeout: Timeout | None = None,
    ) -> DictRow:
        """Return the only row of a statement; see ``all``.

        Raises: ServerError if it has none, as for an object that was just dropped.
        """
        records = self.all(operation, sql, params, grant=grant, meaning=meaning, timeout=timeout)
        if len(records) != 1:
            found = f"the server returned {len(records)} rows instead of one"
            raise ServerError(operation, found, remedy="check whether the object still exists")
        return records[0]

    def all(
        self,
        operation: str,
        sql: str | Composed,
        params: Sequence[object] | None = None,
        *,
        grant: str = "pg_monitor",
        meaning: Meaning | None = None,
        timeout: Timeout | None = None,
    ) -> list[DictRow]:
        """Return all rows of a statement.

        ``grant`` is the privilege that the statement needs, ``meaning`` the error class for each
        SQLSTATE, and ``timeout`` the limit in seconds.
        """
        milliseconds = 0 if timeout is None else timeout_milliseconds(timeout)
        with self._turn:
            return self._all(operation, sql, params, grant, meaning, milliseconds)

    def _all(
        self,
        operation: str,
        sql: str | Composed,
        params: Sequence[object] | None,
        grant: str,
        meaning: Meaning | None,
        milliseconds: int,
    ) -> list[DictRow]:
        with self._translated(operation, grant, meaning):
            log_statement(operation, sql)
            text = self._encoded(sql)
            if self.is_autocommit and not milliseconds:
                return self._fetch(text, params)
            # A savepoint in the caller's transaction, or a transaction of its own.
            with self.in_transaction(), self._limited(milliseconds):
                return self._fetch(text, params)

    def _encoded(self, sql: str | Composed) -> bytes:
        """Return a statement in the encoding of the session, which the user may have chosen."""
        if isinstance(sql, str):
            return sql.encode(name_encoding(self.connection))
        return sql.as_bytes(self.connection)

    @contextmanager
    def _limited(self, milliseconds: int) -> Iterator[None]:
        """Limit each statement of a transaction to a time; 0 keeps the session's limit."""
        if not milliseconds:
            yield
            return
        [before] = self._fetch(LIMIT_TRANSACTION.encode(), [milliseconds])
        yield
        # Restore the caller's limit: of its next statements, and of our COMMIT, which may wait for
        # a standby. After an error the savepoint's rollback restores it.
        self._fetch(SET_STATEMENT_TIMEOUT.encode(), [before["ms"]])

    @contextmanager
    def transaction(
        self, operation: str, *, timeout: Timeout, hides_values: bool = False
    ) -> Iterator[Link]:
        """Run the statements of the block in one transaction, or in a savepoint of the caller's.

        An error in the block rolls it back; each statement may take ``timeout`` seconds. With
        ``hides_values``, errors are without values of rows.
        """
        milliseconds = timeout_milliseconds(timeout)
        with self._turn:
            hides_values = hides_values or self._hides_values
            within = Link(self.connection, hides_values=hides_values)
            with within._translate_errors(operation, "pg_monitor", None):
                # This link holds the lock of the connection until the end of the block.
                within._turn = Lock()
                with self.in_transaction(), self._limited(milliseconds):
                    yield within

    @contextmanager
    def qualified(self, operation: str, *, timeout: Timeout = 60.0) -> Iterator[Link]:
        """Run the block such that the server qualifies all names, and quotes those that need it."""
        with self.transaction(operation, timeout=timeout) as within:
            [before] = within.all(operation, HOW_NAMES_ARE_WRITTEN)
            # With two servers, the same type would have two names otherwise.
            within.all(operation, WRITE_NAMES, ["", "off"])
            yield within
            # Restore the settings of the caller's transaction.
            settings = [before["path"], before["quotes_all"]]
            within.all(operation, WRITE_NAMES, settings)

    def run(
        self,
        operation: str,
        *statements: Composed,
        grant: str = "pg_monitor",
        meaning: Meaning | None = None,
    ) -> None:
        """Execute statements without parameters and results, all of them or none."""
        with self._turn:
            self._run(operation, statements, grant, meaning)

    def _run(
        self, operation: str, statements: Sequence[Composed], grant: str, meaning: Meaning | None
    ) -> None:
        with self._translated(operation, grant, meaning):
            if self.is_autocommit and len(statements) == 1:
                self._execute(operation, statements[0])
                return
            with self.in_transaction():
                for statement in statements:
                    self._execute(operation, statement)

    def _execute(self, operation: str, statement: Composed) -> None:
        log_statement(operation, statement)
        # Traces contain statements as they are sent.
        kind = Cursor if has_secret(statement) else cursor_class(self.connection)
        with kind(self.connection, row_factory=dict_row) as cursor:
            # A prepared statement would stay in the caller's session.
            with self._watched():
                cursor.execute(statement.as_bytes(self.connection), prepare=False)

    def alter_system(self, operation: str, name: str, value: str) -> None:
        """Change a setting of the server with ALTER SYSTEM, and wait until it is in effect.

        ``value`` is in the setting's own unit, as in pg_settings.

        Raises: ServerError in a transaction; WaitTimeout if another source overrides the setting,
        such as the server's command line.
        """
        self.insist_on_autocommit(operation)
        self.write_setting(operation, name, value)
        self.one(operation, RELOAD, grant="EXECUTE ON FUNCTION pg_reload_conf()")
        # pg_reload_conf() only sends a signal: the setting changes some milliseconds later.
        backoff = Backoff(_RELOADED_WITHIN)
        while (shown := self.one(operation, ONE_TEXT, [name]))["setting"] != value:
            if backoff.is_over:
                where = shown["source"]
                raise WaitTimeout(
                    f"timed out after {_RELOADED_WITHIN:g} s waiting for {name} = {value!r}: it was"
                    f" written to postgresql.auto.conf and reloaded, but {name} is still"
                    f" {shown['setting']!r}, from the {where}"
                )
            sleep(backoff.next_pause())

    def write_setting(self, operation: str, name: str, value: str) -> None:
        """Write a setting to postgresql.auto.conf, where it is in effect after a reload."""
        literal = (Secret if name in _SECRET_SETTINGS else Literal)(value)
        statement = SQL(ALTER_SYSTEM).format(Identifier(name), literal)
        is_grantable = self.has("settings.grantable")
        grant = f"ALTER SYSTEM ON PARAMETER {name}" if is_grantable else "SUPERUSER"
        try:
            self.run(operation, statement, grant=grant)
        except InsufficientPrivilege as error:
            if not (error.grant and is_grantable):
                raise
            allowed = self.one(operation, MAY_ALTER_SYSTEM, [name])
            if not allowed["is_allowed"]:
                raise
            # The same function of the server checks the privilege and opens the file.
            raise InsufficientPrivilege(operation, error.role, "", error.found) from error.__cause__

    def run_alone(
        self,
        operation: str,
        statement: Composed,
        *,
        timeout: Timeout,
        grant: str,
        meaning: Meaning | None = None,
    ) -> None:
        """Execute a statement that cannot run in a transaction, within ``timeout`` seconds."""
        self.insist_on_autocommit(operation)
        with self._turn:
            limit = timeout_milliseconds(timeout)
            with self._translated(operation, grant, meaning):
                [before] = self._fetch(STATEMENT_TIMEOUT.encode(), None)
                limit = min(limit, before["ms"] or limit)
                # SET and not SET LOCAL: no transaction would end it.
                self._fetch(SET_SESSION_TIMEOUT.encode(), [limit])
                try:
                    self._execute(operation, statement)
                finally:
                    self._restore_timeout(before["ms"])

    def _restore_timeout(self, milliseconds: int) -> None:
        if not self.connection.closed:
            self._fetch(SET_SESSION_TIMEOUT.encode(), [milliseconds])

    def insist_on_autocommit(self, operation: str) -> None:
        """Refuse a transaction of the caller.

        Raises: ServerError.
        """
        if not self.is_autocommit:
            found = "it cannot run in a transaction"
            raise ServerError(operation, found, remedy="use an autocommit connection")

    @contextmanager
    def _translated(self, operation: str, grant: str, meaning: Meaning | None) -> Iterator[None]:
        """Translate errors, and find out why a transaction was read-only."""
        try:
            with self._translate_errors(operation, grant, meaning):
                yield
        except ServerError as error:
            if error.sqlstate != READ_ONLY_TRANSACTION:
                raise
            raise self._read_only(error) from error.__cause__

    def _read_only(self, error: ServerError) -> ServerError:
        """Return the error of a read-only transaction: the server need not be a standby."""
        try:
            # The SQLSTATE is the same on a standby and in a read-only transaction of a primary.
            [facts] = self._fetch(READ_ONLY.encode(), None)
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
    def _translate_errors(
        self, operation: str, grant: str, meaning: Meaning | None
    ) -> Iterator[None]:
        with translate_errors(
            operation,
            connection=self.connection,
            grant=grant,
            meaning=meaning,
            hides_values=self._hides_values,
        ):
            if self.connection.info.transaction_status == TransactionStatus.INERROR:
                found = "the connection's transaction has failed"
                raise ServerError(operation, found, remedy="roll it back")
            if self.connection.pgconn.pipeline_status != PipelineStatus.OFF:
                found = "the connection is in pipeline mode"
                raise ServerError(operation, found, remedy="leave pipeline mode first")
            try:
                yield
            except UnicodeEncodeError:
                # The text of the UnicodeEncodeError may contain a password.
                found = "a text cannot be encoded in the connection's encoding"
                remedy = "open the connection with client_encoding=UTF8"
                raise ServerError(operation, found, remedy=remedy) from None

    def _fetch(self, sql: bytes, params: Sequence[object] | None) -> list[DictRow]:
        # Binary results, because texts of times depend on the session's DateStyle and
        # IntervalStyle.
        kind = cursor_class(self.connection)
        with kind(self.connection, row_factory=dict_row) as cursor:
            register(cursor)
            register_readable(cursor)
            with self._watched():
                cursor.execute(sql, params, prepare=False, binary=True)
            return cursor.fetchall()

    @contextmanager
    def in_transaction(self) -> Iterator[None]:
        """Run the block in a transaction, or in a savepoint of the caller's.

        Raises: psycopg's errors.
        """
        transaction = self.connection.transaction()
        # Only its own statements are watched: within the block, the server may wait for us.
        with self._watched():
            transaction.__enter__()
        try:
            yield
        except BaseException as error:
            with self._watched():
                is_handled = transaction.__exit__(type(error), error, error.__traceback__)
            if not is_handled:  # as it is for Rollback
                raise
        else:
            with self._watched():
                transaction.__exit__(None, None, None)

    def _watched(self) -> AbstractContextManager[None]:
        return watched(self.connection, self.conninfo_for_another)
