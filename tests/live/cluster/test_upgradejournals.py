"""Journals of an upgrade that are lost, stale, or written by others."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from clusters import wait_until
from colours import Colour
from databases import Database, Pair
from upgrading import LEFT, TABLES, opened, order, orders, prepare, refuse_stale, stopped_at

from pgreplkit import AsyncPlan
from pgreplkit.errors import HostFileError, PlanFailed
from pgreplkit.host.journalfile import read_journal, write_journal
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.plans.cluster.upgrade import Names, cutover_journal
from pgreplkit.plans.cluster.upgradesteps import (
    ArmForward,
    DropPublications,
    DropSubscriptions,
    FenceTables,
    MakeBackSlots,
    PublishTables,
    Redirect,
    RemoveFence,
    SetSequences,
    SubscribeBack,
    WaitApplied,
    WaitCopied,
)
from pgreplkit.rows import StepProgress
from pgreplkit.upgrade import UpgradePhase

pytestmark = pytest.mark.one_colour
UNFINISHED = "SELECT count(*) FROM pg_subscription_rel WHERE srsubstate <> 'r'"
EMPTIED = "SET session_replication_role = replica; DELETE FROM customers; DELETE FROM orders"


@pytest.mark.pg(">=11")
async def test_a_cutover_whose_journal_folder_is_lost_continues_with_another_journal(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    folder, other = tmp_path / "lost", tmp_path / "other"
    folder.mkdir()

    def lose(progress: StepProgress) -> None:
        if isinstance(progress.step, WaitApplied) and folder.exists():
            shutil.rmtree(folder)

    async with opened(sides, colour, folder) as upgrade:
        await prepare(upgrade, sides)
        with pytest.raises(PlanFailed, match="could not write the journal") as failed:
            await (await upgrade.plan_cutover()).run(lose)
        assert "; create its directory" in str(failed.value)
        assert "pass another path as journal=: plan_resume() rebuilds" in failed.value.way_on
        with pytest.raises(Exception, match="are fenced"):
            order(sides.publisher)
    with pytest.raises(HostFileError, match=r"create its directory, .* or use another path"):
        async with opened(sides, colour, folder) as again:
            await (await again.plan_resume()).resume()
    other.mkdir()
    # A file that is not a journal.
    (other / "journal.json").write_text("{}")
    async with opened(sides, colour, other) as rescued:
        with pytest.raises(ValueError, match=r"where no file exists: plan_resume.. rebuilds"):
            await rescued.plan_resume()
        (other / "journal.json").unlink()
        fenced = datetime.now(UTC)
        result = await (await rescued.plan_resume()).resume()
        # Since the fence of the plan that was interrupted.
        assert result.write_outage is not None
        moved = next(done for done in result.steps if isinstance(done.step, Redirect))
        assert moved.ended_at - result.write_outage < fenced
        assert (await rescued.status()).phase is UpgradePhase.CUT_OVER
    order(sides.subscriber)


def fenced_with_a_late_row(
    source: Database, blocker: psycopg.Connection[tuple[object, ...]]
) -> Callable[[StepProgress], None]:
    """A function that stops a plan after its fence, with a row that is not applied."""

    def stop(progress: StepProgress) -> None:
        if progress.elapsed is None and isinstance(progress.step, FenceTables):
            # The apply worker waits for it, and readers do not.
            blocker.execute("LOCK orders IN SHARE MODE")
            order(source)
        stopped_at(WaitApplied)(progress)

    return stop


@pytest.mark.pg(">=11")
async def test_a_journal_of_an_earlier_run_opens_no_server_before_all_is_applied(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    old, new = sides.publisher, sides.subscriber
    (copy := tmp_path / "copy").mkdir()
    async with opened(sides, colour, tmp_path) as upgrade, opened(sides, colour, copy) as stale:
        await prepare(upgrade, sides)

        async def insist_on_refusal(stop: type[Step], *, is_cutover: bool) -> None:
            """Move there; a journal of an attempt that stopped at a step is refused on the way."""
            moves: list[Callable[[], Awaitable[AsyncPlan]]]
            moves, ends = [upgrade.plan_cutover, upgrade.plan_rollback], [old, new]
            if not is_cutover:
                moves.reverse()
                ends.reverse()
            (there, back), (source, target) = moves, ends
            with pytest.raises(RuntimeError, match="stop"):
                await (await there()).run(stopped_at(stop))
            shutil.copy(tmp_path / "journal.json", copy)
            interrupted = await upgrade.plan_resume()
            if stop is RemoveFence:
                await interrupted.resume()
                order(target)
                await (await back()).run()
            else:
                await interrupted.undo()
            with psycopg.connect(target.conninfo) as blocker:
                with pytest.raises(RuntimeError, match="stop"):
                    await (await there()).run(fenced_with_a_late_row(source, blocker))
                # Later than that step, the other server has been fenced again, too.
                is_old = is_cutover or stop is RemoveFence
                await refuse_stale(stale, "old" if is_old else "new")
                with pytest.raises(Exception, match="are fenced"):
                    target.run("DELETE FROM customers")
            await (await upgrade.plan_resume()).resume()

        for cutover, rollback in (
            (SetSequences, SetSequences),
            (MakeBackSlots, ArmForward),
            (RemoveFence, RemoveFence),
        ):
            await insist_on_refusal(cutover, is_cutover=True)
            await insist_on_refusal(rollback, is_cutover=False)
    # One in each run, and one before each way back.
    assert orders(sides) == (108, 108)


async def test_a_journal_of_an_earlier_preparation_drops_nothing_of_the_next_one(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    old, new = sides.publisher, sides.subscriber
    new.run(*TABLES)
    async with opened(sides, colour, tmp_path) as upgrade:

        async def interrupt(plan: AsyncPlan, stop: type[Step]) -> Path:
            """Stop a plan at a step, then undo a preparation, or end the upgrade; keep the journal.

            Return the folder of the journal at that step.
            """
            with pytest.raises(RuntimeError, match="stop"):
                await plan.run(stopped_at(stop))
            (copy := tmp_path / f"{stop.__name__}").mkdir()
            shutil.copy(tmp_path / "journal.json", copy)
            # Within one server, a worker that creates its slot waits for the transaction that drops
            # the subscription, which waits for the slot.
            wait_until(lambda: new.one(UNFINISHED) == 0)
            interrupted = await upgrade.plan_resume()
            is_end = interrupted.operation == "end of shop"
            await (interrupted.resume() if is_end else interrupted.undo())
            new.run(EMPTIED)
            return copy

        async def prepare_again(*stale: Path) -> None:
            """Prepare the upgrade; each of the journals in the folders is refused then."""
            await (await upgrade.plan_prepare(copy_schema=False)).run()
            for folder in stale:
                async with opened(sides, colour, folder) as other:
                    await refuse_stale(other, "new")
            assert (await upgrade.status()).phase is UpgradePhase.PREPARED

        folders = [
            await interrupt(await upgrade.plan_prepare(copy_schema=False), stop)
            for stop in (FenceTables, PublishTables, WaitCopied)
        ]
        await prepare_again(*folders)
        for end in (DropSubscriptions, DropPublications):
            await prepare_again(await interrupt(await upgrade.plan_finish(), end))
        order(old)
        wait_until(lambda: orders(sides) == (101, 101))


@pytest.mark.pg(">=11")
async def test_an_end_that_was_not_begun_does_not_end_a_cutover_since(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    (copy := tmp_path / "copy").mkdir()
    async with opened(sides, colour, tmp_path) as upgrade, opened(sides, colour, copy) as stale:
        await prepare(upgrade, sides)
        with pytest.raises(RuntimeError, match="stop"):
            await (await upgrade.plan_finish()).run(stopped_at(DropSubscriptions))
        (tmp_path / "journal.json").rename(copy / "journal.json")
        await (await upgrade.plan_cutover()).run()
        await refuse_stale(stale, "old")
        await (await upgrade.plan_rollback()).run()
        await refuse_stale(stale, "new")
        assert (await upgrade.status()).phase is UpgradePhase.PREPARED


@pytest.mark.pg(">=11")
async def test_undo_of_a_cutover_does_not_open_the_old_server_during_a_later_rollback(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    (copy := tmp_path / "copy").mkdir()
    old, new = sides.publisher, sides.subscriber
    async with opened(sides, colour, tmp_path) as upgrade, opened(sides, colour, copy) as stale:
        await prepare(upgrade, sides)
        with pytest.raises(RuntimeError, match="stop"):
            await (await upgrade.plan_cutover()).run(stopped_at(SetSequences))
        shutil.copy(tmp_path / "journal.json", copy)
        await (await upgrade.plan_resume()).resume()
        with psycopg.connect(old.conninfo) as blocker:
            with pytest.raises(RuntimeError, match="stop"):
                await (await upgrade.plan_rollback()).run(fenced_with_a_late_row(new, blocker))
            await refuse_stale(stale, "new")
            with pytest.raises(Exception, match="are fenced"):
                old.run("DELETE FROM customers")
        # A lost journal is rebuilt with the identities of the fences.
        (tmp_path / "journal.json").unlink()
        await (await upgrade.plan_resume()).resume()
    assert orders(sides) == (101, 101)


@pytest.mark.pg(">=11")
async def test_a_second_cutover_without_a_way_back_stays_one_when_its_journal_is_lost(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    async with opened(sides, colour, tmp_path) as upgrade:
        await prepare(upgrade, sides)
        await (await upgrade.plan_cutover()).run()
        await (await upgrade.plan_rollback()).run()
        assert "shop_1_back" not in str(sides.subscriber.all(LEFT))
        with pytest.raises(RuntimeError, match="stop"):
            await (await upgrade.plan_cutover(way_back=False)).run(stopped_at(SetSequences))
        (tmp_path / "journal.json").unlink()
        plan = await upgrade.plan_resume()
        await plan.resume()
        assert (await upgrade.status()).back == ()
    assert not {MakeBackSlots, SubscribeBack} & {type(step) for step in plan.steps}
    assert "shop_1_back" not in str(sides.subscriber.all(LEFT))


async def test_a_journal_that_another_upgrade_overwrites_stops_a_plan_that_says_its_state(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    file, moved = tmp_path / "journal.json", tmp_path / "moved.json"
    sides.subscriber.run(*TABLES)

    def overwrite(progress: StepProgress) -> None:
        if progress.elapsed is None and isinstance(progress.step, WaitApplied):
            write_journal(file, cutover_journal(Names(upgrade="other"), {}, way_back=False))

    async with opened(sides, colour, tmp_path) as upgrade:
        await (await upgrade.plan_prepare(copy_schema=False)).run()
        plan = await upgrade.plan_cutover(way_back=False)
        with pytest.raises(HostFileError, match="was written by another process") as caught:
            await plan.run(overwrite)
        text = str(caught.value)
        assert "; done here before: old: fence 2 tables" in text
        assert "; state then: no server accepts writes: both are fenced; wait" in text
        assert "move it to another path, and call resume() or undo() of this plan" in text
        with pytest.raises(HostFileError, match="state then: no server"):
            await plan.resume()
        file.rename(moved)
        await plan.resume()
        assert (await upgrade.status()).phase is UpgradePhase.CUT_OVER
    assert read_journal(moved).operation == "cutover of other"


async def test_a_journal_that_another_operation_begins_during_the_checks_is_kept(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    old, new = sides.publisher, sides.subscriber
    new.run(*TABLES)
    file, other = tmp_path / "journal.json", Names(upgrade="other")
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'customers'::regclass"
    async with opened(sides, colour, tmp_path) as upgrade:
        plan = await upgrade.plan_prepare(copy_schema=False)
        with psycopg.connect(new.conninfo) as blocker:
            # The checks look for rows.
            blocker.execute("LOCK customers")

            def begin() -> None:
                wait_until(lambda: bool(new.one(waiting)))
                write_journal(file, cutover_journal(other, {}, way_back=False))
                blocker.rollback()

            thread = threading.Thread(target=begin)
            thread.start()
            with pytest.raises(HostFileError, match="was written by another process"):
                await plan.run()
            thread.join()
    assert read_journal(file).operation == "cutover of other"
    assert (old.all(LEFT), new.all(LEFT)) == ([], [])
