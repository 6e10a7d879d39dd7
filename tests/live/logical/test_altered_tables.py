"""Tables that are altered while an applier runs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from threading import Thread
from typing import Any

import psycopg
import pytest
from clusters import Cluster, wait_until
from databases import Database, Pair, empty_pair, end, publishing

from pgreplkit.apply import Applier, TableRule
from pgreplkit.errors import (
    ApplyFailed,
    Error,
    PublicationGap,
    SchemaMismatch,
    UnsupportedByServer,
)
from pgreplkit.rows import Severity

pytestmark = [pytest.mark.pg(">=10"), pytest.mark.one_colour]

TABLE = "CREATE TABLE t (id int PRIMARY KEY, name text, n int)"
FILL = "INSERT INTO t SELECT i, 'name', i FROM generate_series(1, 5) AS i"
CHANGES = (
    "INSERT INTO t SELECT i, 'more', i FROM generate_series(10, 15) AS i",
    "UPDATE t SET n = 8 WHERE id = 1",
    "UPDATE t SET id = 20 WHERE id = 2",
    "DELETE FROM t WHERE id = 3",
    # An existing row: the transaction is applied change by change.
    "INSERT INTO t VALUES (30, 'exists', 30)",
)


@pytest.fixture
def two(cluster: Cluster) -> Iterator[Pair]:
    with publishing(cluster.primary, TABLE) as pair:
        pair.publisher.run(FILL)
        yield pair


@pytest.fixture
def blank(cluster: Cluster) -> Iterator[Pair]:
    with empty_pair(cluster.primary) as pair:
        yield pair


class Running:
    """An applier that runs while tables are altered."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        # A transaction that meets another definition must stop it, and not be parked.
        self.applier = Applier(
            pair.publisher.conninfo,
            pair.subscriber.conninfo,
            "one",
            publications=["p"],
            on_error="park",
        )
        self.applier.run(stop_at=end(pair.publisher), timeout=30)
        self.error: Error | None = None
        self.thread = Thread(target=self.run, daemon=True)
        self.thread.start()
        pair.publisher.run("INSERT INTO t VALUES (6, 'six', 6)")
        wait_until(lambda: pair.subscriber.one("SELECT count(*) FROM t WHERE id = 6") == 1)
        pair.subscriber.run("INSERT INTO t VALUES (30, 'local', 1)")

    def run(self) -> None:
        try:
            self.applier.run(timeout=60)
        except Error as error:
            self.error = error

    def stop_after(self, *changes: str) -> Error | None:
        """Make changes; return the error that stopped the applier, if one did."""
        self.pair.publisher.run(*changes, "INSERT INTO t VALUES (99, 'last', 9)")
        wait_until(lambda: not self.thread.is_alive() or self.has_last())
        # Later, it would end the next run.
        if self.thread.is_alive():
            self.applier.stop()
        self.thread.join(20)
        assert not self.thread.is_alive()
        return self.error

    def has_last(self) -> bool:
        # The table may have another name, or another column.
        with suppress(psycopg.Error):
            return self.pair.subscriber.one("SELECT count(*) FROM t WHERE name = 'last'") == 1
        return False

    def finish(self) -> None:
        self.applier.run(stop_at=end(self.pair.publisher), timeout=30)
        assert not [*self.applier.parked()]


ROWS = "SELECT id, name, n::float8 FROM t ORDER BY id"


def of(table: str, statement: str) -> str:
    """Return a statement about t for another table."""
    return re.sub(r"\bt\b", table, statement)


