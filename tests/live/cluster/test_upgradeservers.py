"""An upgrade insists on its two databases, and on direct connections to them."""

from __future__ import annotations

from pathlib import Path

import pytest
from clusters import Cluster
from colours import Colour, inner
from databases import Database, Pair
from psycopg.conninfo import make_conninfo
from relays import Pooler
from upgrading import LEFT, TABLES, differences, opened, order, prepare

from pgreplkit.errors import PlanFailed, PlanRefused, ServerError, TableNotFound
from pgreplkit.plans.cluster.upgradesteps import Subscribe
from pgreplkit.rows import Severity, StepProgress
from pgreplkit.upgrade import AsyncUpgrade, Upgrade, UpgradePhase

pytestmark = pytest.mark.one_colour


@pytest.mark.matrix
async def test_operations_on_other_databases_than_those_of_the_preparation_are_refused(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    old, new = sides.publisher, sides.subscriber
    elsewhere = Database(old.node, "postgres")

    async def insist_on_refusals() -> None:
        there = [database.all(LEFT) for database in (old, new)]
        for one, other, found in (
            (new, old, "the old server has the subscription shop_1, as the new one"),
            (new, elsewhere, "the old server has the subscription shop_1, as the new one"),
            (elsewhere, old, "the new server has the publication shop_1, as the old one"),
            (old, elsewhere, "the new server has no "),
            (elsewhere, new, "the old server has no publication shop_1, to which the new"),
        ):
            # Without the journal, which names the right databases.
            async with opened(Pair(one, other), colour, tmp_path / "no") as wrong:
                assert (await wrong.status()).phase is UpgradePhase.NEW
                for plan in (
                    await wrong.plan_prepare(copy_schema=False),
                    await wrong.plan_cutover(),
                    await wrong.plan_rollback(),
                    await wrong.plan_finish(),
                ):
                    with pytest.raises(PlanRefused, match="servers: ") as refused:
                        await plan.run()
                    assert found in " ".join(str(refused.value).split())
                assert [one.check for one in await wrong.check()] == ["servers"]
                with pytest.raises(ValueError, match=f"could not resume 'shop': {found}"):
                    await wrong.plan_resume()
                with pytest.raises(TableNotFound, match=found):
                    await differences(wrong)
        assert [database.all(LEFT) for database in (old, new)] == there

    async with opened(sides, colour, tmp_path) as upgrade:
        await prepare(upgrade, sides)
        await insist_on_refusals()
        await (await upgrade.plan_cutover()).run()
        await insist_on_refusals()
        await (await upgrade.plan_rollback()).run()
    old.run("ALTER TABLE orders ADD extra text")
    async with opened(sides, colour, tmp_path) as upgrade:
        found = "column missing: extra: the subscriber does not have it"
        with pytest.raises(PlanRefused, match=rf"public\.orders: {found}"):
            await (await upgrade.plan_cutover()).run()
    order(old)


async def test_the_connection_of_a_pooler_is_refused(sides: Pair, colour: Colour) -> None:
    old, new = sides.publisher, sides.subscriber
    new.run(*TABLES)
    kind = Upgrade if colour.name == "sync" else AsyncUpgrade
    with Pooler(new.node.port) as pooler:
        pooled = pooler.conninfo_of(new.conninfo)
        async with (
            await colour.primary(old.conninfo) as here,
            await colour.primary(pooled) as there,
        ):
            upgrade = colour.bound(kind(inner(here), inner(there), name="shop"))  # type: ignore[arg-type]
            found = await upgrade.check()
            assert found["old: connection"].severity is Severity.OK
            assert found["new: connection"].severity is Severity.CRITICAL
            plan = await upgrade.plan_prepare(copy_schema=False)
            with pytest.raises(ServerError, match="the new server leads to a connection pooler"):
                await plan.run()
    assert (old.all(LEFT), new.all(LEFT)) == ([], [])


@pytest.mark.pg(">=11")
async def test_a_connection_string_that_leads_elsewhere_is_refused_before_any_change(
    sides: Pair, colour: Colour, tmp_path: Path, cluster: Cluster
) -> None:
    old, new = sides.publisher, sides.subscriber
    standby = make_conninfo(old.conninfo, port=cluster.standby.port)
    cluster.catch_up()
    async with opened(sides, colour, tmp_path) as right:
        await right.check()
    for replication, which, found in (
        ({"old": new.conninfo}, "new reaches old", f"database '{new.name}', not to '{old.name}'"),
        ({"new": old.conninfo}, "old reaches new", f"database '{old.name}', not to '{new.name}'"),
        ({"old": standby}, "new reaches old", "a standby of that server"),
    ):
        async with opened(sides, colour, tmp_path, replication=replication) as wrong:
            finding = (await wrong.check())[which]
            assert finding.severity is Severity.CRITICAL
            assert found in finding.found
            with pytest.raises(PlanRefused, match=which):
                await (await wrong.plan_prepare(copy_schema=False)).run()
    assert (old.all(LEFT), new.all(LEFT)) == ([], [])
    new.run(*TABLES)

    def begin(progress: StepProgress) -> None:
        # As an attempt from an address that this process does not reach: the slot is elsewhere.
        if isinstance(progress.step, Subscribe) and progress.elapsed is None:
            new.run(
                f"CREATE SUBSCRIPTION shop_1 CONNECTION '{old.conninfo}' PUBLICATION shop_1"
                " WITH (connect = false)"
            )

    async with opened(sides, colour, tmp_path) as right:
        plan = await right.plan_prepare(copy_schema=False)
        with pytest.raises(PlanFailed, match="has reached another server or database"):
            await plan.run(begin)
        assert new.all("SELECT subname FROM pg_subscription WHERE subname = 'shop_1'") == []
        await plan.resume()
        assert sides.rows("orders") == (100, 100)
