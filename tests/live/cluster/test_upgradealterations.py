"""The checks of a cutover and a rollback find what someone has altered by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
from clusters import Clusters, wait_until
from colours import Colour
from databases import Database, Pair, make_database, remove_databases
from upgrading import TABLES, opened, order, orders, prepare

from pgreplkit import AsyncPlan
from pgreplkit.rows import Severity
from pgreplkit.upgrade import UpgradePhase

pytestmark = pytest.mark.one_colour

ROWS = "SELECT * FROM orders ORDER BY id"


async def critical(plan: AsyncPlan) -> dict[str, str]:
    """Return the remedies of a plan's critical findings, by check."""
    findings = await plan.check()
    return {one.check: one.remedy for one in findings if one.severity is Severity.CRITICAL}


async def altered(plan: AsyncPlan, check: str, database: Database, change: str) -> None:
    """Insist that a check finds a change, and that its statement reverts it."""
    database.run(change)
    remedies = await critical(plan)
    # What was not published since must be copied again, as another finding says.
    assert [one for one in remedies if "copied rows" not in one] == [check], change
    statement, _, _ = remedies[check].partition(" on the ")
    database.run(statement)
    assert check not in await critical(plan), change


def follow(remedy: str, sides: Pair) -> None:
    """Execute the statements of a remedy, each on its server."""
    servers = {"old": sides.publisher, "new": sides.subscriber}
    for part in remedy.partition("; if compare()")[0].split("; then "):
        statements, _, node = part.rpartition(" on the ")
        servers[node.removesuffix(" server")].run(statements)


def are_same(sides: Pair) -> bool:
    """Return whether both servers have the same orders, and no table is being copied."""
    both = (sides.publisher, sides.subscriber)
    copying = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'"
    here, there = [database.all(ROWS) for database in both]
    return here == there and not any(database.one(copying) for database in both)


async def copied(plan: AsyncPlan, check: str, sides: Pair) -> None:
    """Follow the one remedy of a plan, with which tables are copied again."""
    remedies = await critical(plan)
    assert [*remedies] == [check]
    follow(remedies[check], sides)
    wait_until(lambda: are_same(sides))
    assert await critical(plan) == {}


def publications(database: Database, name: str) -> list[str]:
    """Return the changes of a publication with which rows are lost."""
    alter, major = f"ALTER PUBLICATION {name} SET ", database.node.major
    found = [f"{alter}(publish = 'insert')", f"{alter}(publish = '')"]
    if major >= 13:
        found.append(f"{alter}(publish_via_partition_root = true)")
    if major >= 15:
        found.append(f"{alter}TABLE ONLY customers, ONLY orders WHERE (id > 1000)")
        found.append(f"{alter}TABLE ONLY customers, ONLY orders (id, customer)")
    return found


