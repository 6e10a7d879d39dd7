"""The text of a statement for logs and traces."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from psycopg.sql import SQL, Composable, Identifier, Literal

from pgreplkit.driver import statements
from pgreplkit.driver.statementlog import Secret, has_secret, shown

texts = st.text("secret'\\ ", min_size=1)


@given(texts, texts)
def test_texts_in_a_statement_are_not_shown(name: str, value: str) -> None:
    statement = SQL("SET {}  =\n {}").format(Identifier(name), Literal(value))
    assert shown(statement) == " ".join(f"SET {Identifier(name).as_string()} = '…'".split())
    hidden = SQL("ROW({})").format(SQL(", ").join([Literal(value), Secret(value)]))
    assert shown(hidden) == "ROW('…', '…')"


@pytest.mark.parametrize(
    ("statement", "text"),
    [
        ("SELECT %s,\n  1", "SELECT %s, 1"),
        (SQL("LIMIT {}").format(Literal(5)), "LIMIT 5"),
        (SQL("x = {}").format(Literal(True)), "x = true"),
        (SQL("x = {}").format(Literal(b"bytes")), "x = '…'"),
    ],
)
def test_numbers_and_parameters_are_shown_in_one_line(
    statement: str | Composable, text: str
) -> None:
    assert shown(statement) == text


def test_a_statement_with_a_connection_string_is_secret() -> None:
    statement = SQL("ALTER SUBSCRIPTION s {}").format(statements.connection("password=x"))
    assert has_secret(statement)
    assert "password" not in shown(statement)
    assert not has_secret(SQL("SELECT {}").format(Literal("x")))
