# Generated from pgreplkit/_async/logical/writers.py by `nox -s sync`. Do not edit.
"""Who writes tables that only replication should, and keeping them from it."""

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
from pgreplkit.values.tablename import TableName

_MEANING = {
    READ_ONLY_TRANSACTION: NotAPrimary,
    UNDEFINED_OBJECT: RoleNotFound,
    UNDEFINED_TABLE: TableNotFound,
}


def read_writers(link: Link, tables: Sequence[TableName] | None) -> Writers:
    """Who may write these tables, or those of all subscriptions, or else those published.

    Raises: TableNotFound.
    """
    tried = "find the writers"
    tables = _replicated(link, tried) if tables is None else tables
    given = [[t.schema for t in tables], [t.name for t in tables]]
    records = link.all(tried, WITH_PARTITIONS, given)
    covered = [_table(record) for record in records]
    insist_on_all(tried, "this database", tables, covered)
    schemas, names = [t.schema for t in covered], [t.name for t in covered]

    def ask(sql: str) -> list[DictRow]:
        # Each of a statement's lists of tables takes both parameters.
        return link.all(tried, sql, [schemas, names] * (sql.count("%s") // 2))

    grants = [WriteGrant(table=_table(r), **r) for r in ask(GRANTS)]
    sessions = [WritingSession(table=_table(r), **r) for r in ask(SESSIONS)]
    roles = ask(unstoppable(link.version.major))
    return Writers(
        tables=tuple(covered),
        grants=tuple(grants),
        unstoppable=tuple(record["role"] for record in roles),
        sessions=tuple(sessions),
    )


def _replicated(link: Link, tried: str) -> list[TableName]:
    """The tables that the database subscribes to; without subscriptions, those it publishes."""
    for sql in (SUBSCRIBED_NAMES, PUBLISHED_NAMES):
        if records := link.all("read the tables", sql):
            return [_table(record) for record in records]
    raise TableNotFound(
        tried,
        "the database neither subscribes to a table nor publishes one; name the tables with"
        " tables=",
    )


def execute_all(link: Link, tried: str, statements: Sequence[str], *, timeout: float) -> None:
    """Execute statements, all of them or none."""
    with link.transaction(tried, timeout=timeout) as within:
        within.run(
            tried,
            *(SQL(statement) + SQL("") for statement in statements),
            grant="the tables' owner",
            meaning=_MEANING,
        )


_table = partial(table_in, schema="nspname", name="relname")
