# Generated from pgreplkit/_async/logical/writers.py by `nox -s sync`. Do not edit.
"""Find roles and sessions that write to replicated tables, and revoke their privileges."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from psycopg.rows import DictRow
from psycopg.sql import SQL

from pgreplkit._sync.logical.coverage import insist_on_all
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.logical.publication import PUBLISHED_NAMES
from pgreplkit.catalog.logical.subscription import SUBSCRIBED_NAMES
from pgreplkit.catalog.logical.writers import (
    GRANTS,
    SESSIONS,
    WITH_PARTITIONS,
    WriteGrant,
    Writers,
    WritingSession,
    unstoppable,
)
from pgreplkit.catalog.view import table_in
from pgreplkit.driver.failures import READ_ONLY_TRANSACTION, UNDEFINED_OBJECT, UNDEFINED_TABLE
from pgreplkit.errors import NotAPrimary, RoleNotFound, TableNotFound
from pgreplkit.values.seconds import Timeout
from pgreplkit.values.tablename import TableName

_MEANING = {
    READ_ONLY_TRANSACTION: NotAPrimary,
    UNDEFINED_OBJECT: RoleNotFound,
    UNDEFINED_TABLE: TableNotFound,
}


def read_writers(link: Link, tables: Sequence[TableName] | None) -> Writers:
    """Return the writers of the tables; by default of the subscribed or the published ones.

    Raises: TableNotFound.
    """
    operation = "find the writers"
    tables = read_replicated(link, operation) if tables is None else tables
    given = [[t.schema for t in tables], [t.name for t in tables]]
    records = link.all(operation, WITH_PARTITIONS, given)
    covered = [_table(record) for record in records]
    # A misspelt table would have no writers.
    insist_on_all(operation, "this database", tables, covered)
    schemas, names = [t.schema for t in covered], [t.name for t in covered]

    def ask(sql: str) -> list[DictRow]:
        # Each list of tables in a statement takes both parameters.
        return link.all(operation, sql, [schemas, names] * (sql.count("%s") // 2))

    grants = [WriteGrant(table=_table(r), **r) for r in ask(GRANTS)]
    sessions = [WritingSession(table=_table(r), **r) for r in ask(SESSIONS)]
    roles = ask(unstoppable(link.version.major))
    return Writers(
        tables=tuple(covered),
        grants=tuple(grants),
        unstoppable=tuple(record["role"] for record in roles),
        sessions=tuple(sessions),
    )


def read_replicated(link: Link, operation: str) -> list[TableName]:
    """Return the subscribed tables of the database; without subscriptions, the published ones."""
    for sql in (SUBSCRIBED_NAMES, PUBLISHED_NAMES):
        if records := link.all("read the tables", sql):
            return [_table(record) for record in records]
    raise TableNotFound(
        operation,
        "the database neither subscribes to a table nor publishes one; name the tables with"
        " tables=",
    )


def execute_all(link: Link, operation: str, statements: Sequence[str], *, timeout: Timeout) -> None:
    """Execute statements in one transaction."""
    with link.transaction(operation, timeout=timeout) as within:
        within.run(
            operation,
            # The statements are WriteGrant's, which quotes every name in them.
            *(SQL(statement) + SQL("") for statement in statements),
            grant="the tables' owner",
            meaning=_MEANING,
        )


_table = partial(table_in, schema="nspname", name="relname")
