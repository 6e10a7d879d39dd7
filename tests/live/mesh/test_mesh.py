"""A mesh on servers: conflicts, a kill, a join under load, a leave."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import threading
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import psycopg
import pytest
from clusters import TIMEOUT, Cluster, wait_until
from databases import Database, drop_origins, make_database, remove_databases
from psycopg.conninfo import make_conninfo
from running import running

from pgreplkit._sync.mesh.running import MeshRun
from pgreplkit.apply import DeltaColumns
from pgreplkit.errors import (
    ConnectionFailed,
    NodeNotFound,
    PlanRefused,
    ServerError,
    SlotLost,
    TableNotFound,
)
from pgreplkit.lab import Lab, Node
from pgreplkit.mesh import AsyncMesh, Mesh

SETTINGS = {"wal_level": "logical", "track_commit_timestamp": "on"}
TABLE = "CREATE TABLE t (id int PRIMARY KEY, n int, who text)"
COUNTED = "CREATE TABLE counted (id int PRIMARY KEY, n numeric(9, 1) NOT NULL, who text)"
POLICY = DeltaColumns({"counted": ["n"]})


def as_mover(node: Node) -> str:
    return make_conninfo(node.conninfo, user="mover", password="mover")


def run(node: Node, *statements: str) -> list[tuple[object, ...]]:
    with psycopg.connect(node.conninfo, autocommit=True) as connection:
        for statement in statements:
            cursor = connection.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def nodes(pgreplkit_lab: Lab) -> dict[str, Node]:
    nodes = {
        name: pgreplkit_lab.primary(name=f"mesh-{name}", settings=SETTINGS)
        for name in ("berlin", "paris", "rome")
    }
    for node in nodes.values():
        run(node, TABLE, "ALTER TABLE t REPLICA IDENTITY FULL")
        run(node, COUNTED, "ALTER TABLE counted REPLICA IDENTITY FULL")
        if node.major >= 12:
            # From 18 on, such a table can only be updated if this column is published.
            run(node, "ALTER TABLE counted ADD twice numeric GENERATED ALWAYS AS (n * 2) STORED")
        run(node, "CREATE ROLE mover LOGIN PASSWORD 'mover'")
    run(nodes["berlin"], "INSERT INTO t SELECT i, 0, 'first' FROM generate_series(1, 20) AS i")
    return nodes


@contextlib.contextmanager
def writers(*nodes: Node) -> Iterator[list[int]]:
    """Change the same few rows on all nodes, also when a node comes back.

    Each number in the list is an addition that a server has acknowledged.
    """
    stopped, done = threading.Event(), list[int]()

    def write(node: Node, seed: int) -> None:
        chance = random.Random(seed)
        while not stopped.wait(0.01):
            with (
                contextlib.suppress(psycopg.OperationalError),
                psycopg.connect(node.conninfo, autocommit=True) as connection,
            ):
                while not stopped.wait(0.002):
                    key = chance.randrange(8)
                    connection.execute(
                        "INSERT INTO counted VALUES (%s, 1, %s) ON CONFLICT (id)"
                        " DO UPDATE SET n = counted.n + 1, who = EXCLUDED.who",
                        [key, str(seed)],
                    )
                    done.append(seed)
                    if chance.random() < 0.3:
                        connection.execute("DELETE FROM t WHERE id = %s", [key])
                    else:
                        connection.execute(
                            "INSERT INTO t VALUES (%s, 0, %s) ON CONFLICT (id)"
                            " DO UPDATE SET n = t.n + 1, who = EXCLUDED.who",
                            [key, str(seed)],
                        )

    threads = [
        threading.Thread(target=write, args=pair) for pair in zip(nodes, range(9), strict=False)
    ]
    for thread in threads:
        thread.start()
    try:
        yield done
    finally:
        stopped.set()
        for thread in threads:
            thread.join()


def insist_on_no_echo(mesh: Mesh, source: Node, other: Node, subscriber: Node) -> None:
    """A native subscription next to the mesh gets the own changes of its publisher only."""
    run(subscriber, "CREATE DATABASE native")
    native = Database(subscriber, "native")
    native.run(
        TABLE,
        COUNTED,
        f"CREATE SUBSCRIPTION s CONNECTION '{source.conninfo}' PUBLICATION pgreplkit_mesh"
        " WITH (origin = none, copy_data = false)",
    )
    run(other, "INSERT INTO t VALUES (100, 0, 'other')")
    mesh.wait_for_sync()
    run(source, "INSERT INTO t VALUES (101, 0, 'own')")
    wait_until(lambda: native.all("SELECT id FROM t") != [])
    assert native.all("SELECT id FROM t") == [(101,)]
    native.run("DROP SUBSCRIPTION s")


def insist_on_keys_that_are_used_once(mesh: Mesh, one: Node, other: Node) -> None:
    """A deletion in a table with delta columns wins over every change."""
    run(one, "INSERT INTO counted VALUES (50, 1.5, 'one')")
    mesh.wait_for_sync()
    run(other, "DELETE FROM counted WHERE id = 50")
    mesh.wait_for_sync()
    assert run(one, "SELECT id FROM counted WHERE id = 50") == []
    for statement in (
        "INSERT INTO counted VALUES (50, 2, 'again')",
        "UPDATE counted SET id = 50 WHERE id = (SELECT min(id) FROM counted)",
    ):
        with pytest.raises(psycopg.errors.UniqueViolation, match="it was deleted"):
            run(one, statement)


OBJECTS = """
    SELECT (SELECT count(*) FROM pg_replication_slots), (SELECT count(*) FROM pg_publication),
        (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'pgreplkit%')
