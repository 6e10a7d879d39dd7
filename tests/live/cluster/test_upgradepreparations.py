"""Preparations that fail, are undone, or are given up."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from clusters import wait_until
from colours import Colour
from databases import Pair
from upgrading import (
    LEFT,
    TABLES,
    differences,
    opened,
    order,
    orders,
    prepare,
    refuse_stale,
    stopped_at,
)

from pgreplkit.errors import PlanFailed, PlanRefused, TableNotFound
from pgreplkit.plans.cluster.upgradesteps import DropPublications, FenceTables
from pgreplkit.rows import StepProgress
from pgreplkit.upgrade import UpgradePhase

pytestmark = pytest.mark.one_colour


REFUSE = "ALTER TABLE orders ADD CONSTRAINT small CHECK (total < 50)"


async def test_an_upgrade_that_is_given_up_is_new_and_can_be_prepared_again(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    old, new = sides.publisher, sides.subscriber
    async with opened(sides, colour, tmp_path) as upgrade:
        await prepare(upgrade, sides)
        plan = await upgrade.plan_finish()
        with pytest.raises(RuntimeError, match="stop"):
            await plan.run(stopped_at(DropPublications))
        (tmp_path / "journal.json").unlink()
        assert (await upgrade.status()).phase is UpgradePhase.SWITCHING
        await (await upgrade.plan_resume()).resume()
        status = await upgrade.status()
        assert (status.phase, status.new_is_fenced) == (UpgradePhase.NEW, True)
        assert (old.all(LEFT), new.all(LEFT)) == ([], [("shop_fence",)])
        order(old)
        remedy = (await upgrade.check())["rows on the new server"].remedy
        assert remedy is not None
        new.run(*remedy.split("; "))
        with pytest.raises(RuntimeError, match="stop"):
            await (await upgrade.plan_prepare(copy_schema=False)).run(stopped_at(FenceTables))
        (copy := tmp_path / "copy").mkdir()
        shutil.copy(tmp_path / "journal.json", copy)
        await (await upgrade.plan_resume()).resume()
        # In this journal, no step was begun.
        async with opened(sides, colour, copy) as stale:
            await refuse_stale(stale, "new")
        assert (await upgrade.status()).new_is_fenced
        assert orders(sides) == (101, 101)


async def test_an_upgrade_whose_slot_is_lost_says_so_is_given_up_and_prepared_again(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    old, new = sides.publisher, sides.subscriber
    async with opened(sides, colour, tmp_path) as upgrade:
        await prepare(upgrade, sides)
        assert (await upgrade.status()).lost_slots == ()
        new.run("ALTER SUBSCRIPTION shop_1 DISABLE")
        dropped = """SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
            WHERE slot_name = 'shop_1' AND NOT active"""
        wait_until(lambda: bool(old.all(dropped)))
        order(old)
        new.run("ALTER SUBSCRIPTION shop_1 ENABLE")
        status = await upgrade.status()
        assert (status.phase, status.lost_slots) == (UpgradePhase.PREPARED, ("shop_1",))
        text = " ".join(str(status).split())
        assert "slot shop_1 of the old server is missing or lost: changes are lost; give" in text
        remedy = r"give the upgrade up with plan_finish\(\), and prepare it again"
        with pytest.raises(PlanRefused, match=f"apply: .*'shop_1'.*{remedy}"):
            await (await upgrade.plan_cutover()).run()
        await (await upgrade.plan_finish()).run()
        assert (await upgrade.status()).phase is UpgradePhase.NEW
        statements = (await upgrade.check())["rows on the new server"].remedy
        assert statements is not None
        new.run(*statements.split("; "))
        await (await upgrade.plan_prepare(copy_schema=False)).run()
        assert orders(sides) == (101, 101)


async def test_an_end_drops_the_slots_that_the_subscribers_no_longer_reach(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    old, new = sides.publisher, sides.subscriber
    # As after failovers of both servers: only this process connects to the new primaries.
    nowhere = "CONNECTION 'host=localhost port=1 connect_timeout=1'"
    async with opened(sides, colour, tmp_path) as upgrade:
        await prepare(upgrade, sides)
        await (await upgrade.plan_cutover()).run()
        new.run(f"ALTER SUBSCRIPTION shop_1 {nowhere}")
        old.run(f"ALTER SUBSCRIPTION shop_1_back {nowhere}")
        await (await upgrade.plan_finish()).run(force=True)
        assert (old.all(LEFT), new.all(LEFT)) == ([("shop_fence",)], [])


@pytest.mark.pg(">=18")
@pytest.mark.matrix
async def test_a_copy_that_fails_again_and_again_stops_the_preparation(
    sides: Pair, colour: Colour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for room in ("_async", "_sync"):
        monkeypatch.setattr(f"pgreplkit.{room}.cluster.upgradeactions._LOOK", 6.0)
    sides.subscriber.run(*TABLES)

    def refuse(progress: StepProgress) -> None:
        # After the checks. Only the log of the new server has the reason.
        if isinstance(progress.step, FenceTables) and progress.elapsed is None:
            sides.subscriber.run(REFUSE)

    async with opened(sides, colour, tmp_path) as upgrade:
        plan = await upgrade.plan_prepare(copy_schema=False)
        with pytest.raises(PlanFailed, match="failing copy: copies of its tables have failed"):
            await plan.run(refuse)
        sides.subscriber.run_between_copies("ALTER TABLE orders DROP CONSTRAINT small")
        await plan.resume()
        assert sides.rows("orders") == (100, 100)


@pytest.mark.pg(">=18")
async def test_undo_of_a_preparation_leaves_no_object(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    async with opened(sides, colour, tmp_path) as upgrade:
        with pytest.raises(TableNotFound, match="'shop' has published none; prepare it first"):
            await differences(upgrade)
        bindir = sides.publisher.node.installation.bindir
        await (await upgrade.plan_prepare(bindir=bindir)).run()
        undone = await (await upgrade.plan_resume()).undo()
        assert [type(step).__name__ for step in undone][:2] == [
            "StartSubscriptions",
            "StopSubscriptions",
        ]
        assert sides.publisher.all(LEFT) == sides.subscriber.all(LEFT) == []
        # The copied rows are the finding of the next attempt.
        readiness = await upgrade.check()
        assert "TRUNCATE public.orders CASCADE" in readiness["rows on the new server"].remedy
