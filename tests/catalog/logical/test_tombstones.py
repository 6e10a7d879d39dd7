"""The triggers that leave tombstones."""

from __future__ import annotations

import attrs
import pytest
from applyfacts import INT, JSON, column, target

from pgreplkit.catalog.logical.tombstones import (
    create_triggers,
    key_json,
    number_of_triggers,
    rank_of,
)

TABLE = target(column("id"), column("n", JSON))


@pytest.mark.parametrize("is_final", [False, True])
@pytest.mark.parametrize("partitions", [(), ("public.t1", 'public."T 2"')])
def test_the_number_of_triggers_is_that_of_the_statements(
    is_final: bool, partitions: tuple[str, ...]
) -> None:
    table = attrs.evolve(TABLE, partitions=partitions)
    statements = create_triggers(table, ["id"], 7, is_final=is_final)
    created = [one for one in statements if one.startswith("CREATE TRIGGER")]
    assert len(created) == number_of_triggers(table, is_final=is_final)
    # Each can be repeated.
    assert len([one for one in statements if one.startswith("DROP TRIGGER IF")]) == len(created)
    assert ("NO_REUSE" in statements[0] or "AFTER INSERT" in "".join(statements)) is is_final


def test_a_moved_key_is_any_key_column_that_differs() -> None:
    moved = create_triggers(TABLE, ["id", "n"], 7, is_final=False)[4]
    assert 'WHEN (NOT (OLD."id" = NEW."id" AND OLD."n" = NEW."n"))' in moved


def test_settings_are_fixed_only_for_types_whose_text_they_change() -> None:
    assert TABLE.columns[0].type_oid == INT
    assert " SET " not in create_triggers(TABLE, ["id"], 7, is_final=False)[0].partition(" AS ")[0]
    assert " SET " in create_triggers(TABLE, ["n"], 7, is_final=False)[0].partition(" AS ")[0]


def test_the_key_is_an_array_of_quoted_columns() -> None:
    assert key_json(["id", 'a"b'], "OLD") == 'jsonb_build_array(OLD."id", OLD."a""b")'


def test_only_since_14_the_origin_of_a_commit_is_known() -> None:
    assert "SELECT NULL::int" in rank_of(13)
    assert "SELECT NULL::int" not in rank_of(14)
