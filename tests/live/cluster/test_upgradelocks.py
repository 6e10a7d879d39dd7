"""Only one process at a time runs plans of an upgrade."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest
from clusters import wait_until
from colours import Colour, inner
from databases import Pair
from upgrading import opened, order, prepare, stopped_at

from pgreplkit import Primary
from pgreplkit.errors import HostFileError, PlanFailed, ServerError, UpgradeActive
from pgreplkit.plans.cluster.upgradesteps import OpenTables
from pgreplkit.upgrade import Upgrade, UpgradePhase

pytestmark = pytest.mark.one_colour


HOLDER = """SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = 1885697651
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""


END_LOCKS = """SELECT pg_terminate_backend(pid) FROM pg_locks
    WHERE locktype = 'advisory' AND classid = 1885697651"""


@pytest.mark.pg(">=11")
@pytest.mark.matrix
async def test_two_hosts_do_not_run_plans_of_one_upgrade_at_a_time(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    old, new = sides.publisher, sides.subscriber
    refused: list[UpgradeActive] = []

    def meanwhile(node: str) -> None:
        with Primary.connect(old.conninfo) as one, Primary.connect(new.conninfo) as two:
            # Another host has no journal.
            plan = Upgrade(one, two, name="shop").plan_resume()
            with pytest.raises(UpgradeActive, match="of the old server runs a plan") as caught:
                plan.resume()
            refused.append(caught.value)

    async with opened(sides, colour, tmp_path) as upgrade:
        await prepare(upgrade, sides)
        waiting = await upgrade.plan_cutover()
        with pytest.raises(RuntimeError, match="stop"):
            await waiting.run(stopped_at(OpenTables))
        elsewhere = tmp_path / "other"
        async with opened(sides, colour, elsewhere) as another:
            plan = await another.plan_resume(meanwhile)
            with pytest.raises(HostFileError, match="write the journal"):
                await plan.resume()
            assert refused == []
            elsewhere.mkdir()
            await plan.resume()
            [holder] = refused
            assert isinstance(holder.pid, int)
            where = (holder.node, holder.application_name, holder.client_addr)
            assert where == ("old", "pgreplkit", "127.0.0.1")
            order(new)
            # This process knows an earlier state: undone, both servers would accept writes.
            with pytest.raises(ServerError, match="the new server accepts writes: another process"):
                await waiting.undo()
            with pytest.raises(Exception, match="are fenced"):
                order(old)
            await (await another.plan_rollback()).run()
            # And continued, too.
            with pytest.raises(ServerError, match="the old server accepts writes: another process"):
                await waiting.resume()
            with pytest.raises(Exception, match="are fenced"):
                order(new)
            # A lock whose session was lost stops the plan before the next step.
            lost = await another.plan_cutover(lambda _: old.run(END_LOCKS))
            with pytest.raises(PlanFailed, match=r"server closed|terminat"):
                await lost.run()
            await lost.resume()
            assert (await another.status()).phase is UpgradePhase.CUT_OVER
            # A session frees its lock some milliseconds after its client has closed it.
            held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
            wait_until(lambda: old.one(held) == 0)


@pytest.mark.pg(">=11")
@pytest.mark.matrix
async def test_a_refused_second_call_on_one_plan_leaves_the_locks_of_the_first(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    def holders() -> list[object]:
        return [side.one(HOLDER) for side in (sides.publisher, sides.subscriber)]

    async def again(node: str) -> None:
        before = holders()
        with pytest.raises(UpgradeActive, match="of the old server runs a plan"):
            await plan.resume()
        assert holders() == before

    def at_once(node: str) -> None:
        # Calls of the sync colour never suspend.
        with suppress(StopIteration):
            again(node).send(None)

    async with opened(sides, colour, tmp_path) as upgrade:
        await prepare(upgrade, sides)
        plan = await upgrade.plan_cutover(again if colour.name == "async" else at_once)
        await plan.run()
        assert (await upgrade.status()).phase is UpgradePhase.CUT_OVER


@pytest.mark.pg(">=11")
@pytest.mark.matrix
async def test_a_redirect_that_closes_a_connection_fails_the_plan(
    sides: Pair, colour: Colour, tmp_path: Path
) -> None:
    async with opened(sides, colour, tmp_path) as upgrade:
        await prepare(upgrade, sides)
        new = inner(upgrade)._new  # type: ignore[attr-defined]
        # As when the server ends it.
        plan = await upgrade.plan_cutover(lambda _: new.connection.pgconn.finish())
        with pytest.raises(PlanFailed, match=r"subscribe to .*connection is closed") as caught:
            await plan.run()
        assert caught.value.state == "the new server accepts writes"
    async with opened(sides, colour, tmp_path) as again:
        await (await again.plan_resume(lambda _: None)).resume()
        assert (await again.status()).phase is UpgradePhase.CUT_OVER


@pytest.mark.pg(">=18")
@pytest.mark.matrix
async def test_a_session_with_a_lock_that_is_stopped_stops_the_plan(
    sides: Pair, colour: Colour, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped: list[int] = []

    def stop(node: str) -> None:
        # The sessions before this step do answer, on a busy machine after some seconds.
        for room in ("_async", "_sync"):
            monkeypatch.setattr(f"pgreplkit.{room}.cluster.upgradelock._ANSWERS_WITHIN", 1.0)
        # It serves the step after this one.
        pid = sides.subscriber.one(HOLDER) if node == "new" else None
        assert isinstance(pid, int)
        stopped.append(pid)
        os.kill(pid, signal.SIGSTOP)

    async with opened(sides, colour, tmp_path) as upgrade:
        await prepare(upgrade, sides)
        plan = await upgrade.plan_cutover(stop, way_back=False)
        try:
            with pytest.raises(PlanFailed, match=r"remove the write fence: .* not answer within 1"):
                await plan.run()
            monkeypatch.undo()
            with pytest.raises(UpgradeActive, match=f"{stopped[0]}"):
                await (await upgrade.plan_resume()).resume()
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
        wait_until(lambda: sides.subscriber.all(HOLDER) == [])
        await (await upgrade.plan_resume()).resume()
        assert (await upgrade.status()).phase is UpgradePhase.CUT_OVER
