# Generated from pgreplkit/_async/logical/applyorigin.py by `nox -s sync`. Do not edit.
"""ApplyOrigin: the replication origin that has the position of an applier."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.rows import DictRow
from psycopg.sql import SQL

from pgreplkit._sync._io import sleep
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.features import has
from pgreplkit.catalog.logical import applying as sql
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.failures import OBJECT_IN_USE, UNDEFINED_FUNCTION, UNDEFINED_SCHEMA
from pgreplkit.errors import AlreadyExists, ApplierActive, ApplyError, ServerError
from pgreplkit.values.lsn import LSN

RELEASED_WITHIN = 3.0
"""Seconds for the session of an applier that was killed to notice it, and to end."""


class ApplyOrigin:
    """The replication origin of an applier on the subscriber, whether it exists or not."""

    def __init__(self, link: Link, applier: str, operation: str) -> None:
        self._link, self._applier, self._operation = link, applier, operation
        self.name: str = sql.PREFIX + applier
        is_superuser = link.connection.info.parameter_status("is_superuser") == "on"
        self.functions: str = sql.functions(link.version.major, is_superuser=is_superuser)
        """The schema of the functions of origins that the session calls."""

    def find(self) -> int | None:
        """Return the number of the origin; None if it does not exist."""
        found = self._link.all(self._operation, sql.FIND_ORIGIN, [self.name])
        return int(found[0]["id"]) if found else None

    def position(self) -> LSN:
        """Return the position of the origin, which exists."""
        function = "pg_replication_origin_progress(text, boolean)"
        [progress] = self._call(sql.ORIGIN_PROGRESS, function)
        return LSN(str(progress["position"]))

    def insist_on_none(self) -> None:
        """Refuse an origin without an applier: changes before its position would be lost.

        The applier of another database may use it, and move it later: origins have no database.

        Raises: AlreadyExists.
        """
        if self.find() is None:
            return
        position = self.position()
        raise AlreadyExists(
            self._operation,
            f"the subscriber has a replication origin {self.name!r} at {position}, but this"
            f" database has no applier {self._applier!r}",
            remedy="choose another name, or drop the origin unless another database uses it",
        )

    def was_rolled_back(self, origin: int, position: LSN) -> bool:
        """Return whether the origin was moved by a transaction that was rolled back."""
        if not self._has_ended(origin):
            return False
        query = sql.was_rolled_back(origin)
        return bool((self._link.one(self._operation, query, [position]))["is_rolled_back"])

    def create(self) -> None:
        """Create the origin, if it does not exist."""
        if self.find() is None:
            self._call(sql.CREATE_ORIGIN, "pg_replication_origin_create(text)")

    def take(self) -> int | None:
        """Bind the session to the origin.

        Return the number of the origin, if transactions have to note their ends, because a rollback
        would move it, too; otherwise None.

        Raises: ApplierActive.
        """
        self._use(sql.SETUP_ORIGIN, "pg_replication_origin_session_setup(text)")
        origin = self.find()
        if origin is None or not has("origin.moved_by_rollback", self._link.version.major):
            return None
        if not self._has_ended(origin):
            names = sql.ended_names(origin)
            creating = [SQL("CREATE SEQUENCE IF NOT EXISTS " + name).format() for name in names]
            self._link.run(self._operation, *creating, grant=f"CREATE ON SCHEMA {sql.SCHEMA}")
        return origin

    def drop(self) -> None:
        """Drop the origin and its sequences, if it exists.

        Raises: ApplierActive.
        """
        origin = self.find()
        if origin is None:
            return
        for name in sql.ended_names(origin):
            # Another role may have run the applier first.
            dropping = SQL("DROP SEQUENCE IF EXISTS " + name).format()
            self._link.run(self._operation, dropping, grant=f"ownership of {name}")
        self._use(sql.DROP_ORIGIN, "pg_replication_origin_drop(text)")

    def _has_ended(self, origin: int) -> bool:
        names = sql.ended_names(origin)
        found = self._link.one(self._operation, sql.HAS_ENDED, [names[-1]])
        return bool(found["has_ended"])

    def _use(self, statement: str, function: str) -> None:
        """Execute a statement on the origin once no other session is bound to it.

        Raises: ApplierActive.
        """
        backoff = Backoff(RELEASED_WITHIN)
        while True:
            try:
                self._call(statement, function)
            except ServerError as error:
                if error.sqlstate != OBJECT_IN_USE:
                    raise
                # A session that ends frees its lock first, and its origin a moment later.
                if backoff.is_over:
                    raise ApplierActive(self._applier, None) from error
            else:
                return
            sleep(backoff.next_pause())

    def _call(self, statement: str, function: str) -> list[DictRow]:
        grant = f"EXECUTE ON FUNCTION {self.functions}.{function}"
        call = statement.format(self.functions)
        return call_wrapped(self._link, self._operation, call, [self.name], grant)


def call_wrapped(
    link: Link, operation: str, statement: str, params: Sequence[object], grant: str
) -> list[DictRow]:
    """Execute a statement that calls a function which may be a wrapper.

    Raises: ApplyError if the wrapper does not exist.
    """
    try:
        return link.all(operation, statement, params, grant=grant)
    except ServerError as error:
        if error.sqlstate not in (UNDEFINED_FUNCTION, UNDEFINED_SCHEMA):
            raise
        raise ApplyError(
            operation,
            error.found,
            error.sqlstate,
            remedy="an administrator has to run what setup_sql() returns for the role",
        ) from error
