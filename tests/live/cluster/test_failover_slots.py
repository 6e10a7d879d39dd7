"""Failover slots: a switchover and a failover check that the standby has synchronized them."""

from __future__ import annotations

import psycopg
import pytest
from clusters import Cluster as Pair, Clusters, one, rows, run, wait_until
from colours import Colour
from trees import Tree

from pgreplkit.errors import PlanRefused
from pgreplkit.rows import Severity

pytestmark = [pytest.mark.matrix, pytest.mark.one_colour, pytest.mark.pg(">=17")]
ADVANCE = "SELECT slot_name FROM pg_replication_slot_advance('feed', pg_current_wal_lsn())"
SYNCED = "SELECT 1 FROM pg_replication_slots WHERE synced AND NOT temporary"


def feeding(clusters: Clusters, cluster: Pair) -> Tree:
    """A tree whose primary has a failover slot, which no standby synchronizes yet."""
    lab, settings = clusters.lab, {"wal_level": "logical", "wal_keep_size": "128MB"}
    primary = lab.primary(version=cluster.major, name="a", settings=settings)
    run(primary, "CREATE TABLE written (id int PRIMARY KEY)")
    standbys = {name: lab.standby(primary, slot=f"slot_{name}", name=name) for name in ("b", "c")}
    create = "pg_create_logical_replication_slot('feed', 'pgoutput', failover => true)"
    run(primary, f"SELECT {create}")
    return Tree({"a": primary, **standbys})


def synchronize(tree: Tree, name: str) -> None:
    """Let a standby synchronize slots, until it has a usable copy."""
    node = tree[name]
    conninfo = psycopg.conninfo.make_conninfo(
        str(one(node, "SHOW primary_conninfo")), dbname="postgres"
    )
    quoted = conninfo.replace("'", "''")
    for setting in (
        "hot_standby_feedback = on",
        f"primary_conninfo = '{quoted}'",
        "sync_replication_slots = on",
    ):
        run(node, f"ALTER SYSTEM SET {setting}")
    run(node, "SELECT pg_reload_conf()")

    def is_synchronized() -> bool:
        # The copy becomes permanent when the primary's slot has moved past its position.
        run(tree["a"], "SELECT pg_log_standby_snapshot()")
        run(tree["a"], ADVANCE)
        return rows(node, SYNCED) != []

    wait_until(is_synchronized)


async def test_a_switchover_waits_for_the_synchronization_of_failover_slots(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    tree = feeding(clusters, cluster)
    found = await tree.discover(colour)
    plan = await found.plan_switchover("b")
    finding = (await plan.check())["logical slots"]
    assert finding.severity is Severity.CRITICAL
    assert finding.found == "feed (database postgres): not synchronized to the standby"
    with pytest.raises(PlanRefused, match="logical slots: feed"):
        await plan.run()
    synchronize(tree, "b")
    assert (await plan.check())["logical slots"].severity is Severity.OK
    await plan.run()
    run(tree["b"], "INSERT INTO written VALUES (1)")
    assert one(tree["b"], ADVANCE) == "feed"


async def test_a_failover_says_which_consumers_lose_their_slot(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    tree = feeding(clusters, cluster)
    found = await tree.discover(colour)
    synchronize(tree, "b")
    await found.refresh()
    tree["a"].kill()
    receivers = "SELECT 1 FROM pg_stat_wal_receiver"
    wait_until(lambda: not rows(tree["b"], receivers) and not rows(tree["c"], receivers))
    kept = await (await found.plan_failover("b")).check()
    assert kept["logical slots"].severity is Severity.OK
    lost = await (await found.plan_failover("c")).check()
    assert lost["logical slots"].severity is Severity.WARNING
    assert lost["logical slots"].found.startswith("feed (database postgres): not synchronized")
