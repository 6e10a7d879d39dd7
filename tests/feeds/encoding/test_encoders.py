"""Encoders: changes become messages."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from encodedchanges import UNCHANGED, change, messages, table, values
from hypothesis import given, strategies as st

from pgreplkit.errors import EncodingFailed
from pgreplkit.feeds import CloudEvents, DebeziumJson, Encoder, FeedOperation, PlainJson
from pgreplkit.protocol.pgoutput.tables import RelationIdentity

READ, INSERT, UPDATE = FeedOperation.READ, FeedOperation.INSERT, FeedOperation.UPDATE
DELETE, TRUNCATE, MESSAGE = FeedOperation.DELETE, FeedOperation.TRUNCATE, FeedOperation.MESSAGE
T = table(("id", 23), ("name", 25))
FULL = table(("id", 23), ("name", 25), key=("id", "name"), identity=RelationIdentity.FULL)
ENCODERS: list[Encoder] = [PlainJson(), CloudEvents(), CloudEvents(mode="binary"), DebeziumJson()]
PLACE = {"lsn": "0/100", "n": 3, "xid": 731, "time": "2039-12-22T00:00:00Z"}


def body(encoder: Encoder, one: Any) -> Any:
    [message] = messages(encoder, one)
    return json.loads(message.body or b"")


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


def test_a_percent_sign_in_a_column_name_stays() -> None:
    of = table(("id", 23), ("100%s", 25))
    assert body(PlainJson(), change(INSERT, of, new=values("1", "x")))["row"]["100%s"] == "x"


def test_an_unchanged_large_value_is_named_or_taken_from_the_old_row() -> None:
    update = change(UPDATE, FULL, old=values("1", "before"), new=values("2", UNCHANGED))
    found = body(PlainJson(), update)
    assert (found["row"], found["unchanged"]) == ({"id": 2}, ["name"])
    assert found["old"] == {"id": 1, "name": "before"}
    filled = body(PlainJson(fill="old"), update)
    assert filled["row"] == {"id": 2, "name": "before"}
    assert "unchanged" not in filled
    envelope = body(DebeziumJson(fill="none"), update)
    assert envelope["after"]["name"] == "__debezium_unavailable_value"
    assert envelope["unchanged"] == ["name"]
    # The server sends NULL in the columns that are not part of the key.
    key_only = change(
        UPDATE, T, old=values("1", None), new=values("2", UNCHANGED), is_key_only=True
    )
    assert body(PlainJson(fill="old"), key_only)["unchanged"] == ["name"]


def test_a_large_key_that_did_not_change_is_taken_from_the_old_key() -> None:
    of = table(("id", 25), ("n", 23))
    update = change(UPDATE, of, old=values("k", None), new=values(UNCHANGED, "2"), is_key_only=True)
    for encoder in ENCODERS:
        [message] = messages(encoder, update)
        assert message.key == b'{"id":"k"}'
    assert body(PlainJson(), update)["row"] == {"id": "k", "n": 2}
    assert body(DebeziumJson(), update)["before"] is None


def test_a_key_that_is_gone_gets_a_tombstone() -> None:
    encoder = PlainJson(tombstones=True)
    gone = change(DELETE, T, old=values("1", None), is_key_only=True)
    deleted, tombstone = messages(encoder, gone)
    assert deleted.body is not None
    assert (tombstone.key, tombstone.body) == (b'{"id":1}', None)
    moved = change(UPDATE, T, old=values("1", None), new=values("2", "x"), is_key_only=True)
    tombstone, updated = messages(encoder, moved)
    assert (tombstone.key, tombstone.body, updated.key) == (b'{"id":1}', None, b'{"id":2}')
    stayed = change(UPDATE, T, old=values("1", None), new=values("1", "x"), is_key_only=True)
    assert len(messages(encoder, stayed)) == 1


def test_a_full_identity_has_no_key_unless_one_is_chosen() -> None:
    gone = change(DELETE, FULL, old=values("1", "x"))
    for encoder in ENCODERS:
        [message] = messages(encoder, gone)
        assert message.key is None
    [message] = messages(PlainJson(keys={"public.t": ["id"]}), gone)
    assert message.key == b'{"id":1}'
    with pytest.raises(EncodingFailed, match="publishes no column 'missing'"):
        messages(PlainJson(keys={"public.t": ["missing"]}), gone)
    insert = change(INSERT, T, new=values("1", "x"))
    with pytest.raises(EncodingFailed, match="'name': it is not part of the replica identity"):
        messages(PlainJson(keys={"public.t": ["name"]}), insert)
    with pytest.raises(TypeError, match=r"keys\['public.t'\] takes several items, not one str"):
        PlainJson(keys={"public.t": "id"})


def test_a_function_chooses_the_destination_of_each_change() -> None:
    insert = change(INSERT, T, new=values("1", "x"))
    for encoder in (
        PlainJson(lambda change, table: f"rows.{change.number}"),
        CloudEvents(lambda change, table: f"rows.{change.number}"),
        DebeziumJson(lambda change, table: f"rows.{change.number}"),
    ):
        [message] = messages(encoder, insert)
        assert message.destination == "rows.3"


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


def test_a_cloud_event_is_structured_or_binary() -> None:
    insert = change(INSERT, T, new=values("1", "x"))
    attributes = {
        "specversion": "1.0",
        "id": "7/0/100/3",
        "source": "/postgresql/7/shop",
        "type": "pgreplkit.insert",
        "subject": "public.t",
        "time": "2039-12-22T00:00:00Z",
        "sequence": "0000000000000100-0000000003",
        "partitionkey": '{"id":1}',
    }
    data = {"row": {"id": 1, "name": "x"}}
    [message] = messages(CloudEvents(), insert)
    assert message.headers == (("content-type", "application/cloudevents+json; charset=UTF-8"),)
    assert json.loads(message.body or b"") == {
        **attributes,
        "datacontenttype": "application/json",
        "data": data,
    }
    [message] = messages(CloudEvents(mode="binary", header_prefix="ce_"), insert)
    headers = {f"ce_{name}": value for name, value in attributes.items()}
    assert dict(message.headers) == {**headers, "content-type": "application/json"}
    assert json.loads(message.body or b"") == data
    [message] = messages(CloudEvents(mode="binary"), insert)
    assert dict(message.headers)["ce-partitionkey"] == "{%22id%22:1}"
    with pytest.raises(ValueError, match="mode must be one of structured, binary"):
        CloudEvents(mode="json")  # type: ignore[arg-type]


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: type(encoder).__name__)
def test_a_text_that_is_not_utf8_is_an_error_that_names_the_column(encoder: Encoder) -> None:
    insert = change(INSERT, T, new=values("1", b"caf\xe9"))
    with pytest.raises(EncodingFailed, match=r"column 'name' of public\.t: its text is") as e:
        encoder.encode(insert)
    assert (e.value.lsn, e.value.number) == ("0/100", 3)
    assert "caf" not in str(e.value)


def test_a_change_with_another_number_of_columns_is_an_error() -> None:
    with pytest.raises(EncodingFailed, match="has 2 columns, not 1"):
        PlainJson().encode(change(INSERT, T, new=values("1")))


def test_options_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="fill must be one of none, old"):
        PlainJson(fill="new")  # type: ignore[arg-type]
    for kind in (PlainJson, CloudEvents, DebeziumJson):
        with pytest.raises(TypeError, match="tombstones is True or False, not a str"):
            kind(tombstones="no")  # type: ignore[arg-type]


TEXTS = st.none() | st.text(st.characters(exclude_characters="\0", codec="utf-8"))
COLUMNS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), min_size=1), TEXTS, min_size=1, max_size=4
)


@given(COLUMNS, st.sets(st.integers(0, 3)), st.randoms())
def test_every_message_is_json_and_the_key_does_not_depend_on_the_order_of_columns(
    row: dict[str, str | None], key: set[int], shuffle: random.Random
) -> None:
    chosen = [name for place, name in enumerate(row) if place in key]
    names = [*row]
    shuffle.shuffle(names)
    of = table(*((name, 25) for name in row), key=chosen)
    other = table(*((name, 25) for name in names), key=chosen)
    for encoder in ENCODERS:
        [one] = messages(encoder, change(INSERT, of, new=values(*row.values())))
        [two] = messages(encoder, change(INSERT, other, new=values(*map(row.get, names))))
        assert one.key == two.key
        assert (one.key is None) == (not chosen)
        assert json.loads(one.key or b"{}") == {name: row[name] for name in chosen}
        assert isinstance(json.loads(one.body or b""), dict)
    assert body(PlainJson(), change(INSERT, of, new=values(*row.values())))["row"] == row