@pytest.mark.parametrize("column", ["n", "id"])
def test_a_column_of_another_type_gets_the_same_values(two: Pair, column: str) -> None:
    kinds = ("bigint", "smallint", "real", "float8", "text", "numeric(9,3)")
    tables = {f"t{number}": kind for number, kind in enumerate(kinds)}
    for table in tables:
        for each in (two.publisher, two.subscriber):
            each.run(of(table, TABLE))
        two.publisher.run(f"ALTER PUBLICATION p ADD TABLE {table}", of(table, FILL))
    running = Running(two)
    # Each table has had a change before, and a row of its own.
    for table in tables:
        two.publisher.run(f"INSERT INTO {table} VALUES (6, 'six', 6)")
        two.subscriber.run(f"INSERT INTO {table} VALUES (30, 'local', 1)")
    wait_until(lambda: all(two.subscriber.all(f"SELECT FROM {t} WHERE id = 6") for t in tables))
    for table, kind in tables.items():
        two.subscriber.run(f"ALTER TABLE {table} ALTER {column} TYPE {kind}")
    changes = [of(table, change) for table in tables for change in CHANGES]
    assert running.stop_after(*changes) is None
    running.finish()
    rows = ROWS if column == "n" else ROWS.replace("id,", "id::int,").replace("BY id", "BY id::int")
    for table, kind in tables.items():
        same = two.publisher.all(of(table, ROWS))
        assert two.subscriber.all(of(table, rows)) == same, kind


@pytest.mark.parametrize(
    ("altered", "found", "repair"),
    [
        ("ALTER TABLE t RENAME n TO m", "has no column 'n'", "ALTER TABLE t RENAME m TO n"),
        ("ALTER TABLE t RENAME TO u", "no table public.t", "ALTER TABLE u RENAME TO t"),
        (
            "ALTER TABLE t ADD r int, DROP COLUMN name",
            "has no column 'name'; ALTER TABLE public.t ADD COLUMN",
            "ALTER TABLE t ADD name text; UPDATE t SET name = 'name' WHERE id < 6;"
            " UPDATE t SET name = 'six' WHERE id = 6; UPDATE t SET name = 'local' WHERE id = 30",
        ),
        (
            "ALTER TABLE t ADD r int NOT NULL DEFAULT 0; ALTER TABLE t ALTER r DROP DEFAULT",
            "needs a value for 'r'",
            "ALTER TABLE t DROP r",
        ),
    ],
)
def test_a_table_that_no_longer_fits_stops_before_the_transaction(
    two: Pair, altered: str, found: str, repair: str
) -> None:
    running = Running(two)
    two.subscriber.run(altered)
    error = running.stop_after(*CHANGES)
    assert isinstance(error, SchemaMismatch)
    assert found in str(error)
    two.subscriber.run(repair)
    running.finish()
    assert two.subscriber.all(ROWS) == two.publisher.all(ROWS)


def test_a_type_that_does_not_take_the_values_parks_them(two: Pair) -> None:
    running = Running(two)
    two.subscriber.run("ALTER TABLE t ALTER n TYPE smallint")
    assert running.stop_after("UPDATE t SET n = 70000 WHERE id = 1") is None
    [parked] = running.applier.parked()
    assert parked.sqlstate == "22003"
    with pytest.raises(ApplyFailed, match="out of range"):
        running.applier.apply_parked(parked)
    two.subscriber.run("ALTER TABLE t ALTER n TYPE float8")
    running.applier.apply_parked(parked)
    running.finish()
    assert two.subscriber.one("SELECT n FROM t WHERE id = 1") == 70000.0


WIDER = [
    ("int", "bigint", "3000000000", "ALTER COLUMN v TYPE bigint"),
    ("smallint", "int", "70000", "ALTER COLUMN v TYPE integer"),
    ("varchar(3)", "varchar(10)", "'longer'", "ALTER COLUMN v TYPE character varying(10)"),
    ("char(3)", "char(10)", "'longer'", "ALTER COLUMN v TYPE character(10)"),
    ("numeric(4,1)", "numeric(9,2)", "123456.78", "ALTER COLUMN v TYPE numeric(9,2)"),
    ("int[]", "bigint[]", "'{3000000000}'", "ALTER COLUMN v TYPE bigint[]"),
    ("date", "text", "'no date'", "ALTER COLUMN v TYPE text"),
    ("bit varying(3)", "bit varying(4)", "B'1010'", "ALTER COLUMN v TYPE bit varying(4)"),
    ("cidr", "inet", "'10.1.2.3/8'", "ALTER COLUMN v TYPE inet"),
    ("int NOT NULL", None, "NULL", "ALTER COLUMN v DROP NOT NULL"),
    ("mood", None, "'new'", "ADD VALUE IF NOT EXISTS 'new' AFTER 'old'"),
    ("pair", None, "'(1,2)'", "ADD ATTRIBUTE b integer"),
]
"""Types before and after, a value that only the wider one takes, and the end of the statement."""


