"""Changes for tests of encoders, made of texts as the server sends them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from pgreplkit import LSN
from pgreplkit.changes import Column, Table
from pgreplkit.feeds import (
    CloudEvents,
    DebeziumJson,
    Encoder,
    FeedChange,
    FeedMessage,
    FeedOperation,
    FeedSource,
    PlainJson,
)
from pgreplkit.protocol.pgoutput.tables import RelationIdentity
from pgreplkit.protocol.pgoutput.tuples import TEXT, UNSENT, RawValues

READ, INSERT, UPDATE = FeedOperation.READ, FeedOperation.INSERT, FeedOperation.UPDATE
DELETE, TRUNCATE, MESSAGE = FeedOperation.DELETE, FeedOperation.TRUNCATE, FeedOperation.MESSAGE
SOURCE = FeedSource("orders", 7, "shop", 18)
FORTY_YEARS = 40 * 365 * 86_400 * 1_000_000
UNCHANGED = "unchanged"
"""Stands for a large value that was not sent."""


def table(
    *columns: tuple[str, int],
    key: Sequence[str] = ("id",),
    schema: str = "public",
    name: str = "t",
    identity: RelationIdentity = RelationIdentity.DEFAULT,
) -> Table:
    return Table(
        16384,
        schema,
        name,
        tuple(Column(column, oid, -1, column in key) for column, oid in columns),
        identity,
    )


def values(*texts: str | bytes | None) -> RawValues:
    sent = [text.encode() if isinstance(text, str) else text for text in texts]
    return (
        [None if text == UNCHANGED else value for text, value in zip(texts, sent, strict=True)],
        [UNSENT if text == UNCHANGED else TEXT for text in texts],
    )


def change(operation: FeedOperation, *tables: Table, **given: Any) -> FeedChange:
    time = given.pop("microseconds", FORTY_YEARS)
    return FeedChange(*(SOURCE, operation, LSN("0/100"), 3, 731, time, tables), **given)


def messages(encoder: Encoder, change: FeedChange) -> list[FeedMessage]:
    encoded = encoder.encode(change)
    if encoded is None:
        return []
    return [encoded] if isinstance(encoded, FeedMessage) else [*encoded]


T = table(("id", 23), ("name", 25))


FULL = table(("id", 23), ("name", 25), key=("id", "name"), identity=RelationIdentity.FULL)


PLACE = {"lsn": "0/100", "n": 3, "xid": 731, "time": "2039-12-22T00:00:00Z"}


def body(encoder: Encoder, one: Any) -> Any:
    [message] = messages(encoder, one)
    return json.loads(message.body or b"")


ENCODERS: list[Encoder] = [PlainJson(), CloudEvents(), CloudEvents(mode="binary"), DebeziumJson()]
