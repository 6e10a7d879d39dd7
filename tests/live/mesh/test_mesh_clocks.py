"""Nodes whose clocks differ: the plan is refused, or waits as long as the policy says."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from clusters import Clusters, wait_until
from databases import Database, make_database, remove_databases
from meshdatabases import mesh_of as default_mesh_of

from pgreplkit.apply import LastUpdateWins
from pgreplkit.catalog.logical import applying
from pgreplkit.catalog.mesh import facts
from pgreplkit.errors import PlanFailed, PlanRefused
from pgreplkit.mesh import Mesh, StreamState

pytestmark = [pytest.mark.pg(">=10"), pytest.mark.one_colour]
AHEAD = timedelta(seconds=3)
OWN_SLOT = "pg_replication_slots WHERE slot_name = 'pgreplkit_mesh_a_b'"


@pytest.fixture
def two(
    clusters: Clusters, major: int, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Database]]:
    databases = {name: make_database(clusters.tracking(major)) for name in ("a", "b")}
    for database in databases.values():
        database.run("CREATE TABLE t (id int PRIMARY KEY)")
    databases["a"].run("INSERT INTO t VALUES (1)")
    # Both are on one machine: the clock of the first one is read as if it were ahead.
    ahead = f"CASE current_database() WHEN '{databases['a'].name}' THEN 3 ELSE 0 END"
    clock = f"clock_timestamp() + interval '1 s' * {ahead}"
    for module, name in ((applying, "CLOCK"), (facts, "NODE")):
        changed = getattr(module, name).replace("clock_timestamp()", clock)
        monkeypatch.setattr(module, name, changed)
    yield databases
    remove_databases(*databases.values())


def mesh_of(databases: dict[str, Database], max_clock_skew: float) -> Mesh:
    nodes = {name: database.conninfo for name, database in databases.items()}
    return Mesh(nodes, tables=["t"], policy=LastUpdateWins(max_clock_skew))


@pytest.mark.matrix
def test_a_copy_waits_for_the_clock_as_long_as_the_policy_says(two: dict[str, Database]) -> None:
    plan = mesh_of(two, 2).plan_create()
    with pytest.raises(PlanRefused, match=r"they differ by .* max_clock_skew, 2 s"):
        plan.run()
    with pytest.raises(PlanFailed, match="clock"):
        plan.run(force=True)
    plan.undo()
    assert two["b"].all("TABLE t") == []
    began = datetime.now(UTC)
    mesh_of(two, 60).plan_create().run()
    assert datetime.now(UTC) - began >= AHEAD
    assert two["b"].all("TABLE t") == [(1,)]


def test_a_stream_waits_while_a_clock_is_wrong_and_warns_once(
    three: dict[str, Database], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = three["a"], three["b"]
    mesh = default_mesh_of(three, "a", "b")
    mesh.plan_create().run()
    caplog.set_level(logging.INFO, "pgreplkit.mesh")

    def told(level: int) -> int:
        texts = (r.getMessage() for r in caplog.records if r.levelno == level)
        return sum("ahead of the subscriber's clock" in text for text in texts)

    with mesh.running():
        with monkeypatch.context() as wrong:
            behind = f"CASE current_database() WHEN '{b.name}' THEN 1 ELSE 0 END"
            clock = f"(clock_timestamp() - interval '1 hour' * {behind})"
            for name in ("CLOCK", "CLOCK_GUARD"):
                changed = getattr(applying, name).replace("clock_timestamp()", clock)
                wrong.setattr(applying, name, changed)
            # The streams begin again, with the clock that is wrong now.
            a.run(f"SELECT pg_terminate_backend(active_pid) FROM {OWN_SLOT}")
            wait_until(lambda: a.one(f"SELECT count(active_pid) FROM {OWN_SLOT}") == 1)
            a.run("INSERT INTO t VALUES (1, 1)")
            wait_until(lambda: told(logging.INFO) > 0)
            [stream] = [one for one in mesh.status() if one.target == "b"]
            assert stream.waits_for_clock > timedelta(minutes=59)
            assert stream.state in (StreamState.STOPPED, StreamState.STREAMING)
            assert b.all("TABLE t") == []
            # The other direction is not concerned.
            b.run("INSERT INTO t VALUES (2, 2)")
            wait_until(lambda: a.one("SELECT count(*) FROM t") == 2)
        mesh.wait_for_sync()
    assert told(logging.WARNING) == 1
    assert b.all("SELECT id FROM t ORDER BY id") == [(1,), (2,)]


def test_a_clock_that_goes_back_is_reported(
    three: dict[str, Database], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    a, b = three["a"], three["b"]
    # Every commit is earlier than the one before plus an hour.
    monkeypatch.setattr("pgreplkit._sync.logical.applyrun._BACK", -3_600_000_000)
    mesh = default_mesh_of(three, "a", "b")
    mesh.plan_create().run()
    with mesh.running():
        a.run("INSERT INTO t VALUES (1, 1)", "UPDATE t SET n = 2")
        mesh.wait_for_sync()
    assert b.all("SELECT n FROM t") == [(2,)]
    [warning] = [text for text in caplog.messages if "clock went back" in text]
    assert warning.startswith("applier mesh_a_b: ")
