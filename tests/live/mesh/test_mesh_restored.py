"""A node that is restored from a backup, or whose standby takes over, lacks changes."""

from __future__ import annotations

import pytest
from clusters import wait_until
from databases import Database, wait_for_ends
from meshdatabases import mesh_of

from pgreplkit.errors import ApplyError

pytestmark = [pytest.mark.pg(">=10"), pytest.mark.one_colour]
NOTED = "SELECT stored FROM pgreplkit.mesh_stream WHERE slot = 'pgreplkit_mesh_a_b'"
STORED = "SELECT pg_replication_origin_progress('pgreplkit_mesh_a_b', true)"
ROWS = "SELECT * FROM t ORDER BY id"


def test_a_restored_node_is_refused_until_it_has_joined_again(three: dict[str, Database]) -> None:
    a, b = three["a"], three["b"]
    mesh = mesh_of(three, "a", "b")
    mesh.plan_create().run()
    with mesh.running():
        a.run("INSERT INTO t VALUES (1, 1)")
        mesh.wait_for_sync()
        before = b.one(STORED)
        a.run("INSERT INTO t VALUES (2, 2)")
        mesh.wait_for_sync()
        wait_until(lambda: a.one(NOTED) == b.one(STORED))
    wait_for_ends(b)
    # As in a backup; the row itself makes no difference.
    b.run(f"SELECT pg_replication_origin_advance('pgreplkit_mesh_a_b', '{before}')")
    with pytest.raises(ApplyError, match=f"changes up to {before}, and had them up to .* restored"):
        mesh.run()


def test_an_idle_node_that_starts_again_is_not_taken_for_a_restored_one(
    three: dict[str, Database],
) -> None:
    a, b = three["a"], three["b"]
    mesh = mesh_of(three, "a", "b")
    mesh.plan_create().run()
    with mesh.running():
        # The older one of two changes of a row writes nothing on the other node.
        a.run("INSERT INTO t VALUES (1, 1)")
        mesh.wait_for_sync()
    for _ in range(2):
        a.run("UPDATE t SET n = n + 1")
        b.run("UPDATE t SET n = n + 10")
        with mesh.running():
            mesh.wait_for_sync()
            a.run("CREATE TABLE IF NOT EXISTS other (id int)", "INSERT INTO other VALUES (1)")
            mesh.wait_for_sync()
    assert a.all(ROWS) == b.all(ROWS)
