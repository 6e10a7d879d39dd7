"""Appliers of tables whose types are outside of pg_catalog, or have no equality."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from clusters import Cluster, Clusters
from databases import Pair, empty_pair, end

from pgreplkit.apply import Applier, MergeWith

NUMBER = (
    'CREATE SCHEMA "own types"',
    'SET search_path = "own types", pg_catalog',
    "CREATE TYPE number",
    "CREATE FUNCTION number_in(cstring) RETURNS number AS 'int4in' LANGUAGE internal IMMUTABLE"
    " STRICT",
    "CREATE FUNCTION number_out(number) RETURNS cstring AS 'int4out' LANGUAGE internal IMMUTABLE"
    " STRICT",
    "CREATE TYPE number (INPUT = number_in, OUTPUT = number_out, LIKE = integer)",
    *(
        f"CREATE FUNCTION number_{name}(number, number) RETURNS {result} AS '{function}'"
        " LANGUAGE internal IMMUTABLE STRICT"
        for name, result, function in (
            ("lt", "boolean", "int4lt"),
            ("le", "boolean", "int4le"),
            ("eq", "boolean", "int4eq"),
            ("ge", "boolean", "int4ge"),
            ("gt", "boolean", "int4gt"),
            ("cmp", "integer", "btint4cmp"),
        )
    ),
    *(
        f"CREATE OPERATOR {sign} (PROCEDURE = number_{name}, LEFTARG = number, RIGHTARG = number)"
        for sign, name in (("<", "lt"), ("<=", "le"), ("=", "eq"), (">=", "ge"), (">", "gt"))
    ),
    "CREATE OPERATOR CLASS number_ops DEFAULT FOR TYPE number USING btree AS OPERATOR 1 <,"
    " OPERATOR 2 <=, OPERATOR 3 =, OPERATOR 4 >=, OPERATOR 5 >, FUNCTION 1"
    " number_cmp(number, number)",
    "CREATE DOMAIN numbered AS number",
    "CREATE TYPE mood AS ENUM ('sad', 'ok')",
    "RESET search_path",
)
"""A type of its own schema, whose operators no session finds by its search_path."""
TABLES = (
    'CREATE TABLE keyed (id "own types".numbered, part "own types".mood, n int,'
    " PRIMARY KEY (id, part))",
    'CREATE TABLE whole (id "own types".number, made json, place point, of regclass, n int)',
    "ALTER TABLE whole REPLICA IDENTITY FULL",
    'CREATE TABLE listed (ids "own types".number[] PRIMARY KEY, n int)',
    "ALTER TABLE listed REPLICA IDENTITY FULL",
)

MERGED = MergeWith(lambda _, remote: {"n": remote["n"]})


@pytest.fixture
def two(cluster: Cluster) -> Iterator[Pair]:
    with empty_pair(cluster.primary) as pair:
        for each in (pair.publisher, pair.subscriber):
            each.run("; ".join(NUMBER), *TABLES)
        pair.publisher.run("CREATE PUBLICATION p FOR TABLE keyed, whole, listed")
        yield pair
        for each in (pair.publisher, pair.subscriber):
            each.run('DROP SCHEMA "own types" CASCADE')


@pytest.mark.pg(">=10")
@pytest.mark.one_colour
@pytest.mark.parametrize(
    "options", [{}, {"group": 50}, {"conflicts": MergeWith(lambda _, b: {"n": b["n"]})}]
)
def test_rows_are_found_by_operators_of_other_schemas(
    two: Pair, options: dict[str, object]
) -> None:
    is_merging = "conflicts" in options
    if is_merging:
        two.publisher.run("ALTER TABLE keyed REPLICA IDENTITY FULL", "DROP TABLE whole")
    one = Applier(
        two.publisher.conninfo,
        two.subscriber.conninfo,
        "one",
        publications=["p"],
        **options,  # type: ignore[arg-type]
    )
    if not is_merging:
        two.publisher.run("INSERT INTO whole (of) VALUES ('keyed')")
    assert not [f for f in one.check().findings if f.severity.name == "CRITICAL"]
    one.run(stop_at=end(two.publisher), timeout=30)
    changes = [
        "INSERT INTO keyed SELECT i::text::\"own types\".number, 'sad', i"
        " FROM generate_series(1, 9) AS i",
        "UPDATE keyed SET n = n + 10",
        "UPDATE keyed SET part = 'ok' WHERE n = 12",
        "UPDATE keyed SET id = '30' WHERE n = 13",
        "DELETE FROM keyed WHERE n = 14",
        "INSERT INTO listed VALUES ('{1,2}', 1), ('{3}', 2)",
        "UPDATE listed SET n = 5 WHERE n = 1",
        "DELETE FROM listed WHERE n = 2",
    ]
    if not is_merging:
        changes += [
            "INSERT INTO whole SELECT i::text::\"own types\".number, '{\"a\": 1}', '(1,2)',"
            " 'public.keyed', i FROM generate_series(1, 4) AS i",
            "UPDATE whole SET n = 20, place = '(3,4)' WHERE n = 1",
            "DELETE FROM whole WHERE n = 2",
        ]
    two.publisher.run(*changes)
    report = one.run(stop_at=end(two.publisher), timeout=30)
    assert report.conflicts == {}
    for table in ("keyed", "listed") if is_merging else ("keyed", "listed", "whole"):
        query = f"SELECT t::text FROM {table} AS t ORDER BY 1"
        assert two.subscriber.all(query) == two.publisher.all(query) != []
    one.drop()


KEYS = {
    "regclass": ("pg_class", "pg_type", "pg_proc"),
    "pair": ("(1,a)", '(2,"b c")', "(,)"),
    "mood[]": ("{sad}", "{ok,sad}", "{}"),
    "mood": ("sad", "ok", "fine"),
    "bpchar": ("a", "bb", ""),
    "char(3)": ("a", "bb", ""),
    "short": ("a", "bb", ""),
    "bit(4)": ("0101", "1111", "0000"),
    "varbit": ("01", "1", ""),
    "varchar(2)": ("a", "bb", ""),
    "cidr": ("10.0.0.0/8", "1.2.3.4", "::1"),
    "interval": ("1 mon", "1 day", "-3 hours"),
    "jsonb": ('{"a": 1.0}', "[1]", "null"),
    "bytea": ("\\x00ff", "\\x", "abc"),
    "int4range": ("[1,5)", "empty", "(,3]"),
    "oidvector": ("1 2", "3", ""),
}


@pytest.fixture(
    scope="module",
    params=[{}, {"group": 50}, {"conflicts": MERGED}],
    ids=["", "group", "merge"],
)
def applied(
    request: pytest.FixtureRequest, clusters: Clusters, major: int
) -> Iterator[tuple[Pair, Applier]]:
    """Two databases after changes of a table for each kind of key, and the applier of these."""
    options: dict[str, object] = request.param
    primary = clusters.of(major).primary
    stack = ExitStack()
    pair = stack.enter_context(empty_pair(primary))
    for each in (pair.publisher, pair.subscriber):
        each.run(
            "CREATE TYPE pair AS (a int, b text)",
            "CREATE TYPE mood AS ENUM ('sad', 'ok', 'fine')",
            "CREATE DOMAIN short AS char(3)",
            *(f'CREATE TABLE "of {kind}" (id {kind} PRIMARY KEY, n int)' for kind in KEYS),
        )
    if "conflicts" in options:
        # A function that merges rows sees the old one.
        pair.publisher.run(*(f'ALTER TABLE "of {kind}" REPLICA IDENTITY FULL' for kind in KEYS))
    pair.publisher.run("CREATE PUBLICATION p FOR ALL TABLES")
    one = Applier(
        pair.publisher.conninfo,
        pair.subscriber.conninfo,
        # Other tests of the server use "one" while this applier exists.
        "keys",
        publications=["p"],
        **options,  # type: ignore[arg-type]
    )
    one.run(stop_at=end(pair.publisher), timeout=30)
    for kind in KEYS:
        first, second, third = keys(kind)
        pair.publisher.run(
            f'INSERT INTO "of {kind}" VALUES ({first}, 1), ({second}, 2)',
            f'UPDATE "of {kind}" SET n = 3 WHERE id = {first}; UPDATE "of {kind}" SET n = n + 1',
            f'UPDATE "of {kind}" SET id = {third} WHERE id = {second}',
            f'DELETE FROM "of {kind}" WHERE id = {first}',
        )
    one.run(stop_at=end(pair.publisher), timeout=30)
    with stack:
        yield pair, one


def keys(kind: str) -> list[str]:
    """Return the keys of a table as SQL."""
    return [f"'{value}'::{kind}" for value in KEYS[kind]]


@pytest.mark.pg(">=10")
@pytest.mark.one_colour
@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_any_type_find_their_rows(applied: tuple[Pair, Applier], kind: str) -> None:
    pair, one = applied
    *_, third = keys(kind)
    rows = f'SELECT id::text, n FROM "of {kind}"'
    assert (
        pair.subscriber.all(rows)
        == pair.publisher.all(rows)
        == [(pair.publisher.one(f"SELECT {third}::text"), 3)]
    )
    assert not one.counters
