"""The slots of an upgrade: lost ones, and those of others with the same names."""

from __future__ import annotations

from pathlib import Path

import pytest
from clusters import Clusters, wait_until
from colours import Colour
from databases import Database, Pair
from upgrading import LEFT, TABLES, opened, order, orders, prepare

from pgreplkit.rows import Severity
from pgreplkit.upgrade import AsyncUpgrade

pytestmark = pytest.mark.one_colour
SLOTS = "SELECT slot_name::text FROM pg_replication_slots ORDER BY 1"
SHOP_1 = "SELECT {} FROM pg_replication_slots WHERE slot_name = 'shop_1'"


async def roll_back_without_a_slot(upgrade: AsyncUpgrade, sides: Pair) -> None:
    """Roll back with rows of both servers, then insist that the new server follows again."""
    old, new = sides.publisher, sides.subscriber
    before = orders(sides)[1]
    order(new)
    status = await upgrade.status()
    assert status.lost_slots == ("shop_1",)
    rollback = await upgrade.plan_rollback()
    found = (await rollback.check())["forward slots"]
    assert (found.severity, found.found) == (Severity.WARNING, "shop_1")
    await rollback.run()
    assert (await upgrade.status()).lost_slots == ()
    order(old)
    assert isinstance(before, int)
    wait_until(lambda: orders(sides) == (before + 2, before + 2))


@pytest.mark.pg(">=11")  # No server is upgraded to 10.
async def test_a_rollback_creates_a_slot_that_was_dropped_and_loses_nothing(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    old, new = sides.publisher, sides.subscriber
    async with opened(sides, colour, tmp_path) as upgrade:
        await prepare(upgrade, sides)
        await (await upgrade.plan_cutover()).run()
        old.run("SELECT pg_drop_replication_slot('shop_1')")
        await roll_back_without_a_slot(upgrade, sides)
        await (await upgrade.plan_cutover()).run()
        order(new)
        await (await upgrade.plan_rollback()).run()
        assert orders(sides) == (103, 103)
        await (await upgrade.plan_finish()).run()
        assert old.all(LEFT) == []


@pytest.mark.pg(">=13")
@pytest.mark.matrix
async def test_a_rollback_creates_a_slot_that_exceeded_the_limit_of_retained_wal(
    clusters: Clusters, colour: Colour, major: int, tmp_path: Path
) -> None:
    settings = {"wal_level": "logical"}
    limit = {"max_slot_wal_keep_size": "1MB", "min_wal_size": "32MB", "max_wal_size": "64MB"}
    nodes = [
        clusters.lab.primary(version=major, settings={**settings, **more}) for more in (limit, {})
    ]
    old, new = (Database(node, "postgres") for node in nodes)
    sides = Pair(old, new)
    old.run(*TABLES, "INSERT INTO customers (name) VALUES ('a'), ('b')")
    async with opened(sides, colour, tmp_path) as upgrade:
        await prepare(upgrade, sides)
        await (await upgrade.plan_cutover()).run()
        # Nothing reads from it after the cutover.
        wait_until(lambda: old.one(SHOP_1.format("active")) is False)
        for _ in range(4):
            old.run("SELECT pg_logical_emit_message(false, 'fill', 'x')", "SELECT pg_switch_wal()")
        old.run("CHECKPOINT")
        wait_until(lambda: old.one(SHOP_1.format("wal_status")) == "lost")
        await roll_back_without_a_slot(upgrade, sides)
        await (await upgrade.plan_cutover()).run()
        order(new)
        await (await upgrade.plan_rollback()).run()
        assert orders(sides) == (3, 3)
    for node in nodes:
        clusters.lab.remove(node)
