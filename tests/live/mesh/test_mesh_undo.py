"""Undoing a plan of a mesh leaves what the plan did not make."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from databases import Database
from meshdatabases import mesh_of

from pgreplkit import Plan, Primary
from pgreplkit._sync.logical.tombstones import ensure_tombstones
from pgreplkit.errors import PlanFailed
from pgreplkit.plans.mesh.steps import CopyRows, MakeStreams, SetMembers
from pgreplkit.rows import StepProgress
from pgreplkit.values.tablename import table_of

pytestmark = [pytest.mark.pg(">=10"), pytest.mark.one_colour]
PUBLISHED = "SELECT pubname FROM pg_publication"
TRIGGERS = "SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'pgreplkit%'"
SLOTS = "SELECT slot_name FROM pg_replication_slots ORDER BY 1"
ORIGINS = "SELECT roname, roident FROM pg_replication_origin ORDER BY 1"
STREAMS = "SELECT name, state FROM pgreplkit.applier ORDER BY 1"
MEMBERS = "SELECT mesh, node, rank, state, ties FROM pgreplkit.mesh_node ORDER BY 1, 2"
POLICIES = "TABLE pgreplkit.mesh_policy"
# The undo after the last kind of step includes that of the others.
EARLIER = [pytest.param(kind, marks=pytest.mark.matrix) for kind in (SetMembers, MakeStreams)]


@pytest.fixture
def three(three: dict[str, Database]) -> dict[str, Database]:
    """The databases; the first one has a row."""
    three["a"].run("INSERT INTO t VALUES (1, 1)")
    return three


class Stopped(Exception):
    """Raised to end a plan."""


def stopping(kind: type, *, when_done: bool = True) -> Callable[[StepProgress], None]:
    """End a plan at its last step of a kind."""

    def stop(progress: StepProgress) -> None:
        if isinstance(progress.step, kind) and (progress.elapsed is not None) == when_done:
            raise Stopped

    return stop


def stop_and_undo(plan: Plan, kind: type, *, force: bool = False) -> None:
    with pytest.raises(Stopped):
        plan.run(stopping(kind), force=force)
    plan.undo()


def objects(database: Database) -> list[object]:
    queries = (PUBLISHED, TRIGGERS, SLOTS, ORIGINS, STREAMS, MEMBERS, POLICIES)
    return [*map(database.all, queries)]


@pytest.mark.parametrize("kind", [*EARLIER, CopyRows])
def test_a_publication_and_triggers_that_existed_stay(
    three: dict[str, Database], kind: type
) -> None:
    a, b = three["a"], three["b"]
    a.run("CREATE PUBLICATION pgreplkit_mesh FOR TABLE t WITH (publish = 'insert, update, delete')")
    with Primary.connect(b.conninfo) as server:
        ensure_tombstones(server._link, [table_of("t")])
    plan = mesh_of(three, "a", "b").plan_create()
    for _ in range(2):
        stop_and_undo(plan, kind)
        assert a.all(PUBLISHED) == [("pgreplkit_mesh",)]
        assert (a.one(TRIGGERS), b.one(TRIGGERS)) == (0, 3)
        assert b.all(PUBLISHED) == a.all(SLOTS) == a.all(ORIGINS) == []
        assert (a.all("TABLE t"), b.all("TABLE t")) == ([(1, 1)], [])
    # What another run finds counts, and not what the first one found.
    a.run("DROP PUBLICATION pgreplkit_mesh")
    stop_and_undo(plan, kind)
    assert a.all(PUBLISHED) == []


@pytest.mark.parametrize("kind", [EARLIER[1], CopyRows])
@pytest.mark.matrix
def test_the_origin_of_an_earlier_membership_stays(three: dict[str, Database], kind: type) -> None:
    mesh = mesh_of(three, "a", "b", "c")
    mesh.plan_create().run()
    with mesh.running():
        three["b"].run("INSERT INTO t VALUES (2, 2)")
        mesh.wait_for_sync()
        mesh.plan_leave("b").run()
        three["b"].run("DELETE FROM t")
        before = {name: objects(database) for name, database in three.items()}
        # Rows that b wrote last are compared by it.
        assert "pgreplkit_mesh_b_a" in str(before["a"])
        stop_and_undo(mesh.plan_join("b"), kind)
        assert {name: objects(database) for name, database in three.items()} == before
        assert three["b"].all("TABLE t") == []


def test_a_forced_plan_that_found_a_complete_mesh_leaves_it(three: dict[str, Database]) -> None:
    mesh = mesh_of(three, "a", "b")
    mesh.plan_create().run()
    before = {name: objects(three[name]) for name in ("a", "b")}
    stop_and_undo(mesh.plan_create(), SetMembers, force=True)
    assert {name: objects(three[name]) for name in ("a", "b")} == before
    assert three["b"].all("TABLE t") == [(1, 1)]


def test_undo_before_the_first_step_changes_nothing(three: dict[str, Database]) -> None:
    plan = mesh_of(three, "a", "b").plan_create()
    three["a"].run("CREATE PUBLICATION pgreplkit_mesh FOR TABLE t")
    with pytest.raises(Stopped):
        plan.run(stopping(object, when_done=False))
    plan.undo()
    assert three["a"].all(PUBLISHED) == [("pgreplkit_mesh",)]


@pytest.mark.parametrize("is_undone", [False, True])
def test_a_copy_to_a_table_that_others_refer_to_is_repeated_and_undone(
    three: dict[str, Database], is_undone: bool
) -> None:
    b = three["b"]
    b.run(
        "CREATE TABLE other (t int REFERENCES t)",
        "ALTER TABLE t ADD CONSTRAINT c CHECK (id < 2)",
    )
    three["a"].run("INSERT INTO t VALUES (2, 2)")
    plan = mesh_of(three, "a", "b").plan_create()
    with pytest.raises(PlanFailed, match="violates check constraint"):
        plan.run()
    b.run("ALTER TABLE t DROP CONSTRAINT c")
    if is_undone:
        plan.undo()
    else:
        plan.resume()
    assert b.all("TABLE t") == ([] if is_undone else [(1, 1), (2, 2)])
