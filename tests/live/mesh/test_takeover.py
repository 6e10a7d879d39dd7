"""A mesh that a superuser has created, and that another role runs and leaves from then on."""

from __future__ import annotations

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from pgreplkit.errors import InsufficientPrivilege
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
