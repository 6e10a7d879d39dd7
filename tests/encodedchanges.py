"""Changes for tests of encoders, made of texts as the server sends them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pgreplkit import LSN
from pgreplkit.changes import Column, Table
from pgreplkit.feeds import Encoder, FeedChange, FeedMessage, FeedOperation, FeedSource
from pgreplkit.protocol.pgoutput.tables import RelationIdentity
from pgreplkit.protocol.pgoutput.tuples import TEXT, UNSENT, RawValues

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
