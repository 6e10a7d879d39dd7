"""The names of subjects, topics and streams."""

from __future__ import annotations

import re

import pytest
from encodedchanges import SOURCE, change, table
from hypothesis import given, strategies as st

from pgreplkit.errors import InvalidDestination
from pgreplkit.feeds import FeedOperation, escaped_name, unescaped_name
from pgreplkit.feeds.destinations import Destinations

NAMES = st.text(st.characters(exclude_characters="\0", codec="utf-8"))
LEGAL = re.compile(r"[A-Za-z0-9_-]+")
"""What Kafka takes in a topic and NATS in a part of a subject."""


@given(NAMES)
def test_every_name_becomes_a_legal_part_and_can_be_read_back(name: str) -> None:
    part = escaped_name(name)
    assert LEGAL.fullmatch(part)
    assert unescaped_name(part) == name


@given(st.tuples(NAMES, NAMES), st.tuples(NAMES, NAMES))
def test_two_tables_never_have_one_destination(one: tuple[str, str], two: tuple[str, str]) -> None:
    destinations = Destinations("cdc.{schema}.{table}", "m.{prefix}")

    def named(names: tuple[str, str]) -> str:
        of = table(("id", 23), schema=names[0], name=names[1])
        return destinations.of(change(FeedOperation.INSERT, of), of)

    assert (named(one) == named(two)) == (one == two)


@pytest.mark.parametrize("part", ["a.b", "-", "-4", "-41", "-ff", "-FF", "é", ""])
def test_a_part_that_no_name_becomes_is_refused(part: str) -> None:
    if part == "-":
        assert unescaped_name(part) == ""
        return
    with pytest.raises(InvalidDestination, match="not an escaped name"):
        unescaped_name(part)


@pytest.mark.parametrize(
    ("template", "found"),
    [
        ("cdc.{tables}", "its fields are"),
        ("cdc.{table!r}", "its fields are"),
        ("cdc.{", "Single '{'"),
        ("cdc. {table}", "engines refuse"),
        ("cdc.*", "engines refuse"),
        ("{schema}_{table}", "no separator before {table}"),
        ("{schema}{table}", "no separator before {table}"),
        ("cdc..{table}", "an empty part"),
        ("cdc.", "an empty part"),
        ("", "an empty part"),
    ],
)
def test_a_template_that_makes_invalid_or_equal_names_is_refused(template: str, found: str) -> None:
    with pytest.raises(InvalidDestination, match=re.escape(found)):
        Destinations(template, "m")


def test_a_template_or_a_function_names_the_destination() -> None:
    of = table(("id", 23), name="order lines")
    one = change(FeedOperation.INSERT, of)
    message = change(FeedOperation.MESSAGE, prefix="a.b")
    destinations = Destinations("cdc.{db}.{schema}.{table}", "cdc.{db}.{prefix}")
    assert destinations.of(one, of) == "cdc.shop.public.order-20lines"
    assert destinations.of(message, None) == "cdc.shop.a-2Eb"
    chosen = Destinations(lambda change, table: table.name if table else change.prefix, "m")
    assert chosen.of(one, of) == "order lines"
    assert chosen.of(message, None) == "a.b"
    assert SOURCE.database == "shop"
    with pytest.raises(InvalidDestination, match="must return a name"):
        Destinations(lambda change, table: "", "m").of(one, of)
    with pytest.raises(TypeError, match="a str or a function, not int"):
        Destinations(5, "m")  # type: ignore[arg-type]
