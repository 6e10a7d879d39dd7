"""Nodes leave a mesh: after others, while partitions are written, or while they are down."""

from __future__ import annotations

import psycopg
import pytest
from databases import Database
from meshdatabases import LEFT, mesh_of
from psycopg.conninfo import make_conninfo

from pgreplkit.errors import PlanRefused
from pgreplkit.mesh import Mesh
from pgreplkit.plans.mesh.steps import StopWrites
from pgreplkit.rows import Severity, StepProgress

pytestmark = [pytest.mark.pg(">=10"), pytest.mark.one_colour]


@pytest.mark.matrix
def test_all_nodes_leave_one_after_the_other_and_nothing_is_left(
    three: dict[str, Database],
) -> None:
    everyone = mesh_of(three, "a", "b", "c")
    everyone.plan_create().run()
    with everyone.running():
        everyone.plan_leave("b").run()
    # The node that has left is not known here, and its server may not exist.
    two = mesh_of(three, "a", "c")
    with two.running():
        three["c"].run("INSERT INTO t VALUES (1, 1)")
        two.plan_leave("c").run()
    assert three["a"].all("TABLE t") == [(1, 1)]
    two.plan_leave("a").run()
    for database in three.values():
        assert database.all(LEFT) == [(0,) * 8]


class Stopped(Exception):
    """Raised to end a plan."""


def stop(progress: StepProgress) -> None:
    if isinstance(progress.step, StopWrites) and progress.elapsed is not None:
        raise Stopped


@pytest.mark.pg(">=13")
def test_no_partition_takes_writes_while_its_node_leaves(three: dict[str, Database]) -> None:
    for name in ("a", "b"):
        three[name].run(
            "CREATE TABLE p (id int PRIMARY KEY, n int) PARTITION BY RANGE (id)",
            "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (10)",
        )
    mesh, b = mesh_of(three, "a", "b", table="p"), three["b"]
    mesh.plan_create().run()
    with mesh.running():
        three["a"].run("INSERT INTO p VALUES (1, 1)")
        mesh.wait_for_sync()
        plan = mesh.plan_leave("b")
        with pytest.raises(Stopped):
            plan.run(stop)
        b.run("CREATE TABLE p2 PARTITION OF p FOR VALUES FROM (10) TO (20)")
        for statement in (
            "INSERT INTO p VALUES (2, 2)",
            "INSERT INTO p1 VALUES (3, 3)",
            "INSERT INTO p2 VALUES (13, 3)",
            "UPDATE p1 SET n = 4",
            "DELETE FROM p1",
        ):
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="this node leav"):
                b.run(statement)
        plan.undo()
        b.run("INSERT INTO p1 VALUES (3, 3)")
        mesh.wait_for_sync()
        assert three["a"].all("SELECT * FROM p ORDER BY id") == [(1, 1), (3, 3)]
        mesh.plan_leave("b").run()


@pytest.mark.parametrize("down", ["a", "b"])
def test_a_node_does_not_leave_if_a_server_cannot_be_reached(
    three: dict[str, Database], down: str
) -> None:
    mesh_of(three, "a", "b").plan_create().run()
    nodes = {name: three[name].conninfo for name in ("a", "b")}
    # No server listens on this port.
    nodes[down] = make_conninfo(nodes[down], hostaddr="127.0.0.1", port=1)
    plan = Mesh(nodes, tables=["t"]).plan_leave("b")
    found = plan.check()["stream to a"]
    assert (found.severity, found.found) == (Severity.CRITICAL, "unreachable")
    assert "plan_remove()" in found.remedy
    with pytest.raises(PlanRefused, match="unreachable"):
        plan.run()


def test_a_plan_is_refused_if_the_members_have_changed_since_it_was_made(
    three: dict[str, Database],
) -> None:
    mesh = mesh_of(three, "a", "b")
    mesh.plan_create().run()
    leave, join = mesh.plan_leave("b"), mesh.plan_join("c", three["c"].conninfo)
    with mesh.running():
        mesh.plan_join("c").run()
        for plan in (leave, join):
            assert plan.check()["members"].remedy == "plan again"
            with pytest.raises(PlanRefused, match="they have changed since the plan was made"):
                plan.run()
