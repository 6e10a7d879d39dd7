"""Appliers that write columns GENERATED ALWAYS AS IDENTITY, which UPDATE cannot set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from clusters import Cluster
from databases import Pair, end, make_database, remove_databases

from pgreplkit.apply import Applier, MergeWith, TableRule
from pgreplkit.changes import Row

TABLE = "CREATE TABLE t (id int {} PRIMARY KEY, name text, n int, number int {}, UNIQUE (n))"
ALWAYS = "GENERATED ALWAYS AS IDENTITY"
LARGE = "ALTER TABLE t ALTER name SET STORAGE EXTERNAL"
ROWS = "SELECT id, length(name), n, number FROM t ORDER BY id"


@pytest.fixture
def two(cluster: Cluster) -> Iterator[Pair]:
    pair = Pair(make_database(cluster.primary), make_database(cluster.primary))
    yield pair
    remove_databases(pair.subscriber, pair.publisher)


def changed(row: Row) -> dict[str, object]:
    return {"n": row["n"]}


@pytest.mark.parametrize("options", [{}, {"tables": {"t": TableRule(change=changed)}}])
def test_large_values_stay_if_the_key_changes_and_another_column_is_an_identity(
    two: Pair, options: Any
) -> None:
    for each in (two.publisher, two.subscriber):
        each.run(TABLE.format("", ALWAYS), LARGE)
    two.publisher.run("CREATE PUBLICATION p FOR TABLE t")
    one = Applier(
        two.publisher.conninfo, two.subscriber.conninfo, "one", publications=["p"], **options
    )
    two.publisher.run("INSERT INTO t (id, name, n) VALUES (1, repeat('x', 50000), 1)")
    one.run(stop_at=end(two.publisher), timeout=20)
    # The publisher sends neither the large value nor the old number.
    two.publisher.run("UPDATE t SET id = 3")
    report = one.run(stop_at=end(two.publisher), timeout=20)
    assert not report.conflicts
    assert two.subscriber.all(ROWS) == two.publisher.all(ROWS) == [(3, 50000, 1, 1)]


@pytest.mark.parametrize(("is_full", "merges"), [(False, False), (True, False), (True, True)])
def test_an_identity_that_is_part_of_a_changed_key_is_set(
    two: Pair, is_full: bool, merges: bool
) -> None:
    two.publisher.run(TABLE.format("", ""), LARGE)
    two.subscriber.run(
        TABLE.format(ALWAYS, ""), LARGE, "ALTER TABLE t ADD own text DEFAULT 'default'"
    )
    two.publisher.run("CREATE PUBLICATION p FOR TABLE t")
    if is_full:
        two.publisher.run("ALTER TABLE t REPLICA IDENTITY FULL")
    one = Applier(
        two.publisher.conninfo,
        two.subscriber.conninfo,
        "one",
        publications=["p"],
        conflicts=MergeWith(lambda local, _: {"n": local["n"]}) if merges else None,
    )
    two.publisher.run("INSERT INTO t VALUES (1, repeat('x', 50000), 1), (2, 'b', 2), (3, 'c', 3)")
    one.run(stop_at=end(two.publisher), timeout=20)
    two.subscriber.run("UPDATE t SET own = 'kept'", "DELETE FROM t WHERE id = 3")
    two.publisher.run("UPDATE t SET id = id + 10 WHERE id < 3", "UPDATE t SET n = 5 WHERE id = 11")
    report = one.run(stop_at=end(two.publisher), timeout=20)
    assert not report.conflicts
    assert two.subscriber.all(ROWS) == two.publisher.all(f"{ROWS} OFFSET 1")
    assert two.subscriber.all("SELECT DISTINCT own FROM t") == [("kept",)]
    if merges:
        two.subscriber.run("UPDATE t SET n = 7 WHERE id = 12")
        two.publisher.run("UPDATE t SET id = 22 WHERE id = 12")
        report = one.run(stop_at=end(two.publisher), timeout=20)
        assert sum(report.conflicts.values()) == 1
        assert two.subscriber.all("SELECT id, n, own FROM t WHERE n = 7") == [(22, 7, "kept")]
    else:
        # As an UPDATE of another column, one of a row that is missing inserts nothing.
        two.publisher.run("UPDATE t SET id = 13 WHERE id = 3")
        report = one.run(stop_at=end(two.publisher), timeout=20)
        assert {kind.value: n for kind, n in report.conflicts.items()} == {"update_missing": 1}
        assert two.subscriber.one("SELECT count(*) FROM t") == 2


@pytest.mark.pg(">=10")
def test_copied_rows_replace_those_with_other_values_of_an_identity(two: Pair) -> None:
    table = "CREATE TABLE t (id int PRIMARY KEY, number int GENERATED ALWAYS AS IDENTITY, a text)"
    for each, rows in (
        (two.publisher, "(1, 11, 'a'), (2, 12, 'b'), (3, 13, 'c')"),
        (two.subscriber, "(1, 11, 'x'), (2, 99, 'x'), (4, 14, 'x')"),
    ):
        each.run(
            table,
            f"INSERT INTO t OVERRIDING SYSTEM VALUE VALUES {rows}",
        )
    two.subscriber.run("ALTER TABLE t ADD own text DEFAULT 'new'", "UPDATE t SET own = 'kept'")
    two.publisher.run("CREATE PUBLICATION p FOR TABLE t")
    one = Applier(
        two.publisher.conninfo, two.subscriber.conninfo, "m", publications=["p"], existing="merge"
    )
    one.run(stop_at=end(two.publisher), timeout=20)
    assert two.subscriber.all("SELECT id, number, a, own FROM t ORDER BY id") == [
        (1, 11, "a", "kept"),
        (2, 12, "b", "new"),
        (3, 13, "c", "new"),
        (4, 14, "x", "kept"),
    ]


@pytest.mark.pg(">=10")
@pytest.mark.parametrize("existing", ["refuse", "merge", "truncate"])
def test_the_copy_of_a_table_leaves_those_that_inherit_from_it_alone(
    two: Pair, existing: Any
) -> None:
    for each in (two.publisher, two.subscriber):
        each.run(
            "CREATE TABLE a (id int PRIMARY KEY)",
            "CREATE TABLE b (PRIMARY KEY (id)) INHERITS (a)",
            "CREATE TABLE own (PRIMARY KEY (id)) INHERITS (a)",
        )
    two.publisher.run(
        "INSERT INTO a VALUES (1)", "INSERT INTO b VALUES (1), (2)", "CREATE PUBLICATION p"
    )
    two.subscriber.run("INSERT INTO own VALUES (3)")
    # One after the other: the parent comes last.
    two.publisher.run("ALTER PUBLICATION p ADD TABLE ONLY b")
    options: Any = {"publications": ["p"], "existing": existing}
    for name in ("one", "two"):
        one = Applier(two.publisher.conninfo, two.subscriber.conninfo, name, **options)
        one.run(stop_at=end(two.publisher), timeout=20)
        two.publisher.run("ALTER PUBLICATION p SET TABLE ONLY a")
    for table, rows in (("ONLY a", [(1,)]), ("b", [(1,), (2,)]), ("own", [(3,)])):
        assert two.subscriber.all(f"SELECT id FROM {table} ORDER BY id") == rows


@pytest.mark.pg(">=10")
def test_rows_of_a_table_without_columns_are_deleted(two: Pair) -> None:
    for each in (two.publisher, two.subscriber):
        each.run("CREATE TABLE bare ()", "ALTER TABLE bare REPLICA IDENTITY FULL")
    two.publisher.run("CREATE PUBLICATION p FOR TABLE bare")
    one = Applier(two.publisher.conninfo, two.subscriber.conninfo, "bare", publications=["p"])
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run(
        *["INSERT INTO bare DEFAULT VALUES"] * 3,
        "DELETE FROM bare WHERE ctid = (SELECT min(ctid) FROM bare)",
    )
    report = one.run(stop_at=end(two.publisher), timeout=20)
    assert two.subscriber.one("SELECT count(*) FROM bare") == 2
    assert not report.conflicts


@pytest.mark.pg(">=10")
@pytest.mark.parametrize("copies", [True, False])
def test_a_setting_of_the_subscriber_does_not_change_arrays(two: Pair, copies: bool) -> None:
    for each in (two.publisher, two.subscriber):
        # In binary, no setting matters: a point is sent as text.
        each.run("CREATE TABLE v (id int PRIMARY KEY, tags text[], x point)")
    name = two.subscriber.name
    two.subscriber.run(f"ALTER DATABASE {name} SET array_nulls = off")
    two.publisher.run("CREATE PUBLICATION p FOR TABLE v")
    one = Applier(two.publisher.conninfo, two.subscriber.conninfo, "v", publications=["p"])
    if not copies:
        one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run("INSERT INTO v VALUES (1, '{a,NULL,\"NULL\"}', '(1,2)')")
    one.run(stop_at=end(two.publisher), timeout=20)
    values = "SELECT tags, x::text FROM v"
    assert two.subscriber.all(values) == two.publisher.all(values)


@pytest.mark.pg(">=12")
@pytest.mark.one_colour
@pytest.mark.parametrize("generated", ["STORED", "VIRTUAL"])
@pytest.mark.parametrize("both", [False, True])
def test_rows_of_a_table_with_only_generated_columns_are_applied(
    two: Pair, generated: str, both: bool
) -> None:
    if generated == "VIRTUAL" and two.publisher.node.major < 18:
        pytest.skip("before 18, generated columns are stored")
    computed = f"CREATE TABLE g (n int GENERATED ALWAYS AS (1) {generated})"
    two.subscriber.run(computed)
    two.publisher.run(
        computed if both else "CREATE TABLE g (n int)",
        # From 18 on, a table whose generated columns are not sent has no other identity.
        "ALTER TABLE g REPLICA IDENTITY FULL",
        "CREATE PUBLICATION p FOR TABLE g",
    )
    insert = "INSERT INTO g VALUES (DEFAULT)" if both else "INSERT INTO g VALUES (1)"
    two.publisher.run(insert, insert)
    one = Applier(two.publisher.conninfo, two.subscriber.conninfo, "one", publications=["p"])
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run(insert)
    if not both:
        two.publisher.run(
            "UPDATE g SET n = 1", "DELETE FROM g WHERE ctid = (SELECT min(ctid) FROM g)"
        )
    report = one.run(stop_at=end(two.publisher), timeout=20)
    assert not report.conflicts
    rows = "SELECT n FROM g"
    assert two.subscriber.all(rows) == two.publisher.all(rows) == [(1,)] * (3 if both else 2)
