"""DebeziumJson against what Debezium's own engine made of the same changes."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from encodedchanges import messages

from pgreplkit import LSN
from pgreplkit.feeds import DebeziumJson, FeedChange, FeedMessage, FeedOperation, FeedSource
from pgreplkit.feeds.change import changes_of
from pgreplkit.feeds.encoding.debezium import _interval, _money
from pgreplkit.protocol.feedback import Feedback
from pgreplkit.protocol.pgoutput.decoder import Decoder
from pgreplkit.protocol.pgoutput.rows import Row, named_rows
from pgreplkit.protocol.pgoutput.tuples import RowReading
from pgreplkit.protocol.rawtransactions import RawTransactionFeed

RECORDED = json.loads((Path(__file__).parents[2] / "data" / "debezium.json").read_text())
SOURCE = FeedSource("cdc", 7, "postgres", 16)
ENGINE = DebeziumJson(
    "cdc.{schema}.{table}", messages="cdc.message", keys={"public.filled": ["id"]}
)
SAME_SOURCE = ("connector", "name", "snapshot", "db", "schema", "table", "txId", "xmin", "origin")


def recorded_changes() -> Iterator[FeedChange]:
    """The changes of the slot that was read beside Debezium's."""
    feed: RawTransactionFeed[Row] = RawTransactionFeed(
        lambda: Decoder(RowReading(lambda columns, binary: tuple, named_rows)),
        Feedback(LSN.INVALID, advance_when_idle=False),
        stop_at=None,
        memory_limit=1 << 20,
        keeps_messages=True,
    )
    stream = iter(
        [
            b"w" + struct.pack(">QQQ", int(LSN(lsn)), int(LSN(lsn)), 0) + bytes.fromhex(data)
            for lsn, _, data in RECORDED["pgoutput"]
        ]
    )
    while (transaction := feed.next(stream)) is not None:
        yield from changes_of(transaction, SOURCE)


def parts(destination: str, key: str | None, body: str | None) -> list[Any]:
    """A record, without times and positions, and without what is known to differ."""
    value = json.loads(body) if body is not None else None
    if value is not None:
        source = value.pop("source")
        value["source"] = {name: source[name] for name in SAME_SOURCE}
        # Debezium writes the time of its own work, and names no unchanged columns.
        for name in ("ts_ms", "ts_us", "ts_ns", "unchanged"):
            value.pop(name, None)
        row = value.get("after")
        if row is not None and row["id"] in (2, 3, 20) and "nn" in row:
            row["nn"] = None if row["nn"] is None else row["nn"].upper()
            row["d"] = None if row["id"] != 3 else row["d"]
    return [destination, None if key is None else json.loads(key), value]


def test_every_message_is_what_debezium_makes_of_the_change() -> None:
    keyless = DebeziumJson("cdc.{schema}.{table}", messages="cdc.message")
    ours = [
        parts(message.destination, _text(message.key), _text(message.body))
        for change in recorded_changes()
        for message in messages(keyless, change)
    ]
    theirs = [parts(*record) for record in RECORDED["records"][1:]]
    # Debezium sends a tombstone without a key, which deletes nothing.
    theirs = [record for record in theirs if record[1:] != [None, None]]
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        assert one == other


def test_the_envelope_has_the_members_of_debezium_in_their_order() -> None:
    [insert] = [one for one in recorded_changes() if one.new and one.new[0][0] == b"1"][:1]
    [message] = messages(DebeziumJson("cdc.{schema}.{table}"), insert)
    ours, theirs = json.loads(message.body or b""), json.loads(RECORDED["records"][1][2])
    assert [*ours] == [*theirs]
    assert [*ours["source"]] == [*theirs["source"]]
    assert ours["source"]["ts_ms"] == theirs["source"]["ts_ms"]
    assert ours["source"]["sequence"] == f'["{int(insert.lsn)}","1"]'


def test_the_times_are_those_of_the_commit() -> None:
    insert = next(one for one in recorded_changes() if one.new)
    insert.microseconds = 1
    [message] = messages(ENGINE, insert)
    body = json.loads(message.body or b"")
    times = (946_684_800_000, 946_684_800_000_001, 946_684_800_000_001_000)
    for found in (body, body["source"]):
        assert (found["ts_ms"], found["ts_us"], found["ts_ns"]) == times


def test_a_chosen_key_that_changes_ends_the_old_one_and_begins_the_new_one() -> None:
    moved = next(
        one
        for one in recorded_changes()
        if one.operation is FeedOperation.UPDATE and one.old and one.table.name == "kinds"
    )
    found: list[FeedMessage] = messages(ENGINE, moved)
    assert [(one.key, one.body is None, one.headers) for one in found] == [
        (b'{"id":2}', False, (("__debezium.newkey", '{"id":20}'),)),
        (b'{"id":2}', True, ()),
        (b'{"id":20}', False, (("__debezium.oldkey", '{"id":2}'),)),
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("00:00:00", "P0Y0M0DT0H0M0S"),
        ("-1 years -2 mons +3 days", "P-1Y-2M3DT0H0M0S"),
        ("1 mon 3 days -04:05:06.78", "P0Y1M3DT-4H-5M-6.78S"),
        ("-00:00:00.5", "P0Y0M0DT0H0M-0.5S"),
    ],
)
def test_an_interval_is_a_duration(text: str, expected: str) -> None:
    assert json.loads(_interval(text.encode())) == expected


def test_a_value_in_another_form_stays_a_text() -> None:
    assert _interval(b"@ 1 day ago") == '"@ 1 day ago"'


def test_a_logical_message_has_the_time_of_its_commit() -> None:
    message = next(one for one in recorded_changes() if one.prefix == "outbox")
    [sent] = messages(ENGINE, message)
    theirs = next(
        json.loads(body) for _, _, body in RECORDED["records"] if body and '"outbox"' in body
    )
    body = json.loads(sent.body or b"")
    assert body["ts_ms"] == body["source"]["ts_ms"] == theirs["source"]["ts_ms"]


def test_an_amount_of_money_loses_its_dollar_sign() -> None:
    assert _money(b"-$1,234.50") == '"-1234.50"'
    assert _money("1.234,50 €".encode()) == '"1.234,50 €"'


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
