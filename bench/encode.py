"""Messages that the encoders make in a second, beside json.dumps of typed rows.

``python bench/encode.py`` prints one line for each: rows of 300 bytes in five columns.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from pgreplkit import LSN
from pgreplkit.changes import Column, Table
from pgreplkit.feeds import (
    CloudEvents,
    DebeziumJson,
    FeedChange,
    FeedOperation,
    FeedSource,
    PlainJson,
)
from pgreplkit.protocol.pgoutput.tuples import TEXT

ROWS = 50_000
ROUNDS = 3
COLUMNS = (("id", 20), ("customer", 23), ("amount", 1700), ("at", 1184), ("note", 25))
TABLE = Table(
    16384, "public", "orders", tuple(Column(name, oid, -1, name == "id") for name, oid in COLUMNS)
)
SOURCE = FeedSource("orders", 7, "shop", 18)


def changes() -> list[FeedChange]:
    """Return insertions as a feed passes them to its encoder."""
    return [
        FeedChange(
            *(SOURCE, FeedOperation.INSERT, LSN(number // 10 + 1), number % 10 + 1, 731),
            *(number // 10, (TABLE,)),
            new=(
                [
                    str(number).encode(),
                    b"4711",
                    b"12.50",
                    b"2026-02-28 12:34:56.123456+00",
                    b'a "note" ' + b"x" * 240,
                ],
                [TEXT] * 5,
            ),
        )
        for number in range(ROWS)
    ]


def dumped(change: FeedChange) -> bytes:
    """Return the envelope of a row that was loaded, as one would write it by hand."""
    sent = change.new[0] if change.new else ()
    number, customer, amount, at, note = (value or b"" for value in sent)
    row = {
        "id": int(number),
        "customer": int(customer),
        "amount": amount.decode(),
        "at": datetime.fromisoformat(at.decode()).isoformat(),
        "note": note.decode(),
    }
    when = datetime(2000, 1, 1, tzinfo=UTC) + timedelta(microseconds=change.microseconds)
    time_ms = int(when.timestamp() * 1000)
    source = {"db": "shop", "schema": "public", "table": "orders", "lsn": int(change.lsn)}
    envelope = {"before": None, "after": row, "source": source, "op": "c", "ts_ms": time_ms}
    return json.dumps(envelope).encode()


def rate(encode: Callable[[FeedChange], object], given: list[FeedChange]) -> float:
    """Return the best rate of several rounds."""
    best = 0.0
    for _ in range(ROUNDS):
        began = time.process_time()
        for change in given:
            encode(change)
        best = max(best, len(given) / (time.process_time() - began))
    return best


def main() -> None:
    """Print the rates."""
    given = changes()
    dumps = rate(dumped, given)
    print(f"{'json.dumps of typed rows':32} {dumps:10,.0f}/s")
    for name, encoder in (
        ("PlainJson", PlainJson()),
        ("DebeziumJson", DebeziumJson()),
        ("CloudEvents, structured", CloudEvents()),
        ("CloudEvents, binary", CloudEvents(mode="binary")),
    ):
        found = rate(encoder.encode, given)
        print(f"{name:32} {found:10,.0f}/s  {found / dumps:5.2f} x")


if __name__ == "__main__":
    main()
