"""Encoders: changes become messages."""

from __future__ import annotations

import json
import random

import pytest
from encodedchanges import (
    ENCODERS,
    INSERT,
    T,
    body,
    change,
    messages,
    table,
    values,
)
from hypothesis import given, strategies as st

from pgreplkit.errors import EncodingFailed
from pgreplkit.feeds import CloudEvents, DebeziumJson, Encoder, PlainJson


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: type(encoder).__name__)
def test_a_text_that_is_not_utf8_is_an_error_that_names_the_column(encoder: Encoder) -> None:
    insert = change(INSERT, T, new=values("1", b"caf\xe9"))
    with pytest.raises(EncodingFailed, match=r"column 'name' of public\.t: its text is") as e:
        encoder.encode(insert)
    assert (e.value.lsn, e.value.number) == ("0/100", 3)
    assert "caf" not in str(e.value)


def test_options_that_do_not_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="fill must be one of none, old"):
        PlainJson(fill="new")  # type: ignore[arg-type]
    for kind in (PlainJson, CloudEvents, DebeziumJson):
        with pytest.raises(TypeError, match="tombstones must be True or False, not str"):
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
