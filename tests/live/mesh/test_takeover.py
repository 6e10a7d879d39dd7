"""A mesh that one role has created, and that another role runs and leaves from then on."""

from __future__ import annotations

import psycopg
import pytest
from clusters import Clusters
from databases import make_database
from psycopg.conninfo import make_conninfo

from pgreplkit.errors import InsufficientPrivilege, PlanRefused
from pgreplkit.lab import Lab
from pgreplkit.mesh import Mesh

SETTINGS = {"wal_level": "logical", "track_commit_timestamp": "on"}


@pytest.mark.matrix
def test_a_role_runs_and_leaves_a_mesh_of_a_superuser(pgreplkit_lab: Lab, major: int) -> None:
    nodes = {
        name: pgreplkit_lab.primary(version=major, name=f"taken-{name}", settings=SETTINGS)
        for name in ("berlin", "paris")
    }
    clients = {
        name: psycopg.connect(node.conninfo, autocommit=True) for name, node in nodes.items()
    }
    for client in clients.values():
        client.execute("CREATE TABLE t (id int PRIMARY KEY, n int)")
        client.execute("ALTER TABLE t REPLICA IDENTITY FULL")
        client.execute("CREATE ROLE mover LOGIN PASSWORD 'mover'")
    servers = {name: node.conninfo for name, node in nodes.items()}
    theirs = Mesh(servers, tables=["t"], name="taken")
    theirs.plan_create().run()
    with theirs.running():
        theirs.wait_for_sync()
    mover = {
        name: make_conninfo(one, user="mover", password="mover") for name, one in servers.items()
    }
    mesh = Mesh(mover, tables=["t"], name="taken")
    with pytest.raises(InsufficientPrivilege, match="ON SCHEMA pgreplkit TO"):
        mesh.status()
    for _ in range(2):
        for name, statements in theirs.setup_sql("mover").nodes.items():
            for statement in statements:
                clients[name].execute(statement.encode())
    with mesh.running():
        clients["paris"].execute("INSERT INTO t VALUES (1, 1)")
        clients["berlin"].execute("INSERT INTO t VALUES (2, 2)")
        clients["paris"].execute("DELETE FROM t WHERE id = 1")
        mesh.wait_for_sync()
        comparison = mesh.compare()
        assert (comparison.is_equal, comparison.rows) == (True, 1)
        mesh.plan_leave("paris").run()
    left = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 't'::regclass"
    assert clients["paris"].execute(left).fetchall() == [(0,)]
    assert clients["paris"].execute("SELECT FROM pg_publication").fetchall() == []
    for client in clients.values():
        client.close()
    for node in nodes.values():
        pgreplkit_lab.remove(node)


@pytest.mark.pg(">=10")
@pytest.mark.one_colour
@pytest.mark.matrix
def test_a_role_leaves_a_mesh_of_another_role_once_it_owns_what_a_leave_drops(
    clusters: Clusters, major: int
) -> None:
    node = clusters.lab.primary(version=major, settings=SETTINGS)
    databases = {name: make_database(node) for name in ("berlin", "paris")}
    for database in databases.values():
        database.run("CREATE TABLE t (id int PRIMARY KEY, n int)")
    databases["berlin"].run(*(f"CREATE ROLE {r} LOGIN PASSWORD '{r}'" for r in ("first", "second")))
    admin = Mesh({name: one.conninfo for name, one in databases.items()}, tables=["t"])
    first, second = (
        Mesh({name: one.as_role(role) for name, one in databases.items()}, tables=["t"])
        for role in ("first", "second")
    )

    def set_up(role: str) -> None:
        for name, statements in admin.setup_sql(role).nodes.items():
            databases[name].run(*statements)

    set_up("first")
    first.plan_create().run()
    with first.running():
        # From 16 on, the first transaction of a stream creates sequences.
        databases["berlin"].run("INSERT INTO t VALUES (1, 1)")
        first.wait_for_sync()
    set_up("second")
    before = databases["paris"].all("SELECT pubname FROM pg_publication")
    with second.running():
        databases["berlin"].run("INSERT INTO t VALUES (2, 2)")
        second.wait_for_sync()
        plan = second.plan_leave("paris")
        with pytest.raises(PlanRefused, match=r"owners of paris: first owns the function"):
            plan.run()
        assert databases["paris"].all("SELECT pubname FROM pg_publication") == before
        found = plan.check()["owners of paris"]
        kinds = {"FUNCTION", "PUBLICATION", *(["SEQUENCE"] if major >= 16 else [])}
        statements = found.remedy.split("; ")
        assert {statement.split()[1] for statement in statements} == kinds
        databases["paris"].run(*statements)
        assert not plan.check().problems
        plan.run()
    assert databases["paris"].all("SELECT pubname FROM pg_publication") == []
