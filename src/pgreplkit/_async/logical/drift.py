"""aschema_drift and acopy_schema: align a subscriber's tables with its publisher's."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

from psycopg.rows import DictRow

from pgreplkit._async._io import to_thread
from pgreplkit._async.logical.coverage import tables_between
from pgreplkit._async.server.identity import insist_on_two_databases
from pgreplkit._async.server.server import AsyncServer, insist_on_servers
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
from pgreplkit.catalog.logical.publication import AnyPublished, PublishedTable
from pgreplkit.catalog.logical.types import TypeShape, types_of_tables
from pgreplkit.catalog.view import table_in
from pgreplkit.driver.conninfo import program_conninfo
from pgreplkit.errors import TableNotFound
from pgreplkit.host.schemacopy import copy_sections
from pgreplkit.plans.logical.drift import SchemaDrift, SchemaSection, schema_drift_of
from pgreplkit.values.flags import checked_flags
from pgreplkit.values.seconds import Timeout, checked_seconds
from pgreplkit.values.several import several
from pgreplkit.values.tablename import AnyTable, TableName, schemas_and_names, table_of

_OPERATION = "compare the schemas"


async def aschema_drift(
    publisher: AsyncServer,
    subscriber: AsyncServer,
    tables: Iterable[AnyPublished] | None = None,
) -> SchemaDrift:
    """Compare the definitions of a subscriber's tables with its publisher's.

    By default the tables are those of the subscriber's subscriptions to this publisher; without
    such a subscription, all published tables. Columns are compared by name, as the server
    replicates them, with the labels, constraints and attributes of their types; indexes and
    constraints by their definition, whatever their name. Nothing is changed.

    Raises: TableNotFound for a table or a column that the publisher lacks; TableNotFound,
    PublicationNotFound when there is nothing to compare; InsufficientPrivilege; ServerError if both
    are one database.
    Source: pg_attribute, pg_type, pg_enum, pg_index, pg_constraint, pg_trigger, pg_inherits.
    """
    insist_on_servers(publisher=publisher, subscriber=subscriber)
    covered = await tables_between(publisher._link, subscriber._link, tables, _OPERATION)
    names = [published.table for published in covered]
    theirs = await read_shapes(publisher._link, names)
    # A misspelt column would count as one that the subscriber does not need.
    for published in covered:
        _insist_on_columns(published, theirs)
    ours = await read_shapes(subscriber._link, names)
    return schema_drift_of(covered, theirs, ours, await other_relations(subscriber._link, names))


async def other_relations(link: AsyncLink, names: Iterable[TableName]) -> dict[TableName, str]:
    """Return the kinds of relations that have the name of a table and are none."""
    asked = [*schemas_and_names([*names])]
    records = await link.all("read the tables", sql.OTHER_RELATIONS, asked)
    return {_table(record): record["kind"] for record in records}


def _insist_on_columns(published: PublishedTable, shapes: dict[TableName, TableShape]) -> None:
    shape = shapes.get(published.table)
    if shape is None:
        raise TableNotFound(_OPERATION, f"the publisher has no table {published.table}")
    lacking = [name for name in published.columns or () if name not in shape.columns]
    if lacking:
        found = f"the publisher has no column {', '.join(lacking)} in {published.table}"
        raise TableNotFound(_OPERATION, found)


async def acopy_schema(
    publisher: AsyncServer,
    subscriber: AsyncServer,
    sections: Iterable[SchemaSection] = (SchemaSection.PRE_DATA, SchemaSection.POST_DATA),
    *,
    tables: Iterable[AnyTable] | None = None,
    owners: bool = True,
    bindir: str | os.PathLike[str] | None = None,
    timeout: Timeout = 600.0,
) -> None:
    """Copy the schema of the publisher's database: all of it, or that of some tables.

    Each section is restored completely or not at all. Publications and subscriptions are left out;
    with ``owners=False``, owners and privileges too. ``bindir`` is the directory of pg_dump and
    pg_restore; by default they are searched on the PATH. Use the subscriber's programs: pg_dump
    reads older servers, and writes for servers of its own major version.

    Each program may take ``timeout`` seconds. Passwords are passed in a private file.

    Raises: ControlFailed with the output of a program that fails; ServerError if both are one
    database.
    Needs: privileges to read the publisher's schema, and to create on the subscriber.
    Source: pg_dump, pg_restore.
    """
    checked_flags(owners=owners)
    insist_on_servers(publisher=publisher, subscriber=subscriber)
    source = program_conninfo(publisher.connection, publisher._link.conninfo)
    target = program_conninfo(subscriber.connection, subscriber._link.conninfo)
    names = None
    if tables is not None:
        names = [table_of(table) for table in several(tables, "tables", at_least=1)]
    folder = None if bindir is None else Path(bindir)
    limit = checked_seconds(timeout, "timeout")
    await insist_on_two_databases("copy the schema", publisher._link, subscriber._link)
    # Apply workers find rows by these indexes, which are copied with the keys.
    records = await publisher._link.all("read the replica identities", sql.IDENTITY_INDEXES)
    identities = [record["oid"] for record in records]
    copy = partial(
        copy_sections,
        source,
        target,
        [SchemaSection.known(one, "sections") for one in several(sections, "sections", at_least=1)],
        names,
        identities,
    )
    await to_thread(partial(copy, owners=owners, bindir=folder, timeout=limit))


async def read_shapes(link: AsyncLink, names: Sequence[TableName]) -> dict[TableName, TableShape]:
    """Return the definitions of those of the tables that exist."""
    # Types and definitions name their schemas, whatever the search_path of each side.
    async with link.qualified("read the tables") as within:
        return await _read_shapes(within, names)


async def _read_shapes(link: AsyncLink, names: Sequence[TableName]) -> dict[TableName, TableShape]:
    asked = [[name.schema for name in names], [name.name for name in names]]

    async def ask(statement: str) -> list[DictRow]:
        return await link.all("read the tables", statement, asked)

    major = link.version.major
    # Before the tables, which refer to them.
    types = {record["oid"]: TypeShape(**record) for record in await ask(types_of_tables(major))}
    shapes = {}
    for record in await ask(sql.TABLES):
        table = _table(record)
        shapes[table] = TableShape(table=table, types=types, **record)
    for record in await ask(sql.table_columns(major)):
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
