"""The tables of a subscriber."""

from __future__ import annotations

import attrs
from applyfacts import column, target

from pgreplkit.catalog.logical.applytables import target_columns, target_keys, targets_in
from pgreplkit.values.tablename import TableName


def test_a_statement_names_only_columns_that_the_version_has() -> None:
    assert "attgenerated" in target_columns(12)
    assert "attgenerated" not in target_columns(11)
    assert "indnkeyatts" in target_keys(11)
    assert "indnkeyatts" not in target_keys(10)


def test_a_value_is_needed_where_nothing_else_gives_one() -> None:
    required = column("n", not_null=True)
    assert required.needs_value
    assert not column("n").needs_value
    assert not attrs.evolve(required, has_default=True).needs_value
    assert not attrs.evolve(required, is_generated=True).needs_value
    assert not attrs.evolve(required, identity="d").needs_value


def test_the_key_is_the_first_unique_index_without_nulls() -> None:
    columns = (column("a"), column("b", not_null=True), column("c", not_null=True))
    table = target(*columns, keys=(("a",), ("b", "c"), ("c",)))
    assert table.primary_key == ("b", "c")
    assert target(*columns, keys=(("a",),)).primary_key == ()
    assert table.is_unique(["c", "b", "x"])
    assert not table.is_unique(["b"])
    assert table.column("b") is columns[1]
    assert table.column("x") is None


def test_the_records_of_a_table_that_vanished_between_the_statements_are_left_out() -> None:
    own: dict[str, object] = {"schema": "public", "name": "t"}
    record = own | {
        "is_partitioned": False,
        "hides_rows": False,
        "lacks": [],
        "has_deferred": False,
        "refusing": [],
    }
    keys: list[dict[str, object]] = [
        own | {"columns": ["id"]},
        {"schema": "public", "name": "u", "columns": ["id"]},
    ]
    [(name, table)] = targets_in([record], [], keys).items()
    assert (name, table.keys, table.columns) == (TableName("public", "t"), (("id",),), ())
