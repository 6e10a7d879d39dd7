"""Tombstones of a node: create what records deletions, remove it, forget old ones."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from pgreplkit._async.logical.applyshapes import read_targets
from pgreplkit._async.logical.drift import other_relations
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.apply.shape import no_table
from pgreplkit.catalog.logical import tombstones as sql
from pgreplkit.catalog.logical.applying import CREATE_SCHEMA, LOCK_SCHEMA
from pgreplkit.catalog.logical.applytables import TargetTable
from pgreplkit.catalog.logical.keytypes import ambiguous_key_columns
from pgreplkit.catalog.view import table_in
from pgreplkit.driver.failures import schema_grant, translate_errors
from pgreplkit.errors import ApplyError, KeyMissing, TableNotFound
from pgreplkit.plans.logical.applytables import KEY_REMEDY
from pgreplkit.values.tablename import TableName

_LOCKED_WITHIN = 60.0
"""Seconds for a table's lock: running transactions that wrote the table end first."""


async def ensure_tombstones(
    link: AsyncLink, tables: Sequence[TableName], final: Collection[TableName] = ()
) -> list[TableName]:
    """Let every deletion in the tables leave a tombstone; return the tables that did not before.

    In the tables that are ``final``, a key cannot be used again after a deletion.

    Raises: KeyMissing, also for a key whose equal values have several texts; TableNotFound;
    InsufficientPrivilege; ApplyError if another policy has created the triggers.
    Needs: TRIGGER on the tables.
    """
    operation = "record deletions"
    targets = await read_targets(link, tables)
    if missing := [table for table in tables if table not in targets]:
        kinds = await other_relations(link, missing)
        raise TableNotFound(operation, no_table(missing[0], kinds.get(missing[0], "")))
    insist_on_keys(targets.values())
    await ensure_functions(link, operation)
    created = []
    # One transaction for each table: locks of several could meet those of clients in another order.
    for table in tables:
        oid = await table_oid(link, table)
        asked, is_final = [str(table), sql.bury_function(oid)], table in final
        found = await link.one(operation, sql.TRIGGERS, asked)
        wanted = sql.number_of_triggers(targets[table], is_final=is_final)
        # With two policies for one table, its rows would differ in the end.
        if found["number"] and found["is_final"] != is_final:
            raise ApplyError(
                operation,
                f"{table} {'has' if found['is_final'] else 'has no'} delta columns by the policy"
                " with which its triggers were created",
                remedy="use the same policy on all nodes and in all processes",
            )
        # CREATE TRIGGER takes a lock that waits for writers: not without need.
        if found["number"] < wanted:
            await _create_triggers(link, targets[table], oid, is_final=is_final)
            created.append(table)
    return created


async def tables_with_triggers(link: AsyncLink, tables: Sequence[TableName]) -> list[TableName]:
    """Return those of the tables whose deletions leave tombstones."""
    found = []
    for table in tables:
        asked = [str(table), sql.bury_function(await table_oid(link, table))]
        if (await link.one("look for triggers", sql.TRIGGERS, asked))["number"]:
            found.append(table)
    return found


async def final_tables(link: AsyncLink) -> frozenset[TableName]:
    """Return the tables in which a deletion wins over every change."""
    records = await link.all("look for triggers", sql.FINAL_TABLES)
    return frozenset(map(table_in, records))


def insist_on_keys(tables: Iterable[TargetTable]) -> None:
    """Refuse tables whose deletions could not be remembered by their key.

    Raises: KeyMissing.
    """
    for table in tables:
        operation = f"record deletions in {table.table}"
        if not table.primary_key:
            raise KeyMissing(
                operation,
                "it has no unique key of columns that are NOT NULL",
                remedy=f"ALTER TABLE {table.table} ADD PRIMARY KEY",
            )
        if lost := [*ambiguous_key_columns(table)]:
            raise KeyMissing(
                operation,
                f"its key has {', '.join(lost)}: a deletion could not be found again by it",
                remedy=KEY_REMEDY,
            )


async def ensure_functions(link: AsyncLink, operation: str) -> None:
    """Create the tables and functions that compare versions of rows, unless they exist."""
    if (await link.one(operation, sql.HAS_TOMBSTONES))["has_table"]:
        return
    statements = (
        *(CREATE_SCHEMA, sql.CREATE_TOMBSTONES, sql.CREATE_LATE_INDEX, sql.CREATE_STAMPS),
        *(sql.rank_of(link.version.major), sql.OUTLIVES, sql.AGAIN),
    )
    await _execute(link, operation, (LOCK_SCHEMA, *statements), "CREATE ON DATABASE")


async def table_oid(link: AsyncLink, table: TableName) -> int:
    """Return the OID of a table."""
    record = await link.one(
        f"read the OID of {table}", sql.TABLE_OID, [str(table)], grant=schema_grant([table])
    )
    return int(record["oid"])


async def _create_triggers(
    link: AsyncLink, table: TargetTable, oid: int, *, is_final: bool
) -> None:
    operation = f"record deletions in {table.table}"
    statements = sql.create_triggers(table, table.primary_key, oid, is_final=is_final)
    grant = f"TRIGGER ON {', '.join([str(table.table), *table.partitions])}"
    await _execute(link, operation, statements, grant)


async def _execute(link: AsyncLink, operation: str, statements: Sequence[str], grant: str) -> None:
    async with link.transaction(operation, timeout=_LOCKED_WITHIN) as within:
        # As they are: the functions' bodies have percent signs, which are not parameters.
        for statement in statements:
            with translate_errors(operation, connection=link.connection, grant=grant):
                await within.connection.execute(statement.encode())


async def drop_tombstones(link: AsyncLink, tables: Sequence[TableName]) -> None:
    """Remove what records the deletions in the tables, and their tombstones."""
    operation = "stop recording deletions"
    if not (await link.one(operation, sql.HAS_TOMBSTONES))["has_table"]:
        return
    for table in await read_targets(link, tables):
        oid = await table_oid(link, table)
        await _execute(link, operation, [sql.drop_triggers(oid)], f"ownership of {table}")
        await link.all(operation, sql.FORGET_TOMBSTONES, [oid])
        await link.all(operation, sql.FORGET_STAMPS, [oid])


async def prune_tombstones(link: AsyncLink, before: datetime) -> int:
    """Forget deletions that were committed before a time; return their number.

    Every node must have sent, and this one have applied, all changes before that time: an older one
    would bring the row back.
    """
    operation = "forget deletions"
    if not (await link.one(operation, sql.HAS_TOMBSTONES))["has_table"]:
        return 0
    return len(await link.all(operation, sql.PRUNE_TOMBSTONES, [before]))