def test_a_value_of_a_wider_type_stops_the_applier_with_the_alter(blank: Pair) -> None:
    pair, numbers = blank, range(len(WIDER))
    for each in (pair.publisher, pair.subscriber):
        each.run("CREATE TYPE mood AS ENUM ('old')", "CREATE TYPE pair AS (a int)")
        for number, (before, *_) in enumerate(WIDER):
            each.run(f"CREATE TABLE here{number} (id int PRIMARY KEY, v {before})")
    for number, (before, after, *_) in enumerate(WIDER):
        pair.publisher.run(
            f"ALTER TABLE here{number} RENAME TO t{number}", f"ALTER TABLE t{number} RENAME v TO w"
        )
        if before.endswith("NOT NULL"):
            pair.publisher.run(f"ALTER TABLE t{number} ALTER w DROP NOT NULL")
        elif after is not None:
            pair.publisher.run(f"ALTER TABLE t{number} ALTER w TYPE {after}")
    pair.publisher.run(
        "ALTER TYPE mood ADD VALUE 'new'",
        "ALTER TYPE pair ADD ATTRIBUTE b int",
        f"CREATE PUBLICATION p FOR TABLE {', '.join(f't{number}' for number in numbers)}",
    )
    applier = Applier(
        pair.publisher.conninfo,
        pair.subscriber.conninfo,
        "one",
        publications=["p"],
        tables={f"t{n}": TableRule(to=f"here{n}", columns={"w": "v"}) for n in numbers},
    )
    applier.run(stop_at=end(pair.publisher), timeout=30)
    found = applier.check()
    for number, (*_, value, aligning) in enumerate(WIDER):
        assert found[f"table public.t{number}, its types"].severity is Severity.WARNING
        pair.publisher.run(f"INSERT INTO t{number} VALUES (1, {value})")
        with pytest.raises(SchemaMismatch) as caught:
            applier.run(stop_at=end(pair.publisher), timeout=30)
        assert caught.value.table == f"public.t{number}"
        assert isinstance(caught.value.__cause__, ApplyFailed)
        [statement] = caught.value.sql
        assert aligning in statement
        pair.subscriber.run(statement)
    applier.run(stop_at=end(pair.publisher), timeout=30)
    for number in numbers:
        there, here = f"SELECT id, w::text FROM t{number}", f"SELECT id, v::text FROM here{number}"
        assert pair.subscriber.all(here) == pair.publisher.all(there) != []


@pytest.mark.parametrize(
    ("here", "there", "value"),
    [
        ("timestamp", "date", "'5874897-12-31'"),
        ("bit(3)", "bit(4)", "B'1010'"),
        ("numeric(6,3)", "int", "1234567"),
        ("double precision", "numeric", "1e400"),
    ],
)
def test_a_type_that_would_cut_the_values_of_a_column_is_not_offered(
    two: Pair, here: str, there: str, value: str
) -> None:
    two.publisher.run(f"ALTER TABLE t ADD v {there}")
    two.subscriber.run(f"ALTER TABLE t ADD v {here}")
    running = Running(two)
    running.applier.stop()
    running.thread.join(20)
    applier = Applier(two.publisher.conninfo, two.subscriber.conninfo, "one", publications=["p"])
    two.publisher.run(f"UPDATE t SET v = {value} WHERE id = 1")
    with pytest.raises(SchemaMismatch, match=r"the column 'v' is .*align the tables") as caught:
        applier.run(stop_at=end(two.publisher), timeout=30)
    assert caught.value.sql == ()
    assert isinstance(caught.value.__cause__, ApplyFailed)


