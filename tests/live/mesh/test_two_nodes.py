"""A mesh of two databases: interrupted steps, names, parked transactions, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from clusters import wait_until
from databases import Database, make_database, remove_databases
from relays import Pooler
from running import running

from pgreplkit.apply import Applier
from pgreplkit.catalog.mesh import members
from pgreplkit.errors import (
    ApplyError,
    ApplyFailed,
    PlanFailed,
    ServerError,
    WaitTimeout,
)
from pgreplkit.lab import Lab, Node
from pgreplkit.mesh import AsyncMesh, Mesh

pytestmark = pytest.mark.pg(">=18")
SETTINGS = {"wal_level": "logical", "track_commit_timestamp": "on"}
TABLE = "CREATE TABLE t (id int PRIMARY KEY, name text)"
FULL = "ALTER TABLE t REPLICA IDENTITY FULL"
ROWS = "SELECT * FROM t ORDER BY id"
REFUSE = "ALTER TABLE t ADD CONSTRAINT c CHECK (name <> 'bad') NOT VALID"
ACCEPT = "ALTER TABLE t DROP CONSTRAINT c"


@pytest.fixture(scope="module")
def server(pgreplkit_lab: Lab) -> Node:
    return pgreplkit_lab.primary(name="mesh-two", settings=SETTINGS)


@pytest.fixture
def two(server: Node) -> Iterator[list[Database]]:
    databases = [make_database(server) for _ in range(2)]
    for database in databases:
        database.run(TABLE, FULL)
    yield databases
    remove_databases(*databases)


def nodes(two: list[Database]) -> dict[str, str]:
    return {name: each.conninfo for name, each in zip(("berlin", "paris"), two, strict=True)}


def test_a_stream_whose_creation_was_interrupted_loses_no_change(
    two: list[Database], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    berlin, paris = two
    mesh, journal = Mesh(nodes(two), tables=["t"]), tmp_path / "create.json"
    with monkeypatch.context() as within:
        within.setattr(members, "ADVANCE_ORIGIN", "SELECT {}.fails(%s, %s)")
        with pytest.raises(PlanFailed):
            mesh.plan_create(journal=journal).run()
    mesh.plan_resume(journal).resume()
    paris.run("INSERT INTO t VALUES (1, 'before the streams run')")
    with mesh.running():
        mesh.wait_for_sync()
    assert berlin.all(ROWS) == paris.all(ROWS) == [(1, "before the streams run")]


def test_tables_and_columns_may_have_any_name(two: list[Database]) -> None:
    berlin, paris = two
    names = ['"%s"', '"{}"', '"$$"', '"it\'s"', '"a""b"', '"%"']
    for name in names:
        for each in two:
            each.run(
                f'CREATE TABLE {name} ({name} serial PRIMARY KEY, "v{name[1:]} int)',
                f"ALTER TABLE {name} REPLICA IDENTITY FULL",
            )
        berlin.run(f"INSERT INTO {name} VALUES (1, 1), (2, 2)")
    mesh = Mesh(nodes(two), tables=["public.*"])
    mesh.spread_sequences()
    mesh.plan_create().run()
    for name in names:
        paris.run(f"DELETE FROM {name} WHERE {name} = 1")
    with mesh.running():
        mesh.wait_for_sync()
        assert mesh.compare().is_equal
    for name in names:
        assert berlin.all(f"SELECT * FROM {name}") == [(2, 2)], name


def test_a_mesh_runs_again_after_a_failure(two: list[Database]) -> None:
    berlin, paris = two
    mesh = Mesh(nodes(two), tables=["t"])
    mesh.plan_create().run()
    paris.run(REFUSE)

    def run_until_it_fails() -> None:
        with mesh.running():
            berlin.run("INSERT INTO t VALUES (1, 'bad')")
            wait_until(lambda: not mesh._is_running)

    with pytest.raises(ApplyFailed):
        run_until_it_fails()
    paris.run(ACCEPT)
    with running(mesh):
        wait_until(lambda: paris.all(ROWS) == [(1, "bad")])


def parked_on_both(two: list[Database]) -> tuple[Applier, Applier]:
    """Return the appliers to paris and to berlin, each with one parked transaction."""
    mesh = Mesh(nodes(two), tables=["t"], on_error="park")
    mesh.plan_create().run()
    for place, each in enumerate(two):
        each.run(REFUSE)
        with mesh.running():
            two[1 - place].run(f"INSERT INTO t VALUES ({place}, 'bad')")
            mesh.wait_for_sync()
        each.run(ACCEPT)
    return mesh.applier("berlin", "paris"), mesh.applier("paris", "berlin")


def test_an_applier_takes_only_transactions_that_it_has_parked(two: list[Database]) -> None:
    to_paris, to_berlin = parked_on_both(two)
    [parked], [other] = to_paris.parked(), to_berlin.parked()
    # Each node counts by itself.
    assert parked.id == other.id
    for call in (to_paris.apply_parked, to_paris.drop_parked):
        with pytest.raises(ApplyError, match="by another applier"):
            call(other)
    assert (*to_paris.parked(), *to_berlin.parked()) == (parked, other)
    to_paris.apply_parked(parked)
    to_berlin.drop_parked(other)
    assert (*to_paris.parked(), *to_berlin.parked()) == ()


@pytest.mark.matrix
def test_a_deletion_is_remembered_while_an_older_transaction_is_parked(
    two: list[Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    berlin, paris = two
    monkeypatch.setattr("pgreplkit._sync.mesh.pruning._EVERY", 0.1)
    monkeypatch.setattr("pgreplkit._sync.mesh.pruning._KEPT", timedelta(0))
    deleted = "SELECT count(*) FROM pgreplkit.tombstone WHERE key = '[1]'"
    to_paris, to_berlin = parked_on_both(two)
    [parked], [other] = to_paris.parked(), to_berlin.parked()
    to_berlin.apply_parked(other)
    berlin.run("INSERT INTO t VALUES (3, 'later')", "DELETE FROM t WHERE id = 1")
    with Mesh(nodes(two), tables=["t"]).running():
        wait_until(lambda: paris.one(deleted) == 1)
        # Nothing is parked there.
        wait_until(lambda: berlin.one(deleted) == 0)
    to_paris.apply_parked(parked)
    assert berlin.all(ROWS) == paris.all(ROWS)


def test_a_stream_that_does_not_end_is_reported_and_does_not_look_like_a_cancellation(
    two: list[Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    berlin, paris = two
    monkeypatch.setattr("pgreplkit._async.mesh.running._ENDED_WITHIN", 0.5)

    async def end_while_a_row_is_locked() -> None:
        mesh = AsyncMesh(nodes(two), tables=["t"])
        berlin.run("INSERT INTO t VALUES (1, 'one')")
        await (await mesh.plan_create()).run()
        running = asyncio.create_task(mesh.run())
        with psycopg.connect(paris.conninfo) as client:
            client.execute("SELECT FROM t FOR UPDATE")
            berlin.run("UPDATE t SET name = 'two'")
            waiting = "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted"
            while not paris.one(waiting):
                await asyncio.sleep(0.05)
            mesh.stop()
            # On a busy machine the other one may take longer, too.
            with pytest.raises(WaitTimeout, match="from berlin to paris still apply"):
                await running

    asyncio.run(end_while_a_row_is_locked())


def test_a_node_behind_a_pooler_is_refused(two: list[Database]) -> None:
    with Pooler(two[1].node.port) as pooler:
        paris = pooler.conninfo_of(two[1].conninfo)
        mesh = Mesh({**nodes(two), "paris": paris}, tables=["t"])
        refusal = "connection to paris leads to a connection pooler; connect to the server itself"
        with pytest.raises(ServerError, match=refusal):
            mesh.plan_create().run()
    assert two[0].all("SELECT pubname FROM pg_publication") == []
