"""Values of each built-in type, written into columns of each other type."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import permutations, product

import psycopg
import pytest
from clusters import Cluster

from pgreplkit.plans.logical.columnfit import is_widening, takes

pytestmark = [pytest.mark.pg(">=10"), pytest.mark.one_colour]

VALUES = {
    "boolean": ("t", "f"),
    "smallint": ("-32768", "0", "32767"),
    "integer": ("-2147483648", "0", "2147483647", "16777217"),
    "bigint": ("-9223372036854775808", "0", "9223372036854775807", "9007199254740993"),
    "numeric": ("0", "NaN", "1e1000", "-0.00000000000000000000001", "0.10", "12345678901234567890"),
    "numeric(5,2)": ("999.99", "-0.01"),
    "numeric(7,2)": ("99999.99", "0"),
    "numeric(7,4)": ("999.9999", "0"),
    "numeric(10,0)": ("-9999999999",),
    "real": ("0.1", "-3.4028235e+38", "1e-45", "NaN", "Infinity"),
    "double precision": ("0.1", "-1.7976931348623157e+308", "5e-324", "0.12345678901234568", "NaN"),
    "money": ("-92233720368547758.08", "0", "92233720368547758.07"),
    "oid": ("0", "4294967295"),
    "xid": ("0", "4294967295"),
    "cid": ("0", "4294967295"),
    "xid8": ("0", "18446744073709551615"),
    "text": ("", "a ", "zz \\ ", "x" * 100),
    "character varying": ("", "a ", "zz \\ ", "x" * 100),
    "character varying(3)": ("", "a ", "xxx"),
    "character varying(5)": ("", "a    ", "xxxxx"),
    "character varying(36)": ("", "a ", "x" * 36),
    "bpchar": ("", "a ", "zz ", "x" * 100),
    "character(3)": ("", "a", "xxx"),
    "character(5)": ("", "a", "xxxxx"),
    "character(36)": ("", "a", "x" * 36),
    "name": ("", "a ", "x" * 63),
    '"char"': ("a", ""),
    "public.citext": ("", "a ", "A", "x" * 100),
    "bytea": ("", "\\x00ff", "\\x61"),
    "date": ("4713-01-01 BC", "5874897-12-31", "2020-02-29", "infinity", "-infinity"),
    "time without time zone": ("00:00:00", "24:00:00", "12:34:56.123456"),
    "time(3) without time zone": ("00:00:00", "12:34:56.123"),
    "time with time zone": ("00:00:00+00", "12:34:56.123456+15:59", "24:00:00-15:59"),
    "timestamp without time zone": (
        "4713-01-01 00:00:00 BC",
        "294276-12-31 23:59:59.999999",
        "2020-03-29 02:30:00",
        "infinity",
    ),
    "timestamp(3) without time zone": ("2020-03-29 02:30:00.123",),
    "timestamp(0) without time zone": ("2020-03-29 02:30:00",),
    "timestamp with time zone": ("294276-12-31 00:00:00+00", "2020-10-25 01:30:00+01"),
    "timestamp(3) with time zone": ("2020-10-25 01:30:00.123+01",),
    "interval": ("1 year 2 mons -3 days 04:05:06.789012", "-178000000 years", "00:00:00"),
    "interval(3)": ("1 year 2 mons -3 days 04:05:06.789",),
    "interval year": ("3 years",),
    "interval month": ("3 years 1 mon",),
    "interval year to month": ("3 years 1 mon",),
    "interval day": ("3 years 1 mon 2 days",),
    "interval minute": ("3 years 1 mon 2 days 03:04:00",),
    "interval day to second(2)": ("3 years 1 mon 2 days 03:04:05.12",),
    "inet": ("10.1.2.3/8", "::1", "1.2.3.4"),
    "cidr": ("10.0.0.0/8", "::1/128", "1.2.3.4/32"),
    "macaddr": ("08:00:2b:01:02:03", "ff:ff:ff:ff:ff:ff"),
    "macaddr8": ("08:00:2b:01:02:03:04:05",),
    "uuid": ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",),
    "json": ('{"a": 1,"a":2}', "1", ' "x" ', '"\\u0000"'),
    "jsonb": ('{"a": 1, "b": [true, null, 1.10]}', '"x"'),
    "jsonpath": ('$."a"',),
    "bit varying": ("", "1", "01010101"),
    "bit varying(3)": ("", "1", "010"),
    "bit varying(5)": ("", "1", "01010"),
    "bit(3)": ("010",),
    "bit(5)": ("01010",),
    "point": ("(1,2)",),
    "line": ("{1,2,3}",),
    "lseg": ("[(1,2),(3,4)]",),
    "box": ("(3,4),(1,2)",),
    "path": ("((1,2),(3,4))", "[(1,2),(3,4),(5,6)]"),
    "polygon": ("((1,2),(3,4),(5,0))", "((1,2))"),
    "circle": ("<(1,2),3>",),
    "tsvector": ("'a':1 'b'",),
    "tsquery": ("'a' & 'b':*",),
    "pg_lsn": ("0/0", "FFFFFFFF/FFFFFFFF"),
    "int4range": ("[1,5)", "empty", "(,)", "[-2147483648,2147483647)"),
    "int8range": ("[1,5)", "empty", "[-9223372036854775808,9223372036854775807)"),
    "numrange": ("[1.5,2.5]", "empty", "(,)", "(1,2)"),
    "daterange": ("[4713-01-01 BC,5874897-12-31)", "empty"),
    "tsrange": ('["2020-03-29 02:30:00","2020-03-30 00:00:00.5")', "empty"),
    "tstzrange": ('["2020-10-25 01:30:00+01","2020-10-26 00:00:00.5+00")', "empty"),
    "int4multirange": ("{[1,5)}", "{[-2147483648,2147483647)}"),
    "int8multirange": ("{[1,5),[7,9)}", "{[-9223372036854775808,9223372036854775807)}"),
    "nummultirange": ("{[1.5,2.5]}", "{(1,2)}"),
    "datemultirange": ("{[4713-01-01 BC,5874897-12-31)}",),
    "tsmultirange": ('{["2020-03-29 02:30:00","2020-03-30 00:00:00.5")}',),
    "tstzmultirange": ('{["2020-10-25 01:30:00+01","2020-10-26 00:00:00.5+00")}',),
    "txid_snapshot": ("10:20:10,14",),
    "pg_snapshot": ("10:20:10,14",),
    "regclass": ("pg_class",),
    "regtype": ("integer",),
    "smallint[]": ("{-32768,NULL}",),
    "integer[]": ("{{2147483647,1}}",),
    "bigint[]": ("{9223372036854775807}",),
    "text[]": ('{"a b",NULL}',),
    "int4range[]": ('{"[1,5)"}',),
}
"""Texts of each type, among them the least, the greatest and the finest value."""

MODIFIED = re.compile(r"[(\[]|interval .")
WHOLE = ("smallint", "integer", "bigint", "oid", "xid", "cid", "xid8")
ANOTHER_MEANING = {
    *product(("json", "jsonb", "jsonpath"), WHOLE),
    *product(("regclass", "regtype"), ("xid", "cid")),
    ("regtype", "regclass"),
    ('"char"', "boolean"),
    ("numrange", "point"),
    ("tsvector", "date"),
    # The time zone of the session would be added.
    ("time with time zone", "time without time zone"),
    # From 14 on only: before, there was no infinity. ALTER TABLE keeps 15 digits.
    ("numeric", "real"),
    ("numeric", "double precision"),
}
"""Types that read the texts of another type as something else, or only by chance."""

KEPT = """
    CREATE FUNCTION pg_temp.kept(shown text[], there text, here text, by_cast boolean)
    RETURNS boolean LANGUAGE plpgsql AS $$
    DECLARE
        value text;
        was text;
        became text;
        middle text := CASE WHEN by_cast THEN '%s' ELSE 'concat(%s)' END;
    BEGIN
        FOREACH value IN ARRAY shown LOOP
            EXECUTE format('SELECT concat(%L::%s)', value, there) INTO was;
            EXECUTE format('SELECT concat(' || format(middle, '%1$L::%2$s') || '::%3$s)',
                was, here, there) INTO became;
            IF was IS DISTINCT FROM became THEN
                RETURN false;
            END IF;
        END LOOP;
        RETURN true;
    EXCEPTION WHEN OTHERS THEN
        RETURN false;
    END $$
