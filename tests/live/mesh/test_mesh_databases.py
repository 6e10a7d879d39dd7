"""Meshes whose nodes are databases of one server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import Timer
from typing import TypeAlias

import psycopg
import pytest
from clusters import Clusters, wait_until
from databases import Database, make_database, remove_databases

from pgreplkit.apply import DeltaColumns, LastUpdateWins, Policy
from pgreplkit.catalog.server.session import TIMEOUTS
from pgreplkit.errors import PlanRefused, SchemaMismatch
from pgreplkit.mesh import Mesh
from pgreplkit.plans.mesh.steps import CopyRows, MakeStreams
from pgreplkit.rows import Finding, Severity, StepProgress

COLUMNS = 1600
"""The most that a table can have."""
TABLES = (
    "CREATE TABLE t (id int PRIMARY KEY)",
    "CREATE TABLE u (id int PRIMARY KEY)",
    "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)",
    "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (100)",
)


@pytest.fixture
def databases(clusters: Clusters, major: int) -> Iterator[dict[str, Database]]:
    # Two databases of one server are two nodes.
    databases = {name: make_database(clusters.tracking(major)) for name in ("a", "b")}
    yield databases
    remove_databases(*databases.values())


@pytest.fixture
def servers(databases: dict[str, Database]) -> dict[str, str]:
    return {name: database.conninfo for name, database in databases.items()}


def finding(servers: dict[str, str], name: str, *tables: str) -> Finding:
    return Mesh(servers, tables=tables, name=name).plan_create().check()["other meshes"]


@pytest.mark.pg(">=13")
@pytest.mark.one_colour
def test_a_second_mesh_of_the_same_tables_is_refused(
    databases: dict[str, Database], servers: dict[str, str]
) -> None:
    for database in databases.values():
        database.run(*TABLES)
    one = Mesh(servers, tables=["t", "p"], name="one")
    one.plan_create().run()
    two = Mesh(servers, tables=["u", "t"], name="two")
    with pytest.raises(PlanRefused, match="t of the mesh 'one' on a"):
        two.plan_create().run()
    found = finding(servers, "two", "p1")
    assert found.severity is Severity.CRITICAL
    assert found.found == "public.p of the mesh 'one' on a; public.p of the mesh 'one' on b"
    assert finding(servers, "two", "u").severity is Severity.OK
    Mesh(servers, tables=["u"], name="two").plan_create().run()
    # Nodes that have left may be in another mesh.
    with one.running():
        one.plan_leave("b").run()
    found = finding(servers, "three", "t")
    assert found.found == "public.t of the mesh 'one' on a"


@pytest.mark.pg(">=10")
@pytest.mark.one_colour
def test_a_mesh_of_the_same_name_in_other_databases_is_refused(
    databases: dict[str, Database], servers: dict[str, str]
) -> None:
    others = {name: make_database(database.node) for name, database in databases.items()}
    for database in (*databases.values(), *others.values()):
        database.run("CREATE TABLE t (id int PRIMARY KEY)")
    Mesh(servers, tables=["t"]).plan_create().run()
    slots = "SELECT slot_name, database FROM pg_replication_slots ORDER BY 1"
    before = databases["a"].all(slots)
    same = Mesh({name: database.conninfo for name, database in others.items()}, tables=["t"])
    with pytest.raises(PlanRefused, match="other databases have pgreplkit_mesh_a_b on a, pgrep"):
        same.plan_create().run()
    assert databases["a"].all(slots) == before
    remove_databases(*others.values())


LOOKING = """
    SELECT pid, query_start FROM pg_stat_activity
    WHERE datname = current_database() AND query ~ 'FROM pgreplkit.mesh_policy'
        AND pid <> pg_backend_pid()
