"""Appliers: changes, mapping, conflicts, failures and rights."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg
import pytest
from clusters import Cluster, Clusters, wait_until
from colours import Colour
from databases import (
    Database,
    Pair,
    drop_origins,
    end,
    make_database,
    publishing,
    remove_databases,
    shadowed_operators,
    wait_for_ends,
)
from psycopg.conninfo import make_conninfo
from running import running
from tracebacks import printed

import pgreplkit
from pgreplkit import LSN
from pgreplkit._sync.wire.pipeline import Pipeline
from pgreplkit.apply import (
    Applier,
    AsyncApplier,
    ConflictKind,
    FailureDecision,
    KeepLocal,
    MergeWith,
    ParkedTransaction,
    RefusedChange,
    TableRule,
)
from pgreplkit.applycommand import main
from pgreplkit.catalog.features import has
from pgreplkit.catalog.logical import applying
from pgreplkit.changes import Row
from pgreplkit.errors import (
    AlreadyExists,
    ApplierActive,
    ApplyError,
    ApplyFailed,
    ConnectionFailed,
    InsufficientPrivilege,
    RoleNotFound,
    SchemaMismatch,
    ServerError,
    SlotLost,
    SlotNotFound,
    WaitTimeout,
)
from pgreplkit.rows import Severity
from pgreplkit.supervised import DONE, MISCONFIGURED, STUCK

NEWEST = pytest.mark.pg(">=18")
"""The version for tests of behaviour that does not depend on it."""
TERMINATE = "PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(10)"
TABLE = "CREATE TABLE t (id int PRIMARY KEY, name text, n int)"


@pytest.fixture
def two(cluster: Cluster) -> Iterator[Pair]:
    with publishing(cluster.primary, TABLE) as pair:
        yield pair


def applier(pair: Pair, **options: Any) -> Applier:
    options = {"publications": ["p"], **options}
    return Applier(pair.publisher.conninfo, pair.subscriber.conninfo, "one", **options)


def insist_on_same_rows(pair: Pair, table: str = "t") -> None:
    query = f"SELECT to_jsonb({table})::text FROM {table} ORDER BY 1"
    assert pair.subscriber.all(query) == pair.publisher.all(query)


@pytest.fixture
def slow_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    """An applier that is slower than the subscriber: results arrive before it looks for them."""
    read = Pipeline._read

    def later(pipeline: Pipeline[object]) -> None:
        time.sleep(0.02)
        read(pipeline)

    monkeypatch.setattr(Pipeline, "_read", later)


@NEWEST
@pytest.mark.one_colour
@pytest.mark.usefixtures("slow_reading")
def test_an_applier_stops_if_its_last_result_arrives_while_it_sends(two: Pair) -> None:
    seen: list[object] = []

    def stop_at_the_third(row: Row) -> bool:
        seen.append(row["id"])
        if len(seen) == 3:
            one.stop()
        return True

    one = applier(two, tables={"t": TableRule(where=stop_at_the_third)})
    one.run(stop_at=end(two.publisher), timeout=20)
    for number in range(10):
        two.publisher.run(f"INSERT INTO t VALUES ({number})")
    with running(one) as run:
        run.join(20)
        assert not run.is_alive()
    assert two.subscriber.all("SELECT id FROM t ORDER BY id") == [(0,), (1,), (2,)]
    assert one.position != LSN.INVALID


@NEWEST
@pytest.mark.one_colour
@pytest.mark.usefixtures("slow_reading")
@pytest.mark.matrix
def test_a_busy_applier_acknowledges_before_it_has_nothing_left_to_send(two: Pair) -> None:
    positions: list[LSN] = []

    def note(row: Row) -> bool:
        positions.append(one.position)
        return True

    one = applier(two, tables={"t": TableRule(where=note)})
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run(
        "DO 'BEGIN FOR n IN 1..150 LOOP INSERT INTO t VALUES (n); COMMIT; END LOOP; END'"
    )
    one.run(stop_at=end(two.publisher), timeout=60)
    assert two.subscriber.one("SELECT count(*) FROM t") == 150
    assert len({*positions}) > 2


async def test_every_kind_of_change_arrives(two: Pair, colour: Colour) -> None:
    two.publisher.run("INSERT INTO t SELECT i, 'name ' || i, i FROM generate_series(1, 20) AS i")
    kind = AsyncApplier if colour.name == "async" else Applier
    one = colour.bound(
        kind(two.publisher.conninfo, two.subscriber.conninfo, "one", publications=["p"])
    )
    report = await one.run(stop_at=end(two.publisher), timeout=20)
    assert (report.transactions, report.copied_rows) == (0, 20)
    insist_on_same_rows(two)
    two.publisher.run(
        "INSERT INTO t VALUES (100, NULL, 1), (101, '\\x00 \"ü\"', NULL)",
        "UPDATE t SET n = n + 1 WHERE id < 5",
        "UPDATE t SET id = id + 1000 WHERE id = 7",
        "DELETE FROM t WHERE id = 8",
        "BEGIN; INSERT INTO t VALUES (200); ROLLBACK",
    )
    last = end(two.publisher)
    report = await one.run(stop_at=last, timeout=20)
    assert (report.transactions, report.changes, report.conflicts) == (4, 8, {})
    assert report.lag is not None
    insist_on_same_rows(two)
    status = await one.status()
    assert status.state == "streaming"
    assert status.position == report.position <= last
    assert status.confirmed >= status.position
    if two.publisher.node.major >= 11:
        two.publisher.run("TRUNCATE t")
        await one.run(stop_at=end(two.publisher), timeout=20)
        assert two.subscriber.all("SELECT * FROM t") == []
    await one.drop()
    assert (
        two.publisher.all("SELECT 1 FROM pg_replication_slots WHERE slot_name ~ 'pgreplkit'") == []
    )
    for table in ("applier", "progress"):
        assert two.subscriber.all(f"SELECT * FROM pgreplkit.{table}") == []
    assert two.subscriber.all("SELECT * FROM pgreplkit.progress") == []


@NEWEST
def test_an_applier_from_a_database_to_itself_is_refused_and_keeps_its_rows(two: Pair) -> None:
    two.publisher.run("INSERT INTO t VALUES (1, 'a', 1)")
    conninfo = two.publisher.conninfo
    itself = Applier(conninfo, conninfo, "one", publications=["p"], existing="truncate")
    with pytest.raises(ApplyError, match=r"changes of public\.t would be applied to itself"):
        itself.run(timeout=20)
    assert len(two.publisher.all("SELECT * FROM t")) == 1


@NEWEST
def test_applied_commits_have_the_publishers_times_and_an_origin(two: Pair) -> None:
    one = applier(two, copy=False)
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run("INSERT INTO t VALUES (1, 'a', 1)")
    report = one.run(stop_at=end(two.publisher), timeout=20)
    [[name, position]] = two.subscriber.all(
        "SELECT external_id, remote_lsn::text FROM pg_replication_origin_status"
        " WHERE external_id LIKE 'pgreplkit%'"
    )
    assert name == "pgreplkit_one"
    assert LSN(str(position)) == report.position


def test_a_position_in_a_table_needs_no_origin(two: Pair) -> None:
    one = applier(two, resume="table")
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run("INSERT INTO t VALUES (1, 'a', 1)", "UPDATE t SET n = 2")
    report = one.run(stop_at=end(two.publisher), timeout=20)
    assert report.transactions == 2
    insist_on_same_rows(two)
    stored = two.subscriber.one("SELECT position::text FROM pgreplkit.progress")
    assert LSN(str(stored)) == report.position
    assert not two.subscriber.all("SELECT 1 FROM pg_replication_origin WHERE roname ~ 'pgrepl'")


@pytest.mark.parametrize("filters", [False, True])
def test_large_values_that_did_not_change_stay(two: Pair, filters: bool) -> None:
    for each in (two.publisher, two.subscriber):
        each.run("ALTER TABLE t ALTER name SET STORAGE EXTERNAL")
    rules = {"t": TableRule(change=lambda row: {"n": row["n"]})} if filters else {}
    one = applier(two, tables=rules)
    two.publisher.run("INSERT INTO t VALUES (1, repeat('x', 50000), 1)")
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run("UPDATE t SET n = 2", "UPDATE t SET id = 3")
    one.run(stop_at=end(two.publisher), timeout=20)
    insist_on_same_rows(two)


@pytest.mark.pg(">=13")
@pytest.mark.parametrize("filters", [False, True])
def test_large_values_of_a_partition_stay_if_only_the_root_has_a_full_identity(
    two: Pair, filters: bool
) -> None:
    for each in (two.publisher, two.subscriber):
        each.run(
            "CREATE TABLE p (id int PRIMARY KEY, name text, n int) PARTITION BY RANGE (id)",
            "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (100)",
            "ALTER TABLE p1 ALTER name SET STORAGE EXTERNAL",
        )
    two.publisher.run(
        "ALTER TABLE p REPLICA IDENTITY FULL",
        "CREATE PUBLICATION roots FOR TABLE p WITH (publish_via_partition_root = true)",
        "INSERT INTO p VALUES (1, repeat('x', 50000), 1)",
    )
    rules = {"p": TableRule(change=lambda row: {"n": row["n"]})} if filters else {}
    one = applier(two, publications=["roots"], tables=rules)
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run("UPDATE p SET n = 2", "UPDATE p SET id = 3")
    one.run(stop_at=end(two.publisher), timeout=20)
    insist_on_same_rows(two, "p")


@NEWEST
def test_tables_and_columns_are_mapped(two: Pair) -> None:
    two.subscriber.run(
        "CREATE SCHEMA crm",
        """CREATE TABLE crm.people (node text, number int GENERATED ALWAYS AS IDENTITY,
        mail text, PRIMARY KEY (node, number))""",
        "INSERT INTO crm.people OVERRIDING SYSTEM VALUE VALUES ('rome', 1, 'local')",
    )
    rule = TableRule(
        to="crm.people",
        columns={"id": "number", "name": "mail", "n": None},
        constants={"node": "paris"},
    )
    two.publisher.run("INSERT INTO t VALUES (1, 'a@b', 1), (2, NULL, 2)")
    one = applier(two, tables={"t": rule}, existing="merge")
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run(
        "INSERT INTO t VALUES (3, 'c', 1)",
        "UPDATE t SET name = 'new', n = 7 WHERE id = 1",
        "UPDATE t SET id = 20 WHERE id = 2",
        "DELETE FROM t WHERE id = 3",
    )
    report = one.run(stop_at=end(two.publisher), timeout=20)
    assert not report.conflicts
    assert two.subscriber.all("SELECT * FROM crm.people ORDER BY 1, 2") == [
        ("paris", 1, "new"),
        ("paris", 20, None),
        ("rome", 1, "local"),
    ]


@NEWEST
def test_rules_filter_and_change_rows(two: Pair) -> None:
    def shouted(row: Row) -> dict[str, object]:
        return {"name": str(row["name"]).upper()}

    two.publisher.run("INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 0)")
    rule = TableRule(where=lambda row: bool(row["n"]), change=shouted)
    one = applier(two, tables={"t": rule})
    one.run(stop_at=end(two.publisher), timeout=20)
    assert two.subscriber.all("SELECT * FROM t") == [(1, "A", 1)]
    two.publisher.run(
        "UPDATE t SET n = 1 WHERE id = 2",
        "UPDATE t SET n = 0 WHERE id = 1",
        "INSERT INTO t VALUES (3, 'c', 3), (4, 'd', 0)",
        "UPDATE t SET id = 30 WHERE id = 3",
    )
    one.run(stop_at=end(two.publisher), timeout=20)
    rows = two.subscriber.all("SELECT * FROM t ORDER BY id")
    assert rows == [(2, "B", 1), (30, "C", 3)]


@NEWEST
def test_a_rule_that_fails_names_its_callable_and_no_value_of_the_row(two: Pair) -> None:
    one = applier(two, tables={"t": TableRule(where=lambda row: int(str(row["name"])) > 0)})
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run("INSERT INTO t VALUES (1, 'secret', 1)")
    with pytest.raises(ApplyFailed, match=r"where raised ValueError in line .*applier") as raised:
        one.run(stop_at=end(two.publisher), timeout=20)
    assert "secret" not in printed(raised.value)
    assert two.subscriber.all("SELECT * FROM t") == []
    one.drop()
    with pytest.raises(ApplyError, match=r"copy public\.t: where raised .*; correct the rule"):
        one.run(timeout=20)


@NEWEST
def test_a_table_without_a_key_is_applied_row_by_row(two: Pair) -> None:
    for each in (two.publisher, two.subscriber):
        each.run("CREATE TABLE loose (a int, b json)")
    two.publisher.run(
        "ALTER TABLE loose REPLICA IDENTITY FULL",
        "ALTER PUBLICATION p ADD TABLE loose",
        "INSERT INTO loose VALUES (1, '{}'), (1, '{}'), (NULL, NULL)",
    )
    one = applier(two)
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run(
        "DELETE FROM loose WHERE ctid = (SELECT min(ctid) FROM loose WHERE a = 1)",
        "UPDATE loose SET a = 2, b = '[1]' WHERE a IS NULL",
    )
    assert not one.run(stop_at=end(two.publisher), timeout=20).conflicts
    insist_on_same_rows(two, "loose")


@NEWEST
def test_conflicts_are_resolved_counted_and_recorded(two: Pair) -> None:
    one = applier(two)
    two.publisher.run("INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2)")
    one.run(stop_at=end(two.publisher), timeout=20)
    two.subscriber.run("DELETE FROM t", "INSERT INTO t VALUES (3, 'local', 0)")
    two.publisher.run(
        "UPDATE t SET n = 5 WHERE id = 1",
        "DELETE FROM t WHERE id = 2",
        "INSERT INTO t VALUES (3, 'remote', 3)",
        "INSERT INTO t VALUES (4, 'after', 4)",
    )
    report = one.run(stop_at=end(two.publisher), timeout=20)
    kinds = [ConflictKind.UPDATE_MISSING, ConflictKind.DELETE_MISSING, ConflictKind.INSERT_EXISTS]
    assert report.conflicts == dict.fromkeys(kinds, 1) == one.counters
    recorded = one.conflicts()
    assert [conflict.kind for conflict in recorded] == kinds
    assert [conflict.key_values for conflict in recorded] == [{"id": "1"}, {"id": "2"}, {"id": "3"}]
    assert [conflict.resolution for conflict in recorded] == ["skipped", "skipped", "applied"]
    rows = two.subscriber.all("SELECT * FROM t ORDER BY id")
    assert rows == [(3, "remote", 3), (4, "after", 4)]


@pytest.mark.pg(">=10")
def test_keys_of_conflicts_are_the_texts_that_a_comparison_shows(two: Pair) -> None:
    values = {
        "date": "0044-03-15 BC",
        "timestamptz": "2024-02-29 12:00+02",
        "numeric(6, 2)": "1.5",
        "bool": "true",
        "uuid": "12345678-1234-5678-1234-567812345678",
        "char(3)": "a",
        "bytea": "x",
        "float8": "0.5",
        "interval": "1 year -1 day",
        "inet": "::ffff:10.0.0.1/120",
        "int[]": "{1,NULL,3}",
        "mood": "sad",
        "regclass": "keyed",
    }
    columns = {f"c{number}": name for number, name in enumerate(values)}
    types = ", ".join(f"{column} {name}" for column, name in columns.items())
    mood = "CREATE TYPE mood AS ENUM ('sad')"
    for each in (two.publisher, two.subscriber):
        each.run(mood, f"CREATE TABLE keyed ({types}, PRIMARY KEY ({', '.join(columns)}))")
        each.run(f"ALTER DATABASE {each.name} SET timezone = 'Asia/Kolkata'")
    literals = ", ".join(f"'{value}'" for value in values.values())
    two.publisher.run(
        "ALTER PUBLICATION p ADD TABLE keyed", f"INSERT INTO keyed VALUES ({literals})"
    )
    one = applier(two)
    one.run(stop_at=end(two.publisher), timeout=20)
    two.subscriber.run("DELETE FROM keyed")
    servers = (
        pgreplkit.Primary.connect(two.publisher.conninfo),
        pgreplkit.Primary.connect(two.subscriber.conninfo),
    )
    with servers[0] as publisher, servers[1] as subscriber:
        [compared] = pgreplkit.compare(publisher, subscriber, ["keyed"])
    two.publisher.run("DELETE FROM keyed")
    one.run(stop_at=end(two.publisher), timeout=20)
    [conflict] = one.conflicts()
    [diff] = compared.diffs
    assert conflict.key_values == diff.key


@NEWEST
def test_rows_of_one_statement_that_are_missing_are_conflicts_and_the_others_change(
    two: Pair,
) -> None:
    two.publisher.run("INSERT INTO t SELECT n, 'a', 0 FROM generate_series(1, 40) AS n")
    one = applier(two)
    one.run(stop_at=end(two.publisher), timeout=20)
    # Only statements count here, and only those that the applier sends.
    two.subscriber.run(
        "CREATE TABLE statements (kind text)",
        "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN INSERT INTO public.statements VALUES (TG_OP); RETURN NULL; END'",
        "CREATE TRIGGER note AFTER UPDATE OR DELETE ON t EXECUTE FUNCTION note()",
        "ALTER TABLE t ENABLE ALWAYS TRIGGER note",
    )
    two.publisher.run("UPDATE t SET n = n + 1", "DELETE FROM t WHERE id BETWEEN 33 AND 40")
    assert not one.run(stop_at=end(two.publisher), timeout=20).conflicts
    insist_on_same_rows(two)
    sent = two.subscriber.all("SELECT kind, count(*) FROM statements GROUP BY 1 ORDER BY 1")
    assert sent == [("DELETE", 1), ("UPDATE", 2)]

    two.subscriber.run("DELETE FROM t WHERE id IN (5, 30)")
    two.publisher.run("UPDATE t SET n = n + 1", "DELETE FROM t WHERE id > 20")
    report = one.run(stop_at=end(two.publisher), timeout=20)
    assert report.conflicts == {ConflictKind.UPDATE_MISSING: 2, ConflictKind.DELETE_MISSING: 1}
    missing = [conflict.key_values for conflict in one.conflicts()]
    assert missing == [{"id": "5"}, {"id": "30"}, {"id": "30"}]
    two.publisher.run("DELETE FROM t WHERE id = 5")
    insist_on_same_rows(two)


@NEWEST
def test_the_local_row_can_win(two: Pair) -> None:
    one = applier(two, conflicts=KeepLocal())
    one.run(stop_at=end(two.publisher), timeout=20)
    two.subscriber.run("INSERT INTO t VALUES (1, 'local', 0)")
    two.publisher.run("INSERT INTO t VALUES (1, 'remote', 1)", "INSERT INTO t VALUES (2, 'b', 2)")
    one.run(stop_at=end(two.publisher), timeout=20)
    rows = two.subscriber.all("SELECT * FROM t ORDER BY id")
    assert rows == [(1, "local", 0), (2, "b", 2)]
    assert [conflict.resolution for conflict in one.conflicts()] == ["skipped"]


@NEWEST
def test_a_refused_change_stops_before_its_transaction(two: Pair) -> None:
    one = applier(two)
    one.run(stop_at=end(two.publisher), timeout=20)
    two.subscriber.run("ALTER TABLE t ADD CHECK (n < 100)")
    two.publisher.run("INSERT INTO t VALUES (1, 'a', 1)")
    with psycopg.connect(two.publisher.conninfo) as writer:
        writer.execute("INSERT INTO t VALUES (2, 'b', 2)")
        writer.execute("INSERT INTO t VALUES (3, 'c', 300)")
    two.publisher.run("INSERT INTO t VALUES (4, 'd', 4)")
    with pytest.raises(ApplyFailed, match="check constraint") as caught:
        one.run(stop_at=end(two.publisher), timeout=20)
    failed = caught.value
    assert (failed.table, failed.change_number, failed.sqlstate) == ("public.t", 2, "23514")
    assert two.subscriber.all("SELECT id FROM t") == [(1,)]
    # Once the cause is removed, everything follows.
    two.subscriber.run("ALTER TABLE t DROP CONSTRAINT t_n_check")
    assert one.run(stop_at=end(two.publisher), timeout=20).transactions == 2
    insist_on_same_rows(two)


@NEWEST
def test_a_refused_transaction_can_be_parked(two: Pair) -> None:
    one = applier(two, on_error="park")
    one.run(stop_at=end(two.publisher), timeout=20)
    two.subscriber.run("ALTER TABLE t ADD CHECK (n < 100)")
    with psycopg.connect(two.publisher.conninfo) as writer:
        writer.execute("INSERT INTO t VALUES (1, 'a', 1)")
        writer.execute("INSERT INTO t VALUES (2, 'b', 200)")
    two.publisher.run("INSERT INTO t VALUES (3, 'c', 3)")
    report = one.run(stop_at=end(two.publisher), timeout=20)
    assert (report.transactions, report.parked) == (1, 1)
    assert two.subscriber.all("SELECT id FROM t") == [(3,)]
    [parked] = one.parked()
    assert (parked.table, parked.change_number, parked.sqlstate) == ("public.t", 2, "23514")
    shown = one.show_parked(parked)
    assert [each.parameters for each in shown] == [("1", "a", "1"), ("2", "b", "200")]
    with pytest.raises(ApplyFailed, match=r"check constraint.*call apply_parked\(\) again"):
        one.apply_parked(parked)
    two.subscriber.run("ALTER TABLE t DROP CONSTRAINT t_n_check")
    one.apply_parked(parked)
    assert one.parked() == []
    insist_on_same_rows(two)
    for use in (one.apply_parked, one.show_parked, one.drop_parked):
        with pytest.raises(ApplyError, match="parked no longer"):
            use(parked)
    two.publisher.run("INSERT INTO t VALUES (4, 'd', 4)")
    two.subscriber.run("ALTER TABLE t ADD CHECK (n < 4) NOT VALID")
    one.run(stop_at=end(two.publisher), timeout=20)
    [dropped] = one.parked()
    one.drop_parked(dropped)
    assert one.parked() == []


@NEWEST
def test_statements_are_forgotten_with_their_parked_transaction(two: Pair) -> None:
    one = applier(two, on_error="park")
    one.run(stop_at=end(two.publisher), timeout=20)
    forget: tuple[Callable[[ParkedTransaction], None], ...]
    forget = (one.apply_parked, one.drop_parked, lambda _: one.drop())
    for number, use in enumerate(forget):
        two.subscriber.run("ALTER TABLE t ADD CONSTRAINT refused CHECK (n < 0) NOT VALID")
        two.publisher.run(f"INSERT INTO t VALUES ({number}, 'a', {number})")
        one.run(stop_at=end(two.publisher), timeout=20)
        two.subscriber.run("ALTER TABLE t DROP CONSTRAINT refused")
        [parked] = one.parked()
        use(parked)
        assert two.subscriber.all("SELECT number FROM pgreplkit.parked_step") == []


@pytest.mark.pg(">=10")
@pytest.mark.one_colour
@pytest.mark.parametrize(
    ("alter", "says"),
    [
        ("ADD CHECK (length(name) < 3)", "check constraint"),
        ("ADD UNIQUE (name)", "unique constraint"),
        ("ALTER name TYPE int USING NULL", "integer"),
        ("ALTER name TYPE date USING NULL", "type date"),
        ("ALTER name TYPE varchar(2) USING NULL", "too long"),
        ("ALTER name TYPE mood USING NULL", "mood"),
        ("ADD more text NOT NULL DEFAULT 'x', ALTER n SET NOT NULL", "null value"),
    ],
)
def test_values_of_a_refused_row_are_shown_only_on_request(
    two: Pair, alter: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    secret = "the \"secret\" of 'Ada'"
    one = applier(two, copy=False, on_error="park")
    one.run(stop_at=end(two.publisher), timeout=20)
    two.subscriber.run(
        "CREATE TYPE mood AS ENUM ('good')",
        f"INSERT INTO t VALUES (9, $${secret}$$, 1)" if "UNIQUE" in alter else "SELECT 1",
        f"ALTER TABLE t {alter}",
    )
    two.publisher.run(f"INSERT INTO t VALUES (1, $${secret}$$, NULL)")
    stops = applier(two, copy=False)
    with pytest.raises(ApplyError, match=says) as raised:
        stops.run(stop_at=end(two.publisher), timeout=20)
    assert one.run(stop_at=end(two.publisher), timeout=20).parked == 1
    assert says in caplog.text
    [parked] = one.parked()
    assert says in parked.found
    with pytest.raises(ApplyFailed, match=says) as again:
        one.apply_parked(parked)
    texts = [printed(raised.value), caplog.text, printed(again.value)]
    if "ADD" not in alter:
        other = Applier(
            two.publisher.conninfo,
            two.subscriber.conninfo,
            "other",
            publications=["p"],
            existing="truncate",
        )
        with pytest.raises(ApplyError, match=says) as copied:
            other.run(timeout=20)
        texts.append(printed(copied.value))
    assert not any("secret" in text for text in texts)
    if "too long" not in says:
        assert "secret" in parked.found


@pytest.mark.pg(">=10")
@pytest.mark.one_colour
def test_parked_statements_show_their_values_as_texts(two: Pair) -> None:
    table = (
        "CREATE TABLE kinds (id bigint PRIMARY KEY, at timestamptz, amount numeric, tags text[],"
        " raw bytea, place point, j jsonb)"
    )
    two.publisher.run(table, "ALTER PUBLICATION p ADD TABLE kinds")
    two.subscriber.run(table, "ALTER TABLE kinds ADD CHECK (id = 0)")
    one = applier(two, on_error="park", copy=False)
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run(
        "INSERT INTO kinds VALUES (7, '2026-01-02 03:04:05+00', 1.50, '{a,NULL}', '\\x00ff',"
        " '(1,2)', '{\"a\": 1}'), (8, NULL, 'NaN', '{}', '', NULL, '0')"
    )
    one.run(stop_at=end(two.publisher), timeout=20)
    [parked] = one.parked()
    first, second = one.show_parked(parked)
    assert (first.number, first.table, second.number) == (1, "public.kinds", 2)
    assert first.statement.startswith("INSERT INTO")
    values = ("7", "2026-01-02 03:04:05+00", "1.50", "{a,NULL}", "\\x00ff", "(1,2)", '{"a": 1}')
    assert first.parameters == values
    assert second.parameters == ("8", None, "NaN", "{}", "\\x", None, "0")
    assert (first.problem, second.problem) == (None, None)
    for change, problem in (
        ("ALTER TABLE kinds DROP amount", 'column "amount" .*does not exist'),
        ("ALTER TABLE kinds RENAME TO others", r'relation "public\.kinds" does not exist'),
        ("CREATE VIEW kinds AS SELECT 1 AS id", "column .* does not exist"),
        ("DROP VIEW kinds", r'relation "public\.kinds" does not exist'),
    ):
        two.subscriber.run(change)
        again = one.show_parked(parked)
        assert [each.parameters for each in again] == [first.parameters, second.parameters]
        assert all(re.search(problem, each.problem or "") for each in again)
    with pytest.raises(ApplyFailed, match=r'relation "public\.kinds" does not exist'):
        one.apply_parked(parked)


@pytest.mark.pg(">=10")
@pytest.mark.one_colour
@pytest.mark.matrix
def test_a_parked_transaction_is_not_sent_back(two: Pair) -> None:
    one = applier(two, on_error="park", origin="none")
    two.subscriber.run("CREATE PUBLICATION back FOR TABLE t")
    back = Applier(
        two.subscriber.conninfo,
        two.publisher.conninfo,
        "back",
        publications=["back"],
        origin="none",
        copy=False,
    )
    one.run(stop_at=end(two.publisher), timeout=20)
    back.run(stop_at=end(two.subscriber), timeout=20)
    two.subscriber.run("ALTER TABLE t ADD CHECK (n < 100)")
    two.publisher.run("INSERT INTO t VALUES (1, 'a', 200)", "INSERT INTO t VALUES (2, 'b', 2)")
    assert one.run(stop_at=end(two.publisher), timeout=20).parked == 1
    two.subscriber.run("ALTER TABLE t DROP CONSTRAINT t_n_check")
    [parked] = one.parked()
    with running(one):
        two.publisher.run("INSERT INTO t VALUES (3, 'c', 3)")
        wait_until(lambda: two.subscriber.one("SELECT count(*) FROM t") == 2)
        with pytest.raises(ApplierActive):
            one.apply_parked(parked)
    position = one.status().position
    one.apply_parked(parked)
    assert one.status().position == position
    # The transactions of the other direction come from here, and only they do.
    two.subscriber.run("INSERT INTO t VALUES (4, 'd', 4)")
    assert back.run(stop_at=end(two.subscriber), timeout=20).transactions == 1
    one.run(stop_at=end(two.publisher), timeout=20)
    insist_on_same_rows(two)


@pytest.mark.pg(">=10")
@pytest.mark.one_colour
def test_appliers_of_one_name_to_two_databases_do_not_share_their_position(
    clusters: Clusters, two: Pair
) -> None:
    one = applier(two)
    one.run(stop_at=end(two.publisher), timeout=20)
    # It has no position yet, and its first one would count for both.
    settings = {"wal_level": "logical"}
    server = clusters.lab.primary(version=two.publisher.node.major, settings=settings)
    other = Pair(make_database(server), make_database(two.subscriber.node))
    for each in (other.publisher, other.subscriber):
        each.run(TABLE)
    other.publisher.run("CREATE PUBLICATION p FOR TABLE t", "INSERT INTO t VALUES (1, 'a', 1)")
    with pytest.raises(AlreadyExists, match="at 0/0, but this database has no"):
        applier(other).run(stop_at=end(other.publisher), timeout=20)
    # Nothing of the first one is changed, and a refused one leaves nothing.
    assert other.subscriber.one("SELECT to_regnamespace('pgreplkit') IS NULL")
    two.publisher.run("INSERT INTO t VALUES (20, 'b', 2)")
    one.run(stop_at=end(two.publisher), timeout=20)
    insist_on_same_rows(two)
    remove_databases(other.subscriber)


LIMITS = {
    "statement_timeout": 10,
    "lock_timeout": 10,
    "idle_in_transaction_session_timeout": 10,
    "idle_session_timeout": 14,
    "transaction_timeout": 17,
}


@pytest.mark.pg(">=10")
@pytest.mark.one_colour
def test_the_time_limits_of_clients_do_not_end_an_applier(two: Pair, mover: str) -> None:
    major = two.publisher.node.major
    limits = [name for name, since in LIMITS.items() if major >= since]
    # Of a role: on a busy machine they would end the sessions of the test.
    two.subscriber.run(
        f"ALTER ROLE {mover} SUPERUSER",
        *(f"ALTER ROLE {mover} SET {name} = '1s'" for name in limits),
    )
    servers = two.publisher.as_role(mover), two.subscriber.as_role(mover)
    one = Applier(*servers, "one", publications=["p"], conflicts=KeepLocal())
    two.publisher.run("INSERT INTO t VALUES (1, 'a', 1)")
    # The slot waits for this transaction.
    with psycopg.connect(two.publisher.conninfo) as other:
        other.execute("INSERT INTO t VALUES (2, 'b', 2)")
        with running(one):
            time.sleep(1.5)
            other.commit()
            wait_until(lambda: two.subscriber.one("SELECT count(*) FROM t") == 2)
            time.sleep(1.5)
            two.subscriber.run("ALTER TABLE t ADD m int", "INSERT INTO t VALUES (3, 'local', 3)")
            two.publisher.run("ALTER TABLE t ADD m int", "INSERT INTO t VALUES (3, 'c', 3, 3)")
            two.publisher.run("INSERT INTO t VALUES (4, 'd', 4, 4)")
            wait_until(lambda: two.subscriber.all("SELECT m FROM t WHERE id = 4") == [(4,)])
    [conflict] = one.conflicts()
    assert conflict.kind is ConflictKind.INSERT_EXISTS


@NEWEST
def test_a_function_parks_or_skips_what_the_subscriber_refuses(two: Pair) -> None:
    met: list[RefusedChange] = []

    def decide(failed: RefusedChange) -> FailureDecision:
        met.append(failed)
        return "skip" if failed.change_number == 1 else "park"

    one = applier(two, on_error=decide)
    one.run(stop_at=end(two.publisher), timeout=20)
    two.subscriber.run("CREATE UNIQUE INDEX ON t (name)")
    two.publisher.run("INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2), (3, 'c', 3)")
    two.publisher.run("UPDATE t SET name = 'a' WHERE id = 2", "UPDATE t SET name = 'c'")
    two.publisher.run("INSERT INTO t VALUES (4, 'd', 4)")
    report = one.run(stop_at=end(two.publisher), timeout=20)
    assert (report.transactions, report.skipped, report.parked) == (2, 2, 0)
    assert report.conflicts == {ConflictKind.UPDATE_EXISTS: 2}
    assert [(failed.table, failed.sqlstate) for failed in met] == [("public.t", "23505")] * 2
    assert one.position == report.position
    assert one.lag == report.lag
    names = two.subscriber.all("SELECT name FROM t ORDER BY id")
    assert names == [("a",), ("b",), ("c",), ("d",)]


@NEWEST
def test_a_deferred_constraint_is_reported_for_the_transaction(two: Pair) -> None:
    one = applier(two, on_error="park")
    one.run(stop_at=end(two.publisher), timeout=20)
    two.subscriber.run(
        """CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF new.n = 1 THEN RAISE 'refused' USING ERRCODE = '23514'; END IF;
            RETURN NULL; END $$""",
        """CREATE CONSTRAINT TRIGGER late AFTER INSERT ON t DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE PROCEDURE refuse()""",
        "ALTER TABLE t ENABLE ALWAYS TRIGGER late",
    )
    two.publisher.run("INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2)")
    two.publisher.run("INSERT INTO t VALUES (3, 'c', 3)")
    assert one.run(stop_at=end(two.publisher), timeout=20).parked == 1
    [parked] = one.parked()
    assert (parked.table, parked.change_number, parked.sqlstate) == (None, None, "23514")
    assert two.subscriber.all("SELECT id FROM t") == [(3,)]
    two.subscriber.run(
        """CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE 'refused' USING ERRCODE = '23505'; END $$"""
    )
    two.publisher.run("INSERT INTO t VALUES (4, 'd', 4)")
    result = one.run(stop_at=end(two.publisher), timeout=20)
    # Not a conflict of the last row, as for a unique key: the commit was refused.
    assert (result.parked, result.conflicts) == (1, {})


@pytest.mark.parametrize(
    ("action", "error"),
    [("RAISE 'refused'", ApplyFailed), (TERMINATE, ConnectionFailed)],
    ids=["refused", "terminated"],
)
def test_a_commit_that_fails_after_the_position_was_recorded_is_applied_again(
    two: Pair, action: str, error: type[Exception]
) -> None:
    one = applier(two)
    one.run(stop_at=end(two.publisher), timeout=20)
    # A table that the applier does not know, so that it does not check the constraint before.
    two.subscriber.run(
        "CREATE TABLE audit (id int)",
        """CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO public.audit VALUES (new.id); RETURN NULL; END $$""",
        "CREATE TRIGGER note AFTER INSERT ON t FOR EACH ROW EXECUTE PROCEDURE note()",
        "ALTER TABLE t ENABLE ALWAYS TRIGGER note",
        f"""CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF new.id = 2 THEN {action}; END IF; RETURN NULL; END $$""",
        """CREATE CONSTRAINT TRIGGER late AFTER INSERT ON audit DEFERRABLE INITIALLY DEFERRED
            FOR EACH ROW EXECUTE PROCEDURE fail()""",
        "ALTER TABLE audit ENABLE ALWAYS TRIGGER late",
    )
    for number in range(1, 5):
        two.publisher.run(f"INSERT INTO t VALUES ({number}, 'a', {number})")
    # Once more: it is found as often as the applier is started.
    for _ in range(2):
        with pytest.raises(error):
            one.run(stop_at=end(two.publisher), timeout=20)
    two.subscriber.run("ALTER TABLE audit DISABLE TRIGGER late")
    report = one.run(stop_at=end(two.publisher), timeout=20)
    assert (report.transactions, report.conflicts) == (3, {})
    insist_on_same_rows(two)
    # Nothing is applied twice after that.
    assert one.run(stop_at=end(two.publisher), timeout=20).transactions == 0
    one.drop()
    assert two.subscriber.one("SELECT count(*) FROM pg_class WHERE relkind = 'S'") == 2


def test_rows_of_a_table_without_columns_are_copied_and_applied(two: Pair) -> None:
    for database in (two.publisher, two.subscriber):
        database.run("CREATE TABLE bare ()")
    two.publisher.run("ALTER PUBLICATION p ADD TABLE bare", "INSERT INTO bare DEFAULT VALUES")
    one = applier(two)
    one.run(stop_at=end(two.publisher), timeout=20)
    assert two.subscriber.one("SELECT count(*) FROM bare") == 1
    two.publisher.run("INSERT INTO bare SELECT FROM generate_series(1, 5)")
    one.run(stop_at=end(two.publisher), timeout=20)
    assert two.subscriber.one("SELECT count(*) FROM bare") == 6


def test_check_finds_a_subscriber_on_which_the_role_cannot_write(two: Pair) -> None:
    name = two.subscriber.name
    two.subscriber.run(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    problems = applier(two).check().problems
    assert [finding.check for finding in problems] == ["read-write transactions"]
    writing = f"{two.subscriber.conninfo} options='-c default_transaction_read_only=off'"
    one = Applier(two.publisher.conninfo, writing, "one", publications=["p"])
    assert one.check().is_ready


@NEWEST
def test_a_session_that_ends_while_a_change_is_applied_alone_is_no_fault_of_the_change(
    two: Pair,
) -> None:
    one = applier(two, on_error="park")
    one.run(stop_at=end(two.publisher), timeout=20)
    two.subscriber.run(
        "CREATE SEQUENCE attempts",
        f"""CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            CASE nextval('public.attempts') WHEN 1 THEN RAISE 'refused' USING ERRCODE = '23514';
            WHEN 2 THEN {TERMINATE}; ELSE END CASE; RETURN NEW; END $$""",
        "CREATE TRIGGER fail BEFORE INSERT ON t FOR EACH ROW EXECUTE PROCEDURE fail()",
        "ALTER TABLE t ENABLE ALWAYS TRIGGER fail",
    )
    two.publisher.run("INSERT INTO t VALUES (1, 'a', 1)")
    with pytest.raises(ConnectionFailed):
        one.run(stop_at=end(two.publisher), timeout=20)
    assert two.subscriber.one("SELECT last_value FROM attempts") == 2
    report = one.run(stop_at=end(two.publisher), timeout=20)
    assert (report.transactions, report.parked) == (1, 0)
    insist_on_same_rows(two)
    one.drop()


@NEWEST
def test_a_new_column_stops_before_its_first_change(two: Pair) -> None:
    one = applier(two)
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run(
        "INSERT INTO t VALUES (1, 'a', 1)",
        "ALTER TABLE t ADD COLUMN score int",
        "INSERT INTO t VALUES (2, 'b', 2, 20)",
    )
    with pytest.raises(SchemaMismatch) as caught:
        one.run(stop_at=end(two.publisher), timeout=20)
    assert two.subscriber.all("SELECT id FROM t") == [(1,)]
    assert caught.value.sql == ('ALTER TABLE public.t ADD COLUMN "score" integer',)
    two.subscriber.run(*caught.value.sql)
    one.run(stop_at=end(two.publisher), timeout=20)
    insist_on_same_rows(two)


@NEWEST
def test_a_deadlock_is_tried_again(two: Pair) -> None:
    one = applier(two)
    two.publisher.run("INSERT INTO t VALUES (1, 'a', 1), (2, 'b', 2)")
    one.run(stop_at=end(two.publisher), timeout=20)
    two.subscriber.run(
        """CREATE FUNCTION once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('public.attempts') = 1 THEN RAISE 'deadlock' USING ERRCODE = '40P01'; END IF;
            RETURN new; END $$""",
        "CREATE SEQUENCE attempts",
        "CREATE TRIGGER once BEFORE UPDATE ON t FOR EACH ROW EXECUTE PROCEDURE once()",
        "ALTER TABLE t ENABLE ALWAYS TRIGGER once",
    )
    two.publisher.run("UPDATE t SET n = n + 1", "UPDATE t SET n = n + 1")
    report = one.run(stop_at=end(two.publisher), timeout=20)
    assert (report.transactions, report.conflicts) == (2, {})
    insist_on_same_rows(two)


@NEWEST
def test_an_applier_is_run_once_at_a_time(two: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pgreplkit._sync.logical.applytarget.RELEASED_WITHIN", 0.0)
    one = applier(two)
    one.run(stop_at=end(two.publisher), timeout=20)
    with psycopg.connect(two.subscriber.conninfo) as other:
        other.execute("SELECT pg_advisory_lock(1885697650, hashtext('one'))")
        with pytest.raises(ApplierActive) as caught:
            one.run(timeout=20)
        assert caught.value.pid == other.info.backend_pid


@NEWEST
def test_an_origin_is_free_a_moment_after_its_session_has_ended(
    two: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = applier(two)
    one.run(stop_at=end(two.publisher), timeout=20)
    [[origin]] = two.subscriber.all("SELECT roname FROM pg_replication_origin")
    wait_for_ends(two.subscriber)
    modules = [f"pgreplkit._sync.logical.{name}" for name in ("applyorigin", "applytarget")]
    with psycopg.connect(two.subscriber.conninfo, autocommit=True) as ending:
        ending.execute("SELECT pg_replication_origin_session_setup(%s)", [origin])
        with monkeypatch.context() as within:
            for module in modules:
                within.setattr(f"{module}.RELEASED_WITHIN", 0.0)
            for act in (lambda: one.run(timeout=20), one.drop):
                with pytest.raises(ApplierActive, match="another session has it"):
                    act()
                wait_for_ends(two.subscriber, left=1)
        for module in modules:
            monkeypatch.setattr(f"{module}.RELEASED_WITHIN", 20.0)
        with ThreadPoolExecutor() as threads:
            dropping = threads.submit(one.drop)
            with pytest.raises(TimeoutError):
                dropping.result(timeout=0.2)
            ending.execute("SELECT pg_replication_origin_session_reset()")
            dropping.result(timeout=20)
    assert not two.subscriber.all("SELECT roname FROM pg_replication_origin")


@NEWEST
@pytest.mark.matrix
def test_tables_with_rows_are_refused_before_anything_is_created(two: Pair) -> None:
    two.subscriber.run("INSERT INTO t VALUES (1, 'local', 1), (9, 'local', 9)")
    two.publisher.run("INSERT INTO t VALUES (1, 'remote', 1)")
    with pytest.raises(ApplyError, match=r"existing='truncate'"):
        applier(two).run(timeout=20)
    assert (
        two.publisher.all("SELECT 1 FROM pg_replication_slots WHERE slot_name ~ 'pgreplkit'") == []
    )
    applier(two, existing="merge").run(stop_at=end(two.publisher), timeout=20)
    rows = two.subscriber.all("SELECT id, name FROM t ORDER BY id")
    assert rows == [(1, "remote"), (9, "local")]
    applier(two).drop()
    applier(two, existing="truncate").run(stop_at=end(two.publisher), timeout=20)
    insist_on_same_rows(two)


@NEWEST
@pytest.mark.parametrize(
    ("existing", "local"), [("refuse", []), ("merge", [(9, "local", 9)]), ("truncate", [])]
)
@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.matrix), 2])
def test_tables_that_share_a_table_of_the_subscriber_keep_each_others_copied_rows(
    two: Pair, existing: str, local: list[tuple[object, ...]], workers: int
) -> None:
    two.publisher.run(
        "CREATE TABLE u (LIKE t, PRIMARY KEY (id))",
        "ALTER PUBLICATION p ADD TABLE u",
        "INSERT INTO t VALUES (1, 'of t', 1)",
        "INSERT INTO u VALUES (2, 'of u', 2)",
    )
    two.subscriber.run("CREATE TABLE whole (LIKE t, PRIMARY KEY (id))")
    if existing != "refuse":
        two.subscriber.run("INSERT INTO whole VALUES (9, 'local', 9)")
    two.subscriber.run("ALTER TABLE whole ADD CHECK (name <> 'of u')")
    rules = {table: TableRule(to="whole") for table in "tu"}
    one = applier(two, tables=rules, existing=existing, copy_workers=workers)
    with pytest.raises(ServerError, match="check constraint"):
        one.run(timeout=20)
    two.subscriber.run("ALTER TABLE whole DROP CONSTRAINT whole_name_check")
    one.run(stop_at=end(two.publisher), timeout=20)
    rows = [(1, "of t", 1), (2, "of u", 2), *local]
    assert two.subscriber.all("SELECT * FROM whole ORDER BY id") == rows


@NEWEST
@pytest.mark.matrix
def test_an_interrupted_copy_continues_with_the_tables_that_are_left(two: Pair) -> None:
    for each in (two.publisher, two.subscriber):
        each.run("CREATE TABLE u (id int PRIMARY KEY, name varchar(3))")
    two.publisher.run(
        "ALTER PUBLICATION p ADD TABLE u",
        "INSERT INTO t VALUES (1, 'a', 1)",
        "INSERT INTO u VALUES (1, 'abc')",
    )
    two.subscriber.run("ALTER TABLE u ADD CHECK (name <> 'abc')")
    one = applier(two)
    with pytest.raises(Exception, match="check constraint"):
        one.run(timeout=20)
    two.subscriber.run(
        "ALTER TABLE u DROP CONSTRAINT u_name_check", "INSERT INTO t VALUES (9, 'local', 9)"
    )
    # The copy of u will have these changes already, the one of t does not.
    two.publisher.run(
        "INSERT INTO u VALUES (2, 'new')", "UPDATE t SET n = 2", "TRUNCATE u", "UPDATE t SET n = 3"
    )
    two.publisher.run("INSERT INTO u VALUES (3, 'c')")
    report = one.run(stop_at=end(two.publisher), timeout=20)
    assert (report.copied_rows, report.conflicts) == (1, {})
    two.publisher.run("UPDATE u SET name = 'd'", "INSERT INTO t VALUES (9, 'remote', 9)")
    assert one.run(stop_at=end(two.publisher), timeout=20).conflicts
    for table in ("t", "u"):
        insist_on_same_rows(two, table)


@NEWEST
@pytest.mark.parametrize("copy", [True, False])
@pytest.mark.parametrize(
    ("statement", "failing"),
    [
        ("CREATE_ORIGIN", "SELECT {}.fails(%s)"),
        ("ADD_APPLIER", "SELECT fails(%s, %s, %s)"),
        ("SET_STATE", "SELECT fails(%s, %s)"),
    ],
)
def test_a_first_run_that_was_interrupted_is_continued_by_the_next_one(
    two: Pair, monkeypatch: pytest.MonkeyPatch, statement: str, failing: str, copy: bool
) -> None:
    with monkeypatch.context() as within:
        within.setattr(applying, statement, failing)
        with pytest.raises(ServerError, match="fails"):
            applier(two, copy=copy).run(timeout=20)
    two.publisher.run("INSERT INTO t VALUES (1, 'one', 1)")
    applier(two, copy=copy).run(stop_at=end(two.publisher), timeout=20)
    # Without a slot, nothing was begun: the row is from before the first run.
    if copy or statement == "SET_STATE":
        insist_on_same_rows(two)


@NEWEST
def test_tables_are_copied_by_several_workers_until_the_first_failure(two: Pair) -> None:
    tables = [f"t{number}" for number in range(5)]
    for each in (two.publisher, two.subscriber):
        each.run(*(f"CREATE TABLE {name} (id int PRIMARY KEY, name text)" for name in tables))
    two.publisher.run(
        f"ALTER PUBLICATION p ADD TABLE {', '.join(tables)}",
        *(f"INSERT INTO {name} SELECT i, 'x' FROM generate_series(1, 9) AS i" for name in tables),
    )
    two.subscriber.run("ALTER TABLE t1 ADD CHECK (id < 5)")
    one = applier(two, copy_workers=3)
    # The copy of t2 waits for a lock until that of t1 fails.
    with psycopg.connect(two.subscriber.conninfo) as other:
        other.execute("LOCK t2 IN EXCLUSIVE MODE")
        with pytest.raises(Exception, match="check constraint"):
            one.run(timeout=20)
    two.subscriber.run("ALTER TABLE t1 DROP CONSTRAINT t1_id_check")
    one.run(stop_at=end(two.publisher), timeout=20)
    for name in tables:
        insist_on_same_rows(two, name)


def test_the_rows_of_all_workers_are_counted(two: Pair) -> None:
    for each in (two.publisher, two.subscriber):
        each.run("CREATE TABLE u (id int PRIMARY KEY)")
    two.publisher.run(
        "INSERT INTO u SELECT generate_series(1, 50000)",
        "INSERT INTO t VALUES (1, 'a', 1)",
        "ALTER PUBLICATION p ADD TABLE u",
    )
    # The short copy ends during the long one.
    report = applier(two).run(stop_at=end(two.publisher), timeout=20)
    assert report.copied_rows == 50001


@NEWEST
def test_the_rows_of_a_large_transaction_share_statements(two: Pair) -> None:
    for each in (two.publisher, two.subscriber):
        each.run("CREATE TABLE u (id int PRIMARY KEY)")
    two.subscriber.run(
        "CREATE SEQUENCE statements",
        "CREATE FUNCTION count_it() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM nextval('public.statements'); RETURN NULL; END $$",
        "CREATE TRIGGER count_it AFTER INSERT ON u FOR EACH STATEMENT EXECUTE PROCEDURE count_it()",
        "ALTER TABLE u ENABLE ALWAYS TRIGGER count_it",
    )
    two.publisher.run("ALTER PUBLICATION p ADD TABLE u")
    one = applier(two, copy=False)
    one.run(stop_at=end(two.publisher), timeout=20)
    # It comes in about a hundred parts.
    two.publisher.run("INSERT INTO u SELECT generate_series(1, 60000)")
    one.run(stop_at=end(two.publisher), timeout=20)
    insist_on_same_rows(two, "u")
    # 100 batches of 600 rows; each of the first eight is split into 512, 64, 16 and 8 rows.
    assert two.subscriber.one("SELECT last_value FROM statements") == 92 + 8 * 4


@NEWEST
def test_a_run_ends_after_its_timeout(two: Pair) -> None:
    one = applier(two)
    with pytest.raises(WaitTimeout, match="has applied everything before"):
        one.run(timeout=0.5)


@NEWEST
def test_a_run_ends_after_its_timeout_while_a_client_holds_a_lock(two: Pair) -> None:
    one = applier(two)
    two.publisher.run("INSERT INTO t VALUES (1, 'one', 1)")
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run("UPDATE t SET n = 2")
    with psycopg.connect(two.subscriber.conninfo) as client:
        client.execute("SELECT FROM t FOR UPDATE")
        started = time.monotonic()
        with pytest.raises(WaitTimeout):
            one.run(timeout=0.5)
        # Without a look at the time during the wait, this takes 25 s.
        assert time.monotonic() - started < 10
    one.run(stop_at=end(two.publisher), timeout=20)
    insist_on_same_rows(two)


@NEWEST
@pytest.mark.parametrize(
    "rule",
    [
        TableRule(where=lambda row: row["name"] != "left out"),
        TableRule(change=lambda row: None if row["name"] == "left out" else {"n": row["n"]}),
    ],
    ids=["where", "change"],
)
def test_copied_rows_that_a_rule_reads_replace_those_with_the_same_key(
    two: Pair, rule: TableRule
) -> None:
    two.publisher.run("INSERT INTO t VALUES (1, 'one', 1), (2, 'two', 2), (3, 'left out', 3)")
    two.subscriber.run("INSERT INTO t VALUES (1, 'old', 0), (3, 'own', 0), (4, 'own', 0)")
    one = applier(two, existing="merge", tables={"t": rule})
    one.run(stop_at=end(two.publisher), timeout=20)
    assert two.subscriber.all("SELECT id, name FROM t ORDER BY id") == [
        (1, "one"),
        (2, "two"),
        (3, "own"),
        (4, "own"),
    ]


@NEWEST
def test_rows_of_a_table_without_a_key_are_added_to_those_that_exist(two: Pair) -> None:
    for each in (two.publisher, two.subscriber):
        each.run("CREATE TABLE log (line text)")
    two.publisher.run(
        "ALTER TABLE log REPLICA IDENTITY FULL",
        "ALTER PUBLICATION p SET TABLE log",
        "INSERT INTO log VALUES ('a'), ('a')",
    )
    two.subscriber.run("INSERT INTO log VALUES ('a')")
    one = applier(two, existing="merge", tables={"log": TableRule(where=bool)})
    one.run(stop_at=end(two.publisher), timeout=20)
    assert two.subscriber.all("SELECT line FROM log") == 3 * [("a",)]


@NEWEST
def test_a_parked_merge_says_that_the_row_has_changed(two: Pair) -> None:
    two.publisher.run("ALTER TABLE t REPLICA IDENTITY FULL")
    two.subscriber.run("ALTER TABLE t ADD CHECK (n < 100)")
    merge = MergeWith(lambda _, remote: {"n": remote["n"]})
    one = applier(two, conflicts=merge, on_error="park")
    two.publisher.run("INSERT INTO t VALUES (1, 'one', 1)")
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run("UPDATE t SET n = 200")
    assert one.run(stop_at=end(two.publisher), timeout=20).parked == 1
    two.subscriber.run("ALTER TABLE t DROP CONSTRAINT t_n_check", "UPDATE t SET n = 2")
    [parked] = one.parked()
    with pytest.raises(ApplyFailed, match="not as the publisher's was before the change"):
        one.apply_parked(parked)
    two.subscriber.run("UPDATE t SET n = 1")
    one.apply_parked(parked)
    insist_on_same_rows(two)


@NEWEST
def test_an_answer_to_a_probe_counts_although_nothing_listens_for_it(two: Pair) -> None:
    two.publisher.run("SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
    with (
        pgreplkit.Primary.connect(two.publisher.conninfo) as primary,
        primary.changes("s", publications=["p"]) as changes,
    ):
        stream = changes._stream
        silence = stream._reporter._silence
        # Longer than the limit, after which the next wait would end the stream.
        silence.listened(2 * silence.limit)
        stream._reporter.report(asks=True)
        wait_until(stream.receive)
        assert not silence.is_over
    two.publisher.run("SELECT pg_drop_replication_slot('s')")


@pytest.mark.matrix
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"tables": {"nowhere": TableRule()}}, r"public\.nowhere"),
        ({"tables": {"t": TableRule(columns={"name": "n"})}}, "are mapped to 'n'"),
        ({"tables": {"t": TableRule(to="nowhere")}}, r"no table public\.nowhere"),
        ({"publications": ["nowhere"]}, "no publication has the name nowhere"),
        ({"publications": ["nothing"]}, "no table is published by nothing"),
        ({}, r"public\.t has rows"),
    ],
)
def test_a_run_that_is_refused_leaves_nothing(
    two: Pair, options: dict[str, Any], error: str
) -> None:
    two.publisher.run("CREATE PUBLICATION nothing")
    two.subscriber.run("INSERT INTO t VALUES (1, 'local', 1)")
    with pytest.raises(ServerError, match=error):
        applier(two, **options).run(timeout=20)
    for objects in ("pg_replication_slots", "pg_replication_origin"):
        assert not two.subscriber.all(f"SELECT FROM {objects} AS o WHERE o::text ~ 'pgreplkit'")
    assert two.subscriber.one("SELECT to_regnamespace('pgreplkit') IS NULL")
    with pytest.raises(ApplyError, match="it was never run; check its name, or call run"):
        applier(two).status()
    assert two.subscriber.all("SELECT * FROM t") == [(1, "local", 1)]


def test_a_read_only_subscriber_is_distinguished_from_a_standby(two: Pair) -> None:
    conninfo = make_conninfo(two.subscriber.conninfo, options="-c default_transaction_read_only=on")
    one = Applier(two.publisher.conninfo, conninfo, "one", publications=["p"])
    with pytest.raises(ServerError, match="default_transaction_read_only is on"):
        one.run(timeout=20)


@pytest.fixture
def mover(two: Pair) -> Iterator[str]:
    """A role without any right."""
    two.subscriber.run("CREATE ROLE mover LOGIN PASSWORD 'mover'")
    yield "mover"
    for database in (two.publisher, two.subscriber):
        database.run("DROP OWNED BY mover CASCADE")
    two.subscriber.run("DROP ROLE mover")


@pytest.mark.matrix
@pytest.mark.parametrize("resume", ["origin", "table"])
def test_a_plain_role_applies_what_setup_sql_allows(two: Pair, mover: str, resume: str) -> None:
    conninfos = two.publisher.as_role(mover), two.subscriber.as_role(mover)
    one = Applier(*conninfos, "one", publications=["p"], resume=resume)  # type: ignore[arg-type]
    problems = {finding.check for finding in one.check().problems}
    assert {"role of the publisher", "schema pgreplkit", "table public.t"} <= problems
    assert "session_replication_role" in problems
    assert ("replication origins" in problems) == (resume == "origin")
    setup = applier(two, resume=resume).setup_sql(mover)
    two.publisher.run(*setup.publisher)
    two.subscriber.run(*setup.subscriber)
    assert one.check().is_ready
    two.publisher.run("INSERT INTO t VALUES (1, 'a', 1)")
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run("UPDATE t SET n = 2", "INSERT INTO t VALUES (2, 'b', 2)")
    assert one.run(stop_at=end(two.publisher), timeout=20).transactions == 2
    insist_on_same_rows(two)
    if resume == "origin":
        # A mesh also needs this.
        major = two.subscriber.node.major
        two.subscriber.run(*applying.advance_sql(mover, major))
        call = f"{applying.functions(major, is_superuser=False)}.pg_replication_origin_advance"
        wait_for_ends(two.subscriber)
        with psycopg.connect(two.subscriber.as_role(mover)) as connection:
            connection.execute(f"SELECT {call}('pgreplkit_one', '0/1')".encode())
    one.drop()


@pytest.mark.pg("<14")
@pytest.mark.pg(">=10")
@pytest.mark.one_colour
def test_a_wrapper_executes_no_operator_of_its_caller(two: Pair, mover: str) -> None:
    two.subscriber.run(*applier(two).setup_sql(mover).subscriber)
    with psycopg.connect(two.subscriber.as_role(mover), autocommit=True) as connection:
        for statement in shadowed_operators("~", "~~"):
            connection.execute(statement.encode())
        name = "pgreplkit_by_mover"
        connection.execute("SELECT pgreplkit.pg_replication_origin_create(%s::text)", [name])
    two.subscriber.run(f"SELECT pg_replication_origin_drop('{name}')")


@pytest.mark.matrix
def test_a_plain_role_takes_over_an_applier_that_another_role_has_run(
    two: Pair, mover: str
) -> None:
    two.publisher.run("INSERT INTO t VALUES (1, 'a', 1)")
    applier(two).run(stop_at=end(two.publisher), timeout=20)
    one = Applier(
        two.publisher.as_role(mover), two.subscriber.as_role(mover), "one", publications=["p"]
    )
    # No error of its own: the schema that the role may not use is a finding.
    assert "schema pgreplkit" in {finding.check for finding in one.check().problems}
    with pytest.raises(InsufficientPrivilege, match="USAGE, CREATE ON SCHEMA pgreplkit TO"):
        one.conflicts()
    with pytest.raises(RoleNotFound, match="on the publisher"):
        applier(two).setup_sql("nobody")
    setup = applier(two).setup_sql(mover)
    two.publisher.run(*setup.publisher)
    two.subscriber.run(*setup.subscriber)
    assert one.check().is_ready
    two.publisher.run("UPDATE t SET n = 2", "INSERT INTO t VALUES (2, 'b', 2)")
    assert one.run(stop_at=end(two.publisher), timeout=20).transactions == 2
    insist_on_same_rows(two)
    two.subscriber.run(f"REVOKE INSERT ON pgreplkit.parked FROM {mover}")
    [found] = one.check().problems
    assert "may not write all tables" in found.found
    if has("origin.moved_by_rollback", two.subscriber.node.major):
        [sequence] = two.subscriber.all(
            "SELECT relname FROM pg_class WHERE relname ~ 'ended_[0-9]'"
        )
        two.subscriber.run(f"ALTER SEQUENCE pgreplkit.{sequence[0]} OWNER TO CURRENT_USER")
        with pytest.raises(InsufficientPrivilege, match=r"as the owner of pgreplkit\.ended"):
            one.drop()
    two.subscriber.run(*applier(two).setup_sql(mover).subscriber)
    one.drop()


@NEWEST
def test_the_origin_of_another_applier_is_not_taken_for_its_own(two: Pair) -> None:
    one = applier(two)
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run("INSERT INTO t VALUES (1, 'a', 1)")
    one.run(stop_at=end(two.publisher), timeout=20)
    # The origin that is left has a position: a new applier would take no change before it.
    two.publisher.run("SELECT pg_drop_replication_slot('pgreplkit_one')")
    two.subscriber.run("DROP SCHEMA pgreplkit CASCADE", "DELETE FROM t")
    with pytest.raises(AlreadyExists, match="replication origin 'pgreplkit_one' at"):
        one.run(timeout=20)
    assert two.subscriber.one("SELECT to_regnamespace('pgreplkit') IS NULL")
    two.subscriber.run("SELECT pg_replication_origin_drop('pgreplkit_one')")
    one.run(stop_at=end(two.publisher), timeout=20)
    insist_on_same_rows(two)


@pytest.mark.one_colour
@pytest.mark.parametrize(
    "lock",
    ["SELECT pg_advisory_xact_lock(1885697650)", "LOCK pgreplkit.applier IN SHARE MODE"],
    ids=["before the applier is noted", "before the slot is created"],
)
def test_a_first_run_keeps_a_slot_that_another_subscriber_has_just_created(
    two: Pair, lock: str
) -> None:
    if "pgreplkit" in lock:
        ends = two.publisher.conninfo, two.subscriber.conninfo
        Applier(*ends, "zero", publications=["p"]).run(stop_at=end(two.publisher), timeout=20)
    with ThreadPoolExecutor(1) as pool, psycopg.connect(two.subscriber.conninfo) as holder:
        holder.execute(lock)
        running = pool.submit(lambda: applier(two).run(timeout=20))
        waiting = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        wait_until(lambda: two.subscriber.one(waiting) == 1)
        # A logical one would wait here for the transaction of the applier.
        two.publisher.run("SELECT pg_create_physical_replication_slot('pgreplkit_one')")
        holder.rollback()
        with pytest.raises(AlreadyExists):
            running.result(20)
    slots = "SELECT 1 FROM pg_replication_slots WHERE slot_name = 'pgreplkit_one'"
    assert two.publisher.one(slots) == 1
    assert two.subscriber.all("SELECT 1 FROM pgreplkit.applier WHERE name = 'one'") == []
    two.publisher.run("SELECT pg_drop_replication_slot('pgreplkit_one')")
    applier(two).run(stop_at=end(two.publisher), timeout=20)


def reversed_grants(statement: str) -> list[str]:
    """Return the statements that revoke the grant of one of setup_sql."""
    if statement.endswith(" REPLICATION"):
        return [statement.replace(" REPLICATION", " NOREPLICATION")]
    # The schema exists by then, so that it need not be created.
    if not statement.startswith("GRANT ") or "CREATE ON DATABASE" in statement:
        return []
    [what, role] = statement.removeprefix("GRANT ").split(" TO ")
    [privileges, on] = what.split(" ON ")
    return [f"REVOKE {one} ON {on} FROM {role}" for one in privileges.split(", ")]


@pytest.mark.matrix
def test_each_right_that_is_taken_away_is_found(two: Pair, mover: str) -> None:
    one = Applier(
        two.publisher.as_role(mover), two.subscriber.as_role(mover), "one", publications=["p"]
    )
    for database in (two.publisher, two.subscriber):
        database.run("REVOKE USAGE ON SCHEMA public FROM PUBLIC")
    setup = applier(two).setup_sql(mover)
    for _ in range(2):
        two.publisher.run(*setup.publisher)
        two.subscriber.run(*setup.subscriber)
    assert one.check().is_ready
    # Which the role created, and now finds without it.
    two.subscriber.run(f"REVOKE CREATE ON DATABASE {two.subscriber.name} FROM {mover}")
    one.run(stop_at=end(two.publisher), timeout=20)
    one.drop()
    number = 0
    for database, statements in (
        (two.publisher, setup.publisher),
        (two.subscriber, setup.subscriber),
    ):
        for statement in statements:
            for taken in reversed_grants(statement):
                database.run(taken)
                assert not one.check().is_ready, taken
                number += 1
                database.run(statement)
    assert number >= 16
    assert one.check().is_ready


@pytest.mark.pg(">=16")  # before, a rollback moves no origin, which needs no sequences
@pytest.mark.matrix
def test_a_role_that_may_not_create_in_the_schema_gets_an_error_that_says_so(
    two: Pair, mover: str
) -> None:
    setup = applier(two).setup_sql(mover)
    two.publisher.run(*setup.publisher)
    two.subscriber.run(*setup.subscriber)
    one = Applier(
        two.publisher.as_role(mover), two.subscriber.as_role(mover), "one", publications=["p"]
    )
    one.run(stop_at=end(two.publisher), timeout=20)
    one.drop()
    two.subscriber.run(
        "ALTER SCHEMA pgreplkit OWNER TO CURRENT_USER",
        f"GRANT USAGE ON SCHEMA pgreplkit TO {mover}",
    )
    with pytest.raises(InsufficientPrivilege, match="CREATE ON SCHEMA pgreplkit"):
        one.run(timeout=20)


@pytest.mark.matrix
def test_an_unprepared_role_gets_an_error_with_the_missing_rights(two: Pair, mover: str) -> None:
    two.publisher.run(*applier(two).setup_sql(mover).publisher)
    one = Applier(
        two.publisher.as_role(mover), two.subscriber.as_role(mover), "one", publications=["p"]
    )
    with pytest.raises(ServerError, match=r"setup_sql\(\)|SET ON PARAMETER"):
        one.run(timeout=20)
    two.subscriber.run(*applier(two).setup_sql(mover).subscriber)
    function = "pg_replication_origin_create(text)"
    schema = applying.functions(two.subscriber.node.major, is_superuser=False)
    two.subscriber.run(f"REVOKE ALL ON FUNCTION {schema}.{function} FROM {mover}")
    with pytest.raises(InsufficientPrivilege, match=rf"GRANT EXECUTE ON FUNCTION {schema}\."):
        one.run(timeout=20)
    two.subscriber.run(*applier(two).setup_sql(mover).subscriber)
    two.publisher.run("INSERT INTO t VALUES (1, 'a', 1)")
    two.subscriber.run(f"REVOKE INSERT ON t FROM {mover}")
    with pytest.raises(InsufficientPrivilege, match=r"INSERT, .* ON public\.t"):
        one.run(timeout=20)
    two.subscriber.run(*applier(two).setup_sql(mover).subscriber)
    one.run(stop_at=end(two.publisher), timeout=20)
    two.subscriber.run(f"REVOKE UPDATE ON t FROM {mover}")
    two.publisher.run("UPDATE t SET n = 2")
    with pytest.raises(ServerError, match="permission denied") as caught:
        one.run(stop_at=end(two.publisher), timeout=20)
    assert "pg_monitor" not in str(caught.value)


@NEWEST
@pytest.mark.matrix
def test_a_connection_that_is_cut_within_a_transaction_loses_and_doubles_nothing(
    two: Pair,
) -> None:
    one = applier(two, reconnect=20)
    two.publisher.run("INSERT INTO t SELECT i, '', 0 FROM generate_series(1, 50) AS i")
    one.run(stop_at=end(two.publisher), timeout=20)
    two.subscriber.run(
        "CREATE SEQUENCE rows",
        """CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF nextval('public.rows') IN (7, 80) THEN
                PERFORM pg_terminate_backend(pg_backend_pid());
            END IF;
            RETURN new; END $$""",
        "CREATE TRIGGER cut BEFORE UPDATE ON t FOR EACH ROW EXECUTE PROCEDURE cut()",
        "ALTER TABLE t ENABLE ALWAYS TRIGGER cut",
    )
    two.publisher.run(*["UPDATE t SET n = n + 1 WHERE id <= 30"] * 5)
    report = one.run(stop_at=end(two.publisher), timeout=30)
    assert not report.conflicts
    insist_on_same_rows(two)


@NEWEST
def test_a_restored_subscriber_has_no_position(two: Pair) -> None:
    one = applier(two)
    one.run(stop_at=end(two.publisher), timeout=20)
    with pytest.raises(ApplyError, match="use resume='origin'"):
        applier(two, resume="table").run(timeout=20)
    two.publisher.run("SELECT pg_drop_replication_slot('pgreplkit_one')")
    with pytest.raises(SlotNotFound, match=r"drop\(\) the applier, and copy the tables again"):
        one.run(timeout=20)
    # A dump does not contain replication origins.
    with psycopg.connect(two.subscriber.conninfo, autocommit=True) as connection:
        drop_origins(connection)
    with pytest.raises(ApplyError, match="position is unknown"):
        one.run(timeout=20)


@pytest.mark.pg(">=13")
@pytest.mark.one_colour
@pytest.mark.matrix
def test_a_slot_that_is_lost_or_missing_is_reported(clusters: Clusters, major: int) -> None:
    limited = {"wal_level": "logical", "max_slot_wal_keep_size": "1MB"}
    node = clusters.lab.primary(version=major, settings=limited)
    with publishing(node, "CREATE TABLE t (id int PRIMARY KEY)") as pair:
        one = applier(pair)
        assert "slot" not in [finding.check for finding in one.check().findings]
        one.run(stop_at=end(pair.publisher), timeout=20)

        def is_lost() -> bool:
            pair.publisher.run("SELECT pg_switch_wal()", "CHECKPOINT")
            return one.status().state == "lost"

        wait_until(is_lost)
        for state, error in (("lost", SlotLost), ("missing", SlotNotFound)):
            assert one.status().state == state
            finding = one.check()["slot"]
            assert finding.severity is Severity.CRITICAL
            assert "copy the tables again" in finding.remedy
            with pytest.raises(error):
                one.run(timeout=20)
            if state == "lost":
                pair.publisher.run("SELECT pg_drop_replication_slot('pgreplkit_one')")
        one.drop()
        assert "slot" not in [finding.check for finding in one.check().findings]
    clusters.lab.remove(node)


@NEWEST
@pytest.mark.matrix
def test_the_command_runs_until_a_signal_stops_it(
    two: Pair, mover: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two.publisher.run("INSERT INTO t VALUES (1, 'a', 1)")
    config = tmp_path / "config.toml"
    config.write_text(
        f'name = "one"\npublisher = "{two.publisher.conninfo}"\n'
        f'subscriber = "{two.subscriber.conninfo}"\npublications = ["p"]\n'
    )
    assert main([str(config), "--check"]) == DONE
    assert main([str(config), "--setup-sql", mover]) == DONE
    assert 'ALTER ROLE "mover" REPLICATION;' in capsys.readouterr().out
    # As of a shell variable that is not set.
    assert main([str(config), "--setup-sql", ""]) == STUCK
    assert not two.subscriber.all("SELECT FROM t")
    command = [sys.executable, "-m", "pgreplkit.apply", str(config)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: two.subscriber.all("SELECT id FROM t") == [(1,)])
        two.publisher.run("INSERT INTO t VALUES (2, 'b', 2)")
        wait_until(lambda: two.subscriber.all("SELECT id FROM t ORDER BY 1") == [(1,), (2,)])
        process.terminate()
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "after 1 copied row and 1 transaction" in errors
    config.write_text("nonsense = 1")
    assert main([str(config)]) == MISCONFIGURED
    assert main([str(tmp_path / "missing.toml")]) == MISCONFIGURED


@NEWEST
@pytest.mark.matrix
@pytest.mark.one_colour
def test_a_subscriber_that_crashes_keeps_the_applier_and_what_was_acknowledged(
    clusters: Clusters, two: Pair, major: int
) -> None:
    node = clusters.lab.primary(version=major)
    crashing = Pair(two.publisher, Database(node, "postgres"))
    crashing.subscriber.run(TABLE)
    two.publisher.run("INSERT INTO t VALUES (1, 'a', 1)")
    one = applier(crashing, copy=True)
    one.run(stop_at=end(two.publisher), timeout=20)
    node.stop("immediate")
    node.start()
    assert one.status().state == "streaming"
    insist_on_same_rows(crashing)
    two.publisher.run("INSERT INTO t VALUES (2, 'b', 2)")
    report = one.run(stop_at=end(two.publisher), timeout=20)
    node.stop("immediate")
    node.start()
    assert one.status().position >= report.position
    insist_on_same_rows(crashing)


@NEWEST
def test_a_group_that_fails_is_applied_again_one_transaction_at_a_time(two: Pair) -> None:
    grouped = applier(two, group=50, on_error="park")
    two.publisher.run("INSERT INTO t SELECT n, 'x', n FROM generate_series(1, 9) AS n")
    grouped.run(stop_at=end(two.publisher), timeout=60)
    two.subscriber.run("DELETE FROM t WHERE id = 3", "ALTER TABLE t ADD CHECK (n < 100)")
    two.publisher.run(
        "UPDATE t SET n = n + 10",
        "UPDATE t SET n = 100 WHERE id = 5",
        "INSERT INTO t VALUES (10, 'x', 1)",
        "DELETE FROM t WHERE id IN (3, 4)",
        "UPDATE t SET n = n + 1 WHERE id <> 5",
    )
    report = grouped.run(stop_at=end(two.publisher), timeout=60)
    # All of them were one group, of which one transaction cannot be applied.
    assert (report.transactions, report.parked) == (4, 1)
    assert report.conflicts == {
        ConflictKind.UPDATE_MISSING: 1,
        ConflictKind.DELETE_MISSING: 1,
    }
    assert [one.key_values for one in grouped.conflicts()] == [{"id": "3"}] * 2
    found = two.subscriber.all("SELECT id, n FROM t ORDER BY id")
    assert found[:2] == [(1, 12), (2, 13)]
    assert found[-1] == (10, 2)
    assert len(found) == 8


@NEWEST
def test_a_group_is_one_transaction_of_the_subscriber(two: Pair) -> None:
    grouped = applier(two, group=50)
    grouped.run(stop_at=end(two.publisher), timeout=60)
    two.publisher.run(*(f"INSERT INTO t VALUES ({n}, 'x', 0)" for n in range(20)))
    two.publisher.run(
        "UPDATE t SET n = n + 1", "UPDATE t SET n = n + 1", "DELETE FROM t WHERE id = 7"
    )
    report = grouped.run(stop_at=end(two.publisher), timeout=60)
    assert report.transactions == 23
    insist_on_same_rows(two)
    assert two.subscriber.one("SELECT count(DISTINCT xmin::text) FROM t") == 1


@pytest.mark.pg(">=15")
@pytest.mark.one_colour
def test_columns_of_the_identity_that_are_not_published_are_found(two: Pair) -> None:
    check = "table public.t, its replica identity"
    two.publisher.run("ALTER TABLE t REPLICA IDENTITY FULL")
    assert check not in {finding.check for finding in applier(two).check().findings}
    made = "ALTER TABLE t ADD made int GENERATED ALWAYS AS (id + 1) STORED"
    for each in (two.publisher, two.subscriber):
        each.run(made)
    two.publisher.run("INSERT INTO t VALUES (1, 'one', 1)")
    update = "UPDATE t SET n = n + 1"
    # Before 18, generated columns are not part of the identity.
    if two.publisher.node.major >= 18:
        with pytest.raises(psycopg.errors.InvalidColumnReference):
            two.publisher.run(update)
        assert "it has made, which" in str(applier(two).check()[check])
        two.publisher.run("ALTER PUBLICATION p SET (publish_generated_columns = stored)")
    two.publisher.run(update)
    one = applier(two)
    assert check not in {finding.check for finding in one.check().findings}
    one.run(stop_at=end(two.publisher), timeout=30)
    two.publisher.run(update)
    one.run(stop_at=end(two.publisher), timeout=30)
    insist_on_same_rows(two)
    two.publisher.run("ALTER PUBLICATION p SET TABLE t (id, n)")
    with pytest.raises(psycopg.errors.InvalidColumnReference):
        two.publisher.run(update)
    assert "it has name" in str(one.check()[check])


SCANS = """SELECT coalesce(sum(seq_scan), 0)::int FROM pg_stat_user_tables
    WHERE schemaname = 'pgreplkit' AND relname = 'progress'"""


@pytest.mark.pg(">=10")
@pytest.mark.one_colour
def test_a_position_in_a_table_is_found_in_spite_of_an_old_snapshot(two: Pair) -> None:
    one = applier(two, resume="table")
    one.run(stop_at=end(two.publisher), timeout=20)
    with psycopg.connect(two.subscriber.conninfo) as old:
        old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        old.execute("SELECT count(*) FROM t")
        two.publisher.run(*(f"INSERT INTO t VALUES ({n}, 'n', {n})" for n in range(200)))
        assert one.run(stop_at=end(two.publisher), timeout=20).transactions == 200
        # Each version of the row is still there; only a few look-ups have gone through them.
        size = two.subscriber.one("SELECT pg_relation_size('pgreplkit.progress')")
        assert isinstance(size, int)
        assert size > 8192
        assert two.subscriber.one(SCANS) in range(20)


@pytest.mark.pg(">=10")
@pytest.mark.one_colour
def test_a_position_that_was_moved_elsewhere_is_found(two: Pair) -> None:
    one = applier(two, resume="table")
    one.run(stop_at=end(two.publisher), timeout=20)
    # Another applier's row takes the place of the first one.
    other = Applier(
        two.publisher.conninfo, two.subscriber.conninfo, "other", publications=["p"], resume="table"
    )
    with running(one):
        two.publisher.run("INSERT INTO t VALUES (1, 'one', 1)")
        wait_until(lambda: len(two.subscriber.all("SELECT * FROM t")) == 1)
        with pytest.raises(ApplyError):
            other.run(timeout=10)
        two.subscriber.run("VACUUM FULL pgreplkit.progress")
        # The second one is refused, and applied alone.
        two.subscriber.run("INSERT INTO t VALUES (2, 'local', 0)")
        two.publisher.run("INSERT INTO t VALUES (2, 'two', 2)")
        two.publisher.run("INSERT INTO t VALUES (3, 'three', 3)")
        wait_until(lambda: len(two.subscriber.all("SELECT * FROM t")) == 3)
    insist_on_same_rows(two)
    stored = two.subscriber.one("SELECT position::text FROM pgreplkit.progress WHERE name = 'one'")
    assert LSN(str(stored)) == one.position
    assert one.run(stop_at=end(two.publisher), timeout=20).transactions == 0
