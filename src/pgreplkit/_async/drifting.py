"""aschema_drift: whether the tables of a subscriber are made as the publisher's are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from psycopg.rows import DictRow

from pgreplkit._async.link import AsyncLink
from pgreplkit._async.publisher import tables_between
from pgreplkit._async.server import AsyncServer
from pgreplkit.catalog import schema as sql
from pgreplkit.catalog.publications import AnyPublished
from pgreplkit.catalog.schema import (
    TableColumn,
    TableConstraint,
    TableIndex,
    TablePartition,
    TableShape,
    TableTrigger,
)
from pgreplkit.errors import TableNotFound
from pgreplkit.plans.drift import SchemaDrift, schema_drift_of
from pgreplkit.values.tablename import TableName


async def aschema_drift(
    publisher: AsyncServer,
    subscriber: AsyncServer,
    tables: Iterable[AnyPublished] | None = None,
) -> SchemaDrift:
    """Where the tables of a subscriber are not made as those of its publisher, and the DDL for it.

    The tables are those of the subscriber's subscriptions unless told. Columns are compared by
    name, as the server replicates them; indexes and constraints by what they say, whatever they
    are called. Nothing is changed.

    Raises: TableNotFound for a table that the publisher has not; InsufficientPrivilege.
    Source: pg_attribute, pg_index, pg_constraint, pg_trigger, pg_inherits.
    """
    asked = await tables_between(publisher._link, subscriber._link, tables)
    names = [published.table for published in asked]
    theirs = await read_shapes(publisher._link, names)
    missing = [str(name) for name in names if name not in theirs]
    if missing:
        raise TableNotFound("compare the schemas", f"the publisher has no {', '.join(missing)}")
    return schema_drift_of(asked, theirs, await read_shapes(subscriber._link, names))


async def read_shapes(link: AsyncLink, names: Sequence[TableName]) -> dict[TableName, TableShape]:
    """What those of the tables are made of that are there."""
    asked = [[name.schema for name in names], [name.name for name in names]]

    async def ask(statement: str) -> list[DictRow]:
        return await link.all("read the tables", statement, asked)

    shapes = {}
    for record in await ask(sql.TABLES):
        table = _table(record)
        shapes[table] = TableShape(table=table, **record)
    for record in await ask(sql.table_columns(link.version.major)):
        shape = shapes[_table(record)]
        shape.columns[record["name"]] = TableColumn(**record)
    for record in await ask(sql.INDEXES):
        shape = shapes[_table(record)]
        shape.indexes[record["name"]] = TableIndex(**record)
    for record in await ask(sql.CONSTRAINTS):
        shape = shapes[_table(record)]
        shape.constraints[record["name"]] = TableConstraint(**record)
    for record in await ask(sql.TRIGGERS):
        shape = shapes[_table(record)]
        shape.triggers[record["name"]] = TableTrigger(**record)
    for record in await ask(sql.PARTITIONS):
        shape = shapes[_table(record)]
        shape.partitions[record["name"]] = TablePartition(**record)
    return shapes


def _table(record: DictRow) -> TableName:
    """The table of a record, which has only what is said of it then."""
    return TableName(record.pop("nspname"), record.pop("relname"))
