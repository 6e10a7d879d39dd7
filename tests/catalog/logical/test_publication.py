"""Publications and their tables."""

from __future__ import annotations

import pytest

from pgreplkit.catalog.logical.publication import PublishedTable, published, published_tables
from pgreplkit.values.tablename import TableName


def test_a_name_stands_for_the_whole_table() -> None:
    assert published("s.t") == PublishedTable(TableName("s", "t"))
    table = PublishedTable("t", columns=["id"])
    assert published(table) is table


def test_one_name_is_not_a_list_of_columns() -> None:
    with pytest.raises(TypeError, match="columns"):
        PublishedTable("t", columns="id")


def test_the_statement_reads_what_the_version_publishes() -> None:
    assert "rowfilter" not in published_tables(14)
    # Listed by servers of 15 to 17, and not sent.
    assert "attgenerated = ''" in published_tables(17)
    assert "attgenerated" not in published_tables(18)