"""
"""The sessions that have just read the members of the mesh, and the times of that."""
Look: TypeAlias = tuple[object, ...]


@pytest.mark.pg(">=10")
@pytest.mark.one_colour
def test_a_mesh_looks_at_its_members_in_one_session_each(
    databases: dict[str, Database], servers: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgreplkit._sync.mesh.running._LOOKS_EVERY", 0.01)
    for database in databases.values():
        database.run("CREATE TABLE t (id int PRIMARY KEY)")
    mesh = Mesh(servers, tables=["t"])
    mesh.plan_create().run()
    one, other = databases.values()

    def look(database: Database, differs: Callable[[Look], bool]) -> Look:
        """Wait for a look that differs from those before."""
        seen: list[Look] = []

        def is_seen() -> bool:
            seen[:] = database.all(LOOKING)
            return bool(seen) and differs(seen[0])

        wait_until(is_seen)
        return seen[0]

    def session_of_two_looks(database: Database) -> object:
        """Wait for two looks in a row of one session; plans and appliers look once in others."""
        last = [look(database, bool)]

        def is_kept() -> bool:
            last[:] = [look(database, lambda seen: seen != last[0]), last[0]]
            return last[0][0] == last[1][0]

        wait_until(is_kept)
        return last[0][0]

    with mesh.running():
        session = session_of_two_looks(one)
        # As in a restart of the server.
        one.run(f"SELECT pg_terminate_backend({session})")
        look(one, lambda seen: seen[0] != session)
        kept = look(other, bool)
        mesh.plan_leave("b").run()
        # A session that stays would keep the user from dropping the database.
        look(other, lambda seen: seen[0] != kept[0])
    wait_until(lambda: not one.all(LOOKING))


WIDE = (
    "CREATE TYPE pair AS (a text, b int)",
    "CREATE TABLE wide (id int PRIMARY KEY, name text, pairs pair[], facts json, at timestamptz,"
    f" price float8, {', '.join(f'c{number} int' for number in range(6, COLUMNS))})",
    "ALTER TABLE wide REPLICA IDENTITY FULL",
)
ODD = r"""
    INSERT INTO wide (id, name, pairs, facts, at, price) VALUES
        (1, E'a "quoted" \\ text,\n(2)', ARRAY[ROW('x,"y"', 1), ROW(NULL, 2)]::pair[],
            '{"a": "\""}', '2020-02-29 12:34:56.789+02', 0.1::float4),
        (2, '', '{}', NULL, NULL, 'NaN'), (3, NULL, NULL, '[]', 'infinity', '-0')
