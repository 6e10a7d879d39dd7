"""aschema_drift and acopy_schema: making the tables of a subscriber as the publisher's are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from psycopg.rows import DictRow

from pgreplkit._async._io import aside
from pgreplkit._async.logical.coverage import tables_between
from pgreplkit._async.server.server import AsyncServer
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.logical import drift as sql
from pgreplkit.catalog.logical.drift import (
    TableColumn,
    TableConstraint,
    TableIndex,
    TablePartition,
    TableShape,
    TableTrigger,
)
from pgreplkit.catalog.logical.publication import AnyPublished
from pgreplkit.catalog.view import table_in
from pgreplkit.driver.conninfo import program_conninfo
from pgreplkit.errors import TableNotFound
from pgreplkit.host.schemacopy import copy_section
from pgreplkit.plans.logical.drift import SchemaDrift, SchemaSection, schema_drift_of
from pgreplkit.values.several import several
from pgreplkit.values.tablename import AnyTable, TableName, table_of


async def aschema_drift(
    publisher: AsyncServer,
    subscriber: AsyncServer,
    tables: Iterable[AnyPublished] | None = None,
) -> SchemaDrift:
    """Where the tables of a subscriber are not made as those of its publisher, and the DDL for it.

    By default the tables are those of the subscriber's subscriptions to this publisher; without
    such a subscription, all published tables. Columns are compared by
    name, as the server replicates them; indexes and constraints by what they say, whatever they
    are called. Nothing is changed.

    Raises: TableNotFound for a table that the publisher has not; TableNotFound,
    PublicationNotFound when there is nothing to compare; InsufficientPrivilege.
    Source: pg_attribute, pg_index, pg_constraint, pg_trigger, pg_inherits.
    """
    asked = await tables_between(publisher._link, subscriber._link, tables, "compare the schemas")
    names = [published.table for published in asked]
    theirs = await read_shapes(publisher._link, names)
    missing = [str(name) for name in names if name not in theirs]
    if missing:
        raise TableNotFound("compare the schemas", f"the publisher has no {', '.join(missing)}")
    for one in asked:
        lacking = [name for name in one.columns or () if name not in theirs[one.table].columns]
        if lacking:
            found = f"the publisher has no column {', '.join(lacking)} in {one.table}"
            raise TableNotFound("compare the schemas", found)
    return schema_drift_of(asked, theirs, await read_shapes(subscriber._link, names))


async def acopy_schema(
    publisher: AsyncServer,
    subscriber: AsyncServer,
    sections: Iterable[SchemaSection] = (SchemaSection.PRE_DATA, SchemaSection.POST_DATA),
    *,
    tables: Iterable[AnyTable] | None = None,
    owners: bool = True,
    bindir: str | Path | None = None,
    timeout: float = 600.0,
) -> None:
    """Copy the schema of the publisher's database: all of it, or that of some tables.

    Section by section, each as a whole or not at all. Publications and subscriptions are left out,
    without ``owners`` who owns what and what is granted, too. The programs are those of
    ``bindir``, or else of the PATH; take the subscriber's: pg_dump reads older servers, and what
    it writes is for its own major.

    Each takes ``timeout`` seconds at most; passwords stand in a private file meanwhile.

    Raises: ControlFailed when a program fails, with what it says.
    Needs: to read the publisher's schema, and to create on the subscriber.
    Source: pg_dump, pg_restore.
    """
    source = program_conninfo(publisher.connection, publisher._link.conninfo)
    target = program_conninfo(subscriber.connection, subscriber._link.conninfo)
    names = None
    if tables is not None:
        names = [table_of(table) for table in several(tables, "tables", at_least=1)]
    folder = None if bindir is None else Path(bindir)
    for section in several(sections, "sections", at_least=1):
        copy = partial(copy_section, source, target, section, names)
        await aside(partial(copy, owners=owners, bindir=folder, timeout=timeout))


async def read_shapes(link: AsyncLink, names: Sequence[TableName]) -> dict[TableName, TableShape]:
    """What those of the tables are made of that are there."""
    async with link.qualified("read the tables") as within:
        return await _read_shapes(within, names)


async def _read_shapes(link: AsyncLink, names: Sequence[TableName]) -> dict[TableName, TableShape]:
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


_table = partial(table_in, schema="nspname", name="relname")
