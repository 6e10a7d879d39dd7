"""Parts of the statements of logical replication, composed from checked values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pgreplkit.catalog.logical.publication import (
    TRY_DELETE,
    TRY_UPDATE,
    AnyPublished,
    GeneratedColumns,
    Operation,
    published,
)
from pgreplkit.driver.conninfo import complete
from pgreplkit.driver.statementlog import Secret
from pgreplkit.plans.logical.rowfilters import FilterTrial
from pgreplkit.plans.logical.subscription import SubscriptionOptions
from pgreplkit.values.several import several
from pgreplkit.values.tablename import AnyTable, TableName, table_of

Require: TypeAlias = Callable[[str], None]
"""Raises UnsupportedByServer for a feature that the server lacks."""

_GENERATED = {"n": "none", "none": "none", "s": "stored", "stored": "stored"}
"""The word of a statement, by that of the catalogue or of a statement."""


def table(name: TableName) -> Identifier:
    """Return a table's name as an identifier."""
    return Identifier(name.schema, name.name)


def names(parts: Iterable[str]) -> Composed:
    """Return names as identifiers, separated by commas."""
    return SQL(", ").join([Identifier(part) for part in parts])


def published_list(require: Require, tables: Iterable[AnyPublished]) -> Composed:
    """Return the list of tables of CREATE and ALTER PUBLICATION, with columns and filters."""
    parts = []
    for one in map(published, tables):
        # Tables that inherit from it are published only when they are named.
        part = SQL("ONLY {}").format(table(one.table))
        if one.columns is not None:
            require("publication.columns")
            part += SQL(" ({})").format(names(one.columns))
        if one.where is not None:
            require("publication.where")
            # An expression cannot be a parameter; the owner of the publication writes it.
            part += SQL(" WHERE (") + SQL(one.where) + SQL(")")
        parts.append(part)
    if not parts:
        raise ValueError("at least one table is needed")
    return SQL(", ").join(parts)


def filter_trial(trial: FilterTrial) -> Composed:
    """Return the statement with which the server checks a table's row filter and column list."""
    if trial.column is None:
        return SQL(TRY_DELETE).format(table(trial.table))
    column = Identifier(trial.column)
    return SQL(TRY_UPDATE).format(table(trial.table), column, column)


def whole_database(
    require: Require, *, all_tables: bool, except_tables: Iterable[AnyTable], all_sequences: bool
) -> list[Composable]:
    """Return the ALL TABLES and ALL SEQUENCES clauses of CREATE and ALTER PUBLICATION.

    Raises: TypeError for ``except_tables`` without ``all_tables``.
    """
    scope: list[Composable] = []
    excepted = [
        SQL("TABLE ONLY {}").format(table(table_of(one)))
        for one in several(except_tables, "except_tables")
    ]
    if excepted and not all_tables:
        raise TypeError("except_tables needs all_tables=True")
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
    """Return the given options of a publication."""
    options: list[Composable] = []
    if publish is not None:
        given = several(publish, "publish")
        operations = [Operation(operation) for operation in given]
        for operation in operations:
            if operation not in {*Operation}:
                raise ValueError(
                    f"unknown operation {str(operation)!r}: use {', '.join(Operation)}"
                )
        # The server's own error would not name the version.
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
        word = _GENERATED.get(publish_generated_columns)
        if word is None:
            raise ValueError(
                "publish_generated_columns must be 'stored' or 'none', got"
                f" {publish_generated_columns!r}"
            )
        options.append(SQL("publish_generated_columns = {}").format(Literal(word)))
    return options


def subscription_options(require: Require, options: SubscriptionOptions) -> list[Composable]:
    """Return the given options of a subscription."""
    parts: list[Composable] = []
    for name, text, feature in options.given():
        require(feature)
        parts.append(SQL("{} = {}").format(Identifier(name), Literal(text)))
    return parts


def connection(conninfo: str) -> Composed:
    """Return the CONNECTION clause of a subscription.

    Raises: ConnectionFailed for a malformed connection string. The server's own error would repeat
    the string, which may contain a password.
    """
    complete(conninfo, {})
    return SQL("CONNECTION {}").format(Secret(conninfo))
