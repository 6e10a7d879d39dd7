"""Faults during calls: a clear error, nothing left behind, and the next call works."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator

import psycopg
import pytest
from clusters import Cluster, Clusters, one, run, streaming, wait_until
from colours import Colour, close, execute

import pgreplkit
from pgreplkit import LSN, AsyncPrimary, AsyncStandby, SyncStandbyNames
from pgreplkit.lab import Node

pytestmark = pytest.mark.one_colour

Call = Callable[[], Awaitable[object]]


@pytest.fixture(scope="module")
def pair(clusters: Clusters, major: int) -> Iterator[Cluster]:
    """A cluster of its own, because these tests end its sessions and its servers."""
    primary = clusters.lab.primary(version=major, settings={"wal_level": "logical"})
    standby = clusters.lab.standby(primary, slot="faulty")
    yield Cluster(primary, standby)
    clusters.lab.remove(standby)
    clusters.lab.remove(primary)


def of_primary(primary: AsyncPrimary) -> dict[str, Call]:
    calls: dict[str, Call] = {
        "slots": primary.slots,
        "slot": lambda: primary.slot("faulty"),
        "create_physical_slot": lambda: primary.create_physical_slot("fault"),
        "create_logical_slot": lambda: primary.create_logical_slot("fault"),
        "wal_retention": primary.wal_retention,
        "check_readiness": primary.check_readiness,
        "check_access": lambda: primary.check_access("postgres", address=None),
        "replication_roles": primary.replication_roles,
        "create_replication_role": lambda: primary.create_replication_role("fault"),
        "sync_standby_names": primary.sync_standby_names,
        "set_sync_standby_names": lambda: primary.set_sync_standby_names(SyncStandbyNames()),
    }
    return calls


def of_standby(standby: AsyncStandby) -> dict[str, Call]:
    return {
        "pause": standby.pause,
        "resume": standby.resume,
        "replay_lag": standby.replay_lag,
        "conflicts": standby.conflicts,
        "cascade": standby.replicas,
        "apply_delay": standby.apply_delay,
        "wait_for_replay": lambda: standby.wait_for_replay(LSN.MAX, timeout=5),
        "check_readiness": standby.check_readiness,
    }


def end_sessions(node: Node) -> None:
    run(
        node,
        """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE application_name = 'victim'""",
    )


async def test_every_call_reports_a_lost_connection(pair: Cluster, colour: Colour) -> None:
    options = {"application_name": "victim"}
    idle = await colour.primary_on(pair.primary.conninfo)
    for name in of_primary(idle):
        primary = await colour.primary(pair.primary.conninfo, **options)
        end_sessions(pair.primary)
        with pytest.raises(pgreplkit.errors.ConnectionFailed):
            await of_primary(primary)[name]()
        with pytest.raises(pgreplkit.errors.ConnectionFailed):
            await of_primary(primary)[name]()
        await primary.close()
    await close(idle.connection)
    resting = await colour.standby_on(pair.standby.conninfo)
    for name in of_standby(resting):
        if name == "apply_delay" and pair.major < 12:
            continue
        standby = await colour.standby(pair.standby.conninfo, **options)
        end_sessions(pair.standby)
        with pytest.raises(pgreplkit.errors.ConnectionFailed):
            await of_standby(standby)[name]()
        await standby.close()
    await close(resting.connection)


async def test_a_connection_lost_during_a_wait_is_reported(pair: Cluster, colour: Colour) -> None:
    options = {"application_name": "victim"}
    async with await colour.standby(pair.standby.conninfo, **options) as standby:
        timer = threading.Timer(0.3, end_sessions, [pair.standby])
        timer.start()
        with pytest.raises(pgreplkit.errors.ConnectionFailed):
            await standby.wait_for_replay(LSN.MAX, timeout=20)
        timer.join()
    async with await colour.primary(pair.primary.conninfo, **options) as primary:
        slot = await primary.slot("faulty")
        timer = threading.Timer(0.3, end_sessions, [pair.primary])
        timer.start()
        with pytest.raises(pgreplkit.errors.ConnectionFailed):
            await slot.wait_for_catchup(LSN.MAX, timeout=20)
        timer.join()


async def test_a_slot_dropped_during_a_wait_is_reported(pair: Cluster, colour: Colour) -> None:
    async with await colour.primary(pair.primary.conninfo) as primary:
        slot = await primary.create_physical_slot("vanishing", reserve_wal=True)
        drop = "SELECT pg_drop_replication_slot('vanishing')"
        timer = threading.Timer(0.3, run, [pair.primary, drop])
        timer.start()
        with pytest.raises(pgreplkit.errors.SlotNotFound):
            await slot.wait_for_catchup(LSN.MAX, timeout=20)
        timer.join()
        assert slot.name == "vanishing"
        assert slot.state.restart_lsn is not None


async def test_the_statement_timeout_of_the_session_applies(pair: Cluster, colour: Colour) -> None:
    with psycopg.connect(pair.primary.conninfo) as blocker:
        blocker.execute("CREATE TABLE blocking (a int)")
        theirs = await colour.primary_on(pair.primary.conninfo)
        await execute(theirs.connection, "SET statement_timeout = '200ms'")
        started = time.monotonic()
        with pytest.raises(pgreplkit.errors.StatementTimeout):
            await theirs.create_logical_slot("slow")
        assert time.monotonic() - started < 5
        await execute(theirs.connection, "RESET statement_timeout")
        blocker.rollback()
        status = theirs.connection.info.transaction_status
        assert status == psycopg.pq.TransactionStatus.IDLE
        slot = await theirs.create_logical_slot("slow")
        await slot.drop()
        await close(theirs.connection)


async def test_no_call_changes_the_callers_transaction(pair: Cluster, colour: Colour) -> None:
    theirs = await colour.primary_on(pair.primary.conninfo, autocommit=False)
    await execute(theirs.connection, "SELECT 1")
    for name, call in of_primary(theirs).items():
        if name == "set_sync_standby_names":
            continue
        await call() if name != "create_logical_slot" else None
        status = theirs.connection.info.transaction_status
        assert status == psycopg.pq.TransactionStatus.INTRANS, name
    # A refusal within the caller's transaction leaves that as it was, too.
    with pytest.raises(pgreplkit.errors.AlreadyExists):
        await theirs.create_physical_slot("fault")
    assert await execute(theirs.connection, "SELECT 2") == [(2,)]
    await (await theirs.slot("fault")).drop()
    await close(theirs.connection)


async def test_concurrent_calls_take_turns(pair: Cluster) -> None:
    theirs = await psycopg.AsyncConnection.connect(pair.primary.conninfo)
    primary, again = AsyncPrimary(theirs), AsyncPrimary(theirs)
    slots, replicas, identity, made, settings = await asyncio.gather(
        primary.slots(),
        again.replicas(),
        primary.identity(),
        again.create_logical_slot("at_once", temporary=True),
        primary.settings(),
    )
    assert slots is not None
    assert replicas is not None
    assert identity.timeline >= 1
    assert made.state.temporary
    assert settings
    assert theirs.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    await theirs.close()


async def test_replicas_are_current_even_within_a_transaction(
    pair: Cluster, colour: Colour
) -> None:
    theirs = await colour.primary_on(pair.primary.conninfo, autocommit=False)
    await execute(theirs.connection, "SELECT 1")
    before = len(await theirs.replicas())
    with streaming(pair.primary, None):
        assert len(await theirs.replicas()) == before + 1
    await close(theirs.connection)


async def test_a_pipeline_is_refused(pair: Cluster) -> None:
    with psycopg.connect(pair.primary.conninfo, autocommit=True) as theirs:
        primary = pgreplkit.Primary(theirs)
        with theirs.pipeline(), pytest.raises(pgreplkit.errors.ServerError, match="pipeline mode"):
            primary.slots()
        assert primary.slots()


async def test_an_exception_in_a_block_is_not_replaced(pair: Cluster, colour: Colour) -> None:
    standby = await colour.standby_on(pair.standby.conninfo)

    async def block() -> None:
        async with standby.paused():
            await close(standby.connection)
            raise KeyError("mine")

    with pytest.raises(KeyError) as caught:
        await block()
    [note] = caught.value.__notes__
    assert note.startswith("replay may still be paused: ")
    async with await colour.standby(pair.standby.conninfo) as again:
        await again.resume()
        with pytest.raises(TypeError):
            await again.pause(timeout="x")  # type: ignore[arg-type]
        assert (await again.replay_status()).pause_state == "not paused"


@pytest.mark.matrix
async def test_after_a_restart_a_new_connection_works(pair: Cluster, colour: Colour) -> None:
    primary = await colour.primary(pair.primary.conninfo)
    pair.primary.restart("immediate")
    with pytest.raises(pgreplkit.errors.ConnectionFailed):
        await primary.slots()
    await primary.close()
    async with await colour.primary(pair.primary.conninfo) as again:
        assert "faulty" in [slot.name for slot in await again.slots()]
        active = "SELECT active FROM pg_replication_slots WHERE slot_name = 'faulty'"
        wait_until(lambda: bool(one(pair.primary, active)))
        assert (await again.slot("faulty")).state.active
