"""A row class and the SELECT that fills it, by major version."""

from __future__ import annotations

import attrs
import pytest

from pgreplkit import TableName
from pgreplkit.catalog.view import View, column, table_in


@attrs.frozen(kw_only=True)
class Sample:
    plain: int
    named: int = attrs.field(metadata=column(sql="other_name"))
    newer: int | None = attrs.field(default=None, metadata=column(since=14))
    removed: int | None = attrs.field(default=None, metadata=column(until=12))
    changed: int = attrs.field(metadata=column(sql="new", before=16, older_sql="old"))


@pytest.mark.parametrize(
    ("version", "columns"),
    [
        (12, "plain, other_name AS named, removed, old AS changed"),
        (13, "plain, other_name AS named, old AS changed"),
        (14, "plain, other_name AS named, newer, old AS changed"),
        (16, "plain, other_name AS named, newer, new AS changed"),
    ],
)
def test_a_view_selects_the_columns_of_the_major_version(version: int, columns: str) -> None:
    assert View(Sample, "somewhere").sql(version) == f"SELECT {columns} FROM somewhere"


def test_a_record_becomes_a_row_and_missing_columns_none() -> None:
    row = View(Sample, "somewhere").read({"plain": 1, "named": 2, "changed": 3})
    assert row == Sample(plain=1, named=2, newer=None, removed=None, changed=3)


def test_a_tables_name_is_taken_out_of_a_record() -> None:
    record: dict[str, object] = {"schema": "s", "name": "t", "more": 1}
    assert table_in(record) == TableName("s", "t")
    assert record == {"more": 1}
