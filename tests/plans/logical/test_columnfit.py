"""Types of columns that take, or do not take, the values of other types."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st

from pgreplkit.catalog.logical.drift import TableColumn, TableShape
from pgreplkit.catalog.logical.types import TypeShape
from pgreplkit.plans.logical.columnfit import misfits, missing_nulls, takes, unset_identities
from pgreplkit.values.tablename import TableName


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("bigint", "integer"),
        ("integer", "smallint"),
        ("numeric", "bigint"),
        ("numeric(12,2)", "integer"),
        ("numeric", "numeric(9,3)"),
        ("numeric(9,3)", "numeric(5,1)"),
        ("double precision", "integer"),
        ("double precision", "real"),
        ("real", "smallint"),
        ("text", "bigint"),
        ("character varying", "public.mood"),
        ("character varying(20)", "character varying(10)"),
        ("character(5)", "character(3)"),
        ("bit varying", "bit varying(3)"),
        ("timestamp without time zone", "timestamp(3) without time zone"),
        ("timestamp(6) with time zone", "timestamp(3) with time zone"),
        ("text[]", "character varying(3)[]"),
        ("public.mood", "public.mood"),
        ("bigint", "oid"),
        ("numeric(20,0)", "xid8"),
        ("inet", "cidr"),
        ("json", "jsonb"),
        ("interval", "time(3) without time zone"),
        ("interval", "interval day to second(3)"),
        ("interval day", "interval year to month"),
        ("interval(3)", "interval month"),
        ("timestamp(6) without time zone", "timestamp(5) without time zone"),
        ("bit varying(4)", "bit(3)"),
        ("character varying(3)", "character(3)"),
        ("bpchar", "character(5)"),
        ("character varying(36)", "uuid"),
        ("character varying(20)", "bigint"),
        ("int8range[]", "int4range[]"),
        ("public.geometry", "public.geometry(Point,4326)"),
    ],
)
def test_a_wider_type_takes_every_value_and_not_the_other_way(here: str, there: str) -> None:
    assert takes(here, there)
    assert here == there or not takes(there, here)


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("bigint", "numeric"),
        ("bigint", "real"),
        ("numeric(10,2)", "bigint"),
        ("numeric(9,3)", "numeric(9,2)"),
        ("double precision", "bigint"),
        ("double precision", "numeric"),
        ("timestamp without time zone", "timestamp with time zone"),
        ("date", "timestamp without time zone"),
        ("bit(4)", "bit(3)"),
        ("integer", "text"),
        ("integer[]", "bigint[]"),
        ("timestamp without time zone", "date"),
        ("interval(3)", "interval"),
        ("interval month", "interval day"),
        ("time(0) without time zone", "time without time zone"),
        ("character(5)", "character varying(5)"),
        ("character varying(4)", "character(5)"),
        ("character varying(35)", "uuid"),
        ("bit varying(3)", "bit(4)"),
        ("oid", "integer"),
        ("bigint", "xid8"),
        ("xid", "boolean"),
        ("jsonb", "json"),
        ("public.vector(4)", "public.vector(3)"),
        ("public.geometry(Point)", "public.geometry"),
    ],
)
def test_another_type_does_not_take_every_value(here: str, there: str) -> None:
    assert not takes(here, there)


@given(st.integers(1, 20), st.integers(0, 9), st.integers(1, 20), st.integers(0, 9))
def test_a_number_takes_the_largest_and_the_finest_value_of_another(
    digits: int, scale: int, others: int, other_scale: int
) -> None:
    here = f"numeric({digits},{scale})"
    there = f"numeric({others},{other_scale})"
    finest = Decimal(1).scaleb(-other_scale)
    largest = Decimal(10) ** (others - other_scale) - finest
    fits = largest < Decimal(10) ** (digits - scale) and finest == round(finest, scale)
    assert takes(here, there) == fits or here == there


@pytest.mark.parametrize("there", ["text", "character(3)", "citext", "integer"])
def test_citext_keeps_any_text_in_whatever_schema_it_is(there: str) -> None:
    assert takes("public.citext", there)
    assert takes("citext", there)
    assert takes("text", "public.citext")


COLUMN = TableColumn(
    name="n",
    type="integer",
    type_oid=23,
    not_null=False,
    default=None,
    generated="",
    identity="",
    collation=None,
)


def shape(*types: TypeShape, **changes: Any) -> TableShape:
    column = attrs.evolve(COLUMN, **changes)
    return TableShape(
        table=TableName("public", "t"),
        is_partitioned=False,
        columns={column.name: column},
        types={one.oid: one for one in types},
    )


def mood(*labels: str) -> TypeShape:
    return TypeShape(
        oid=70000,
        name="public.mood",
        kind="e",
        definition="",
        element=None,
        not_null=False,
        labels=labels,
        checks=[],
        attributes=[],
    )


def found(there: TableShape, here: TableShape) -> list[tuple[str, tuple[str, ...]]]:
    return [(one.found, one.ddl) for one in misfits(there, here, {"n": "n"})]


def test_a_column_that_is_too_narrow_comes_with_its_alter() -> None:
    there = shape(type="bigint", type_oid=20)
    [[problem, ddl]] = found(there, shape())
    assert problem == "the column 'n' is integer, and bigint on the publisher"
    assert ddl == ("ALTER TABLE public.t ALTER COLUMN n TYPE bigint",)
    assert not found(shape(), there)
    assert not found(there, shape(generated="s"))
    assert not [*misfits(there, shape(name="other"), {"n": "n"})]


@pytest.mark.parametrize(
    ("here", "there"),
    [
        ("timestamp without time zone", "date"),
        ("date", "timestamp without time zone"),
        ("bit(3)", "bit(4)"),
        ("numeric(5,2)", "integer"),
        ("integer", "numeric(5,2)"),
        ("double precision", "text"),
        ("int4range", "int8range"),
        ("xid", "bigint"),
    ],
)
def test_a_column_that_alter_would_cut_or_refuse_comes_without_one(here: str, there: str) -> None:
    problems = found(shape(type=there), shape(type=here))
    assert problems == [(f"the column 'n' is {here}, and {there} on the publisher", ())]


KINDS = st.sampled_from(
    [
        *("boolean", "smallint", "integer", "bigint", "numeric", "real", "double precision", "oid"),
        *("xid8", "text", "bpchar", "citext", "date", "json", "jsonb", "inet", "cidr", "uuid"),
        *("time without time zone", "timestamp without time zone", "interval", "interval day"),
        *("interval year", "int4range", "int8range", "numrange", "box", "polygon", "path", "lseg"),
    ]
)
TYPES = st.one_of(
    KINDS,
    KINDS.map("{}[]".format),
    st.builds("numeric({},{})".format, st.integers(1, 9), st.integers(0, 9)),
    st.builds(
        "{}({})".format,
        st.sampled_from(["character", "character varying", "bit", "bit varying", "interval"]),
        st.integers(1, 40),
    ),
    st.builds("timestamp({}) without time zone".format, st.integers(0, 6)),
)


@given(TYPES, TYPES)
def test_an_alter_is_only_offered_if_its_type_takes_all_of_the_columns_values(
    here: str, there: str
) -> None:
    for _, ddl in found(shape(type=there), shape(type=here)):
        assert not takes(here, there)
        assert not ddl or takes(there, here)


@given(TYPES, TYPES, TYPES)
def test_what_takes_a_wider_type_takes_the_narrower_one(one: str, two: str, three: str) -> None:
    assert takes(one, one)
    if takes(one, two) and takes(two, three):
        assert takes(one, three)


def domain(oid: int, element: int, definition: str) -> TypeShape:
    return attrs.evolve(
        mood(), oid=oid, name=f"public.d{oid}", kind="d", element=element, definition=definition
    )


def test_a_domain_is_compared_by_the_type_that_it_is_over_in_the_end() -> None:
    over = (domain(70001, 70002, "public.d70002"), domain(70002, 20, "bigint"))
    there = shape(*over, type="public.d70001", type_oid=70001)
    assert not found(there, shape(type="bigint", type_oid=20))
    [[problem, ddl]] = found(there, shape())
    assert problem == "the column 'n' is integer, and public.d70001 on the publisher"
    assert ddl == ("ALTER TABLE public.t ALTER COLUMN n TYPE bigint",)


def test_a_type_of_a_schema_may_not_exist_here() -> None:
    [[_, ddl]] = found(shape(type="public.other", type_oid=70001), shape())
    assert ddl == ()


def test_a_label_that_is_missing_comes_with_its_alter() -> None:
    enum: dict[str, Any] = {"type": "public.mood", "type_oid": 70000}
    [[problem, ddl]] = found(shape(mood("sad", "ok"), **enum), shape(mood("sad"), **enum))
    assert "lacks the label 'ok'" in problem
    assert ddl[0].startswith("ALTER TYPE public.mood ADD VALUE")


def test_an_enum_may_have_another_name_here() -> None:
    theirs = attrs.evolve(mood("sad", "ok"), name="sales.mood", oid=70007)
    array = attrs.evolve(mood(), name="public.mood[]", oid=70008, kind="a", element=70000)
    their_array = attrs.evolve(array, name="sales.mood[]", oid=70009, element=70007)
    for their, here in ((theirs, mood("ok", "sad")), (their_array, array)):
        there = shape(theirs, their_array, type=their.name, type_oid=their.oid)
        own: dict[str, Any] = {"type": here.name, "type_oid": here.oid}
        assert not found(there, shape(mood("ok", "new", "sad"), array, **own))
        [[problem, ddl]] = found(there, shape(mood("ok"), array, **own))
        assert problem.startswith("enum public.mood lacks the label 'sad'")
        assert ddl == ("ALTER TYPE public.mood ADD VALUE IF NOT EXISTS 'sad' BEFORE 'ok'",)


def test_a_composite_type_may_have_another_name_here_if_it_has_the_same_attributes() -> None:
    here = attrs.evolve(mood(), kind="c", name="public.pair", attributes=[["x", "text", "25"]])
    own: dict[str, Any] = {"type": here.name, "type_oid": here.oid}
    for attribute, problems in ((["x", "text", "25"], 0), (["x", "integer", "23"], 1)):
        theirs = attrs.evolve(mood(), kind="c", name="sales.pair", attributes=[attribute])
        there = shape(theirs, type=theirs.name, type_oid=theirs.oid)
        assert len(found(there, shape(here, **own))) == problems
    enum = shape(mood("x"), type="public.mood", type_oid=70000)
    assert len(found(enum, shape(here, **own))) == 1


def test_a_column_that_takes_no_null_comes_with_its_alter() -> None:
    [one] = missing_nulls(shape(), shape(not_null=True), {"n": "n"})
    assert one.ddl == ("ALTER TABLE public.t ALTER COLUMN n DROP NOT NULL",)
    assert not [*missing_nulls(shape(not_null=True), shape(not_null=True), {"n": "n"})]


def test_a_generated_column_is_computed_here_and_takes_no_null_from_the_publisher() -> None:
    here = shape(not_null=True, generated="s")
    assert not [*missing_nulls(shape(), here, {"n": "n"})]


def test_a_column_that_no_update_can_set_comes_with_its_alter() -> None:
    here, names = shape(identity="a"), {"m": "n"}
    [one] = unset_identities(shape(name="m"), here, names, set())
    assert one.ddl == ("ALTER TABLE public.t ALTER COLUMN n SET GENERATED BY DEFAULT",)
    assert "'m' is not on the publisher" in one.found
    # The row is deleted and inserted, or the publisher cannot update the column either.
    assert not [*unset_identities(shape(name="m"), here, names, {"m"})]
    assert not [*unset_identities(shape(name="m", identity="a"), here, names, set())]
    assert not [*unset_identities(shape(name="m"), shape(identity="d"), names, set())]


@pytest.mark.parametrize(
    "changes", [{"identity": "d"}, {"is_key": True}, {"inherits_not_null": True}]
)
def test_a_not_null_that_cannot_be_dropped_is_offered_to_the_publisher(
    changes: dict[str, Any],
) -> None:
    [one] = missing_nulls(shape(name="m"), shape(not_null=True, **changes), {"m": "n"})
    assert one.ddl == ()
    assert one.found.endswith(
        "run ALTER TABLE public.t ALTER COLUMN m SET NOT NULL on the publisher"
    )
