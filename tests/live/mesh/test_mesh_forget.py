"""A node forgets a mesh that has ended elsewhere, or continues without it."""

from __future__ import annotations

from pathlib import Path

import pytest
from databases import Database
from meshdatabases import LEFT, mesh_of
from psycopg.conninfo import make_conninfo

from pgreplkit.errors import ConnectionFailed, PlanRefused, ServerError
from pgreplkit.mesh import Mesh
from pgreplkit.rows import Severity

pytestmark = [pytest.mark.pg(">=10"), pytest.mark.one_colour]


def down(database: Database) -> str:
    """A connection string of a port on which no server listens."""
    return make_conninfo(database.conninfo, hostaddr="127.0.0.1", port=1)


class Interrupted(Exception):
    """Raised to end a plan."""


def interrupted(*_: object) -> None:
    raise Interrupted


@pytest.mark.matrix
def test_a_node_that_returns_after_its_mesh_has_ended_forgets_it_and_joins_another(
    three: dict[str, Database], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    a, b = three["a"], three["b"]
    mesh = mesh_of(three, "a", "b")
    mesh.plan_create().run()
    with mesh.running():
        a.run("INSERT INTO t VALUES (1, 1)")
        mesh.wait_for_sync()
    without_b = Mesh({"a": a.conninfo, "b": down(b)}, tables=["t"])
    without_b.plan_remove("b").run()
    without_b.plan_leave("a").run()
    with pytest.raises(ServerError, match="there is no active member among a; create"):
        mesh.plan_remove("b")
    with pytest.raises(PlanRefused, match=r"plan_forget\(\)"):
        mesh.plan_create().run()
    b.run("INSERT INTO t VALUES (2, 2)")
    journal = tmp_path / "forget.json"
    plan = mesh.plan_forget("b", journal=journal)
    found = plan.check()
    assert found["mesh on a"].found == "b is no member there"
    assert not found.problems
    with monkeypatch.context() as within:
        within.setattr("pgreplkit._sync.mesh.actions.drop_tombstones", interrupted)
        with pytest.raises(Interrupted):
            plan.run()
    mesh.plan_resume(journal).resume()
    for database in (a, b):
        assert database.all(LEFT) == [(0,) * 8]
    assert b.all("SELECT id FROM t ORDER BY id") == [(1,), (2,)]
    b.run("TRUNCATE t")
    mesh.plan_create().run()
    assert b.all("SELECT id FROM t") == [(1,)]
    mesh.plan_forget("a").run(force=True)
    mesh.plan_forget("b").run()
    for database in (a, b):
        assert database.all(LEFT) == [(0,) * 8]


def test_a_node_does_not_forget_a_mesh_that_may_continue_with_it(
    three: dict[str, Database],
) -> None:
    a, b = three["a"], three["b"]
    everyone = mesh_of(three, "a", "b", "c")
    with pytest.raises(ServerError, match="no members, slots or publication of that mesh"):
        everyone.plan_forget("b")
    everyone.plan_create().run()
    before = b.all(LEFT)
    plan = Mesh({"a": down(a), "b": b.conninfo}, tables=["t"]).plan_forget("b")
    found = plan.check()
    assert found["mesh on a"].found == "it cannot be reached"
    assert found["mesh on c"].found == "this object does not know it"
    with pytest.raises(PlanRefused, match="mesh on c"):
        plan.run()
    with everyone.running():
        everyone.wait_for_sync()
        plan = everyone.plan_forget("b")
        assert plan.check()["slots of b"].severity is Severity.CRITICAL
        with pytest.raises(PlanRefused, match="mesh on a: b is a member there"):
            plan.run()
    assert b.all(LEFT) == before
    with pytest.raises(ConnectionFailed):
        Mesh({"a": a.conninfo, "b": down(b)}, tables=["t"]).plan_forget("b")


def test_a_node_forgets_a_mesh_whose_other_servers_or_own_tables_are_lost(
    three: dict[str, Database],
) -> None:
    mesh_of(three, "a", "b").plan_create().run()
    alone = Mesh({"a": down(three["a"]), "b": three["b"].conninfo}, tables=["t"])
    alone.plan_forget("b").run(force=True)
    # The slot and the origin of the other node are on the same server.
    assert three["b"].all(LEFT) == [(1, 0, 1, 0, 0, 0, 0, 0)]
    # Someone has tried to clean the other node by hand, so that its origin is not known there.
    three["a"].run("DROP SCHEMA pgreplkit CASCADE")
    mesh_of(three, "a", "b").plan_forget("a").run()
    assert three["b"].all(LEFT) == [(0, 0, 1, 0, 0, 0, 0, 0)]
    assert three["a"].all("SELECT FROM pg_publication") == []
