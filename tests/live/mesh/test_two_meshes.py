"""Two meshes of the same databases."""

from __future__ import annotations

import pytest
from clusters import Clusters
from databases import Database, make_database

from pgreplkit.errors import PlanRefused
from pgreplkit.mesh import Mesh
from pgreplkit.rows import Finding, Severity

SETTINGS = {"wal_level": "logical", "track_commit_timestamp": "on"}
TABLES = (
    "CREATE TABLE t (id int PRIMARY KEY)",
    "CREATE TABLE u (id int PRIMARY KEY)",
    "CREATE TABLE p (id int PRIMARY KEY) PARTITION BY RANGE (id)",
    "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (100)",
)


@pytest.fixture
def servers(clusters: Clusters, major: int) -> dict[str, str]:
    # Two databases of one server are two nodes.
    node = clusters.lab.primary(version=major, settings=SETTINGS)
    databases: dict[str, Database] = {name: make_database(node) for name in ("a", "b")}
    for database in databases.values():
        database.run(*TABLES)
    return {name: database.conninfo for name, database in databases.items()}


def finding(servers: dict[str, str], name: str, *tables: str) -> Finding:
    return Mesh(servers, tables=tables, name=name).plan_create().check()["other meshes"]


@pytest.mark.pg(">=13")
@pytest.mark.one_colour
def test_a_second_mesh_of_the_same_tables_is_refused(servers: dict[str, str]) -> None:
    one = Mesh(servers, tables=["t", "p"], name="one")
    one.plan_create().run()
    two = Mesh(servers, tables=["u", "t"], name="two")
    with pytest.raises(PlanRefused, match="t of the mesh 'one' on a"):
        two.plan_create().run()
    found = finding(servers, "two", "p1")
    assert found.severity is Severity.CRITICAL
    assert found.found == "public.p of the mesh 'one' on a; public.p of the mesh 'one' on b"
    assert finding(servers, "two", "u").severity is Severity.OK
    Mesh(servers, tables=["u"], name="two").plan_create().run()
    # Nodes that have left may be in another mesh.
    with one.running():
        one.plan_leave("b").run()
    found = finding(servers, "three", "t")
    assert found.found == "public.t of the mesh 'one' on a"
