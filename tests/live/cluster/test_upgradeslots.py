"""The slots of an upgrade: lost ones, and those of others with the same names."""

from __future__ import annotations

from pathlib import Path

import pytest
from clusters import Clusters, wait_until
from colours import Colour
from databases import Database, Pair
from upgrading import LEFT, TABLES, opened, order, orders, prepare

from pgreplkit.errors import PlanFailed, PlanRefused
from pgreplkit.rows import Severity
from pgreplkit.upgrade import AsyncUpgrade, UpgradePhase

pytestmark = pytest.mark.one_colour
SHOP_1 = "SELECT {} FROM pg_replication_slots WHERE slot_name = 'shop_1'"
SLOTS = "SELECT slot_name::text FROM pg_replication_slots WHERE slot_name ~ '^shop'"
BACK = "SELECT {} FROM pg_replication_slots WHERE slot_name = 'shop_1_back'"


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


@pytest.mark.pg(">=11")
async def test_a_slot_of_a_standby_with_a_name_of_the_upgrade_is_reported_and_never_dropped(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    old, new = sides.publisher, sides.subscriber
    new.run(*TABLES)

    def insist_on_slots(*names: str) -> None:
        physical = "SELECT slot_name::text FROM pg_replication_slots WHERE slot_name ~ '^shop'"
        assert old.all(f"{physical} AND slot_type = 'physical' ORDER BY 1") == [
            (name,) for name in names
        ]

    async with opened(sides, colour, tmp_path) as upgrade:
        old.run("SELECT pg_create_physical_replication_slot('shop_1')")
        prepare_it = await upgrade.plan_prepare(copy_schema=False)
        with pytest.raises(PlanRefused, match=r"slot shop_1 \(physical\)"):
            await prepare_it.run()
        with pytest.raises(PlanFailed, match="already exists"):
            await prepare_it.run(force=True)
        await prepare_it.undo()
        insist_on_slots("shop_1")
        old.run("SELECT pg_drop_replication_slot('shop_1')")
        await (await upgrade.plan_prepare(copy_schema=False)).run()
        new.run("SELECT pg_create_physical_replication_slot('shop_1_back')")
        cutover = await upgrade.plan_cutover()
        with pytest.raises(PlanRefused, match=r"way back: shop_1_back \(physical\)"):
            await cutover.run()
        with pytest.raises(PlanFailed, match="already exists"):
            await cutover.run(force=True)
        await cutover.undo()
        insist_on_slots("shop_1_back")
        new.run("SELECT pg_drop_replication_slot('shop_1_back')")
        await (await upgrade.plan_cutover()).run()
        # Both were replaced since.
        old.run(
            "ALTER SUBSCRIPTION shop_1_back DISABLE",
            "SELECT pg_drop_replication_slot('shop_1')",
            "SELECT pg_create_physical_replication_slot('shop_1')",
        )
        wait_until(lambda: old.one(BACK.format("active")) is False)
        new.run(
            "SELECT pg_drop_replication_slot('shop_1_back')",
            "SELECT pg_create_physical_replication_slot('shop_1_back')",
        )
        finding = (await (await upgrade.plan_rollback()).check())["slots of others"]
        assert (finding.severity, finding.found) == (Severity.CRITICAL, "shop_1 (physical)")
        await (await upgrade.plan_finish()).run(force=True)
        assert (old.all(LEFT), new.all(LEFT)) == ([("shop_fence",)], [])
        insist_on_slots("shop_1", "shop_1_back")
        for name in ("shop_1", "shop_1_back"):
            old.run(f"SELECT pg_drop_replication_slot('{name}')")


@pytest.mark.pg(">=11")
async def test_an_end_drops_slots_whose_subscriptions_someone_has_dropped(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    old, new = sides.publisher, sides.subscriber

    async def insist_on_no_slots(dropped: Database, name: str) -> None:
        dropped.run(
            f"ALTER SUBSCRIPTION {name} DISABLE",
            f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)",
            f"DROP SUBSCRIPTION {name}",
        )
        await (await upgrade.plan_finish()).run(force=name == "shop_1")
        assert old.all(SLOTS) == []

    async with opened(sides, colour, tmp_path) as upgrade:
        await prepare(upgrade, sides)
        # Someone has begun to give the upgrade up by hand.
        old.run("DROP PUBLICATION shop_1")
        await insist_on_no_slots(new, "shop_1")
        new.run("DROP SCHEMA shop_fence CASCADE", "DELETE FROM orders", "DELETE FROM customers")
        await (await upgrade.plan_prepare(copy_schema=False)).run()
        await (await upgrade.plan_cutover()).run()
        await insist_on_no_slots(old, "shop_1_back")
        assert (await upgrade.status()).phase is UpgradePhase.FINISHED
