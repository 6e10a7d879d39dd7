"""Control of a standby: pause, delay, wait, and queries that replay cancelled."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import psycopg
import pytest
from clusters import (
    Cluster,
    Clusters,
    conninfo_as,
    is_one_that_has_replied,
    one,
    reads_twice,
    rows,
    run,
    soon,
    wait_until,
)
from colours import Colour, close, execute

import pgreplkit
from pgreplkit import LSN
from pgreplkit.lab import Node
from pgreplkit.rows import LagReason, LagStage


def commit(cluster: Cluster, *, size: int = 1) -> LSN:
    run(cluster.primary, f"SELECT pg_logical_emit_message(true, 'x', repeat('x', {size}))")
    return LSN(str(one(cluster.primary, "SELECT pg_current_wal_flush_lsn()::text")))


def is_paused(cluster: Cluster) -> bool:
    return bool(one(cluster.standby, "SELECT pg_is_wal_replay_paused()"))


def replayed(cluster: Cluster) -> LSN:
    return LSN(str(one(cluster.standby, "SELECT pg_last_wal_replay_lsn()::text")))


async def test_a_pause_lasts_until_resume(cluster: Cluster, colour: Colour) -> None:
    cluster.catch_up()
    async with await colour.standby(cluster.standby.conninfo) as standby:
        await standby.pause()
        try:
            if cluster.major >= 14:
                state = "SELECT pg_get_wal_replay_pause_state()"
                assert one(cluster.standby, state) == "paused"
            before = replayed(cluster)
            target = commit(cluster)
            received = "SELECT pg_last_wal_receive_lsn()::text"
            wait_until(lambda: LSN(str(one(cluster.standby, received))) >= target)
            time.sleep(0.2)
            assert replayed(cluster) == before
            lag = await standby.replay_lag()
            assert (lag.reason, lag.stage) == (LagReason.PAUSED, LagStage.REPLAY)
            assert lag.bytes is not None
            assert lag.bytes >= target - before
            with pytest.raises(pgreplkit.errors.WaitTimeout, match="replay is paused at") as caught:
                await standby.wait_for_replay(target, timeout=0.1)
            assert str(before) in str(caught.value)
        finally:
            await standby.resume()
        assert await standby.wait_for_replay(target, timeout=20) >= target
        await standby.resume()
        assert not is_paused(cluster)


async def test_a_paused_block_restores_the_state_of_replay(
    cluster: Cluster, colour: Colour
) -> None:
    async with await colour.standby(cluster.standby.conninfo) as standby:
        with pytest.raises(ZeroDivisionError):
            async with standby.paused():
                1 / int(not is_paused(cluster))
        assert not is_paused(cluster)
        await standby.pause()
        async with standby.paused():
            assert is_paused(cluster)
        assert is_paused(cluster)
        await standby.resume()


async def test_wait_for_replay_waits_for_a_commit_on_the_primary(
    cluster: Cluster, colour: Colour
) -> None:
    async with await colour.standby(cluster.standby.conninfo) as standby:
        target = commit(cluster, size=1000) + 200_000
        later = threading.Timer(0.3, commit, [cluster], {"size": 500_000})
        started = time.monotonic()
        later.start()
        assert await standby.wait_for_replay(target, timeout=20) >= target
        assert time.monotonic() - started > 0.2
        later.join()
        with pytest.raises(TypeError):
            await standby.wait_for_replay("0/1")  # type: ignore[arg-type]


@reads_twice
async def test_a_replay_lag_has_a_stage_and_an_age(cluster: Cluster, colour: Colour) -> None:
    commit(cluster)
    cluster.catch_up()
    async with await colour.standby(cluster.standby.conninfo) as standby:
        lag = await standby.replay_lag()
    assert (lag.bytes, lag.time, lag.stage) == (0, timedelta(0), None)
    assert lag.reason is LagReason.CAUGHT_UP
    assert lag.age is not None
    assert timedelta(0) <= lag.age < timedelta(minutes=1)
    assert lag.clock_difference is not None
    assert abs(lag.clock_difference) < timedelta(seconds=5)


@pytest.mark.pg(">=12")
async def test_an_apply_delay_is_set_and_reset_without_a_restart(
    cluster: Cluster, colour: Colour
) -> None:
    cluster.catch_up()
    async with await colour.standby(cluster.standby.conninfo) as standby:
        assert await standby.apply_delay() == timedelta(0)
        await standby.set_apply_delay(timedelta(hours=2, milliseconds=5, microseconds=9))
        try:
            assert one(cluster.standby, "SHOW recovery_min_apply_delay") == "7200006ms"
            # Rounded up: a delay below a millisecond would be none.
            assert await standby.apply_delay() == timedelta(hours=2, milliseconds=6)
            target = commit(cluster, size=1000)
            # The startup process reads the setting on its own time.
            with pytest.raises(pgreplkit.errors.WaitTimeout):
                await standby.wait_for_replay(target, timeout=0.5)
            lag = await standby.replay_lag()
            assert lag.reason is LagReason.DELAYED
            assert lag.bytes is not None
            assert lag.bytes > 0
        finally:
            await standby.set_apply_delay(timedelta(0))
        await standby.wait_for_replay(target, timeout=20)
        with pytest.raises(TypeError, match="delay must be a timedelta"):
            await standby.set_apply_delay(5)  # type: ignore[arg-type]
        for wrong in (timedelta(-1), timedelta(days=25)):
            with pytest.raises(ValueError, match="delay must be from 0"):
                await standby.set_apply_delay(wrong)


@pytest.mark.pg("<12")
async def test_a_delay_needs_a_restart_before_12(cluster: Cluster, colour: Colour) -> None:
    async with await colour.standby(cluster.standby.conninfo) as standby:
        assert await standby.apply_delay() is None
        with pytest.raises(pgreplkit.errors.UnsupportedByServer, match=r"recovery\.conf"):
            await standby.set_apply_delay(timedelta(1))


@pytest.mark.one_colour
@pytest.mark.pg(">=12")
async def test_a_setting_without_effect_is_reported(
    clusters: Clusters, cluster: Cluster, colour: Colour
) -> None:
    theirs = await colour.standby_on(cluster.standby.conninfo)
    try:
        await execute(theirs.connection, "BEGIN")
        with pytest.raises(pgreplkit.errors.ServerError, match="cannot run in a transaction"):
            await theirs.set_apply_delay(timedelta(1))
    finally:
        await close(theirs.connection)
    assert one(cluster.standby, "SHOW recovery_min_apply_delay") == "0"


@pytest.mark.one_colour
async def test_cancelled_queries_are_counted_by_reason(
    clusters: Clusters, cluster: Cluster, colour: Colour
) -> None:
    name = f"pg{cluster.major}-{colour.name}-conflicts"
    settings: dict[str, str | bool] = {
        "max_standby_streaming_delay": "10ms",
        "hot_standby_feedback": False,
    }
    node = clusters.lab.standby(cluster.primary, name=name, settings=settings)
    mine = Cluster(cluster.primary, node)
    try:
        table = f"conflict_{colour.name}"
        run(mine.primary, f"CREATE TABLE {table} AS SELECT generate_series(1, 100) AS a")
        mine.catch_up()
        with psycopg.connect(node.conninfo) as reader:
            reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            reader.execute(f"SELECT count(*) FROM {table}".encode())
            run(mine.primary, f"DROP TABLE {table}")
            mine.catch_up()
            with pytest.raises(psycopg.Error):
                reader.execute("SELECT 1")
        async with await colour.standby(node.conninfo) as standby:
            # If other sessions change the catalogs, their vacuum may cancel the query before the
            # lock of the DROP does.
            sql = """
                SELECT confl_lock + confl_snapshot FROM pg_stat_database_conflicts
                WHERE datname = 'postgres'
            """
            wait_until(lambda: one(node, sql) == 1)
            by_name = {row.datname: row for row in await standby.conflicts()}
        row = by_name["postgres"]
        assert row.total == 1
        [record] = rows(node, "SELECT * FROM pg_stat_database_conflicts WHERE datname = 'postgres'")
        assert {column: getattr(row, column) for column in record} == record
    finally:
        node.stop()


@pytest.mark.one_colour
async def test_a_cascade_lists_the_standbys_of_a_standby(
    clusters: Clusters, cluster: Cluster, colour: Colour
) -> None:
    name = f"pg{cluster.major}-{colour.name}-leaf"
    leaf = clusters.lab.standby(cluster.standby, name=name)
    try:
        async with await colour.standby(cluster.standby.conninfo) as standby:
            [sender] = await soon(standby.replicas, is_one_that_has_replied)
        assert sender.application_name == name
        assert sender.lag.replay_bytes is not None
    finally:
        leaf.stop()


@pytest.mark.one_colour
async def test_a_lost_upstream_keeps_its_last_contact_time(
    clusters: Clusters, cluster: Cluster, colour: Colour
) -> None:
    upstream = clusters.lab.primary(version=cluster.major)
    node = clusters.lab.standby(upstream)
    try:
        async with await colour.standby(node.conninfo) as standby:
            seen = await standby.replay_lag()
            assert seen.heard_at is not None
            upstream.stop("immediate")
            wait_until(lambda: not rows(node, "SELECT FROM pg_stat_wal_receiver"))
            lag = await standby.replay_lag()
        assert lag.reason is LagReason.NOT_STREAMING
        assert (lag.bytes, lag.time, lag.stage) == (None, None, None)
        assert lag.heard_at == seen.heard_at
        assert lag.age is not None
        assert lag.age > timedelta(0)
    finally:
        node.stop()


async def test_operations_of_a_standby_are_refused_on_a_primary(
    cluster: Cluster, colour: Colour
) -> None:
    standby = await colour.standby_on(cluster.primary.conninfo)
    calls: list[Callable[[], Awaitable[object]]] = [
        standby.pause,
        standby.resume,
        standby.conflicts,
        standby.replay_lag,
        lambda: standby.wait_for_replay(LSN(0)),
    ]
    for call in calls:
        with pytest.raises(pgreplkit.errors.NotAStandby):
            await call()
    with pytest.raises(pgreplkit.errors.NotAStandby):
        async with standby.paused():
            pass
    await close(standby.connection)


async def test_a_role_without_privileges_cannot_control_replay(
    cluster: Cluster, colour: Colour
) -> None:
    async with await colour.standby(conninfo_as(cluster.standby, "stranger")) as standby:
        with pytest.raises(pgreplkit.errors.InsufficientPrivilege, match="pg_wal_replay_pause"):
            await standby.pause()
        if cluster.major >= 12:
            with pytest.raises(pgreplkit.errors.InsufficientPrivilege):
                await standby.set_apply_delay(timedelta(1))


def promoted(node: Node) -> None:
    time.sleep(0.3)
    node.promote()


@pytest.mark.one_colour
async def test_a_promotion_ends_a_wait_for_replay(
    clusters: Clusters, cluster: Cluster, colour: Colour
) -> None:
    node = clusters.lab.standby(cluster.primary)
    try:
        async with await colour.standby(node.conninfo) as standby:
            thread = threading.Thread(target=promoted, args=[node])
            thread.start()
            with pytest.raises(pgreplkit.errors.NotAStandby):
                await standby.wait_for_replay(LSN.MAX, timeout=30)
            thread.join()
    finally:
        node.stop()
