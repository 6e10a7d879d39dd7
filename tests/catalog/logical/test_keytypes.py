"""Keys by which deletions can be remembered."""

from __future__ import annotations

import attrs
import pytest
from applyfacts import JSON, column, target

from pgreplkit.catalog.logical.keytypes import ambiguous_key_columns, has_spellings

BPCHAR, INTERVAL, NUMERIC, ENUM = 1042, 1186, 1700, 99_999


def of_type(oid: int, name: str) -> list[str]:
    key = attrs.evolve(column("id", oid, not_null=True), type=name)
    return [*ambiguous_key_columns(target(key, column("made", JSON)))]


@pytest.mark.parametrize(
    ("oid", "name"),
    [(23, "integer"), (25, "text"), (BPCHAR, "character(3)"), (ENUM, "ext.ltree"), (1700, "x")],
)
def test_a_key_whose_equal_values_have_one_text_is_remembered(oid: int, name: str) -> None:
    assert of_type(oid, name) == []


@pytest.mark.parametrize(
    ("oid", "name"),
    [(INTERVAL, "interval"), (BPCHAR, "bpchar"), (ENUM, "ext.citext"), (JSON, "json")],
)
def test_a_key_whose_equal_values_have_several_texts_is_not(oid: int, name: str) -> None:
    assert of_type(oid, name) == [f"id of the type {name}"]


def test_domains_enums_and_collations_count() -> None:
    key = attrs.evolve(column("id", ENUM, not_null=True), type="public.own")
    assert [*ambiguous_key_columns(target(key))] == ["id of the type public.own"]
    assert not [*ambiguous_key_columns(target(attrs.evolve(key, is_enum=True)))]
    assert not [*ambiguous_key_columns(target(attrs.evolve(key, base_oid=25)))]
    # A domain is what it is over, with the length of that.
    padded = attrs.evolve(key, base_oid=1042, base_type="character(5)")
    assert not [*ambiguous_key_columns(target(padded))]
    assert [*ambiguous_key_columns(target(attrs.evolve(padded, base_type="bpchar")))]
    assert not [
        *ambiguous_key_columns(target(attrs.evolve(key, base_oid=70000, base_type="ext.ltree")))
    ]
    loose = attrs.evolve(key, base_oid=25, is_deterministic=False)
    assert [*ambiguous_key_columns(target(loose))] == [
        "id, whose collation takes different texts for equal"
    ]
    assert has_spellings(attrs.evolve(key, base_oid=NUMERIC))
    assert not has_spellings(key)