@pytest.mark.parametrize(
    ("here", "there", "value", "aligning"),
    [
        ("varchar(3)", "varchar(10)", "'longer'", "v TYPE character varying(10)"),
        ("int", "bigint", "3000000000", "v TYPE bigint"),
        ("int NOT NULL", "int", "NULL", "v DROP NOT NULL"),
        ("bit(3)", "bit(4)", "B'1010'", None),
    ],
)
@pytest.mark.parametrize("existing", ["refuse", "merge"])
def test_a_copied_value_that_does_not_fit_names_the_column(
    two: Pair, here: str, there: str, value: str, aligning: str | None, existing: Any
) -> None:
    for each, kind in ((two.publisher, there), (two.subscriber, here)):
        each.run(f"CREATE TABLE u (id int PRIMARY KEY, v {kind})")
    two.publisher.run("ALTER PUBLICATION p ADD TABLE u", f"INSERT INTO u VALUES (1, {value})")
    applier = Applier(
        two.publisher.conninfo,
        two.subscriber.conninfo,
        "one",
        publications=["p"],
        existing=existing,
    )
    with pytest.raises(SchemaMismatch, match=r"changes of public.u: .*the column 'v' is") as caught:
        applier.run(stop_at=end(two.publisher), timeout=30)
    assert caught.value.table == "public.u"
    assert [statement[-len(aligning or "") :] for statement in caught.value.sql] == (
        [aligning] if aligning else []
    )
    two.subscriber.run(*caught.value.sql or ["ALTER TABLE u ALTER v TYPE bit(4)"])
    applier.run(stop_at=end(two.publisher), timeout=30)
    assert two.subscriber.all("TABLE u") == two.publisher.all("TABLE u")


@pytest.mark.parametrize("is_partition", [False, True])
def test_a_not_null_that_the_server_keeps_must_be_set_on_the_publisher(
    two: Pair, is_partition: bool
) -> None:
    columns = ("a", "b", "c", "d", "e")
    two.publisher.run(
        "CREATE TABLE u (a int, b int, c int, d int, e int)",
        "ALTER TABLE u REPLICA IDENTITY FULL",
        "ALTER PUBLICATION p ADD TABLE u",
    )
    key = "PRIMARY KEY (a)"
    if two.subscriber.node.major >= 11:
        key += " INCLUDE (e)"
    two.subscriber.run(
        "CREATE TABLE above (a int, b int, c int, d int NOT NULL, e int) PARTITION BY LIST (a)",
        "CREATE TABLE u (a int, b int NOT NULL GENERATED BY DEFAULT AS IDENTITY, c int NOT NULL,"
        f" d int NOT NULL, e int NOT NULL, {key}, CONSTRAINT k UNIQUE (c))",
        "ALTER TABLE u REPLICA IDENTITY USING INDEX k",
    )
    if is_partition:
        if two.subscriber.node.major >= 17:
            # Only the parent may have an identity column.
            two.subscriber.run("ALTER TABLE u ALTER b DROP IDENTITY")
        two.subscriber.run("ALTER TABLE above ATTACH PARTITION u FOR VALUES IN (1)")
    applier = Applier(two.publisher.conninfo, two.subscriber.conninfo, "one", publications=["p"])
    found = applier.check()["table public.u, its types"].found
    refused = set()
    for column in columns:
        try:
            two.subscriber.run(f"ALTER TABLE u ALTER {column} DROP NOT NULL")
        except psycopg.Error:
            refused.add(column)
    assert {"a", "c"} < refused < {*columns}
    assert ("d" in refused) == is_partition
    alter = "ALTER TABLE public.u ALTER COLUMN {} SET NOT NULL".format
    assert {name for name in columns if alter(name) in found} == refused
    two.publisher.run(*map(alter, refused))


@pytest.mark.pg(">=11")
def test_a_truncate_of_several_tables_that_is_refused_names_them(two: Pair) -> None:
    for each in (two.publisher, two.subscriber):
        each.run("CREATE TABLE u (id int PRIMARY KEY)")
    two.publisher.run("ALTER PUBLICATION p ADD TABLE u")
    two.subscriber.run("CREATE TABLE c (id int REFERENCES u)")
    applier = Applier(two.publisher.conninfo, two.subscriber.conninfo, "one", publications=["p"])
    applier.run(stop_at=end(two.publisher), timeout=30)
    two.publisher.run("TRUNCATE t, u")
    with pytest.raises(ApplyFailed, match="referenced in a foreign key"):
        applier.run(stop_at=end(two.publisher), timeout=30)
    two.subscriber.run("DROP TABLE c")
    applier.run(stop_at=end(two.publisher), timeout=30)
    assert two.subscriber.all("TABLE t") == []