"""


async def interrupt(nodes: dict[str, Node], journal: Path, patch: pytest.MonkeyPatch) -> None:
    """Undo a creation that failed, then continue one, run each node for itself, and end it."""
    two = {name: nodes[name].conninfo for name in ("berlin", "paris")}

    async def failing(*_: object) -> None:
        raise RuntimeError("failed on purpose")

    for is_undone in (True, False):
        with patch.context() as within:
            within.setattr("pgreplkit._async.mesh.copying.AsyncMeshCopy._copy_all", failing)
            plan = await AsyncMesh(two, tables=["public.*"]).plan_create(journal=journal)
            with pytest.raises(RuntimeError, match="on purpose"):
                await plan.run()
        mesh = AsyncMesh(two, tables=["public.*"])
        kept = await mesh.plan_resume(journal)
        await (kept.undo() if is_undone else kept.resume())
        expected = (0, 0, 0) if is_undone else (1, 1, 6)
        assert [run(nodes[name], OBJECTS) for name in two] == 2 * [[expected]]
        journal.unlink()
    assert run(nodes["paris"], "SELECT count(*) FROM t") == [(20,)]
    alone = [AsyncMesh(two, tables=["public.*"]).node(name) for name in two]
    jobs = [asyncio.create_task(one.run()) for one in alone]
    run(nodes["paris"], "INSERT INTO t VALUES (30, 0, 'paris')")
    run(nodes["berlin"], "DELETE FROM t WHERE id = 20")
    await mesh.wait_for_sync()
    assert (await mesh.compare()).is_equal
    await (await mesh.plan_leave("paris")).run()
    for one in alone:
        one.stop()
    await asyncio.gather(*jobs)
    run(nodes["paris"], "TRUNCATE t")
    for name in two:
        run(
            nodes[name],
            "DROP SCHEMA pgreplkit CASCADE",
            "DROP PUBLICATION IF EXISTS pgreplkit_mesh",
        )
        with psycopg.connect(nodes[name].conninfo, autocommit=True) as connection:
            drop_origins(connection)
    run(nodes["berlin"], "INSERT INTO t VALUES (20, 0, 'first')")


def insist_on_differences_that_are_added_later(mesh: Mesh, berlin: Node, paris: Node) -> None:
    """A sum that is too large on the way is put aside on both sides, and added once."""

    def exchange() -> list[list[tuple[object, ...]]]:
        with mesh.running():
            mesh.wait_for_sync()
        return [run(node, "SELECT n FROM counted WHERE id = 90") for node in (berlin, paris)]

    with pytest.raises(NodeNotFound):
        mesh.applier("berlin", "rome")
    with pytest.raises(ValueError, match="no changes of its own"):
        mesh.applier("paris", "paris")
    run(berlin, "INSERT INTO counted VALUES (90, 0, 'first')")
    exchange()
    for node, sign in ((berlin, ""), (paris, "-")):
        for n in (f"{sign}9e7", f"-{sign}9e7"):
            run(node, f"UPDATE counted SET n = {n.replace('--', '')} WHERE id = 90")
    assert exchange() == [[(Decimal("9e7"),)], [(Decimal("-9e7"),)]]
    for ends in (("berlin", "paris"), ("paris", "berlin")):
        applier = mesh.applier(*ends)
        [parked] = applier.parked()
        applier.apply_parked(parked)
    assert exchange() == [[(0,)], [(0,)]]
    assert {stream.parked for stream in mesh.status()} == {0}


@pytest.mark.matrix
@pytest.mark.pg(">=18")
def test_nodes_have_equal_rows_after_conflicts_a_kill_a_join_and_a_leave(
    nodes: dict[str, Node], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Here, because starting servers takes longer than this does.
    asyncio.run(interrupt(nodes, tmp_path / "create.json", monkeypatch))
    # Tombstones are forgotten as soon as possible, and not an hour later.
    monkeypatch.setattr("pgreplkit._sync.mesh.pruning._EVERY", 0.2)
    monkeypatch.setattr("pgreplkit._sync.mesh.pruning._KEPT", timedelta(0))
    berlin, paris, rome = nodes.values()
    servers = {name: node.conninfo for name, node in nodes.items()}
    everyone = Mesh(servers, tables=["public.*"], policy=POLICY)
    # Only the printed statements need a superuser.
    pair = {"berlin": as_mover(berlin), "paris": as_mover(paris)}
    mesh = Mesh(pair, tables=["public.*"], policy=POLICY)
    with pytest.raises(PlanRefused, match=r"setup_sql\('mover'\)"):
        mesh.plan_create().run()
    for name, statements in everyone.setup_sql("mover").nodes.items():
        run(nodes[name], *statements)
    with pytest.raises(ServerError, match="create the mesh"):
        mesh.plan_join("rome", as_mover(rome))
    assert mesh.nodes == ("berlin", "paris")
    mesh.plan_create().run()
    with pytest.raises(PlanRefused, match="a mesh 'mesh' already has"):
        mesh.plan_create().run()
    with pytest.raises(NodeNotFound):
        mesh.plan_leave("rome")
    parking = Mesh(pair, tables=["public.*"], policy=POLICY, on_error="park")
    insist_on_differences_that_are_added_later(parking, berlin, paris)
    with mesh.running():
        with writers(berlin, paris, berlin) as added:
            wait_until(lambda: len(mesh.conflicts()) > 3)
            paris.stop("immediate")
            paris.start()
            mesh.wait_for_sync()
            mesh.plan_join("rome", as_mover(rome), donor="berlin").run()
        mesh.wait_for_sync()
        comparison = mesh.compare()
        assert comparison.is_equal, str(comparison)
        assert comparison.nodes == ("berlin", "paris", "rome")
        assert mesh.compare(["public.*"]).tables == comparison.tables
        with pytest.raises(TableNotFound):
            mesh.compare(["nowhere.*"])
        run(paris, "CREATE TABLE local (id int PRIMARY KEY, n int)")
        with pytest.raises(TableNotFound, match="on berlin, rome"):
            mesh.compare(["local"])
        run(rome, "CREATE VIEW local AS SELECT 1 AS id")
        with pytest.raises(TableNotFound, match=r"on rome it is a view; .* on berlin"):
            mesh.compare(["local"])
        run(rome, "DROP VIEW local")
        for node in (berlin, rome):
            run(node, "CREATE TABLE local (n int PRIMARY KEY)")
        run(rome, "ALTER TABLE local RENAME n TO m")
        with pytest.raises(ServerError, match="rome lacks the columns n"):
            mesh.compare(["local"])
        with pytest.raises(ServerError, match="it runs already"), mesh.running():
            pass
        [(total,)] = run(rome, "SELECT sum(n) FROM counted")
        # The server that was stopped may have committed one that it did not acknowledge.
        assert isinstance(total, Decimal)
        assert len(added) <= total <= len(added) + 1
        insist_on_keys_that_are_used_once(mesh, berlin, paris)
        assert {stream.state.value for stream in mesh.status()} == {"streaming"}
        tombstones = "SELECT count(*) FROM pgreplkit.tombstone WHERE relation = 't'::regclass"
        wait_until(lambda: [run(node, tombstones) for node in nodes.values()] == 3 * [[(0,)]])
        insist_on_no_echo(mesh, berlin, paris, rome)
        mesh.plan_leave("paris").run()
        with pytest.raises(NodeNotFound):
            mesh.applier("paris", "rome")
        with pytest.raises(ServerError, match="no active member among paris; create"):
            mesh.applier("rome", "paris")
        run(berlin, "UPDATE t SET n = -1 WHERE id = 20")
        mesh.wait_for_sync()
        assert run(rome, "SELECT n FROM t WHERE id = 20") == [(-1,)]
        assert run(paris, "SELECT n FROM t WHERE id = 20") == [(0,)]
        run(paris, "DELETE FROM t")  # It takes writes again.
        assert run(rome, "SELECT count(*) FROM pgreplkit.tombstone") == [(1,)]
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="several nodes write it"):
            run(rome, "TRUNCATE t")
    with pytest.raises(PlanRefused, match="it can be reached"):
        mesh.plan_remove("rome").run()
    rome.stop("immediate")
    mesh.plan_remove("rome").run()
    assert run(berlin, "SELECT count(*) FROM pg_replication_slots") == [(0,)]
    for look, what in ((mesh.compare, "compare"), (mesh.wait_for_sync, "wait for")):
        with pytest.raises(ServerError, match=f"{what} the nodes .* its only active member"):
            look()
    rome.start()
    # It is back: nothing is left there, so that it could join again.
    with pytest.raises(PlanRefused, match=r"plan_forget\('rome'\), as it was removed before"):
        mesh.plan_remove("rome").run()
    mesh.plan_forget("rome").run()
    left = "SELECT (SELECT count(*) FROM pg_replication_slots), count(*) FROM pg_publication"
    assert run(rome, left) == [(0, 0)]


def test_a_stream_that_stays_down_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "pgreplkit")
    streams = MeshRun("shop", {}, POLICY, "stop", {})
    for found in ("refused", "refused", "reset", "refused"):
        streams._pause(("berlin", "paris"), ConnectionFailed("connect to berlin", found))
    levels = [record.levelname for record in caplog.records]
    assert levels == ["WARNING", "INFO", "WARNING", "WARNING"]


@pytest.mark.pg(">=18")
def test_a_mesh_ends_if_a_node_refuses_it_and_waits_for_one_that_is_down(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pgreplkit.plans.streams.retries._REFUSED_WITHIN", 0.0)
    monkeypatch.setattr("pgreplkit._sync.mesh.running._LOOKS_EVERY", 0.01)
    caplog.set_level(logging.INFO, "pgreplkit")
    primary = cluster.primary
    with primary.connect() as server:
        server.connection.execute("CREATE ROLE mesh_busy LOGIN PASSWORD 'x' CONNECTION LIMIT 0")
    refused = make_conninfo(primary.conninfo, user="mesh_busy", password="x")
    with pytest.raises(ConnectionFailed, match="too many connections"):
        Mesh({"berlin": refused, "paris": refused}, tables=["t"]).run()
    with primary.connect() as server:
        server.connection.execute("DROP ROLE mesh_busy")
    attempts = len(caplog.messages)
    assert attempts >= 4
    # No server listens on this port.
    down = make_conninfo(refused, hostaddr="127.0.0.1", port=1)
    with Mesh({"berlin": down, "paris": down}, tables=["t"]).running():
        wait_until(lambda: len(caplog.messages) > attempts + 20)


@pytest.mark.pg(">=18")
def test_a_mesh_refuses_exchanged_connections_and_logs_nodes_that_are_no_members(
    pgreplkit_lab: Lab, caplog: pytest.LogCaptureFixture
) -> None:
    server = pgreplkit_lab.primary(name="mesh-exchanged", settings=SETTINGS)
    databases = [make_database(server) for _ in range(2)]
    for database in databases:
        database.run("CREATE TABLE t (id int PRIMARY KEY, n int)")
    berlin, paris = (database.conninfo for database in databases)
    Mesh({"berlin": berlin, "paris": paris}, tables=["t"]).plan_create().run()
    slots = databases[0].all("SELECT slot_name FROM pg_replication_slots ORDER BY 1")
    exchanged = Mesh({"berlin": paris, "paris": berlin}, tables=["t"])
    # Without that, it would create other streams beside those of the mesh, and run on.
    with (
        pytest.raises(ServerError, match="correct the connection strings"),
        running(exchanged) as run,
    ):
        run.join(TIMEOUT)
    assert databases[0].all("SELECT slot_name FROM pg_replication_slots ORDER BY 1") == slots
    others = Mesh({"rome": paris, "oslo": berlin}, tables=["t"])
    with others.running():
        wait_until(lambda: "rome is no active member" in caplog.text)
    remove_databases(*databases)


@pytest.mark.pg(">=18")
@pytest.mark.matrix
def test_a_node_whose_slot_is_lost_leaves_and_joins_again(pgreplkit_lab: Lab) -> None:
    limited = {**SETTINGS, "max_slot_wal_keep_size": "1MB"}
    servers = [
        pgreplkit_lab.primary(name="mesh-lost", settings=limited),
        pgreplkit_lab.primary(name="mesh-kept", settings=SETTINGS),
    ]
    databases = [make_database(server) for server in servers]
    for database in databases:
        database.run("CREATE TABLE t (id int PRIMARY KEY, n int)")
    berlin, paris = databases
    nodes = {"berlin": berlin.conninfo, "paris": paris.conninfo}
    mesh = Mesh(nodes, tables=["t"])
    mesh.plan_create().run()
    to_berlin = mesh.node("berlin")
    with running(to_berlin):
        berlin.run("INSERT INTO t VALUES (1, 1)")
        paris.run("INSERT INTO t VALUES (2, 2)")

        def is_lost() -> bool:
            berlin.run("SELECT pg_switch_wal()", "CHECKPOINT")
            return [s.state.value for s in mesh.status() if s.target == "paris"] == ["lost"]

        wait_until(is_lost)
        insist = r"node\(…\)\.run\(\); meanwhile let the subscriber leave"
        with pytest.raises(SlotLost, match=insist):
            Mesh(nodes, tables=["t"]).node("paris").run()
        mesh.plan_leave("paris").run()
        paris.run("DELETE FROM t")
        mesh.plan_join("paris").run()
    with mesh.running():
        mesh.wait_for_sync()
    for database in databases:
        assert database.all("SELECT * FROM t ORDER BY id") == [(1, 1), (2, 2)]
    remove_databases(*databases)
