"""Major upgrades by logical replication: there, back, and all that happens between."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from clusters import Cluster, Clusters, soon, wait_until
from colours import Colour, inner
from databases import Pair, both, make_database, remove_databases
from upgrading import LEFT, TABLES, differences, opened, order, orders, prepare, stopped_at

from pgreplkit import LSN, AsyncPlan, Primary
from pgreplkit._async.cluster.upgradeactions import move_origin as async_move_origin
from pgreplkit._sync.cluster.upgradeactions import move_origin as sync_move_origin
from pgreplkit.errors import ControlFailed, PlanFailed, PlanRefused, TableNotFound
from pgreplkit.host.journalfile import write_journal
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.plans.cluster.upgrade import Names, cutover_journal
from pgreplkit.plans.cluster.upgradesteps import (
    DropPublications,
    DropSubscriptions,
    FenceTables,
    MakeBackSlots,
    OpenTables,
    Redirect,
    Subscribe,
    WaitApplied,
)
from pgreplkit.rows import Finding, Severity, StepProgress
from pgreplkit.upgrade import Upgrade, UpgradePhase

pytestmark = pytest.mark.one_colour


FULL = "ALTER TABLE notes REPLICA IDENTITY FULL; INSERT INTO notes VALUES ('a')"


ROWS = "INSERT INTO customers (name) VALUES ('a'); INSERT INTO orders (customer) VALUES (1)"


INSERT = {
    "customers": b"INSERT INTO customers (name) VALUES ('b')",
    "notes": b"INSERT INTO notes VALUES ('b')",
}


ALONE = """SET session_replication_role = replica; DELETE FROM orders; DELETE FROM notes;
    RESET session_replication_role"""


class Awaited:
    """A redirect that is an object with a coroutine function."""

    async def __call__(self, node: str) -> None:
        raise NotImplementedError(node)


@pytest.mark.pg(">=11")  # No server is upgraded to 10.
async def test_an_upgrade_goes_there_and_back_and_there_again_without_a_loss(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    old, new = sides.publisher, sides.subscriber
    async with opened(sides, colour, tmp_path) as upgrade:
        readiness = await upgrade.check()
        assert [f for f in readiness if f.severity == "critical"] == []
        # Foreign keys keep the two tables together.
        assert [[t.name for t in g.tables] for g in await upgrade.groups(2)] == [
            ["customers", "orders"]
        ]
        assert (await upgrade.status()).phase is UpgradePhase.NEW
        if old.node.major >= 16:
            bindir = old.node.installation.bindir
            await (await upgrade.plan_prepare(await upgrade.groups(2), bindir=bindir)).run()
        else:
            # Without pg_dump.
            await prepare(upgrade, sides)
        assert (await upgrade.status()).phase is UpgradePhase.PREPARED
        there = "SELECT count(*) FROM pg_constraint WHERE conrelid = 'orders'::regclass"
        assert new.one(f"{there} AND contype <> 'n'") == 2  # Its key, and its foreign key.
        order(old)
        with pytest.raises(Exception, match="are fenced"):
            order(new)
        assert await differences(upgrade) == []
        moved: list[str] = []
        with psycopg.connect(new.conninfo) as reader:
            reader.execute("SELECT FROM orders")

            def arrive(node: str) -> None:
                # The clients write while a report still reads.
                order(new)
                reader.rollback()
                moved.append(node)

            result = await (await upgrade.plan_cutover(arrive)).run()
        assert moved == ["new"]
        fence = next(done for done in result.steps if isinstance(done.step, FenceTables))
        # Before this, clients could write.
        assert fence.refused_at is not None
        assert fence.began_at < fence.refused_at < fence.ended_at
        assert result.write_outage is not None
        assert (await upgrade.status()).phase is UpgradePhase.CUT_OVER
        with pytest.raises(Exception, match="are fenced"):
            order(old)
        new.run("DELETE FROM orders WHERE total < 10")
        # Sent back again, this row would collide.
        order(new)
        # The new server is the publisher now.
        assert await differences(upgrade) == []
        alone = "SET session_replication_role = replica; UPDATE orders SET total = {} WHERE id = 50"
        old.run(alone.format(0))
        assert [diff.kind for diff in await differences(upgrade)] == ["different"]
        old.run(alone.format(50))
        # The way back does not replicate what is created on the new server.
        late = "CREATE TABLE late (id int PRIMARY KEY)"
        new.run(late, "INSERT INTO late VALUES (1)")
        with pytest.raises(PlanRefused, match=r"new tables: public\.late"):
            await (await upgrade.plan_rollback(moved.append)).run()
        # A table of the old server that the new one no longer has.
        new.run("ALTER TABLE customers RENAME TO people")
        with pytest.raises(PlanRefused, match=r"missing tables: public\.customers"):
            await (await upgrade.plan_rollback(moved.append)).run()
        new.run("ALTER TABLE people RENAME TO customers")
        made_before = await upgrade.plan_rollback(moved.append)
        new.run("ALTER PUBLICATION shop_1_back ADD TABLE late")
        old.run(late)
        # Until then, no rows of it are sent.
        with pytest.raises(
            PlanRefused, match=r"without a subscription: public\.late; .* on the old"
        ):
            await (await upgrade.plan_rollback(moved.append)).run()
        old.run("ALTER SUBSCRIPTION shop_1_back REFRESH PUBLICATION")
        await soon(upgrade.status, lambda status: all(one.is_synced for one in status.back))
        # It would not fence that table.
        with pytest.raises(PlanRefused, match="plan: altered since: shop_1_back"):
            await made_before.run()
        await (await upgrade.plan_rollback(moved.append)).run()
        assert sides.rows("late") == (1, 1)
        # As after any DDL, the forward publications need the table for the next cutover.
        made_before = await upgrade.plan_cutover(moved.append)
        later = "CREATE TABLE later (id int PRIMARY KEY)"
        old.run(later, "ALTER PUBLICATION shop_1 ADD TABLE late, later")
        new.run(later)
        found = r"without a subscription: public\.late, public\.later; .* on the new"
        with pytest.raises(PlanRefused, match=found):
            await (await upgrade.plan_cutover(moved.append)).run()
        new.run("ALTER SUBSCRIPTION shop_1 REFRESH PUBLICATION WITH (copy_data = false)")
        # The rollback has fenced the other one.
        with pytest.raises(PlanRefused, match=r"fence: missing or disabled on public\.later"):
            await (await upgrade.plan_cutover(moved.append)).run()
        with Primary.connect(new.conninfo) as primary:
            primary.fence_writes(["later"], name="shop_fence")
        status = await upgrade.status()
        assert (status.phase, status.back) == (UpgradePhase.PREPARED, ())
        assert orders(sides) == (92, 92)
        with pytest.raises(PlanRefused, match="plan: altered since: shop_1"):
            await made_before.run()
        # The identity column continues behind the numbers of the other side.
        order(old)
        given_up = await upgrade.plan_finish()
        with psycopg.connect(new.conninfo) as blocker:

            def delay(progress: StepProgress) -> None:
                # The last row comes when the checks have passed, and is applied after the fence.
                if progress.elapsed is None and isinstance(progress.step, FenceTables):
                    blocker.execute("LOCK orders")
                    order(old)
                if progress.elapsed is None and isinstance(progress.step, WaitApplied):
                    threading.Timer(0.2, blocker.rollback).start()

            await (await upgrade.plan_cutover(moved.append)).run(delay)
        order(new)
        # The publication of the way back was created by the first cutover.
        published = "SELECT tablename::text FROM pg_publication_tables ORDER BY 1"
        assert new.all(published) == [("customers",), ("late",), ("later",), ("orders",)]
        assert moved == ["new", "old", "new"]
        assert new.one("SELECT count(*) FROM orders") == 95
        # It was planned when no one could miss the way back.
        with pytest.raises(PlanRefused, match="phase: shop is cut over"):
            await given_up.run()
        await (await upgrade.plan_finish()).run()
        assert old.all(LEFT) == [("shop_fence",)]
        assert new.all(LEFT) == []
        assert (await upgrade.status()).phase is UpgradePhase.FINISHED
        with pytest.raises(PlanRefused, match="nothing is left to do"):
            await (await upgrade.plan_finish()).run()


@pytest.mark.pg(">=18")
@pytest.mark.matrix
async def test_a_redirect_that_raises_is_resumed_and_the_error_says_who_can_write(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    async with opened(sides, colour, tmp_path) as upgrade:
        with pytest.raises(PlanRefused, match="phase: shop is new"):
            await (await upgrade.plan_rollback()).run()
        with pytest.raises(TypeError, match="redirect must be a function"):
            await upgrade.plan_cutover("new")  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="redirect must take 1 argument: too"):
            await upgrade.plan_cutover(lambda: None)  # type: ignore[arg-type,misc]
        # An upgrade of another name, which uses the same file.
        journal = cutover_journal(Names(upgrade="other"), {}, way_back=False)
        write_journal(tmp_path / "journal.json", journal)
        assert (await upgrade.status()).phase is UpgradePhase.NEW
        with pytest.raises(ValueError, match=r"'shop': .* has the cutover of other"):
            await upgrade.plan_resume()
        (tmp_path / "journal.json").unlink()
        if colour.name == "sync":
            with pytest.raises(TypeError, match="only the async classes run"):
                await upgrade.plan_cutover(Awaited())
        await prepare(upgrade, sides)
        # DDL since the preparation stops the cutover before anything is fenced.
        sides.publisher.run(
            "ALTER TABLE orders ADD note text",
            "CREATE TABLE late (id int PRIMARY KEY)",
            "CREATE VIEW richest AS SELECT max(total) FROM orders",
            # Changes that it applied on the fenced server would exist nowhere else.
            "CREATE SUBSCRIPTION feed CONNECTION 'port=1' PUBLICATION f WITH (connect = false)",
            "ALTER SUBSCRIPTION feed ENABLE",
        )
        order(sides.publisher)
        found = (
            "(?s)DDL since the preparation: .*table public.orders was changed"
            ".*view public.richest is new"
            ".*apply: .*other subscriptions: feed.*ADD COLUMN note.*new tables: public.late"
        )
        with pytest.raises(PlanRefused, match=found):
            await (await upgrade.plan_cutover()).run()
        order(sides.publisher)
        sides.publisher.run(
            "DROP TABLE late",
            "ALTER SUBSCRIPTION feed DISABLE",
            "ALTER SUBSCRIPTION feed SET (slot_name = NONE)",
            "DROP SUBSCRIPTION feed",
        )
        sides.subscriber.run(
            "ALTER TABLE orders ADD note text",
            # The same in other words: a view that was changed on both servers is taken as the same.
            "CREATE VIEW richest AS SELECT max(orders.total) AS max FROM orders",
        )
        sides.subscriber.run(
            "CREATE FUNCTION audit() RETURNS event_trigger LANGUAGE plpgsql"
            " AS 'BEGIN INSERT INTO orders DEFAULT VALUES; END'",
            "CREATE EVENT TRIGGER audits ON ddl_command_end EXECUTE FUNCTION audit()",
        )
        with pytest.raises(PlanRefused, match="triggers that write: audits on the new server"):
            await (await upgrade.plan_cutover()).run()
        sides.subscriber.run("DROP EVENT TRIGGER audits")
        plan = await upgrade.plan_cutover()
        for wrong, problem in (
            ("print", "be callable"),
            (Awaited(), "be an ordinary function"),
            # Called with an argument, it would stop the plan at the first step.
            (lambda: None, "take 1 argument"),
        ):
            with pytest.raises(TypeError, match=f"on_progress must {problem}"):
                await plan.run(wrong)  # type: ignore[arg-type]
        with pytest.raises(RuntimeError, match="stop") as stopped:
            await plan.run(stopped_at(OpenTables))
        [note] = stopped.value.__notes__
        assert "\n  state: no server accepts writes" in note
        # That step was not started.
        assert "way back: undo()" in note
        await plan.undo()
        assert (await upgrade.status()).phase is UpgradePhase.PREPARED
        assert sides.subscriber.all(LEFT) == [("shop_1",), ("shop_fence",)]

        def broken(node: str) -> None:
            raise RuntimeError(f"no pooler for {node}")

        with pytest.raises(PlanFailed, match="no pooler for new") as failed:
            await (await upgrade.plan_cutover(broken)).run()
        assert failed.value.state == "the new server accepts writes"
        assert isinstance(failed.value.__cause__, ControlFailed)
        assert (await upgrade.status()).phase is UpgradePhase.SWITCHING
        order(sides.subscriber)
    # As another process, with a redirect that hangs.
    ends = threading.Event()
    async with opened(sides, colour, tmp_path, timeout=0.3) as hanging:
        plan = await hanging.plan_resume(lambda _: ends.wait(30))
        with pytest.raises(PlanFailed, match=r"not returned within 0.3 s") as late:
            await plan.resume()
        assert late.value.state == "the new server accepts writes"
        ends.set()
    async with opened(sides, colour, tmp_path) as broken_off:
        # A program may be called as a function, and end with the exit status 0.
        plan = await broken_off.plan_resume(lambda _: sys.exit(0))
        with pytest.raises(PlanFailed, match=r"redirect has called sys.exit\(0\)"):
            await plan.resume()

        def cancelled(node: str) -> None:
            raise asyncio.CancelledError(node)

        # It is not the caller who is cancelled.
        plan = await broken_off.plan_resume(cancelled)
        with pytest.raises(PlanFailed, match="CancelledError: new"):
            await plan.resume()
    # The journal is lost: the objects on the servers show how far the cutover was.
    (tmp_path / "journal.json").unlink()
    async with opened(sides, colour, tmp_path) as again:
        moved: list[str] = []
        await (await again.plan_resume(moved.append)).resume()
        assert moved == ["new"]
        order(sides.subscriber)
        (tmp_path / "journal.json").unlink()
        with pytest.raises(ValueError, match="no operation is incomplete: it is cut over"):
            await again.plan_resume()
        await (await again.plan_rollback()).run()
        assert orders(sides) == (104, 104)


@pytest.mark.matrix
async def test_each_phase_has_the_remedies_of_all_operations(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    old, new = sides.publisher, sides.subscriber
    new.run(*TABLES)
    journal = tmp_path / "journal.json"
    async with opened(sides, colour, tmp_path) as upgrade:
        ends: dict[UpgradePhase, AsyncPlan] = {}

        async def insist_on_phase(phase: UpgradePhase, possible: set[str]) -> dict[str, Finding]:
            """Check each operation; return what was found of the phase."""
            assert (await upgrade.status()).phase is phase
            plans = {
                "prepare": await upgrade.plan_prepare(copy_schema=False),
                "cutover": await upgrade.plan_cutover(),
                "rollback": await upgrade.plan_rollback(),
                "finish": await upgrade.plan_finish(),
            }
            found = {what: (await plan.check())["phase"] for what, plan in plans.items()}
            # Others would advise to remove the upgrade's own objects.
            readiness = await upgrade.check()
            assert (len(readiness) == 1) == (phase is not UpgradePhase.NEW)
            assert readiness["phase"] == found["prepare"]
            passed = {what for what, one in found.items() if one.severity is Severity.OK}
            assert passed == possible
            # Those that were planned in the phases before, and not run yet.
            for planned, end in ends.items():
                finding = (await end.check())["phase"]
                is_possible = "finish" in possible and planned is phase
                assert (finding.severity is Severity.OK) == is_possible
                if "finish" in possible and not is_possible:
                    assert "call plan_finish() again if" in (finding.remedy or "")
            # The oldest of each phase.
            ends.setdefault(phase, plans["finish"])
            return found

        async def interrupted(what: AsyncPlan, step: type[Step]) -> None:
            with pytest.raises(RuntimeError, match="stop"):
                await what.run(stopped_at(step))

        await insist_on_phase(UpgradePhase.NEW, {"prepare"})
        await interrupted(await upgrade.plan_prepare(copy_schema=False), Subscribe)
        for _ in range(2):
            await insist_on_phase(UpgradePhase.COPYING, set())
            with pytest.raises(TableNotFound, match="copies none yet; continue its preparation"):
                await differences(upgrade)
            # The objects show it, too.
            journal.unlink(missing_ok=True)
        await (await upgrade.plan_resume()).undo()
        await insist_on_phase(UpgradePhase.NEW, {"prepare"})
        await (await upgrade.plan_prepare(copy_schema=False)).run()
        await insist_on_phase(UpgradePhase.PREPARED, {"cutover", "finish"})
        await interrupted(await upgrade.plan_cutover(), WaitApplied)
        await insist_on_phase(UpgradePhase.SWITCHING, set())
        await (await upgrade.plan_resume()).undo()
        await interrupted(await upgrade.plan_cutover(), Redirect)
        order(new)
        for _ in range(2):
            await insist_on_phase(UpgradePhase.SWITCHING, set())
            # The old server does not follow yet.
            assert [one.kind for one in await differences(upgrade)] == ["missing"]
            journal.unlink(missing_ok=True)
        await (await upgrade.plan_resume()).resume()
        assert await differences(upgrade) == []
        found = await insist_on_phase(UpgradePhase.CUT_OVER, {"rollback", "finish"})
        assert "there is no way back afterwards" in (found["prepare"].remedy or "")
        await interrupted(await upgrade.plan_rollback(), DropSubscriptions)
        order(old)
        await insist_on_phase(UpgradePhase.SWITCHING, set())
        assert await differences(upgrade) == []
        await (await upgrade.plan_resume()).resume()
        await insist_on_phase(UpgradePhase.PREPARED, {"cutover", "finish"})
        await (await upgrade.plan_cutover()).run()
        await insist_on_phase(UpgradePhase.CUT_OVER, {"rollback", "finish"})
        await interrupted(await upgrade.plan_finish(), DropPublications)
        for lost in ("", "DROP PUBLICATION shop_1"):
            old.run(*[lost] if lost else ())
            await insist_on_phase(UpgradePhase.SWITCHING, set())
            with pytest.raises(TableNotFound, match="at present: an operation was interrupted"):
                await differences(upgrade)
            journal.unlink(missing_ok=True)
        plan = await upgrade.plan_resume()
        assert plan.operation == "end of shop"
        await plan.resume()
        assert (old.all(LEFT), new.all(LEFT)) == ([("shop_fence",)], [])
        await insist_on_phase(UpgradePhase.FINISHED, set())
        with pytest.raises(TableNotFound, match="'shop' has ended: no server follows"):
            await differences(upgrade)


@pytest.mark.pg(">=11")
async def test_two_upgrades_of_the_same_two_servers_do_not_touch_each_other(
    cluster: Cluster, sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    others = Pair(make_database(cluster.primary), make_database(cluster.primary))
    others.publisher.run(*TABLES, "INSERT INTO customers (name) VALUES ('a'), ('b')")
    for pair in (sides, others):
        pair.subscriber.run(*TABLES)
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    # The longest name, and one that begins with it as those of its objects do.
    long = "x" * 38
    async with (
        opened(sides, colour, tmp_path / "one", name=long) as one,
        opened(others, colour, tmp_path / "two", name=f"{long}_1") as two,
    ):
        pairs = ((one, sides), (two, others))
        for upgrade, _ in pairs:
            await (await upgrade.plan_prepare(copy_schema=False)).run()
        first = await one.plan_cutover()
        with pytest.raises(RuntimeError, match="stop"):
            await first.run(stopped_at(OpenTables))
        # Meanwhile, the other one goes there and back.
        for _ in range(2):
            order(others.publisher)
            await (await two.plan_cutover()).run()
            order(others.subscriber)
            await (await two.plan_rollback()).run()
        await first.resume()
        order(sides.subscriber)
        await (await two.plan_cutover()).run()
        order(others.subscriber)
        for upgrade, _ in pairs:
            assert (await upgrade.status()).lost_slots == ()
            assert await differences(upgrade) == []
            found = {
                one.check: one.found for one in (await (await upgrade.plan_rollback()).check())
            }
            assert found["other subscriptions"] == "none"
        await (await one.plan_finish()).run()
        assert (await one.status()).phase is UpgradePhase.FINISHED
        assert (await two.status()).phase is UpgradePhase.CUT_OVER
        await (await two.plan_rollback()).run()
        assert (orders(sides)[1], orders(others)) == (101, (5, 5))
    remove_databases(others.subscriber, others.publisher)


@pytest.mark.pg(">=11")
async def test_workers_and_slots_of_another_database_with_the_same_names_are_left_alone(
    cluster: Cluster, sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    others = Pair(make_database(cluster.primary), make_database(cluster.primary))
    for database in (others.publisher, others.subscriber):
        database.run("CREATE TABLE other (id int PRIMARY KEY)")
    others.publisher.run(
        "CREATE PUBLICATION other FOR TABLE other",
        "SELECT pg_create_logical_replication_slot('other', 'pgoutput')",
    )
    async with opened(sides, colour, tmp_path) as upgrade:
        await prepare(upgrade, sides)
        # Created since, by someone else.
        others.subscriber.run(
            f"CREATE SUBSCRIPTION shop_1 CONNECTION '{others.publisher.conninfo}'"
            " PUBLICATION other WITH (create_slot = false, slot_name = other)"
        )
        taken = "SELECT pg_create_logical_replication_slot('shop_1_back', 'pgoutput')"
        others.publisher.run(taken)
        worker = """SELECT pid FROM pg_stat_subscription JOIN pg_subscription s ON s.oid = subid
            WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())
                AND relid IS NULL"""
        wait_until(lambda: others.subscriber.one(worker) is not None)
        pid = others.subscriber.one(worker)
        cutover = await upgrade.plan_cutover()
        with pytest.raises(PlanRefused, match=r"way back: shop_1_back \(of database "):
            await cutover.run()
        with pytest.raises(PlanFailed, match=r"create the slots shop_1_back.* already exists"):
            await cutover.run(force=True)
        await cutover.undo()
        slots = "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'shop_1_back'"
        assert others.publisher.one(slots) == 1
        others.publisher.run("SELECT pg_drop_replication_slot('shop_1_back')")
        await (await upgrade.plan_cutover()).run()
        order(sides.subscriber)
        await (await upgrade.plan_rollback()).run()
        assert others.subscriber.one(worker) == pid
        others.publisher.run("INSERT INTO other VALUES (1)")
        wait_until(lambda: others.rows("other") == (1, 1))
    assert orders(sides) == (101, 101)
    remove_databases(others.subscriber, others.publisher)


@pytest.mark.pg(">=11")
async def test_a_step_that_someone_has_taken_back_stops_a_plan_before_the_opening(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    async with opened(sides, colour, tmp_path) as upgrade, both(sides, colour) as (_, new):
        await prepare(upgrade, sides)
        with pytest.raises(RuntimeError, match="stop"):
            await (await upgrade.plan_cutover()).run(stopped_at(OpenTables))
        subscription, slot = await new.subscription("shop_1"), await new.slot("shop_1_back")
        # The change of the new server would come back to it, before 16 at least.
        await subscription.enable()
        interrupted = await upgrade.plan_resume()
        with pytest.raises(PlanFailed, match="new server has enabled shop_1, though") as failed:
            await interrupted.resume()
        assert failed.value.done == tuple(map(str, interrupted.steps[: len(failed.value.done)]))
        assert failed.value.done[-1].startswith("new: create the slots shop_1_back")
        assert failed.value.state == "no server accepts writes, or the new one already"
        assert failed.value.way_on.startswith("undo() the plan; or pass another path as journal=")
        await subscription.disable()
        await slot.drop()
        with pytest.raises(PlanFailed, match="new server has no slot shop_1_back, though"):
            await interrupted.resume()
        (tmp_path / "journal.json").unlink()
        await (await upgrade.plan_resume()).resume()
        order(sides.subscriber)
        await (await upgrade.plan_rollback()).run()
    assert orders(sides) == (101, 101)


@pytest.mark.pg(">=11")  # Before, a slot cannot be moved.
async def test_a_commit_that_starts_exactly_at_the_position_of_a_slot_comes_once(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    old, new = sides.publisher, sides.subscriber
    name = "INSERT INTO customers (name) VALUES ('{}')"
    move_origin = sync_move_origin if colour.name == "sync" else async_move_origin
    async with opened(sides, colour, tmp_path) as upgrade, both(sides, colour) as (here, there):
        await prepare(upgrade, sides)
        subscription = await there.subscription("shop_1")
        await subscription.disable()
        old.run(name.format("skipped"))
        with psycopg.connect(old.conninfo) as writer:
            writer.execute(name.format("open").encode())
            await here.write_marker()
            position = LSN(str(old.one("SELECT pg_current_wal_insert_lsn()")))
            # Its record starts there.
            writer.commit()
        old.run(name.format("later"))
        # The walsender of the subscription may just be ending.
        in_use = "SELECT active FROM pg_replication_slots WHERE slot_name = 'shop_1'"
        wait_until(lambda: old.one(in_use) is False)
        # As a rollback does it, when it lets the new server follow again.
        reached = await (await here.slot("shop_1")).advance(position)
        assert reached == position
        moving = move_origin(inner(there), inner(subscription), reached)  # type: ignore[arg-type]
        if moving is not None:
            await moving
        await subscription.enable()
        await subscription.wait_for_catchup(await here.write_marker(), publisher=inner(here))  # type: ignore[arg-type]
    assert new.all("SELECT name FROM customers ORDER BY id") == [
        (one,) for one in ("a", "b", "open", "later")
    ]


@pytest.mark.pg(">=16")
@pytest.mark.matrix
async def test_a_table_that_is_created_after_the_checks_stops_a_move_before_a_row_is_lost(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    old, new = sides.publisher, sides.subscriber
    for database in (old, new):
        database.run(
            "CREATE TABLE events (id int PRIMARY KEY) PARTITION BY RANGE (id)",
            "CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (10)",
        )
    part = "CREATE TABLE events_2 PARTITION OF events FOR VALUES FROM (10) TO (20)"

    def create(progress: StepProgress) -> None:
        if progress.elapsed is None and isinstance(progress.step, FenceTables):
            database = old if progress.step.node == "old" else new
            database.run(part, "INSERT INTO events VALUES (15)", "CREATE TABLE empty (id int)")

    async with opened(sides, colour, tmp_path) as upgrade:
        await prepare(upgrade, sides)
        # The checks report it: a user of force knows that its rows stay behind.
        old.run("CREATE TABLE scratch (id int)", "INSERT INTO scratch VALUES (1)")
        cutover = await upgrade.plan_cutover()
        late = r"public\.empty, public\.events_2: created after the checks"
        with pytest.raises(PlanFailed, match=late):
            await cutover.run(create, force=True)
        await cutover.undo()
        old.run("DROP TABLE empty, events_2", "INSERT INTO scratch VALUES (2)")
        # A rebuilt journal does not know what was left out.
        with pytest.raises(RuntimeError, match="stop"):
            await (await upgrade.plan_cutover()).run(stopped_at(WaitApplied), force=True)
        (tmp_path / "journal.json").unlink()
        rebuilt = await upgrade.plan_resume()
        with pytest.raises(PlanFailed, match=r"public\.scratch: .*undo\(\).*force=True"):
            await rebuilt.resume()
        await rebuilt.undo()
        await (await upgrade.plan_cutover()).run(force=True)
        rollback = await upgrade.plan_rollback()
        # The other one is empty, as many may be in a rollback.
        with pytest.raises(PlanFailed, match=r" server: public\.events_2: created"):
            await rollback.run(create)
        await rollback.undo()
        order(new)


@pytest.mark.pg(">=18")
@pytest.mark.matrix
async def test_undo_continues_without_a_subscription_that_someone_has_dropped(
    sides: Pair, colour: Colour, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    old, new = sides.publisher, sides.subscriber
    for database in (old, new):
        database.run("CREATE TABLE alone (id int PRIMARY KEY)")
    async with opened(sides, colour, tmp_path) as upgrade:
        new.run(*TABLES)
        plan = await upgrade.plan_prepare(await upgrade.groups(2), copy_schema=False)
        await plan.run()
        with pytest.raises(RuntimeError, match="stop"):
            await (await upgrade.plan_cutover()).run(stopped_at(MakeBackSlots))
        new.run(
            "ALTER SUBSCRIPTION shop_1 SET (slot_name = NONE)",
            "DROP SUBSCRIPTION shop_1",
        )
        await (await upgrade.plan_resume()).undo()
        order(old)
        assert "the new server has no subscription 'shop_1' any longer" in caplog.text
        status = await upgrade.status()
        assert [(one.state.subname, one.state.subenabled) for one in status.forward] == [
            ("shop_2", True)
        ]
        with pytest.raises(PlanRefused, match=r"missing subscriptions: shop_1"):
            await (await upgrade.plan_cutover()).run()
        await (await upgrade.plan_finish()).run()
        assert old.all(LEFT) == []


@pytest.mark.pg(">=18")
async def test_the_actor_of_a_plan_does_not_show_passwords(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    secret = {"old": "password=topsecret"}
    async with opened(sides, colour, tmp_path, replication=secret) as upgrade:
        plan = inner(await upgrade.plan_finish())
        assert "topsecret" not in repr(plan._actor)  # type: ignore[attr-defined]


@pytest.mark.pg(">=18")
@pytest.mark.matrix
def test_truncate_is_found_where_it_is_not_replicated(
    clusters: Clusters, major: int, tmp_path: Path
) -> None:
    settings = {"wal_level": "logical"}
    nodes = [clusters.lab.primary(version=each, settings=settings) for each in ("10", major)]
    with Primary.connect(nodes[0].conninfo) as old, Primary.connect(nodes[1].conninfo) as new:
        for statement in (*TABLES, "CREATE TABLE notes (v text)", FULL, ROWS):
            old.connection.execute(statement.encode())
        upgrade = Upgrade(old, new, name="shop", journal=tmp_path / "journal.json")
        upgrade.plan_prepare(bindir=nodes[1].installation.bindir).run()
        # It changes the same row of the catalog, and no rows of the table.
        old.connection.execute("VACUUM FULL customers")
        old.connection.execute("TRUNCATE orders, notes")
        found = r"rows after TRUNCATE: public.notes, public.orders;"
        with pytest.raises(PlanRefused, match=found):
            upgrade.plan_cutover().run()
        new.connection.execute(ALONE)
        # Truncated before the checks, and not empty: without a key, its rows are counted when no
        # one can write.
        for change in (INSERT["notes"], b"TRUNCATE notes", INSERT["notes"]):
            old.connection.execute(change)
        with pytest.raises(PlanFailed, match=r"TRUNCATE of public.notes was not repl"):
            upgrade.plan_cutover().run()
        upgrade.plan_resume().undo()
        old.connection.execute(b"DELETE FROM notes")
        new.connection.execute(ALONE)

        def truncating(server: Primary, table: str) -> Callable[[StepProgress], None]:
            """Return a function that truncates a table after the checks, and before the fence."""

            def truncate(progress: StepProgress) -> None:
                if isinstance(progress.step, FenceTables) and progress.elapsed is None:
                    server.connection.execute(f"TRUNCATE {table} CASCADE".encode())

            return truncate

        # Before the checks it has another file than its first one, and the same rows.
        old.connection.execute("VACUUM FULL customers")
        for table in ("customers", "notes"):
            old.connection.execute(INSERT[table])
            plan = upgrade.plan_cutover()
            with pytest.raises(PlanFailed, match=rf"TRUNCATE of public.{table} was not repl"):
                plan.run(truncating(old, table))
            # As another process.
            with pytest.raises(PlanFailed, match=rf"TRUNCATE of public.{table} was not repl"):
                upgrade.plan_resume().resume()
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                old.connection.execute(INSERT[table])
            upgrade.plan_resume().undo()
            new.connection.execute(ALONE.replace("orders", table))
            old.connection.execute(INSERT[table])
        upgrade.plan_cutover().run()
        new.connection.execute("TRUNCATE customers CASCADE")
        new.connection.execute("INSERT INTO customers (name) VALUES ('later')")
        with pytest.raises(PlanRefused, match=r"rows after TRUNCATE: public.customers;"):
            upgrade.plan_rollback().run()
        remove = b"SET session_replication_role = replica; DELETE FROM customers"
        old.connection.execute(remove + b" WHERE name <> 'later'")
        with pytest.raises(PlanFailed, match=r"TRUNCATE of public.customers was not replicated"):
            upgrade.plan_rollback().run(truncating(new, "customers"))
        upgrade.plan_resume().undo()
        old.connection.execute(remove)
        new.connection.execute("INSERT INTO customers (name) VALUES ('later')")
        upgrade.plan_rollback().run()
        assert old.connection.execute("SELECT name FROM customers").fetchall() == [("later",)]
    for node in nodes:
        clusters.lab.remove(node)


@pytest.mark.pg(">=18")
@pytest.mark.matrix
def test_a_step_that_is_done_survives_a_crash_if_commits_are_asynchronous(
    clusters: Clusters, major: int, tmp_path: Path
) -> None:
    settings = {"wal_level": "logical", "synchronous_commit": "off", "wal_writer_delay": "10s"}
    old, new = (clusters.lab.primary(version=major, settings=settings) for _ in range(2))
    with Primary.connect(old.conninfo) as one, Primary.connect(new.conninfo) as two:
        for statement in TABLES:
            one.connection.execute(statement.encode())
        upgrade = Upgrade(one, two, name="shop", journal=tmp_path / "journal.json")
        upgrade.plan_prepare(bindir=new.installation.bindir).run()

        def crash(node: str) -> None:
            new.kill()
            new.start()
            with new.connect() as again:
                again.connection.execute("INSERT INTO customers (name) VALUES ('c')")

        with pytest.raises(PlanFailed) as failed:
            upgrade.plan_cutover(crash).run()
        # The clients have moved, and could write.
        assert "move the clients here" in failed.value.done[-1]
    with Primary.connect(old.conninfo) as one, Primary.connect(new.conninfo) as two:
        upgrade = Upgrade(one, two, name="shop", journal=tmp_path / "journal.json")
        upgrade.plan_resume().resume()
        assert upgrade.status().phase is UpgradePhase.CUT_OVER
    for node in (old, new):
        clusters.lab.remove(node)
