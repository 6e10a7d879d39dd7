# Generated from pgreplkit/_async/logical/applyfit.py by `nox -s sync`. Do not edit.
"""Find the columns of a subscriber that do not take every value of the publisher's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgreplkit._sync.logical.drift import read_shapes
from pgreplkit._sync.logical.snapshot import published_in, table_copies
from pgreplkit._sync.wire.link import Link
from pgreplkit.apply.failures import is_of_a_definition
from pgreplkit.apply.settings import ApplySettings
from pgreplkit.catalog.logical.drift import TableShape
from pgreplkit.errors import ApplyFailed, InvalidTableName, SchemaMismatch, ServerError
from pgreplkit.plans.logical.columnfit import (
    NOT_NULL_VIOLATION,
    Misfit,
    misfits,
    missing_nulls,
    unset_identities,
)
from pgreplkit.plans.logical.snapshot import TableCopy
from pgreplkit.protocol.pgoutput.tables import RelationIdentity
from pgreplkit.values.tablename import TableName, table_of


def find_mismatch(
    publisher: Link,
    subscriber: Link,
    settings: ApplySettings,
    failure: ServerError,
    table: TableName | None = None,
) -> SchemaMismatch | None:
    """Return the error for rows that other types of columns refuse; None if they do not.

    ``table`` is the published table, by default that of the refused change. The error has no DDL
    for a column that would have to be narrowed, or converted: values would be lost.
    """
    if table is None and isinstance(failure, ApplyFailed):
        table = _table_of(failure)
    if table is None or not is_of_a_definition(failure.sqlstate):
        return None
    find = missing_nulls if failure.sqlstate == NOT_NULL_VIOLATION else misfits
    operation = "compare the columns"
    try:
        published = published_in(publisher, operation, settings.publications)
        sent = [one for one in published if one.table == table]
        copies = table_copies(publisher, operation, sent)
        theirs, ours = _shapes(publisher, subscriber, settings, [table])
    except ServerError:
        # The failure itself is what has to be reported, as after the publisher was stopped.
        return None
    [there], [here] = theirs.values() or [None], ours.values() or [None]
    if there is None or here is None:
        return None
    found = [one for copy in copies for one in find(there, here, _names(copy, settings))]
    if not found:
        return None
    sql = dict.fromkeys(statement for one in found for statement in one.ddl)
    problems = (failure.found, *(one.found for one in found))
    return SchemaMismatch(str(table), problems, tuple(sql))


def _table_of(failure: ApplyFailed) -> TableName | None:
    try:
        return None if failure.table is None else table_of(failure.table)
    except InvalidTableName:
        # One TRUNCATE may be of several tables.
        return None


def find_misfits(
    publisher: Link,
    subscriber: Link,
    settings: ApplySettings,
    copies: Sequence[TableCopy],
) -> dict[TableName, list[Misfit]]:
    """Return the columns whose values may not fit, by published table.

    A column that no publication sends keeps the subscriber's values, whatever its type is.
    """
    tables = [copy.table.table_name for copy in copies]
    theirs, ours = _shapes(publisher, subscriber, settings, tables)
    found = {}
    for copy in copies:
        table = copy.table.table_name
        there, here = theirs.get(table), ours.get(settings.target_of(table))
        if there is not None and here is not None:
            names = _names(copy, settings)
            found[table] = [
                *misfits(there, here, names),
                *missing_nulls(there, here, names),
                *unset_identities(there, here, names, _identifying(copy)),
            ]
    return found


def _shapes(
    publisher: Link,
    subscriber: Link,
    settings: ApplySettings,
    tables: Sequence[TableName],
) -> tuple[Mapping[TableName, TableShape], Mapping[TableName, TableShape]]:
    targets = [settings.target_of(table) for table in tables]
    return read_shapes(publisher, tables), read_shapes(subscriber, targets)


def _identifying(copy: TableCopy) -> set[str]:
    """Return the columns whose old values are sent if they change."""
    is_full = copy.table.replica_identity is RelationIdentity.FULL
    return {column.name for column in copy.table.columns if is_full or column.is_key}


def _names(copy: TableCopy, settings: ApplySettings) -> dict[str, str]:
    """Return the subscriber's column for each column that is sent, and written."""
    sent = [column.name for column in copy.table.columns]
    rule = settings.rules.get(copy.table.table_name)
    if rule is None:
        return {name: name for name in sent}
    own = {name: rule.columns.get(name, name) for name in sent}
    return {name: to for name, to in own.items() if to is not None and to not in rule.constants}
