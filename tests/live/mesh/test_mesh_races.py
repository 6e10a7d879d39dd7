"""Deletions that meet older changes: at the same moment, and long afterwards."""

from __future__ import annotations

from datetime import timedelta

import psycopg
import pytest
from clusters import wait_until
from databases import Database
from meshdatabases import mesh_of
from psycopg.conninfo import make_conninfo

from pgreplkit._sync.mesh.members import find_members
from pgreplkit._sync.mesh.pruning import Pruning
from pgreplkit.apply import DeltaColumns, LastUpdateWins, Policy
from pgreplkit.errors import ConnectionFailed

pytestmark = [pytest.mark.pg(">=10"), pytest.mark.one_colour, pytest.mark.matrix]
WAITS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock'
"""
TOMBSTONES = "SELECT count(*) FROM pgreplkit.tombstone WHERE relation = 't'::regclass"


@pytest.mark.parametrize(
    "policy",
    [LastUpdateWins(), DeltaColumns({"t": ["n"]})],
    ids=lambda policy: type(policy).__name__,
)
@pytest.mark.parametrize(
    "change",
    [
        "UPDATE t SET n = 1 WHERE id = 2",
        "UPDATE t SET n = 1",
        "UPDATE t SET id = 9 WHERE id = 1; UPDATE t SET n = 1 WHERE id = 2",
    ],
)
def test_a_row_stays_deleted_if_an_older_change_waits_for_its_deletion(
    three: dict[str, Database], policy: Policy, change: str
) -> None:
    a, b = three["a"], three["b"]
    mesh = mesh_of(three, "a", "b", policy=policy)
    mesh.plan_create().run()
    a.run("INSERT INTO t VALUES (1, 0), (2, 0), (3, 0)")
    with mesh.running():
        mesh.wait_for_sync()
        with psycopg.connect(b.conninfo) as client:
            client.execute("DELETE FROM t WHERE id = 2")
            a.run(change)
            # The statement that waits does not see the tombstone, which is not committed yet.
            wait_until(lambda: b.one(WAITS) == 1)
        mesh.wait_for_sync()
        assert a.all("SELECT * FROM t ORDER BY id") == b.all("SELECT * FROM t ORDER BY id")
        assert a.all("SELECT FROM t WHERE id = 2") == []
        assert a.one("SELECT count(*) FROM t") == 2


def test_deletions_are_remembered_until_every_node_has_sent_its_older_changes(
    three: dict[str, Database], monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b, c = three.values()
    mesh = mesh_of(three, "a", "b", "c")
    mesh.plan_create().run()
    a.run("INSERT INTO t VALUES (1, 0), (2, 0)")
    with mesh.running():
        mesh.wait_for_sync()
    # The streams do not run: the update is older than the deletion, and arrives later.
    c.run("UPDATE t SET n = 7")
    a.run("DELETE FROM t")
    monkeypatch.setattr("pgreplkit._sync.mesh.pruning._EVERY", 0.0)
    monkeypatch.setattr("pgreplkit._sync.mesh.pruning._KEPT", timedelta(0))
    servers = {name: database.conninfo for name, database in three.items()}
    members = find_members(mesh._site(20.0), "mesh", mesh.nodes)
    late = Pruning("mesh", servers)
    assert [late.look("a", members) for _ in range(3)] == [0, 0, 0]
    # No server listens on this port.
    down = Pruning(
        "mesh", {**servers, "c": make_conninfo(c.conninfo, hostaddr="127.0.0.1", port=1)}
    )
    for _ in range(3):
        with pytest.raises(ConnectionFailed):
            down.look("a", members)
    assert a.one(TOMBSTONES) == 2
    with mesh.running():
        mesh.wait_for_sync()
        wait_until(lambda: [one.one(TOMBSTONES) for one in (a, b, c)] == [0, 0, 0])
        assert [one.one("SELECT count(*) FROM t") for one in (a, b, c)] == [0, 0, 0]