"""


@pytest.fixture
def session(cluster: Cluster) -> Iterator[psycopg.Connection]:
    with psycopg.connect(cluster.primary.conninfo, autocommit=True) as connection:
        # As in the sessions of a stream; a time zone with a gap and an overlap in each year.
        connection.execute("SET extra_float_digits = 3; SET timezone = 'Europe/Berlin'")
        connection.execute(KEPT)
        # Not every installation has the extension.
        with suppress(psycopg.Error):
            connection.execute("CREATE EXTENSION citext")
        yield connection
        connection.execute("DROP EXTENSION IF EXISTS citext")


def existing(session: psycopg.Connection) -> list[str]:
    """Return the types that the server has."""
    # Those that have a length, or are an array, exist in every version.
    exists = "SELECT to_regtype(%s) IS NOT NULL"
    return [
        kind
        for kind in VALUES
        if MODIFIED.search(kind) or session.execute(exists, [kind]).fetchone() == (True,)
    ]


def kept(
    session: psycopg.Connection, pairs: list[tuple[str, str]], *, by_cast: bool
) -> set[tuple[str, str]]:
    """Return the pairs of which the first type keeps the values of the second one."""
    found = set()
    with session.transaction(), session.pipeline():
        cursors = [
            session.execute(
                "SELECT pg_temp.kept(%s, %s, %s, %s)", [[*VALUES[there]], there, here, by_cast]
            )
            for here, there in pairs
        ]
    for pair, cursor in zip(pairs, cursors, strict=True):
        if cursor.fetchone() == (True,):
            found.add(pair)
    return found


def test_a_type_takes_exactly_the_types_whose_values_it_keeps(session: psycopg.Connection) -> None:
    pairs = [*permutations(existing(session), 2)]
    taken = {pair for pair in pairs if takes(*pair)}
    by_text = kept(session, pairs, by_cast=False)
    left = taken - by_text
    assert left == kept(session, [*left], by_cast=True)
    # The values above do not show that a type has a length, as "name" has.
    unclear = {
        (here, there)
        for here, there in by_text - taken
        if not MODIFIED.search(here + there) and here != "name"
    }
    assert sorted(unclear - ANOTHER_MEANING) == []


def test_a_widening_alter_keeps_every_value(session: psycopg.Connection) -> None:
    pairs = [pair for pair in permutations(existing(session), 2) if is_widening(*pair)]
    assert ("integer", "bigint") in pairs
    for here, there in pairs:
        session.execute(f"CREATE TEMP TABLE t (id serial, v {here}, was text)".encode())
        insert = f"INSERT INTO t (v, was) VALUES (%s::{here}, concat(%s::{here}))".encode()
        for value in VALUES[here]:
            session.execute(insert, [value, value])
        session.execute(f"ALTER TABLE t ALTER v TYPE {there}".encode())
        # Blanks at the end of a character(n) mean nothing.
        changed = f"""SELECT was, v::text FROM t
            WHERE rtrim(concat(concat(v)::{here})) <> rtrim(was)
                AND rtrim(concat(v::{here})) <> rtrim(was)"""
        assert session.execute(changed.encode()).fetchall() == [], (here, there)
        session.execute("DROP TABLE t")
