"""Rules are checked against both servers before an applier makes anything."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from clusters import Cluster
from databases import Pair, end, make_database, remove_databases

from pgreplkit.apply import Applier, TableRule
from pgreplkit.errors import ApplyError, SchemaMismatch
from pgreplkit.rows import Severity

pytestmark = pytest.mark.one_colour
LEFT = """SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()
    UNION ALL SELECT nspname::text FROM pg_namespace WHERE nspname = 'pgreplkit'
    UNION ALL SELECT roname FROM pg_replication_origin WHERE roname = 'pgreplkit_ruled'"""


@pytest.fixture
def two(cluster: Cluster) -> Iterator[Pair]:
    """Two databases; the first one publishes t, of which the other one has more columns."""
    pair = Pair(make_database(cluster.primary), make_database(cluster.primary))
    pair.publisher.run(
        "CREATE TABLE t (id int PRIMARY KEY, name text)",
        "CREATE PUBLICATION p FOR TABLE t",
        "INSERT INTO t VALUES (1, 'a')",
    )
    pair.subscriber.run(
        "CREATE DOMAIN positive AS int CHECK (value > 0)",
        """CREATE TABLE t (id int PRIMARY KEY, name text, n int, "50%s" varchar(3), p positive,
            tags text[], bits bit(2), amount numeric(3, 1), always int GENERATED ALWAYS AS IDENTITY,
            day date)""",
    )
    yield pair
    remove_databases(pair.subscriber, pair.publisher)


def applier(pair: Pair, rule: TableRule, **options: Any) -> Applier:
    options = {"publications": ["p"], "tables": {"t": rule}, **options}
    return Applier(pair.publisher.conninfo, pair.subscriber.conninfo, "ruled", **options)


@pytest.mark.pg(">=10")
@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("n", "many", 'integer: "many"'),
        ("n", 2**40, "out of range"),
        ("50%s", "paris", "too long for type character varying"),
        ("p", -1, "violates check constraint"),
        ("tags", "{a", "malformed array literal"),
        ("bits", "101", "bit string length 3"),
        ("amount", 1000, "overflow"),
        ("day", "31.31.2020", "date"),
    ],
)
@pytest.mark.parametrize("copy", [True, pytest.param(False, marks=pytest.mark.matrix)])
def test_a_constant_that_a_column_does_not_take_is_found_before_anything_is_made(
    two: Pair, column: str, value: object, problem: str, copy: bool
) -> None:
    one = applier(two, TableRule(constants={column: value}), copy=copy)
    found = one.check()["table public.t"]
    assert not one.check().is_ready
    assert problem in found.found
    assert repr(column) in found.found
    with pytest.raises(SchemaMismatch, match=problem) as raised:
        one.run(timeout=20)
    assert "correct the rule" in str(raised.value)
    assert (two.publisher.all(LEFT), two.subscriber.all(LEFT)) == ([], [])


@pytest.mark.pg(">=10")
def test_constants_that_fit_are_applied(two: Pair) -> None:
    values: dict[str, object] = {
        "n": None,
        "50%s": "abc",
        "p": 1,
        "tags": ["a"],
        "bits": "10",
        "amount": 1,
        "always": 7,
        "day": "2020-12-31",
    }
    one = applier(two, TableRule(constants=values))
    assert one.check().is_ready
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run("INSERT INTO t VALUES (2, 'b')")
    one.run(stop_at=end(two.publisher), timeout=20)
    rows = two.subscriber.all('SELECT id, n, "50%s", p, tags, always FROM t ORDER BY id')
    assert rows == [(1, None, "abc", 1, ["a"], 7), (2, None, "abc", 1, ["a"], 7)]


@pytest.mark.pg(">=10")
@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        (TableRule(to="crm.people"), r"no table crm\.people"),
        (TableRule(columns={"name": "mail"}), "no column 'mail'"),
        (TableRule(constants={"node": "a"}), "no column 'node'"),
        (TableRule(key=("number",)), "no column 'number'"),
    ],
)
def test_every_start_refuses_a_rule_that_names_what_the_subscriber_lacks(
    two: Pair, rule: TableRule, problem: str
) -> None:
    with pytest.raises(SchemaMismatch, match=f"{problem}.*correct the rule"):
        applier(two, rule).run(timeout=20)
    assert (two.publisher.all(LEFT), two.subscriber.all(LEFT)) == ([], [])
    applier(two, TableRule()).run(stop_at=end(two.publisher), timeout=20)
    # Without a change that would need it.
    with pytest.raises(ApplyError, match=f"{problem}.*correct the rule"):
        applier(two, rule).run(stop_at=end(two.publisher), timeout=20)


@pytest.mark.pg(">=10")
def test_rows_that_are_found_by_columns_without_a_unique_index_are_reported(two: Pair) -> None:
    assert applier(two, TableRule()).check()["table public.t"].severity is Severity.OK
    two.publisher.run("ALTER TABLE t REPLICA IDENTITY FULL")
    found = applier(two, TableRule(key=("name",))).check()["table public.t"]
    assert found.severity is Severity.WARNING
    assert "found by (name)" in found.found
    two.subscriber.run("CREATE UNIQUE INDEX ON t (name)")
    assert applier(two, TableRule(key=("name",))).check()["table public.t"].severity is Severity.OK
    # Its own number is a key that the publisher does not know.
    two.subscriber.run("ALTER TABLE t DROP CONSTRAINT t_pkey, ADD PRIMARY KEY (always)")
    two.publisher.run("ALTER TABLE t REPLICA IDENTITY DEFAULT")
    found = applier(two, TableRule()).check()["table public.t"]
    assert "found by (id)" in found.found
