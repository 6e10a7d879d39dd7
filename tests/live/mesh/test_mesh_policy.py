"""The policy of a mesh is recorded on its nodes, and each process compares its own with it."""

from __future__ import annotations

import pytest
from databases import Database
from meshdatabases import mesh_of

from pgreplkit.apply import ApplyRemote, DeltaColumns, LastUpdateWins
from pgreplkit.errors import ApplyError, PlanRefused
from pgreplkit.rows import Severity

pytestmark = [pytest.mark.pg(">=10"), pytest.mark.one_colour]


@pytest.mark.matrix
def test_a_process_with_another_policy_than_the_mesh_is_refused(
    three: dict[str, Database],
) -> None:
    mesh = mesh_of(three, "a", "b")
    mesh.plan_create().run()
    patient = mesh_of(three, "a", "b", policy=LastUpdateWins(60))
    other = mesh_of(three, "a", "b", policy=ApplyRemote())
    both = r"the policy LastUpdateWins\(\), and this process has ApplyRemote\(\)"
    with mesh.running():
        for refused in (other.node("b").run, lambda: other.applier("a", "b")):
            with pytest.raises(ApplyError, match=both):
                refused()
        wrong = mesh_of(three, "a", "b", policy=DeltaColumns({"t": ["n"]}))
        with pytest.raises(ApplyError, match=r"this process has DeltaColumns\(public.t: n\)"):
            wrong.run()
        joining = other.plan_join("c", three["c"].conninfo)
        found = joining.check()["policy of the members"]
        assert (found.severity, found.found) == (
            Severity.CRITICAL,
            "a has LastUpdateWins(), b has LastUpdateWins()",
        )
        mesh.plan_join("c", three["c"].conninfo).run()
        mesh.plan_leave("b").run()
    recorded = "SELECT policy FROM pgreplkit.mesh_policy"
    assert {name: one.all(recorded) for name, one in three.items()} == {
        "a": [("LastUpdateWins()",)],
        "b": [],
        "c": [("LastUpdateWins()",)],
    }
    with patient.running():
        pass


def test_a_mesh_gets_another_policy_while_it_does_not_run(three: dict[str, Database]) -> None:
    mesh = mesh_of(three, "a", "b")
    mesh.plan_create().run()
    other = mesh_of(three, "a", "b", policy=ApplyRemote())
    with mesh.running():
        mesh.wait_for_sync()
        with pytest.raises(PlanRefused, match="streams: b to a, a to b run"):
            other.plan_change_policy().run()
    deltas = mesh_of(three, "a", "b", policy=DeltaColumns({"t": ["n"]}))
    with pytest.raises(PlanRefused, match=r"public.t has no delta columns on a"):
        deltas.plan_change_policy().run()
    with pytest.raises(PlanRefused, match=r"with ApplyRemote, 2 nodes .* can differ"):
        other.plan_change_policy().run()
    plan = other.plan_change_policy()
    plan.run(force=True)
    with pytest.raises(ApplyError, match=r"ApplyRemote\(\), and this process has LastUpdateWins"):
        mesh.run()
    three["a"].run("INSERT INTO t VALUES (1, 1)")
    with other.running():
        other.wait_for_sync()
    assert three["b"].all("TABLE t") == [(1, 1)]
    plan.undo()
    with mesh.running():
        mesh.wait_for_sync()


@pytest.mark.matrix
def test_a_mesh_of_an_earlier_version_runs_and_records_its_policy_later(
    three: dict[str, Database],
) -> None:
    mesh = mesh_of(three, "a", "b")
    mesh.plan_create().run()
    for name in ("a", "b"):
        three[name].run("DROP TABLE pgreplkit.mesh_policy")
    with mesh.running():
        mesh.wait_for_sync()
        mesh.plan_join("c", three["c"].conninfo).run()
        mesh.wait_for_sync()
    mesh.plan_change_policy().run()
    for database in three.values():
        assert database.one("SELECT policy FROM pgreplkit.mesh_policy") == "LastUpdateWins()"
