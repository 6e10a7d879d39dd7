"""The rows and columns of a table to copy."""

from __future__ import annotations

from pgreplkit.catalog.logical.publication import PublishedTable
from pgreplkit.plans.logical.snapshot import table_copy


def record(name: str | None, **changed: object) -> dict[str, object]:
    """A record of a table's column; without a name, that of a table without columns."""
    return {
        "oid": 7,
        "identity": "d",
        "is_partitioned": False,
        "name": name,
        "is_generated": False,
        "type_oid": 23,
        "type_modifier": -1,
        "is_key": name == "id",
        "own_type": None,
    } | changed


RECORDS = [record("id"), record("n"), record("twice", is_generated=True)]


def test_generated_columns_are_copied_only_if_they_are_published() -> None:
    whole = table_copy(PublishedTable("t"), RECORDS)
    assert [column.name for column in whole.table.columns] == ["id", "n"]
    some = table_copy(PublishedTable("t", columns=["id", "twice"], where="id > 0"), RECORDS)
    assert [column.name for column in some.table.columns] == ["id", "twice"]
    assert some.where == "id > 0"


def test_a_table_without_columns_has_one_record_without_a_name() -> None:
    copy = table_copy(PublishedTable("t"), [record(None)])
    assert (copy.table.columns, copy.table.oid, str(copy.table)) == ((), 7, "public.t")


def test_a_created_type_has_its_name() -> None:
    copy = table_copy(PublishedTable("t"), [record("mood", own_type=["public", "mood"])])
    assert str(copy.table.columns[0].type_name) == "public.mood"