"""
ROWS = "SELECT to_jsonb(wide) - 'facts', facts::text, price::text FROM wide ORDER BY id"


@pytest.mark.pg(">=10")
@pytest.mark.one_colour
@pytest.mark.matrix
def test_the_widest_table_is_copied_and_written_in_a_mesh(
    databases: dict[str, Database], servers: dict[str, str]
) -> None:
    for database in databases.values():
        database.run(*WIDE)
    # Just written, so that each row is copied with the time of its commit.
    databases["a"].run(ODD)
    mesh = Mesh(servers, tables=["wide"])
    mesh.plan_create().run()
    assert databases["b"].all(ROWS) == databases["a"].all(ROWS)
    with mesh.running():
        databases["b"].run("UPDATE wide SET c1599 = 1, name = 'b' WHERE id = 1")
        databases["a"].run("INSERT INTO wide (id) VALUES (4)", "DELETE FROM wide WHERE id = 2")
        mesh.wait_for_sync()
    assert databases["b"].all(ROWS) == databases["a"].all(ROWS)
    changed = "SELECT id, c1599 FROM wide ORDER BY id"
    assert databases["a"].all(changed) == [(1, 1), (3, None), (4, None)]


# Writing a row takes longer than the limits, during which the donor is idle.
SLOW = (
    "CREATE FUNCTION slow(int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS"
    " $$ BEGIN PERFORM pg_sleep(0.4); RETURN $1; END $$",
    "CREATE DOMAIN slowly AS int CHECK (slow(VALUE) > 0)",
    "CREATE TABLE s (id int PRIMARY KEY, n slowly)",
)


@pytest.mark.pg(">=10")
@pytest.mark.one_colour
@pytest.mark.matrix
def test_the_time_limits_of_clients_do_not_end_a_plan_that_waits_and_copies(
    databases: dict[str, Database], servers: dict[str, str]
) -> None:
    a, b = databases.values()
    for database in (a, b):
        database.run(*SLOW)
    a.run("INSERT INTO s VALUES (1, 1), (2, 2)")
    plan = Mesh(servers, tables=["s"]).plan_create()
    with psycopg.connect(servers["a"]) as client:
        # For sessions that begin from here on; this one has no limits.
        limited = [name for name, since in TIMEOUTS.items() if a.node.major >= since]
        for database in (a, b):
            for name in limited:
                client.execute(f"ALTER DATABASE {database.name} SET {name} = '300ms'".encode())
        client.commit()

        def hold(progress: StepProgress) -> None:
            # Slots wait for this transaction.
            if progress.elapsed is None and type(progress.step) in (MakeStreams, CopyRows):
                client.execute("SELECT txid_current()")
                Timer(1, client.commit).start()

        plan.run(hold)
        for database in (a, b):
            client.execute(f"ALTER DATABASE {database.name} RESET ALL".encode())
    assert not plan.remaining
    assert b.all("TABLE s") == a.all("TABLE s") == [(1, 1), (2, 2)]


@pytest.mark.pg("<13")
@pytest.mark.pg(">=11")
@pytest.mark.one_colour
def test_a_partitioned_table_is_refused_where_it_cannot_be_published(
    databases: dict[str, Database], servers: dict[str, str]
) -> None:
    for database in databases.values():
        database.run(*TABLES)
    found = Mesh(servers, tables=["p"]).plan_create().check()["partitions of public.p"]
    assert found.severity is Severity.CRITICAL
    assert found.found == "a, b cannot publish a partitioned table"


PARTITIONED = (
    "CREATE TABLE q (id int PRIMARY KEY, doc text, n int NOT NULL DEFAULT 0)"
    " PARTITION BY RANGE (id)",
    "ALTER TABLE q ALTER doc SET STORAGE EXTERNAL",
    'CREATE TABLE "Q 1" PARTITION OF q FOR VALUES FROM (1) TO (100) PARTITION BY RANGE (id)',
    'CREATE TABLE q11 PARTITION OF "Q 1" FOR VALUES FROM (1) TO (50)',
    'CREATE TABLE q12 PARTITION OF "Q 1" FOR VALUES FROM (50) TO (100)',
)
FULL = (
    "ALTER TABLE public.q REPLICA IDENTITY FULL",
    'ALTER TABLE public."Q 1" REPLICA IDENTITY FULL',
    "ALTER TABLE public.q11 REPLICA IDENTITY FULL",
    "ALTER TABLE public.q12 REPLICA IDENTITY FULL",
)


@pytest.mark.pg(">=13")
@pytest.mark.one_colour
def test_each_partition_needs_its_own_replica_identity(
    databases: dict[str, Database], servers: dict[str, str]
) -> None:
    for database in databases.values():
        database.run(*PARTITIONED, *FULL[:1])
    plan = Mesh(servers, tables=["q"]).plan_create()
    found = plan.check()["replica identity of public.q"]
    assert (found.severity, found.found) == (Severity.CRITICAL, "not FULL on a, b")
    assert found.remedy == "; ".join(sorted(FULL[1:]))
    for database in databases.values():
        database.run(*FULL[1:])
    assert plan.check()["replica identity of public.q"].severity is Severity.OK


@pytest.mark.pg(">=13")
@pytest.mark.one_colour
def test_a_role_that_owns_nothing_can_run_a_mesh_of_a_partitioned_table(
    databases: dict[str, Database], servers: dict[str, str]
) -> None:
    a, b = databases.values()
    a.run("CREATE ROLE mover LOGIN PASSWORD 'mover'")
    for database in (a, b):
        database.run(*PARTITIONED, *FULL)
    a.run("INSERT INTO q VALUES (1, 'one'), (60, repeat('x', 9000))")
    setup = Mesh(servers, tables=["q"]).setup_sql("mover")
    mesh = Mesh({name: one.as_role("mover") for name, one in databases.items()}, tables=["q"])
    plan = mesh.plan_create()
    for name, statements in setup.nodes.items():
        for statement in statements:
            if "TRIGGER ON public.q12" in statement:
                missing = plan.check()[f"privileges on public.q of {name}"]
                assert missing.found == "mover lacks TRIGGER on public.q"
            databases[name].run(statement)
    plan.run()
    with mesh.running():
        b.run("UPDATE q SET id = 61 WHERE id = 60", "DELETE FROM q11")
        mesh.wait_for_sync()
        assert a.all("TABLE q") == b.all("TABLE q") == [(61, "x" * 9000, 0)]
    for table in ("q", '"Q 1"', "q12"):
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="several nodes write it"):
            a.run(f"TRUNCATE {table}")
    # A detached partition is no longer compared.
    a.run('ALTER TABLE "Q 1" DETACH PARTITION q12', "TRUNCATE q12")
    for database in (a, b):
        database.run("DROP OWNED BY mover CASCADE")
    a.run("DROP ROLE mover")


@pytest.mark.pg(">=13")
@pytest.mark.one_colour
@pytest.mark.parametrize(
    ("policy", "change"),
    [
        (LastUpdateWins(), "UPDATE q SET id = 2 WHERE id = 1"),
        (DeltaColumns({"q": ["n"]}), "UPDATE q SET n = n + 1"),
        (DeltaColumns({"q": ["n"]}), "UPDATE q SET id = 2, n = n + 1 WHERE id = 1"),
    ],
)
def test_a_partition_that_sends_no_old_values_stops_the_stream_instead_of_losing_them(
    databases: dict[str, Database],
    servers: dict[str, str],
    policy: Policy,
    change: str,
) -> None:
    a, b = databases.values()
    for database in (a, b):
        database.run(*PARTITIONED, *FULL)
    a.run("INSERT INTO q VALUES (1, repeat('x', 9000), 5)")
    mesh = Mesh(servers, tables=["q"], policy=policy)
    mesh.plan_create().run()
    # As a partition has it that was created later.
    a.run("ALTER TABLE q11 REPLICA IDENTITY DEFAULT", change)
    with pytest.raises(SchemaMismatch, match=r"public\.q.* identity of the row's partition"):
        mesh.node("b").run()
    assert b.all("TABLE q") == [(1, "x" * 9000, 5)]
