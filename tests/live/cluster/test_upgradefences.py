"""A fence that someone has damaged stops each operation of an upgrade."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from colours import Colour
from databases import Pair
from upgrading import differences, opened, order, orders, prepare, stopped_at

from pgreplkit import Primary, TableName
from pgreplkit.errors import PlanFailed, PlanRefused
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.plans.cluster.upgradesteps import (
    MakeBackSlots,
    SetSequences,
    StopSubscriptions,
    WaitApplied,
)
from pgreplkit.rows import Severity, StepProgress
from pgreplkit.upgrade import UpgradePhase

pytestmark = pytest.mark.one_colour


@pytest.mark.pg(">=11")
@pytest.mark.matrix
async def test_a_disabled_trigger_of_a_fence_stops_every_operation(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    old, new = sides.publisher, sides.subscriber
    disable = "ALTER TABLE orders DISABLE TRIGGER shop_fence"
    orders_table = (TableName("public", "orders"),)

    async with opened(sides, colour, tmp_path) as upgrade:
        await prepare(upgrade, sides)
        new.run(disable)
        status = await upgrade.status()
        assert (status.phase, status.new_is_fenced) == (UpgradePhase.PREPARED, False)
        assert status.new_disabled == orders_table
        cutover = await upgrade.plan_cutover()
        with pytest.raises(PlanRefused, match=r"fence: missing or disabled on public\.orders"):
            await cutover.run()
        with Primary.connect(new.conninfo) as primary:
            remedy = (await cutover.check())["fence"].remedy
            assert remedy is not None
            assert remedy.startswith("new.fence_writes(['public.orders'], name='shop_fence');")
            primary.fence_writes(["public.orders"], name="shop_fence")
        assert (await upgrade.status()).new_is_fenced
        for setting in (
            f"DATABASE {old.name}",
            f"ROLE observer IN DATABASE {old.name}",
            "ROLE observer",
            "ROLE ALL",
        ):
            old.run(f"ALTER {setting} SET session_replication_role = Replica")
            found = (await cutover.check())["session_replication_role"]
            statement = f"ALTER {setting} RESET session_replication_role"
            new.run(statement)
            assert found.severity is Severity.CRITICAL
            assert f"{statement} on the old server" in found.found
        assert (await cutover.check())["session_replication_role"].severity is Severity.OK

        def disabling(progress: StepProgress) -> None:
            if progress.elapsed is None and isinstance(progress.step, WaitApplied):
                server = old if progress.step.node == "new" else new
                server.run(disable)

        with pytest.raises(
            PlanFailed, match=r"old server fenced: it accepts writes to public\.ord"
        ):
            await cutover.run(disabling)
        await cutover.undo()
        for kind in (StopSubscriptions, MakeBackSlots):

            def late(progress: StepProgress, kind: type[Step] = kind) -> None:
                # As a step that waits for transactions.
                if progress.elapsed is None and isinstance(progress.step, kind):
                    time.sleep(1.1)
                    old.run(disable)

            cutover = await upgrade.plan_cutover()
            with pytest.raises(PlanFailed, match=r"old server fenced: it accepts writes to public"):
                await cutover.run(late)
            await cutover.undo()
        # A row that someone writes to the server that will be opened belongs to no one.
        for moment, change in (
            (WaitApplied, disable),
            (WaitApplied, "DROP TRIGGER shop_fence ON orders"),
            (MakeBackSlots, "DROP TRIGGER shop_fence ON orders"),
        ):

            def opening(
                progress: StepProgress, moment: type[Step] = moment, change: str = change
            ) -> None:
                if progress.elapsed is None and isinstance(progress.step, moment):
                    time.sleep(1.1)
                    new.run(change)

            cutover = await upgrade.plan_cutover()
            with pytest.raises(PlanFailed, match=r"new server fenced: it accepts writes to public"):
                await cutover.run(opening)
            await cutover.undo()
            with Primary.connect(new.conninfo) as primary:
                primary.fence_writes(["public.orders"], name="shop_fence")
        # Some days later, another process continues.
        for change in (disable, "DROP TRIGGER shop_fence ON orders"):
            with pytest.raises(RuntimeError):
                await (await upgrade.plan_cutover()).run(stopped_at(SetSequences))
            old.run(change, "INSERT INTO orders (customer) VALUES (1)")
            interrupted = await upgrade.plan_resume()
            with pytest.raises(
                PlanFailed, match=r"(?s)old server accepts writes to public\.ord.*way on: undo"
            ):
                await interrupted.resume()
            await interrupted.undo()
        with pytest.raises(RuntimeError):
            await (await upgrade.plan_cutover()).run(stopped_at(SetSequences))
        for change in (disable, "DROP TRIGGER shop_fence ON orders"):
            new.run(change)
            interrupted = await upgrade.plan_resume()
            with pytest.raises(
                PlanFailed, match=r"(?s)new server accepts .*way on: new\.fence_writes\("
            ):
                await interrupted.resume()
            with Primary.connect(new.conninfo) as primary:
                primary.fence_writes(["public.orders"], name="shop_fence")
        await interrupted.resume()
        assert orders(sides) == (102, 102)
        old.run(disable)
        status = await upgrade.status()
        assert (status.phase, status.old_is_fenced) == (UpgradePhase.CUT_OVER, False)
        assert status.old_disabled == orders_table
        # The server that accepts writes is still the publisher.
        order(new)
        assert await differences(upgrade) == []
        rollback = await upgrade.plan_rollback()
        with pytest.raises(PlanRefused, match=r"fence: missing or disabled on public\.orders"):
            await rollback.run()
        with pytest.raises(PlanRefused, match=r"fence: missing or disabled on public\.orders"):
            await (await upgrade.plan_finish()).run()
        old.run(disable.replace("DISABLE", "ENABLE"))
        with pytest.raises(
            PlanFailed, match=r"new server fenced: it accepts writes to public\.ord"
        ):
            await rollback.run(disabling)
        await rollback.undo()
        enable = disable.replace("DISABLE", "ENABLE")
        rollback = await upgrade.plan_rollback()
        with pytest.raises(PlanFailed, match=r"old server fenced: it accepts writes to public"):
            await rollback.run(lambda progress: old.run(disable) if progress.number == 2 else None)
        await rollback.undo()
        old.run(enable)
        await (await upgrade.plan_rollback()).run()
        assert orders(sides) == (103, 103)


async def test_a_dropped_trigger_of_a_fence_stops_the_next_operation(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    old, new = sides.publisher, sides.subscriber
    for server in (old, new):
        server.run(
            "CREATE TABLE parent (id int) PARTITION BY RANGE (id)",
            "CREATE TABLE leaf PARTITION OF parent FOR VALUES FROM (0) TO (100)",
            "ALTER TABLE leaf REPLICA IDENTITY FULL",
        )
    # A statement on the parent fires the parent's trigger only.
    dropped = (TableName("public", "orders"), TableName("public", "parent"))
    drop = [f"DROP TRIGGER shop_fence ON {table.name}" for table in dropped]
    async with opened(sides, colour, tmp_path) as upgrade:
        await prepare(upgrade, sides)
        new.run(*drop)
        status = await upgrade.status()
        assert (status.phase, status.new_is_fenced) == (UpgradePhase.PREPARED, False)
        assert status.new_disabled == dropped
        with pytest.raises(PlanRefused, match=r"fence: missing or .*public\.orders, public\.par"):
            await (await upgrade.plan_cutover()).run()
        with Primary.connect(new.conninfo) as primary:
            primary.fence_writes(dropped, name="shop_fence")
        assert (await upgrade.status()).new_is_fenced
        await (await upgrade.plan_cutover()).run()
        old.run(*drop)
        status = await upgrade.status()
        assert (status.phase, status.old_is_fenced) == (UpgradePhase.CUT_OVER, False)
        assert status.old_disabled == dropped
        with pytest.raises(PlanRefused, match=r"fence: missing or .*public\.orders, public\.par"):
            await (await upgrade.plan_finish()).run()
