"""The statements of a comparison, and the keys that they read and write."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from psycopg.sql import Composed, Literal

from pgreplkit import TableName
from pgreplkit.catalog.logical.compare import ColumnShape
from pgreplkit.driver.tablescan import TableScan
from pgreplkit.plans.logical.compare import KeyRange

WORD = ColumnShape(
    name="word", type="text", type_oid=25, collation="c C", sorts_parts=False, is_generated=False
)
NUMBER = ColumnShape(
    name="n", type="integer", type_oid=23, collation=None, sorts_parts=False, is_generated=False
)
PAIR = ColumnShape(
    name="pair", type="app.pair", type_oid=9, collation=None, sorts_parts=True, is_generated=False
)


def scan(*key: ColumnShape, encoding: str | None = None, alike: bool = True) -> TableScan:
    return TableScan(
        table=TableName("public", "words"),
        columns=key,
        key=key,
        where=None,
        is_ordered_alike=alike,
        has_hash64=True,
        encoding=encoding,
        types={},
    )


def text(statement: Composed) -> str:
    return statement.as_string(None)


@given(st.binary(max_size=8))
def test_a_key_of_any_bytes_is_read_again_by_the_same_bytes(raw: bytes) -> None:
    table = scan(WORD, encoding="SQL_ASCII")
    key = table.key_in({"key0": raw})
    assert Literal(raw).as_string(None) in text(table.rows([key]))
    assert table.named(key)["word"] == raw.decode(errors="backslashreplace")


CONVERTED = """pg_catalog.convert_to("public"."words"."{}"::text, 'UTF8') OFFSET"""


@pytest.mark.parametrize(
    ("column", "encoding", "alike", "order"),
    [
        (NUMBER, "UTF8", False, '"public"."words"."n" OFFSET'),
        (WORD, None, True, '"public"."words"."word" OFFSET'),
        (WORD, None, False, '"public"."words"."word" COLLATE "C" OFFSET'),
        (WORD, "UTF8", False, CONVERTED.format("word")),
        (WORD, "SQL_ASCII", True, '"public"."words"."word" OFFSET'),
        (PAIR, None, True, '"public"."words"."pair"::text COLLATE "C" OFFSET'),
        (PAIR, "UTF8", True, CONVERTED.format("pair")),
    ],
)
def test_a_key_has_one_order_on_servers_with_other_locales(
    column: ColumnShape, encoding: str | None, alike: bool, order: str
) -> None:
    table = scan(column, encoding=encoding, alike=alike)
    assert f"ORDER BY {order}" in text(table.last_key(KeyRange(None, None), 5))


def test_both_sides_of_a_bound_have_the_same_form() -> None:
    digest = text(scan(PAIR, alike=False).digest(KeyRange(("(a)",), None)))
    assert """"pair"::text COLLATE "C") > ('(a)'::app.pair::text COLLATE "C")""" in digest


def test_texts_of_one_encoding_have_hashes_of_the_server() -> None:
    everything = KeyRange(None, None)
    assert "hashtextextended" in text(scan(WORD).digest(everything))
    assert "md5(pg_catalog.convert_to(" in text(scan(WORD, encoding="UTF8").digest(everything))
