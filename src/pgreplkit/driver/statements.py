"""The parts of the statements of logical replication, put together from checked values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pgreplkit.catalog.logical.publication import (
    AnyPublished,
    GeneratedColumns,
    Operation,
    published,
)
from pgreplkit.driver.conninfo import complete
from pgreplkit.plans.logical.subscription import SubscriptionOptions
from pgreplkit.values.several import several
from pgreplkit.values.tablename import AnyTable, TableName, table_of

Require: TypeAlias = Callable[[str], None]
"""Refuses a feature that the server's major lacks."""


def table(name: TableName) -> Identifier:
    """A table."""
    return Identifier(name.schema, name.name)


def names(parts: Iterable[str]) -> Composed:
    """Names, separated by commas."""
    return SQL(", ").join([Identifier(part) for part in parts])


def published_list(require: Require, tables: Iterable[AnyPublished]) -> Composed:
    """Tables as CREATE and ALTER PUBLICATION take them, with their columns and filters."""
    parts = []
    for one in map(published, tables):
        part = SQL("ONLY {}").format(table(one.table))
        if one.columns is not None:
            require("publication.columns")
            part += SQL(" ({})").format(names(one.columns))
        if one.where is not None:
            require("publication.where")
            # An expression cannot be a parameter; who may alter the publication writes it.
            part += SQL(" WHERE (") + SQL(one.where) + SQL(")")
        parts.append(part)
    if not parts:
        raise ValueError("no table is given")
    return SQL(", ").join(parts)


def whole_database(
    require: Require, *, all_tables: bool, except_tables: Iterable[AnyTable], all_sequences: bool
) -> list[Composable]:
    """ALL TABLES and ALL SEQUENCES as CREATE and ALTER PUBLICATION take them.

    Raises: TypeError for exceptions from nothing.
    """
    scope: list[Composable] = []
    excepted = [
        SQL("TABLE ONLY {}").format(table(table_of(one)))
        for one in several(except_tables, "except_tables")
    ]
    if excepted and not all_tables:
        raise TypeError("except_tables are left out of all_tables, which is not given")
    if excepted:
        require("publication.except_tables")
        scope.append(SQL("ALL TABLES EXCEPT ({})").format(SQL(", ").join(excepted)))
    elif all_tables:
        scope.append(SQL("ALL TABLES"))
    if all_sequences:
        require("publication.all_sequences")
        scope.append(SQL("ALL SEQUENCES"))
    return scope


def publication_options(
    require: Require,
    publish: Iterable[Operation | str] | None,
    via_partition_root: bool | None,
    publish_generated_columns: GeneratedColumns | str | None,
) -> list[Composable]:
    """The options of a publication that are given."""
    options: list[Composable] = []
    if publish is not None:
        given = several(publish, "publish")
        operations = [Operation(operation) for operation in given]
        for operation in operations:
            if operation not in {*Operation}:
                raise ValueError(f"{str(operation)!r} is none of {', '.join(Operation)}")
        if Operation.TRUNCATE in operations:
            require("publication.truncate")
        options.append(SQL("publish = {}").format(Literal(", ".join(operations))))
    if via_partition_root is not None:
        require("publication.via_root")
        options.append(
            SQL("publish_via_partition_root = {}").format(Literal(bool(via_partition_root)))
        )
    if publish_generated_columns is not None:
        require("publication.generated")
        stored = GeneratedColumns(publish_generated_columns) is GeneratedColumns.STORED
        word = "stored" if stored else "none"
        options.append(SQL("publish_generated_columns = {}").format(Literal(word)))
    return options


def subscription_options(require: Require, options: SubscriptionOptions) -> list[Composable]:
    """The options of a subscription that are given."""
    parts: list[Composable] = []
    for name, text, feature in options.given():
        require(feature)
        parts.append(SQL("{} = {}").format(Identifier(name), Literal(text)))
    return parts


def connection(conninfo: str) -> Composed:
    """Where a subscription connects to.

    Raises: ConnectionFailed when it is no connection string: the server would repeat it, and what
    in it may be a password.
    """
    complete(conninfo, {})
    return SQL("CONNECTION {}").format(Literal(conninfo))
