"""The JSON of rows and keys, also of values that the server did not send."""

from __future__ import annotations

import pytest
from encodedchanges import (
    DELETE,
    ENCODERS,
    FULL,
    INSERT,
    UNCHANGED,
    UPDATE,
    T,
    body,
    change,
    messages,
    table,
    values,
)

from pgreplkit.errors import EncodingFailed
from pgreplkit.feeds import DebeziumJson, PlainJson


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


def test_a_change_with_another_number_of_columns_is_an_error() -> None:
    with pytest.raises(EncodingFailed, match="has 2 columns, not 1"):
        PlainJson().encode(change(INSERT, T, new=values("1")))
