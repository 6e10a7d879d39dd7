"""The parts of messages that encoders prepare for each table."""

from __future__ import annotations

from encodedchanges import INSERT, T, change, messages, values

from pgreplkit.feeds import CloudEvents, DebeziumJson, PlainJson


def test_a_function_chooses_the_destination_of_each_change() -> None:
    insert = change(INSERT, T, new=values("1", "x"))
    for encoder in (
        PlainJson(lambda change, table: f"rows.{change.number}"),
        CloudEvents(lambda change, table: f"rows.{change.number}"),
        DebeziumJson(lambda change, table: f"rows.{change.number}"),
    ):
        [message] = messages(encoder, insert)
        assert message.destination == "rows.3"
