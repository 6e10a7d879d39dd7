"""PlainJson: changes as JSON objects."""

from __future__ import annotations

import json
from typing import Any

from encodedchanges import (
    DELETE,
    ENCODERS,
    INSERT,
    MESSAGE,
    PLACE,
    READ,
    TRUNCATE,
    T,
    body,
    change,
    messages,
    table,
    values,
)

from pgreplkit.feeds import CloudEvents, DebeziumJson, PlainJson


def test_plain_json_has_the_row_its_table_and_the_name_of_the_change() -> None:
    insert = change(INSERT, T, new=values("1", 'a "b"'))
    [message] = messages(PlainJson(), insert)
    assert message.destination == "cdc.shop.public.t"
    assert (message.key, message.headers) == (b'{"id":1}', ())
    of = {"schema": "public", "table": "t"}
    row = {"id": 1, "name": 'a "b"'}
    assert json.loads(message.body or b"") == {"op": "insert", **of, "row": row, **PLACE}
    gone = change(DELETE, T, old=values("1", None), is_key_only=True)
    assert body(PlainJson(), gone) == {"op": "delete", **of, "old": {"id": 1}, **PLACE}
    read = body(PlainJson(), change(READ, T, new=values("1", None), microseconds=0))
    assert read["row"] == {"id": 1, "name": None}
    assert "time" not in read


def test_truncate_becomes_a_message_for_each_table() -> None:
    both = change(TRUNCATE, T, table(("id", 23), name="u"))
    for encoder in ENCODERS:
        found = messages(encoder, both)
        assert [message.destination for message in found] == [
            "cdc.shop.public.t",
            "cdc.shop.public.u",
        ]
        assert [message.key for message in found] == [None, None]
    ids = [json.loads(message.body or b"")["id"] for message in messages(CloudEvents(), both)]
    assert ids == ["7/0/100/3", "7/0/100/3.1"]


def test_a_logical_message_keeps_its_prefix_and_content() -> None:
    def sent(content: bytes) -> Any:
        return change(MESSAGE, prefix="out box", content=content)

    [message] = messages(PlainJson(), sent(b"hello"))
    assert message.destination == "cdc.shop.out-20box"
    found = {"op": "message", **PLACE, "prefix": "out box"}
    assert json.loads(message.body or b"") == {**found, "content": "hello"}
    assert body(PlainJson(), sent(b"\xff")) == {**found, "content_base64": "/w=="}
    assert body(DebeziumJson(), sent(b"hello"))["message"]["content"] == "aGVsbG8="
    event = body(CloudEvents(), sent(b"hello"))
    assert (event["subject"], event["data_base64"]) == ("out box", "aGVsbG8=")
    [binary] = messages(CloudEvents(mode="binary"), sent(b"hello"))
    assert binary.body == b"hello"
    assert dict(binary.headers)["ce-subject"] == "out%20box"
