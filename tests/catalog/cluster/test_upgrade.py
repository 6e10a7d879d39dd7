"""The tables of a database that is upgraded."""

from __future__ import annotations

import pytest

from pgreplkit.catalog.cluster.upgrade import UserTable, user_table_in
from pgreplkit.values.tablename import TableName


def table(**changed: object) -> UserTable:
    record: dict[str, object] = {
        "schema": "public",
        "name": "t",
        "kind": "r",
        "persistence": "p",
        "is_populated": True,
        "bytes": 8192,
        "of_extension": False,
        "joined": [["public", "u"]],
        "unequal_columns": [],
        "xml_columns": [],
        "firing": ["audit"],
        "generated": [],
        "late_constraints": [],
        "hides_rows": False,
        "slow_changes": False,
        "index_methods": ["btree"],
        "value_bytes": 0,
    }
    return user_table_in(record | changed)


def test_lists_of_a_record_become_tuples() -> None:
    assert table().joined == (TableName("public", "u"),)
    assert table().firing == ("audit",)


@pytest.mark.parametrize(
    "changed", [{"kind": "p"}, {"persistence": "u"}, {"of_extension": True}], ids=str
)
def test_only_permanent_tables_of_the_user_are_copied(changed: dict[str, object]) -> None:
    assert table().is_copied
    assert not table(**changed).is_copied
