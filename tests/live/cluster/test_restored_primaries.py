"""Standbys of a primary that was restored to a point in time keep following it."""

from __future__ import annotations

import pytest
from clusters import Cluster as Pair, Clusters, one, restored, run, wait_until
from colours import Colour
from trees import Tree, grow

pytestmark = [pytest.mark.matrix, pytest.mark.one_colour]


def stays(tree: Tree, name: str, upstream: str) -> None:
    """Assert that a standby replays a commit after the target, and does not promote itself."""
    run(tree[upstream], "INSERT INTO written SELECT count(*) + 1 FROM written")
    rows = "SELECT count(*) FROM written"
    wait_until(lambda: one(tree[name], rows) == one(tree[upstream], rows))
    assert one(tree[name], "SELECT pg_is_in_recovery()") is True


async def test_a_restored_primary_becomes_a_standby_that_stays_one(
    clusters: Clusters, cluster: Pair, colour: Colour
) -> None:
    tree = grow(clusters.lab, cluster.major, leaf=False, slots=False)
    restored(tree["a"])
    tree["a"].restart()
    tree["b"].wait_for_streaming()
    found = await tree.discover(colour)
    await (await found.plan_switchover("b", timeout=30)).run()
    stays(tree, "a", "b")
    tree["a"].restart()
    tree["a"].wait_for_streaming()
    stays(tree, "a", "b")
