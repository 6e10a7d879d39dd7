"""The definition of a table."""

from __future__ import annotations

import attrs

from pgreplkit.catalog.logical.drift import TableColumn, table_columns

PLAIN = TableColumn(
    name="n",
    type="integer",
    type_oid=23,
    not_null=True,
    default=None,
    generated="",
    identity="",
    collation=None,
)


def test_a_value_is_needed_where_nothing_else_gives_one() -> None:
    assert PLAIN.needs_value
    assert not attrs.evolve(PLAIN, not_null=False).needs_value
    assert not attrs.evolve(PLAIN, default="7").needs_value
    assert not attrs.evolve(PLAIN, generated="s").needs_value
    assert not attrs.evolve(PLAIN, identity="a").needs_value


def test_the_statement_names_only_columns_that_the_version_has() -> None:
    assert "attgenerated" in table_columns(12)
    assert "attgenerated" not in table_columns(11)
