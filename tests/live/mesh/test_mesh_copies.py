"""Rows that are copied to a new node of a mesh."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from clusters import wait_until
from databases import Database
from meshdatabases import mesh_of
from tracebacks import printed

from pgreplkit.errors import PlanFailed, PlanRefused
from pgreplkit.rows import Severity

pytestmark = pytest.mark.one_colour


@pytest.mark.pg(">=12")
@pytest.mark.parametrize("joins", [False, True], ids=["create", "join"])
def test_a_copy_that_fails_shows_no_value_of_a_row(
    three: dict[str, Database], joins: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mesh, new = mesh_of(three, "a", "b"), three["c" if joins else "b"]
    for database in three.values():
        database.run("ALTER TABLE t ADD name text")
    # Each node computes generated columns itself, so that the nodes may differ in them.
    new.run("ALTER TABLE t ADD number int GENERATED ALWAYS AS (name::int) STORED")
    row, journal = "INSERT INTO t VALUES (1, 1, 'secret')", tmp_path / "journal.json"
    with ExitStack() as stack:
        if joins:
            mesh.plan_create().run()
            stack.enter_context(mesh.running())
            # Young rows are copied in another way than those before the mesh.
            three["a"].run(row)
            mesh.wait_for_sync()
            plan = mesh.plan_join("c", new.conninfo, journal=journal)
        else:
            three["a"].run(row)
            plan = mesh.plan_create(journal=journal)
        with pytest.raises(PlanFailed, match='integer: "…"') as raised:
            plan.run()
    assert "secret" not in f"{printed(raised.value)} {journal.read_text()} {caplog.text}"


@pytest.mark.pg(">=10")
def test_a_join_checks_the_streams_to_its_donor(three: dict[str, Database]) -> None:
    mesh, slot = mesh_of(three, "a", "b"), "pgreplkit_mesh_b_a"
    assert not any(one.check.startswith("stream") for one in mesh.plan_create().check().findings)
    mesh.plan_create().run()
    plan, check = mesh.plan_join("c", three["c"].conninfo), "stream from b to a"
    found = plan.check()[check]
    assert (found.severity, found.found.partition(",")[0]) == (Severity.WARNING, "stopped")
    with mesh.running():
        wait_until(lambda: plan.check()[check].severity is Severity.OK)
    three["b"].run(f"SELECT pg_drop_replication_slot('{slot}')")
    assert plan.check()[check].severity is Severity.CRITICAL
    with pytest.raises(PlanRefused, match="stream from b to a: missing"):
        plan.run()
    # The other stream does not matter, if its target is the donor.
    other = mesh.plan_join("c", three["c"].conninfo, donor="b").check()
    assert "stream from a to b" in str(other)
    assert check not in str(other)


@pytest.mark.pg(">=11")
def test_partitions_that_are_not_logged_are_found(three: dict[str, Database]) -> None:
    for one in three.values():
        one.run(
            "CREATE TABLE p (id int, n int) PARTITION BY RANGE (id)",
            "CREATE UNLOGGED TABLE p1 PARTITION OF p (PRIMARY KEY (id)) FOR VALUES FROM (1) TO (9)",
        )
    found = mesh_of(three, "a", "b", table="p").plan_create().check()["persistence of public.p"]
    assert found.found == "public.p1 on a: not logged; public.p1 on b: not logged"
