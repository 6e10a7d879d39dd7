"""Floats that are read by their bits, wherever they are."""

from __future__ import annotations

import math
import struct

from hypothesis import given, strategies as st
from psycopg.sql import SQL

from pgreplkit.catalog.logical.types import Types, TypeShape
from pgreplkit.driver.exactvalue import exact_float, exact_value, has_floats

FLOAT8, TEXT = 701, 25
BASE = {
    FLOAT8: TypeShape(oid=FLOAT8, name="double precision", kind="b"),
    TEXT: TypeShape(oid=TEXT, name="text", kind="b"),
}
KINDS = ["d", "a", "r", "c"]


def wrapped(kinds: list[str], leaf: int) -> tuple[int, Types]:
    """Types within each other around a leaf; return the outermost."""
    types, own = dict(BASE), leaf
    for oid, kind in enumerate(kinds, 1000):
        attributes = [["a", "text", str(TEXT)], ["b", "x", str(own)]] if kind == "c" else []
        element = None if kind == "c" else own
        types[oid] = TypeShape(
            oid=oid, name=f"type{oid}", kind=kind, element=element, attributes=attributes
        )
        own = oid
    return own, types


@given(st.lists(st.sampled_from(KINDS), max_size=4))
def test_a_float_is_found_within_any_types(kinds: list[str]) -> None:
    oid, types = wrapped(kinds, FLOAT8)
    assert has_floats(oid, types)
    sql = exact_value(SQL("col"), oid, types).as_string(None)
    assert "float8send(" in sql or "array_send(" in sql
    assert sql.count("(") == sql.count(")")


@given(st.lists(st.sampled_from(KINDS), max_size=4))
def test_a_value_without_floats_stays_as_it_is(kinds: list[str]) -> None:
    oid, types = wrapped(kinds, TEXT)
    assert not has_floats(oid, types)
    assert exact_value(SQL("col"), oid, types) == SQL("col")


def test_a_type_within_itself_ends() -> None:
    rows = [["a", "public.t", "1000"]]
    types = {1000: TypeShape(oid=1000, name="public.t", kind="c", attributes=rows)}
    assert not has_floats(1000, types)


@given(st.floats(allow_nan=False))
def test_both_texts_of_a_double_become_one(number: float) -> None:
    short, long = repr(number), f"{number:.17g}"
    text = exact_float(long, "double precision")
    assert text == exact_float(short, "double precision")
    assert float(text) == number


@given(st.floats(width=32, allow_nan=False))
def test_both_texts_of_a_real_become_one(number: float) -> None:
    digits = range(6, 10)
    texts = [f"{number:.{count}g}" for count in digits]
    exact = [text for text in texts if rounded(float(text)) == number]
    assert len({exact_float(text, "real") for text in exact}) == 1
    assert rounded(float(exact_float(exact[0], "real"))) == number


def rounded(number: float) -> float:
    """The number as a real."""
    try:
        value: float = struct.unpack("f", struct.pack("f", number))[0]
    except OverflowError:
        return math.copysign(math.inf, number)
    return value