async def test_altered_publications_and_subscriptions_are_found(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    old, new = sides.publisher, sides.subscriber
    async with opened(sides, colour, tmp_path) as upgrade:
        await prepare(upgrade, sides)
        cutover = await upgrade.plan_cutover()
        assert await critical(cutover) == {}
        for change in publications(old, "shop_1"):
            await altered(cutover, "old: publications", old, change)
        await copied(cutover, "new: copied rows", sides)
        old.run("CREATE PUBLICATION other")
        elsewhere = "ALTER SUBSCRIPTION shop_1 SET PUBLICATION other WITH (refresh = false)"
        new.run(elsewhere)
        order(old)
        await copied(cutover, "new: subscriptions", sides)
        if new.node.major >= 16:
            origin = "ALTER SUBSCRIPTION shop_1 SET (origin = none)"
            new.run(origin)
            await copied(cutover, "new: subscriptions", sides)
        # Left there, it would not replicate back all that is written.
        new.run("CREATE PUBLICATION shop_1_back WITH (publish = 'insert')")
        await (await upgrade.plan_cutover()).run()
        rollback = await upgrade.plan_rollback()
        assert await critical(rollback) == {}
        for change in publications(new, "shop_1_back"):
            await altered(rollback, "new: publications", new, change)
        await copied(rollback, "old: copied rows", sides)
        # The next operation relies on the other direction.
        for change in publications(old, "shop_1"):
            await altered(rollback, "old: publications", old, change)
        await altered(rollback, "new: subscriptions", new, elsewhere)
        detached = "ALTER SUBSCRIPTION shop_1 SET (slot_name = NONE)"
        await altered(rollback, "new: subscriptions", new, detached)
        order(new)
        new.run("DELETE FROM orders WHERE id = 1")
        await (await upgrade.plan_rollback()).run()
        assert orders(sides) == (101, 101)
        order(old)
        wait_until(lambda: orders(sides) == (102, 102))
        assert (await upgrade.status()).phase is UpgradePhase.PREPARED
        await (await upgrade.plan_finish()).run()


async def test_a_table_that_is_published_again_is_copied_again_in_both_directions(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    old, new = sides.publisher, sides.subscriber
    async with opened(sides, colour, tmp_path) as upgrade:
        await prepare(upgrade, sides)
        cutover = await upgrade.plan_cutover()
        for database, plan, name, check in (
            (old, cutover, "shop_1", "new: copied rows"),
            (new, None, "shop_1_back", "old: copied rows"),
        ):
            if plan is None:
                await (await upgrade.plan_cutover()).run()
                plan = await upgrade.plan_rollback()
            assert await critical(plan) == {}
            # Neither the row nor the removal of another one is sent.
            database.run(
                f"ALTER PUBLICATION {name} DROP TABLE orders",
                "INSERT INTO orders (customer) VALUES (1)",
                "DELETE FROM orders WHERE id = (SELECT min(id) FROM orders)",
            )
            fresh = await (upgrade.plan_cutover() if database is old else upgrade.plan_rollback())
            remedies = await critical(fresh)
            assert [*remedies] == ["new tables"]
            assert remedies["new tables"].startswith("ALTER SUBSCRIPTION")
            # As someone does who does not read it.
            database.run(f"ALTER PUBLICATION {name} ADD TABLE ONLY orders")
            await copied(plan, check, sides)
            database.run(
                f"ALTER PUBLICATION {name} DROP TABLE orders",
                "INSERT INTO orders (customer) VALUES (1)",
                "DELETE FROM orders WHERE id = (SELECT min(id) FROM orders)",
            )
            fresh = await (upgrade.plan_cutover() if database is old else upgrade.plan_rollback())
            follow((await critical(fresh))["new tables"], sides)
            wait_until(lambda: are_same(sides))
            assert await critical(plan) == {}
            # A subscription that has forgotten it, and a table that has rows.
            subscriber = new if database is old else old
            database.run(f"ALTER PUBLICATION {name} DROP TABLE orders")
            subscriber.run(f"ALTER SUBSCRIPTION {name} REFRESH PUBLICATION")
            database.run(f"ALTER PUBLICATION {name} ADD TABLE ONLY orders")
            remedies = await critical(plan)
            follow(remedies["tables without a subscription"], sides)
            wait_until(lambda: are_same(sides))
            assert await critical(plan) == {}
        await (await upgrade.plan_rollback()).run()
        await (await upgrade.plan_finish()).run()


NOTE = "CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"
TRIGGER = "CREATE TRIGGER {0} {1} ON orders FOR EACH ROW EXECUTE PROCEDURE note()"


async def test_triggers_and_unlogged_tables_that_lose_applied_rows_are_found(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    old, new = sides.publisher, sides.subscriber
    check = "{}: triggers that fire on apply".format
    new.run(*TABLES)
    for database in (old, new):
        database.run(
            NOTE,
            TRIGGER.format("audit", "AFTER INSERT"),
            TRIGGER.format("late", "BEFORE INSERT"),
            "ALTER TABLE orders ENABLE ALWAYS TRIGGER audit",
            "ALTER TABLE orders DISABLE TRIGGER late",
        )

    async def firing(plan: AsyncPlan, node: str, database: Database) -> None:
        # That of the preparation is meant.
        warning = (await plan.check())[check(node)]
        assert (warning.severity, warning.found) == (Severity.WARNING, "audit of public.orders")
        for kind in ("ALWAYS", "REPLICA"):
            database.run(f"ALTER TABLE orders ENABLE {kind} TRIGGER late")
            remedies = await critical(plan)
            # Of the old server, a cutover finds all DDL.
            assert {*remedies} - {"DDL since the preparation"} == {check(node)}
            statement, _, _ = remedies[check(node)].partition(" on the ")
            assert statement == "ALTER TABLE public.orders ENABLE TRIGGER late"
            database.run(statement)
            assert await critical(plan) == {}
        database.run("ALTER TABLE orders DISABLE TRIGGER late")

    async with opened(sides, colour, tmp_path) as upgrade:
        await (await upgrade.plan_prepare(copy_schema=False)).run()
        cutover = await upgrade.plan_cutover(way_back=False)
        await firing(cutover, "new", new)
        new.run("ALTER TABLE orders SET UNLOGGED")
        remedies = await critical(cutover)
        assert [*remedies] == ["new: unlogged tables"]
        follow(remedies["new: unlogged tables"], sides)
        assert await critical(cutover) == {}
        await (await upgrade.plan_cutover()).run()
        rollback = await upgrade.plan_rollback()
        await firing(rollback, "old", old)
        await firing(rollback, "new", new)
        await (await upgrade.plan_rollback()).run()
        await (await upgrade.plan_finish()).run()


@pytest.mark.matrix
async def test_a_subscription_that_is_connected_to_another_server_is_found(
    sides: Pair, colour: Colour, tmp_path: Path, clusters: Clusters, major: int
) -> None:
    old, new = sides.publisher, sides.subscriber
    # Such as a copy of the old server, with its slot and its publication.
    node = clusters.of(18 if major < 18 else 17).primary
    copy = make_database(node)
    connection = "ALTER SUBSCRIPTION shop_1 CONNECTION '{}'".format
    try:
        copy.run(
            *TABLES,
            "CREATE PUBLICATION shop_1 FOR TABLE customers, orders",
            "SELECT pg_create_logical_replication_slot('shop_1', 'pgoutput')",
        )
        async with opened(sides, colour, tmp_path) as upgrade:
            await prepare(upgrade, sides)
            new.run(connection(copy.conninfo))
            active = "SELECT active FROM pg_replication_slots WHERE slot_name = 'shop_1'"
            wait_until(lambda: copy.one(active) is True)
            remedies = await critical(await upgrade.plan_cutover())
            assert "prepare it again" in remedies["new: subscriptions"]
            new.run(connection(old.conninfo))
            wait_until(lambda: copy.one(active) is False)
            await (await upgrade.plan_finish()).run()
    finally:
        copy.run("SELECT pg_drop_replication_slot('shop_1')")
        remove_databases(copy)