@pytest.mark.pg(">=12")
def test_a_check_does_not_compare_columns_that_are_computed_here(two: Pair) -> None:
    applier = Applier(two.publisher.conninfo, two.subscriber.conninfo, "one", publications=["p"])
    two.publisher.run("ALTER TABLE t ADD v int", "ALTER TABLE t ADD w bigint")
    two.subscriber.run(
        "ALTER TABLE t ADD v int NOT NULL GENERATED ALWAYS AS (1) STORED", "ALTER TABLE t ADD w int"
    )
    assert "its types" in str(applier.check())
    two.subscriber.run("ALTER TABLE t ALTER w TYPE bigint")
    assert "its types" not in str(applier.check())


@pytest.mark.pg(">=15")
def test_a_check_does_not_compare_columns_that_are_not_published(two: Pair) -> None:
    applier = Applier(two.publisher.conninfo, two.subscriber.conninfo, "one", publications=["p"])
    two.publisher.run("ALTER TABLE t ADD v bigint, ADD w bigint")
    two.subscriber.run("ALTER TABLE t ADD v date, ADD w int NOT NULL DEFAULT 0")
    assert "'v' is date" in str(applier.check())
    two.publisher.run("ALTER PUBLICATION p SET TABLE t (id, name, n)")
    assert "its types" not in str(applier.check())
    two.publisher.run("ALTER PUBLICATION p SET TABLE t (id, name, n, w)")
    found = str(applier.check())
    assert "'w' is integer" in found
    assert "'v'" not in found


def gap(database: Database) -> None:
    """Make changes before, in and after a time in which the publication does not exist."""
    database.run(
        "INSERT INTO t VALUES (7, 'before', 7)",
        "DROP PUBLICATION p",
        "UPDATE t SET n = 0 WHERE id = 1",
        "CREATE PUBLICATION p FOR TABLE t",
        "INSERT INTO t VALUES (8, 'after', 8)",
    )


def test_an_applier_stops_where_its_publication_did_not_exist(two: Pair) -> None:
    def applier(**options: Any) -> Applier:
        return Applier(
            two.publisher.conninfo, two.subscriber.conninfo, "one", publications=["p"], **options
        )

    applier().run(stop_at=end(two.publisher), timeout=30)
    gap(two.publisher)
    # Each run stops there, whatever has been applied before.
    for _ in range(2):
        with pytest.raises(PublicationGap, match="existing='truncate'"):
            applier(reconnect=30).run(stop_at=end(two.publisher), timeout=30)
        assert two.subscriber.all("SELECT id FROM t WHERE id > 5") == [(7,)]
    applier().drop()
    applier(existing="truncate").run(stop_at=end(two.publisher), timeout=30)
    assert two.subscriber.all(ROWS) == two.publisher.all(ROWS)


def test_an_applier_notices_a_gap_while_it_runs(two: Pair) -> None:
    running = Running(two)
    gap(two.publisher)
    assert isinstance(running.stop_after(), PublicationGap)


@pytest.mark.pg(">=18")
def test_an_applier_goes_past_a_gap_on_request(two: Pair) -> None:
    applier = Applier(
        two.publisher.conninfo,
        two.subscriber.conninfo,
        "one",
        publications=["p"],
        on_publication_gap="skip",
    )
    applier.run(stop_at=end(two.publisher), timeout=30)
    gap(two.publisher)
    applier.run(stop_at=end(two.publisher), timeout=30)
    assert two.subscriber.all("SELECT id FROM t WHERE id > 5 ORDER BY 1") == [(7,), (8,)]
    assert two.subscriber.one("SELECT n FROM t WHERE id = 1") == 1


@pytest.mark.pg("<18")
def test_an_older_publisher_cannot_go_past_a_gap(two: Pair) -> None:
    applier = Applier(
        two.publisher.conninfo,
        two.subscriber.conninfo,
        "one",
        publications=["p"],
        on_publication_gap="skip",
    )
    with pytest.raises(UnsupportedByServer, match="use on_publication_gap='skip': it needs"):
        applier.run(stop_at=end(two.publisher), timeout=30)
    # Before anything is changed.
    slots = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
    assert two.publisher.one(slots) == 0
    assert two.subscriber.one("SELECT to_regnamespace('pgreplkit') IS NULL")
