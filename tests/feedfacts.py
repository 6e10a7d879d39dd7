"""An encoder and changes for tests of feeds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

import attrs
from colours import Colour
from databases import Database

from pgreplkit import LSN
from pgreplkit.feeds import (
    AsyncFeed,
    Feed,
    FeedChange,
    FeedMessage,
    FeedOperation,
    FeedPosition,
    FeedSource,
    FeedStage,
)

SOURCE = FeedSource("orders", 7, "shop", 18)
START = FeedPosition(LSN("0/100"), 0, True, FeedStage.STREAMING, 7, 1)


def change(lsn: LSN, number: int, content: bytes = b"") -> FeedChange:
    return FeedChange(SOURCE, FeedOperation.MESSAGE, lsn, number, 5, 0, (), content=content)


@attrs.frozen
class Lines:
    """Encodes a change as a JSON array of its name, its action and its values."""

    destination: str = "cdc.rows"
    skips: str = "skipped"
    """The name of a table whose changes become no message."""
    doubles: bool = False
    """Whether a deletion becomes two messages."""

    def encode(self, change: FeedChange) -> FeedMessage | Sequence[FeedMessage] | None:
        tables = [table.name for table in change.tables]
        if self.skips in tables:
            return None
        values = [] if change.new is None else [_text(value) for value in change.new[0]]
        if change.operation is FeedOperation.MESSAGE:
            values = [change.prefix, _text(change.content)]
        elif change.old is not None and not values:
            values = [_text(value) for value in change.old[0]]
        line = [str(change.lsn), change.number, change.operation.value, *tables, *values]
        message = FeedMessage(self.destination, None, json.dumps(line).encode())
        if self.doubles and change.operation is FeedOperation.DELETE:
            return [message, FeedMessage(self.destination, None, None)]
        return message


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def feed_of(colour: Colour, database: Database, slot: str, **options: Any) -> AsyncFeed:
    """A feed of the publication p, in the colour under test."""
    kind = AsyncFeed if colour.name == "async" else Feed
    source = options.pop("source", database.conninfo)
    given = {"publications": ["p"], "encoder": Lines(), **options}
    return cast(AsyncFeed, colour.bound(kind(source, slot, **given)))


def end_of(database: Database) -> LSN:
    return LSN(str(database.one("SELECT pg_current_wal_insert_lsn()::text")))


def written(bodies: Sequence[bytes | None]) -> list[list[Any]]:
    """The lines that were sent."""
    return [json.loads(body or b"null") for body in bodies]


def confirmed(database: Database, slot: str) -> LSN:
    query = f"""SELECT confirmed_flush_lsn::text FROM pg_replication_slots
        WHERE slot_name = '{slot}'"""
    return LSN(str(database.one(query)))
