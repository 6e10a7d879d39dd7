"""TableName: read and written as SQL does."""

import pytest
from hypothesis import given, strategies as st

import pgreplkit
from pgreplkit import TableName

words = st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=15)


@given(words, words)
def test_parsing_the_text_of_a_table_name_returns_it(schema: str, name: str) -> None:
    table = TableName(schema, name)
    assert TableName.parse(str(table)) == table


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("users", TableName("public", "users")),
        ("Sales.ORDERS", TableName("sales", "orders")),
        ('"Sales"."a.b"', TableName("Sales", "a.b")),
        ('"say ""hi"""', TableName("public", 'say "hi"')),
        ("größe.t$1", TableName("größe", "t$1")),
    ],
)
def test_table_names_are_parsed_as_the_server_parses_them(text: str, table: TableName) -> None:
    assert TableName.parse(text) == table


@pytest.mark.parametrize(
    "text", ["", ".", "a.", ".a", "a.b.c", "1a", "a b", '"a', '""', "a-b", "a\0", "x" * 64, "a;"]
)
def test_text_that_is_not_a_table_name_is_refused(text: str) -> None:
    with pytest.raises(pgreplkit.errors.InvalidTableName, match="table name"):
        TableName.parse(text)


def test_tables_are_ordered_by_schema_and_name() -> None:
    names = [TableName("b", "a"), TableName("a", "b"), TableName("a", "a")]
    assert sorted(names) == names[::-1]
