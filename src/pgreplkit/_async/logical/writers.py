"""Who writes tables that only replication should, and keeping them from it."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.rows import DictRow
from psycopg.sql import SQL

from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.logical.subscription import SUBSCRIBED_NAMES
from pgreplkit.catalog.logical.writers import (
    GRANTS,
    SESSIONS,
    WriteGrant,
    Writers,
    WritingSession,
    unstoppable,
)
from pgreplkit.driver.failures import READ_ONLY_TRANSACTION, UNDEFINED_OBJECT, UNDEFINED_TABLE
from pgreplkit.errors import NotAPrimary, RoleNotFound, TableNotFound
from pgreplkit.values.tablename import TableName

_MEANING = {
    READ_ONLY_TRANSACTION: NotAPrimary,
    UNDEFINED_OBJECT: RoleNotFound,
    UNDEFINED_TABLE: TableNotFound,
}


async def read_writers(link: AsyncLink, tables: Sequence[TableName] | None) -> Writers:
    """Who may write these tables, or those of all subscriptions."""
    if tables is None:
        tables = [_table(r) for r in await link.all("read the tables", SUBSCRIBED_NAMES)]
    schemas, names = [t.schema for t in tables], [t.name for t in tables]

    async def ask(sql: str) -> list[DictRow]:
        # Each of a statement's lists of tables takes both parameters.
        return await link.all("find the writers", sql, [schemas, names] * (sql.count("%s") // 2))

    grants = [WriteGrant(table=_table(r), **r) for r in await ask(GRANTS)]
    sessions = [WritingSession(table=_table(r), **r) for r in await ask(SESSIONS)]
    roles = await ask(unstoppable(link.version.major))
    return Writers(
        grants=tuple(grants),
        unstoppable=tuple(record["role"] for record in roles),
        sessions=tuple(sessions),
    )


async def execute_all(
    link: AsyncLink, tried: str, statements: Sequence[str], *, timeout: float
) -> None:
    """Execute statements, all of them or none."""
    async with link.transaction(tried, timeout=timeout) as within:
        await within.run(
            tried,
            *(SQL(statement) + SQL("") for statement in statements),
            grant="the tables' owner",
            meaning=_MEANING,
        )


def _table(record: DictRow) -> TableName:
    """The table of a record, which has only what is said of it then."""
    return TableName(record.pop("nspname"), record.pop("relname"))
