"""Nodes whose clocks differ: the plan is refused, or waits as long as the policy says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from clusters import Clusters
from databases import Database, make_database, remove_databases

from pgreplkit.apply import LastUpdateWins
from pgreplkit.catalog.logical import applying
from pgreplkit.catalog.mesh import facts
from pgreplkit.errors import PlanFailed, PlanRefused
from pgreplkit.mesh import Mesh

pytestmark = [pytest.mark.pg(">=10"), pytest.mark.one_colour]
AHEAD = timedelta(seconds=3)


@pytest.fixture
def two(
    clusters: Clusters, major: int, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Database]]:
    databases = {name: make_database(clusters.tracking(major)) for name in ("a", "b")}
    for database in databases.values():
        database.run("CREATE TABLE t (id int PRIMARY KEY)")
    databases["a"].run("INSERT INTO t VALUES (1)")
    # Both are on one machine: the clock of the first one is read as if it were ahead.
    ahead = f"CASE current_database() WHEN '{databases['a'].name}' THEN 3 ELSE 0 END"
    clock = f"clock_timestamp() + interval '1 s' * {ahead}"
    for module, name in ((applying, "CLOCK"), (facts, "NODE")):
        changed = getattr(module, name).replace("clock_timestamp()", clock)
        monkeypatch.setattr(module, name, changed)
    yield databases
    remove_databases(*databases.values())


def mesh_of(databases: dict[str, Database], max_clock_skew: float) -> Mesh:
    nodes = {name: database.conninfo for name, database in databases.items()}
    return Mesh(nodes, tables=["t"], policy=LastUpdateWins(max_clock_skew))


@pytest.mark.matrix
def test_a_copy_waits_for_the_clock_as_long_as_the_policy_says(two: dict[str, Database]) -> None:
    plan = mesh_of(two, 2).plan_create()
    with pytest.raises(PlanRefused, match=r"they differ by .* max_clock_skew, 2 s"):
        plan.run()
    with pytest.raises(PlanFailed, match="clock"):
        plan.run(force=True)
    plan.undo()
    assert two["b"].all("TABLE t") == []
    began = datetime.now(UTC)
    mesh_of(two, 60).plan_create().run()
    assert datetime.now(UTC) - began >= AHEAD
    assert two["b"].all("TABLE t") == [(1,)]
