"""Tables of a publisher and of a subscriber, for tests of appliers."""

from __future__ import annotations

from pgreplkit.catalog.logical.applytables import TargetColumn, TargetTable
from pgreplkit.protocol.pgoutput.tables import Column, RelationIdentity, Table
from pgreplkit.values.tablename import TableName

INT, TEXT, JSON = 23, 25, 114


def column(
    name: str,
    type_oid: int = INT,
    *,
    not_null: bool = False,
    identity: str = "",
    is_generated: bool = False,
) -> TargetColumn:
    return TargetColumn(
        name=name,
        type={INT: "integer", TEXT: "text", JSON: "json"}.get(type_oid, "other"),
        type_oid=type_oid,
        not_null=not_null,
        has_default=False,
        is_generated=is_generated,
        identity=identity,
    )


def target(
    *columns: TargetColumn,
    keys: tuple[tuple[str, ...], ...] = (("id",),),
    name: str = "t",
    is_partitioned: bool = False,
) -> TargetTable:
    return TargetTable(
        table=TableName("public", name),
        is_partitioned=is_partitioned,
        hides_rows=False,
        lacks=(),
        columns=columns,
        keys=keys,
    )


def source(*columns: tuple[str, int, bool], identity: str = "d") -> Table:
    described = tuple(Column(name, oid, -1, is_key) for name, oid, is_key in columns)
    return Table(7, "public", "t", described, RelationIdentity(identity))


USERS = source(("id", INT, True), ("name", TEXT, False), ("n", INT, False))
OWN = target(column("id", not_null=True), column("name", TEXT), column("n"))


def dumped(value: object) -> bytes | None:
    return None if value is None else str(value).encode()
