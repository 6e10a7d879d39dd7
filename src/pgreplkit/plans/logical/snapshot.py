"""TableCopy: the rows and columns of a table to copy before its changes are streamed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from pgreplkit.catalog.logical.publication import PublishedTable
from pgreplkit.protocol.pgoutput.tables import Column, RelationIdentity, Table
from pgreplkit.values.tablename import TableName


@attrs.frozen
class TableCopy:
    """A table with its published columns, and the filter of its rows."""

    table: Table
    is_partitioned: bool
    where: str | None


def table_copy(published: PublishedTable, records: Sequence[Mapping[str, object]]) -> TableCopy:
    """Return the copy of a published table, from the records of its columns."""
    names, first = published.columns, records[0]
    chosen = [
        _column(record)
        for record in records
        if record["name"] is not None
        and (record["name"] in names if names is not None else not record["is_generated"])
    ]
    table = Table(
        oid=int(str(first["oid"])),
        schema=published.table.schema,
        name=published.table.name,
        columns=tuple(chosen),
        replica_identity=RelationIdentity(str(first["identity"])),
    )
    return TableCopy(table, bool(first["is_partitioned"]), published.where)


def _column(record: Mapping[str, object]) -> Column:
    own = record["own_type"]
    return Column(
        name=str(record["name"]),
        type_oid=int(str(record["type_oid"])),
        type_modifier=int(str(record["type_modifier"])),
        is_key=bool(record["is_key"]),
        type_name=TableName(*own) if isinstance(own, list) else None,
    )
