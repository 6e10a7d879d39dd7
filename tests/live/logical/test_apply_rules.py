"""Rules are checked against both servers before an applier makes anything."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import pytest
from clusters import Cluster
from databases import Database, Pair, empty_pair, end
from tracebacks import printed

from pgreplkit import Primary, TableName, compare
from pgreplkit.apply import Applier, TableRule
from pgreplkit.changes import Row
from pgreplkit.errors import ApplyError, SchemaMismatch, TableNotFound
from pgreplkit.mesh import Mesh
from pgreplkit.rows import Severity
from pgreplkit.upgrade import TableGroup, Upgrade

pytestmark = pytest.mark.one_colour
LEFT = """SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()
    UNION ALL SELECT nspname::text FROM pg_namespace WHERE nspname = 'pgreplkit'
    UNION ALL SELECT roname FROM pg_replication_origin WHERE roname = 'pgreplkit_ruled'"""


@pytest.fixture
def two(cluster: Cluster) -> Iterator[Pair]:
    """Two databases; the first one publishes t, of which the other one has more columns."""
    with empty_pair(cluster.primary) as pair:
        pair.publisher.run(
            "CREATE TABLE t (id int PRIMARY KEY, name text)",
            "CREATE PUBLICATION p FOR TABLE t",
            "INSERT INTO t VALUES (1, 'a')",
        )
        pair.subscriber.run(
            "CREATE DOMAIN positive AS int CHECK (value > 0)",
            """CREATE TABLE t (id int PRIMARY KEY, name text, n int, "50%s" varchar(3), p positive,
                tags text[], bits bit(2), amount numeric(3, 1),
                always int GENERATED ALWAYS AS IDENTITY, day date)""",
        )
        yield pair


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
@pytest.mark.parametrize(
    ("create", "kind"),
    [
        ("CREATE VIEW other AS SELECT * FROM t", "view"),
        ("CREATE MATERIALIZED VIEW other AS SELECT * FROM t", "materialized view"),
        (
            "CREATE FOREIGN DATA WRAPPER w; CREATE SERVER s FOREIGN DATA WRAPPER w;"
            " CREATE FOREIGN TABLE other (id int) SERVER s",
            "foreign table",
        ),
        ("CREATE SEQUENCE other", "sequence"),
    ],
)
def test_a_target_that_is_no_table_is_named_by_its_kind(two: Pair, create: str, kind: str) -> None:
    two.subscriber.run(create)
    problem = f"public.other of the subscriber is a {kind}, and changes need a table"
    mapped = applier(two, TableRule(to="other"))
    assert mapped.check()["table public.t"].found == problem
    with pytest.raises(SchemaMismatch, match=problem):
        mapped.run(timeout=20)
    # Without a rule, too, and once it runs.
    one = applier(two, TableRule(), existing="merge")
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run(
        "CREATE TABLE other (id int PRIMARY KEY)",
        "ALTER PUBLICATION p ADD TABLE other",
        "INSERT INTO other VALUES (1)",
    )
    with pytest.raises(SchemaMismatch, match=problem):
        one.run(stop_at=end(two.publisher), timeout=20)
    here, there = two.publisher.conninfo, two.subscriber.conninfo
    mesh = Mesh({"a": here, "b": there}, tables=["other"])
    assert mesh.plan_create().check()["table public.other"].found == f"it is a {kind} on b"
    groups = [TableGroup(tables=(TableName.parse("other"), TableName.parse("t")), bytes=0)]
    with Primary.connect(here) as a, Primary.connect(there) as b:
        with pytest.raises(TableNotFound, match=f"on the subscriber it is a {kind}"):
            list(compare(a, b, ["other"]))
        with pytest.raises(ValueError, match=f"not to be copied: public.other .*{kind}"):
            Upgrade(b, a, name="u").plan_prepare(groups)


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


@pytest.mark.pg(">=12")
@pytest.mark.parametrize(
    "rule",
    [TableRule(columns={"name": "g"}), TableRule(constants={"g": 1})],
    ids=["column", "constant"],
)
def test_a_rule_that_gives_a_value_to_a_generated_column_is_refused(
    two: Pair, rule: TableRule
) -> None:
    two.subscriber.run("ALTER TABLE t ADD g int GENERATED ALWAYS AS (id * 2) STORED")
    one = applier(two, rule)
    found = one.check()["table public.t"]
    assert found.severity is Severity.CRITICAL
    assert "computes 'g', a generated column, and" in found.found
    with pytest.raises(SchemaMismatch, match="generated column"):
        one.run(timeout=20)
    assert (two.publisher.all(LEFT), two.subscriber.all(LEFT)) == ([], [])
    applier(two, TableRule()).run(stop_at=end(two.publisher), timeout=20)
    with pytest.raises(SchemaMismatch, match=r"computes 'g'.*correct the rule"):
        one.run(stop_at=end(two.publisher), timeout=20)


@pytest.mark.pg(">=10")
def test_a_column_that_no_update_can_set_is_found(two: Pair) -> None:
    two.publisher.run("ALTER TABLE t ADD always int NOT NULL DEFAULT 1")
    one = applier(two, TableRule())
    found = one.check()["table public.t, its types"]
    assert found.severity is Severity.WARNING
    assert "'always' is GENERATED ALWAYS AS IDENTITY, which no UPDATE can set" in found.found
    # The old value is sent, so that the row is deleted and inserted.
    two.publisher.run("ALTER TABLE t REPLICA IDENTITY FULL")
    assert one.check().is_ready
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run("UPDATE t SET always = 5")
    one.run(stop_at=end(two.publisher), timeout=20)
    assert two.subscriber.all("SELECT id, always FROM t") == [(1, 5)]
    assert "t, its types" not in str(one.check())


@pytest.mark.pg(">=12")
def test_a_function_that_changes_a_computed_value_stops_the_applier(two: Pair) -> None:
    two.publisher.run("ALTER TABLE t ADD g int")
    two.subscriber.run("ALTER TABLE t ADD g int GENERATED ALWAYS AS (id * 2) STORED")
    one = applier(two, TableRule(change=lambda row: {"g": 5}))
    with pytest.raises(ApplyError, match="change returned a value for 'g'"):
        one.run(stop_at=end(two.publisher), timeout=20)
    one = applier(two, TableRule(change=lambda row: {**row, "name": "b"}))
    one.run(stop_at=end(two.publisher), timeout=20)
    assert two.subscriber.all("SELECT id, name, g FROM t") == [(1, "b", 2)]


def leave(row: Row) -> Mapping[str, object]:
    sys.exit(3)


@pytest.mark.pg(">=10")
@pytest.mark.parametrize("copies", [True, pytest.param(False, marks=pytest.mark.matrix)])
@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda row: {"nope": 1}, "change returned the column 'nope', which is not published"),
        (lambda row: {"name": object()}, "change returned for 'name' a value of type object"),
        (lambda row: {"number": "secret"}, 'integer: "…"; change replaced the values of number'),
        (lambda row: {"number": 2**40}, "out of range.*; change replaced the values of number"),
        (lambda row: {"name": None}, "not-null.*; change replaced the values of name"),
        (leave, None),
    ],
    ids=["column", "object", "text", "range", "null", "exit"],
)
def test_a_value_of_a_function_that_is_refused_is_reported_with_its_table_and_column(
    two: Pair, change: Callable[[Row], Mapping[str, object]], problem: str | None, copies: bool
) -> None:
    two.publisher.run("ALTER TABLE t ADD number int")
    two.subscriber.run("ALTER TABLE t ADD number int, ALTER name SET NOT NULL")
    if not copies:
        applier(two, TableRule(), existing="merge").run(stop_at=end(two.publisher), timeout=20)
        two.publisher.run("INSERT INTO t VALUES (2, 'b', 3)")
    one = applier(two, TableRule(change=change))
    if problem is None:
        with pytest.raises(SystemExit):
            one.run(stop_at=end(two.publisher), timeout=20)
    else:
        with pytest.raises(ApplyError, match=problem) as raised:
            one.run(stop_at=end(two.publisher), timeout=20)
        assert "public.t" in str(raised.value)
        assert "secret" not in printed(raised.value)
    # Nothing of the transaction was applied, and the next run begins with it.
    number = two.subscriber.one("SELECT count(*) FROM t")
    assert number == (0 if copies else 1)
    applier(two, TableRule()).run(stop_at=end(two.publisher), timeout=20)
    assert two.subscriber.one("SELECT count(*) FROM t") == number + 1


@pytest.mark.pg(">=10")
@pytest.mark.matrix
def test_a_function_is_called_once_for_a_copied_row_that_is_refused(two: Pair) -> None:
    seen: list[object] = []

    def change(row: Row) -> Mapping[str, object]:
        seen.append(row["id"])
        return {"name": None}

    two.subscriber.run("ALTER TABLE t ALTER name SET NOT NULL")
    with pytest.raises(ApplyError, match="change replaced the values of name"):
        applier(two, TableRule(change=change)).run(timeout=20)
    assert seen == [1]


@pytest.mark.pg(">=10")
@pytest.mark.parametrize("copies", [True, pytest.param(False, marks=pytest.mark.matrix)])
def test_a_value_that_python_cannot_load_for_a_function_is_not_shown(
    two: Pair, copies: bool
) -> None:
    for each in (two.publisher, two.subscriber):
        each.run("ALTER TABLE t ADD since date")
    if not copies:
        applier(two, TableRule(), existing="merge").run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run("INSERT INTO t (id, since) VALUES (2, '0044-03-15 BC')")
    one = applier(two, TableRule(where=lambda row: True))
    found = "the value of 'since' does not exist in Python; register a loader"
    with pytest.raises(ApplyError, match=found) as raised:
        one.run(stop_at=end(two.publisher), timeout=20)
    assert "0044" not in str(raised.value)
    assert "public.t" in str(raised.value)


@pytest.mark.pg(">=10")
def test_a_table_that_a_crash_would_empty_is_reported(two: Pair) -> None:
    check = "table public.t, its persistence"
    one = applier(two, TableRule())
    assert check not in str(one.check())
    two.subscriber.run("ALTER TABLE t SET UNLOGGED")
    found = one.check()[check]
    assert (found.severity, found.found) == (Severity.WARNING, "public.t: not logged")
    two.subscriber.run(found.remedy)
    assert check not in str(one.check())


@pytest.mark.parametrize("is_full", [False, True])
def test_a_row_that_fits_again_is_inserted_if_its_large_values_are_sent(
    two: Pair, is_full: bool
) -> None:
    two.publisher.run(
        "ALTER TABLE t ALTER name SET STORAGE EXTERNAL, ADD n int",
        "UPDATE t SET name = repeat('x', 50000), n = 1",
    )
    if is_full:
        two.publisher.run("ALTER TABLE t REPLICA IDENTITY FULL")
    one = applier(two, TableRule(where=lambda row: row["n"] == 1))
    found = one.check()["table public.t, large values"]
    assert found.severity is (Severity.OK if is_full else Severity.WARNING)
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run("UPDATE t SET n = 2", "UPDATE t SET n = 1")
    report = one.run(stop_at=end(two.publisher), timeout=20)
    missing = {kind.value: number for kind, number in report.conflicts.items()}
    assert missing == ({} if is_full else {"update_missing": 1})
    rows = two.subscriber.all("SELECT length(name) FROM t")
    assert rows == ([(50000,)] if is_full else [])


@pytest.mark.pg(">=10")
@pytest.mark.parametrize("options", [{}, {"group": 20}], ids=["single", "group"])
def test_rows_are_found_whose_unique_columns_are_null(two: Pair, options: dict[str, Any]) -> None:
    for each in (two.publisher, two.subscriber):
        each.run(
            "CREATE TABLE u (a int, b int, name text, UNIQUE (a, b))",
            "ALTER TABLE u REPLICA IDENTITY FULL",
        )
    two.publisher.run("ALTER PUBLICATION p SET TABLE u")
    one = Applier(
        *(two.publisher.conninfo, two.subscriber.conninfo, "ruled"),
        **{"publications": ["p"], **options},
    )
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run(
        "INSERT INTO u VALUES (NULL, 1, 'a'), (NULL, 1, 'a'), (1, NULL, 'b'), (2, 2, 'c')",
        "UPDATE u SET name = 'd' WHERE a IS NULL",
        "UPDATE u SET name = 'e'",
        "UPDATE u SET a = 5 WHERE a = 1",
        "UPDATE u SET a = NULL WHERE a = 2",
        "DELETE FROM u WHERE ctid = (SELECT min(ctid::text)::tid FROM u WHERE b = 1)",
    )
    one.run(stop_at=end(two.publisher), timeout=20)
    query = "SELECT a, b, name FROM u ORDER BY a, b"
    assert two.subscriber.all(query) == two.publisher.all(query)
    assert two.subscriber.one("SELECT count(*) FROM u") == 3
    assert not one.counters


ALL_FIRE = ("ENABLE ALWAYS", "ENABLE REPLICA")
REPLACING: list[dict[str, Any]] = [
    {"rule": TableRule(where=lambda row: True)},
    {"rule": TableRule(change=lambda row: {})},
    {"existing": "merge"},
]


def create_rules(database: Database, state: str) -> dict[str, str]:
    """Create rules of each kind on t in a state; return the event of each name."""
    rules = dict[str, str]()
    for event in ("INSERT", "UPDATE", "DELETE"):
        for how in ("INSTEAD NOTHING", "ALSO NOTIFY ruled"):
            name = f"{state} {event} {how[:4]}"
            database.run(
                f'CREATE RULE "{name}" AS ON {event} TO t DO {how}',
                f'ALTER TABLE t {state} RULE "{name}"',
            )
            rules[name] = event
    return rules


def insist_on_refusal(pair: Pair, one: Applier, rules: Iterable[str]) -> None:
    """Insist that exactly these rules of the subscriber are refused, before anything is made."""
    names = ", ".join(sorted(rules))
    finding = one.check()["table public.t, its rules"]
    assert finding.severity is Severity.CRITICAL
    assert finding.found == f"public.t has {names}"
    with pytest.raises(SchemaMismatch, match=rf"public\.t has the rules {names},") as raised:
        one.run(timeout=20)
    assert "; ".join(raised.value.sql) == finding.remedy
    assert (pair.publisher.all(LEFT), pair.subscriber.all(LEFT)) == ([], [])


@pytest.mark.pg(">=10")
def test_rules_of_the_subscriber_that_would_change_what_is_applied_are_refused(two: Pair) -> None:
    one = applier(two, TableRule())
    for state in (*ALL_FIRE, "ENABLE", "DISABLE"):
        rules = create_rules(two.subscriber, state)
        for options in ({}, *REPLACING):
            other = applier(two, **{"rule": TableRule(), **options})
            fires = state in ALL_FIRE
            if refused := [
                n for n, event in rules.items() if fires or (event == "UPDATE" and options)
            ]:
                insist_on_refusal(two, other, refused)
            else:
                assert other.check().is_ready
        two.subscriber.run(*(f'DROP RULE "{name}" ON t' for name in rules))
    # The other rules do not fire, and those that fire are disabled by the remedy.
    create_rules(two.subscriber, "ENABLE")
    for state in ALL_FIRE:
        create_rules(two.subscriber, state)
    two.subscriber.run(*one.check()["table public.t, its rules"].remedy.split("; "))
    changes_arrive(two, one)


@pytest.mark.pg(">=10")
@pytest.mark.parametrize("event", ["INSERT", "UPDATE", "DELETE"])
def test_one_rule_is_enough_for_a_refusal(two: Pair, event: str) -> None:
    two.subscriber.run(
        f'CREATE RULE "It" AS ON {event} TO t DO INSTEAD NOTHING',
        'ALTER TABLE t ENABLE REPLICA RULE "It"',
    )
    insist_on_refusal(two, applier(two, TableRule()), ["It"])


def changes_arrive(pair: Pair, one: Applier) -> None:
    one.run(stop_at=end(pair.publisher), timeout=20)
    pair.publisher.run(
        "INSERT INTO t VALUES (2, 'b'), (3, 'c')",
        "UPDATE t SET name = upper(name) WHERE id < 3",
        "DELETE FROM t WHERE id = 3",
    )
    one.run(stop_at=end(pair.publisher), timeout=20)
    assert pair.subscriber.all("SELECT id, name FROM t ORDER BY id") == [(1, "A"), (2, "B")]


@pytest.mark.pg(">=10")
@pytest.mark.parametrize("options", REPLACING)
def test_the_remedy_for_a_rule_with_which_rows_cannot_be_replaced_is_enough(
    two: Pair, options: dict[str, Any]
) -> None:
    two.subscriber.run("CREATE RULE it AS ON UPDATE TO t DO ALSO NOTIFY ruled")
    one = applier(two, **{"rule": TableRule(), **options})
    two.subscriber.run(one.check()["table public.t, its rules"].remedy)
    changes_arrive(two, one)


@pytest.mark.pg(">=10")
def test_a_rule_that_is_created_later_stops_the_next_run_before_the_change(two: Pair) -> None:
    one = applier(two, TableRule())
    one.run(stop_at=end(two.publisher), timeout=20)
    two.subscriber.run(
        "CREATE RULE it AS ON UPDATE TO t DO INSTEAD NOTHING", "ALTER TABLE t ENABLE ALWAYS RULE it"
    )
    two.publisher.run("UPDATE t SET name = 'x'")
    with pytest.raises(SchemaMismatch, match="has the rules it") as raised:
        one.run(stop_at=end(two.publisher), timeout=20)
    two.subscriber.run(*raised.value.sql)
    one.run(stop_at=end(two.publisher), timeout=20)
    assert two.subscriber.one("SELECT name FROM t") == "x"


@pytest.mark.pg(">=10")
@pytest.mark.parametrize("existing", ["refuse", "merge"])
@pytest.mark.parametrize("key", ["", ", UNIQUE (a)"])
def test_rules_keep_equal_rows_of_tables_without_a_key_apart(
    two: Pair, key: str, existing: str
) -> None:
    columns = "a int, n int, b text, large text"
    two.publisher.run(
        f"CREATE TABLE loose ({columns})",
        "ALTER TABLE loose REPLICA IDENTITY FULL, ALTER large SET STORAGE EXTERNAL",
        "CREATE PUBLICATION loose FOR TABLE loose",
        "INSERT INTO loose SELECT NULL, i, 'b', repeat('l', 9000) FROM generate_series(1, 5) AS i,"
        " generate_series(1, 2)",
    )
    # With a key, its NULLs identify no row.
    two.subscriber.run(f"CREATE TABLE loose ({columns}{key})")
    rule = TableRule(
        where=lambda row: row["n"] in range(5), change=lambda row: {"b": f"{row['b']}!"}
    )
    one = Applier(
        two.publisher.conninfo,
        two.subscriber.conninfo,
        "loose",
        publications=["loose"],
        tables={"loose": rule},
        existing=existing,  # type: ignore[arg-type]
    )
    one.run(stop_at=end(two.publisher), timeout=20)
    first = "ctid = (SELECT min(ctid) FROM loose WHERE n = {})"
    two.publisher.run(
        "INSERT INTO loose VALUES (NULL, 1, 'b', 'l'), (NULL, 1, 'b', 'l'), (NULL, 9, 'b', 'l')",
        f"UPDATE loose SET n = 2 WHERE {first.format(1)}",
        f"UPDATE loose SET b = 'c' WHERE {first.format(2)}",
        f"UPDATE loose SET n = 6 WHERE {first.format(3)}",
        f"UPDATE loose SET n = 4 WHERE {first.format(5)}",
        f"UPDATE loose SET n = 8 WHERE {first.format(9)}",
        f"DELETE FROM loose WHERE {first.format(4)}",
        f"DELETE FROM loose WHERE {first.format(8)}",
        "UPDATE loose SET a = 1 WHERE n = 6",
    )
    report = one.run(stop_at=end(two.publisher), timeout=20)
    query = "SELECT a, {}, md5(large) FROM loose {} ORDER BY 1, 2, 3, 4"
    kept = two.publisher.all(query.format("n, b || '!'", "WHERE n < 5"))
    assert two.subscriber.all(query.format("n, b", "")) == kept
    assert not report.conflicts


@pytest.mark.pg(">=10")
def test_a_rule_keeps_the_values_that_only_the_subscriber_has(two: Pair) -> None:
    two.publisher.run("ALTER TABLE t REPLICA IDENTITY FULL")
    one = applier(two, TableRule(where=lambda row: True))
    one.run(stop_at=end(two.publisher), timeout=20)
    two.subscriber.run("UPDATE t SET n = 7")
    two.publisher.run("UPDATE t SET name = 'x'")
    one.run(stop_at=end(two.publisher), timeout=20)
    assert two.subscriber.all("SELECT name, n FROM t") == [("x", 7)]


@pytest.mark.pg(">=10")
@pytest.mark.parametrize("copy", [True, False])
def test_a_function_cannot_change_the_key_of_the_subscriber(two: Pair, copy: bool) -> None:
    two.publisher.run("ALTER TABLE t REPLICA IDENTITY FULL")
    rule = TableRule(change=lambda row: {"id": 7})
    one = applier(two, rule, copy=copy)
    with pytest.raises(ApplyError, match="change altered the key column 'id'"):  # noqa: PT012
        one.run(stop_at=end(two.publisher), timeout=20)
        two.publisher.run("DELETE FROM t", "INSERT INTO t VALUES (2, 'b')")
        one.run(stop_at=end(two.publisher), timeout=20)
    assert two.subscriber.all("SELECT id FROM t") == []
