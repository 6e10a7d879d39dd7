"""Tables of a publisher and of a subscriber, for tests of appliers."""

from __future__ import annotations

import struct
from functools import partial
from typing import Any

import pgoutputs as po

from pgreplkit import LSN
from pgreplkit.apply import Membership, TableRule
from pgreplkit.apply.shape import Match, match
from pgreplkit.catalog.logical.applytables import TargetColumn, TargetTable
from pgreplkit.protocol.feedback import Feedback
from pgreplkit.protocol.pgoutput.decoder import Decoder
from pgreplkit.protocol.pgoutput.rows import Row, named_rows
from pgreplkit.protocol.pgoutput.tables import Column, RelationIdentity, Table
from pgreplkit.protocol.pgoutput.tuples import LoadValues, RowReading
from pgreplkit.protocol.rawtransactions import RawTransaction, RawTransactionFeed
from pgreplkit.values.tablename import TableName

INT, TEXT, JSON = 23, 25, 114
COLUMNS = (("id", INT, True), ("name", TEXT, False), ("n", INT, False))


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


def matched(
    table: Table = USERS, own: TargetTable | None = OWN, rule: TableRule | None = None
) -> Match:
    return match(table, own, rule or TableRule(), dumped)


membership = partial(
    Membership, node="berlin", source="paris", ranks={"berlin": 1, "paris": 2}, origins={}
)


def loading(columns: Any, binary: frozenset[int]) -> LoadValues:
    def load(sent: Any) -> tuple[object, ...]:
        return tuple(
            int(value) if value is not None and column.type_oid == INT else value
            for column, value in zip(columns, sent, strict=True)
        )

    return load


def transaction(
    *messages: bytes, identity: str = "d", memory_limit: int = 1 << 20
) -> RawTransaction[Row]:
    """Return a transaction as a stream assembles it."""
    feed = RawTransactionFeed(
        lambda: Decoder(RowReading(loading, named_rows)),
        Feedback(LSN(0), advance_when_idle=False),
        stop_at=None,
        memory_limit=memory_limit,
    )
    relation = po.relation(columns=COLUMNS, name="t", identity=identity)
    sent = [po.begin(100), relation, *messages, po.commit(100)]
    for message in sent:
        whole = feed.take(b"w" + struct.pack(">QQq", 1, 1, 0) + message)
    assert whole is not None
    return whole
