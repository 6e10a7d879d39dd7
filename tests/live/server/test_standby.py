"""Standby: replay status, lag and its meaning, and the upstream."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import psycopg
import pytest
from clusters import (
    SLOT,
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
from colours import Colour, close

import pgreplkit
from pgreplkit import LSN
from pgreplkit.rows import LagReason, PauseState, ReceiverState


@contextmanager
def paused(cluster: Cluster) -> Iterator[None]:
    run(cluster.standby, "SELECT pg_wal_replay_pause()")
    try:
        if cluster.major >= 14:
            # Before, it counts as paused once that is requested.
            state = "SELECT pg_get_wal_replay_pause_state()"
            wait_until(lambda: one(cluster.standby, state) == "paused")
        yield
    finally:
        run(cluster.standby, "SELECT pg_wal_replay_resume()")
        cluster.catch_up()


def commit(cluster: Cluster, *, size: int = 1) -> None:
    run(cluster.primary, f"SELECT pg_logical_emit_message(true, 'x', repeat('x', {size}))")


@reads_twice
async def test_an_idle_primary_causes_no_lag(cluster: Cluster, colour: Colour) -> None:
    commit(cluster)
    replayed = cluster.catch_up()
    time.sleep(0.5)
    async with await colour.standby(cluster.standby.conninfo) as standby:
        status = await standby.replay_status()
    assert status.lag_reason is LagReason.CAUGHT_UP
    assert status.time_behind == timedelta(0)
    assert status.bytes_behind == 0
    assert status.replayed_lsn is not None
    assert status.replayed_lsn >= replayed
    assert status.last_commit_time is not None
    assert status.observed_at - status.last_commit_time >= timedelta(seconds=0.5)


@reads_twice
async def test_the_status_is_the_servers(cluster: Cluster, colour: Colour) -> None:
    commit(cluster)
    cluster.catch_up()
    async with await colour.standby(cluster.standby.conninfo) as standby:
        status = await standby.replay_status()
    [row] = rows(
        cluster.standby,
        """SELECT pg_last_wal_receive_lsn() AS received_lsn, pg_last_wal_replay_lsn() AS
        replayed_lsn, pg_last_xact_replay_timestamp() AS last_commit_time""",
    )
    assert status.received_lsn == LSN(row["received_lsn"])
    assert status.replayed_lsn == LSN(row["replayed_lsn"])
    assert status.last_commit_time == row["last_commit_time"]
    assert status.pause_state is PauseState.NOT_PAUSED
    assert status.apply_delay == (timedelta(0) if cluster.major >= 12 else None)
    assert status.silence is not None
    assert timedelta(0) <= status.silence < timedelta(minutes=2)


async def test_a_pause_is_reported_with_bytes_and_age_of_the_last_commit(
    cluster: Cluster, colour: Colour
) -> None:
    commit(cluster)
    cluster.catch_up()
    with paused(cluster):
        commit(cluster, size=100000)
        position = "SELECT pg_current_wal_flush_lsn()::text"
        end = LSN(str(one(cluster.primary, position)))
        received = "SELECT pg_last_wal_receive_lsn()::text"
        wait_until(lambda: LSN(str(one(cluster.standby, received))) >= end)
        async with await colour.standby(cluster.standby.conninfo) as standby:
            status = await standby.replay_status()
    assert status.lag_reason is LagReason.PAUSED
    assert status.pause_state is PauseState.PAUSED
    assert status.bytes_behind is not None
    assert status.bytes_behind >= 100000
    assert status.unreplayed_bytes is not None
    assert status.unreplayed_bytes >= 100000
    assert status.last_commit_time is not None
    assert status.time_behind == status.observed_at - status.last_commit_time


@pytest.mark.one_colour
@pytest.mark.matrix
async def test_a_standby_without_its_upstream_claims_no_lag(
    clusters: Clusters, cluster: Cluster, colour: Colour
) -> None:
    name = f"pg{cluster.major}-{colour.name}-alone"
    quiet = {"autovacuum": False}  # whose commits would be replayed as well
    upstream = clusters.lab.primary(version=cluster.major, name=name, settings=quiet)
    node = clusters.lab.standby(upstream, name=f"{name}-standby")
    try:
        async with await colour.standby(node.conninfo) as standby:
            # None of its own commits was replayed since it started.
            run(upstream, "SELECT pg_logical_emit_message(false, 'x', repeat('x', 100000))")
            assert (await standby.replay_status()).last_commit_time is None
            upstream.stop("immediate")
            wait_until(lambda: not rows(node, "SELECT FROM pg_stat_wal_receiver"))
            status = await standby.replay_status()
            assert status.lag_reason is LagReason.NOT_STREAMING
            assert (status.time_behind, status.bytes_behind) == (None, None)
            assert status.silence is None
            assert await standby.receiver() is None
            assert await standby.upstream() is None
    finally:
        node.stop()


@pytest.mark.quiet
@pytest.mark.one_colour
@pytest.mark.pg(">=12")
async def test_a_delayed_standby_reports_its_delay(
    clusters: Clusters, cluster: Cluster, colour: Colour
) -> None:
    node = clusters.lab.standby(
        cluster.primary,
        name=f"pg{cluster.major}-{colour.name}-delayed",
        settings={"recovery_min_apply_delay": "1h"},
    )
    try:
        commit(cluster)
        end = one(cluster.primary, "SELECT pg_current_wal_flush_lsn()::text")
        wait_until(lambda: bool(one(node, f"SELECT pg_last_wal_receive_lsn() >= '{end}'")))
        async with await colour.standby(node.conninfo) as standby:
            status = await standby.replay_status()
        assert status.apply_delay == timedelta(hours=1)
        assert status.lag_reason is LagReason.DELAYED
        assert (status.time_behind is None) == (status.last_commit_time is None)
        assert status.bytes_behind
    finally:
        node.stop()


@reads_twice
async def test_the_receiver_has_every_column_of_its_major(cluster: Cluster, colour: Colour) -> None:
    cluster.catch_up()
    async with await colour.standby(cluster.standby.conninfo) as standby:
        receiver = await standby.receiver()
    [row] = rows(cluster.standby, "SELECT * FROM pg_stat_wal_receiver")
    assert receiver is not None
    moving = {"last_msg_send_time", "last_msg_receipt_time", "latest_end_time", "conninfo"}
    fixed = {
        column: LSN(value) if column.endswith("_lsn") and value else value
        for column, value in row.items()
        if column not in moving
    }
    assert {column: getattr(receiver, column) for column in fixed} == fixed
    assert receiver.status is ReceiverState.STREAMING
    assert (receiver.received_lsn is None) == (cluster.major >= 13)
    assert (receiver.flushed_lsn is None) == (cluster.major < 13)


@pytest.mark.one_colour
async def test_the_receivers_conninfo_has_no_password(
    clusters: Clusters, cluster: Cluster, colour: Colour
) -> None:
    async with await colour.standby(cluster.standby.conninfo) as standby:
        receiver = await standby.receiver()
    assert receiver is not None
    assert receiver.conninfo is not None
    parts = psycopg.conninfo.conninfo_to_dict(receiver.conninfo)
    assert parts["port"] == str(cluster.primary.port)
    assert "password" not in parts
    assert clusters.lab.password not in repr(receiver)


async def test_the_upstream_is_the_primary(cluster: Cluster, colour: Colour) -> None:
    async with await colour.standby(cluster.standby.conninfo) as standby:
        upstream = await standby.upstream()
    assert upstream is not None
    assert (upstream.host, upstream.port) == ("127.0.0.1", cluster.primary.port)
    assert (upstream.user, upstream.slot_name) == ("postgres", SLOT)
    assert upstream.application_name == cluster.standby.name


@pytest.mark.one_colour
@pytest.mark.matrix
async def test_a_standby_can_be_an_upstream(
    clusters: Clusters, cluster: Cluster, colour: Colour
) -> None:
    name = f"pg{cluster.major}-{colour.name}-cascade"
    node = clusters.lab.standby(cluster.standby, slot="cascade", name=name)
    try:
        cluster.catch_up()
        async with await colour.standby(cluster.standby.conninfo) as standby:
            [replica] = await soon(standby.replicas, is_one_that_has_replied)
        assert replica.application_name == name
        assert replica.lag.replay_bytes is not None
    finally:
        node.stop()
        active = "SELECT active FROM pg_replication_slots WHERE slot_name = 'cascade'"
        wait_until(lambda: not one(cluster.standby, active))
        run(cluster.standby, "SELECT pg_drop_replication_slot('cascade')")


async def test_reading_the_receiver_without_pg_monitor_names_it(
    cluster: Cluster, colour: Colour
) -> None:
    cluster.catch_up()
    async with await colour.standby(conninfo_as(cluster.standby, "stranger")) as standby:
        for call in (standby.replay_status, standby.receiver, standby.upstream):
            with pytest.raises(
                pgreplkit.errors.InsufficientPrivilege, match='GRANT pg_monitor TO "stranger"'
            ):
                await call()
    async with await colour.standby(conninfo_as(cluster.standby, "observer")) as standby:
        assert (await standby.replay_status()).is_streaming
        assert await standby.receiver()


async def test_a_standby_object_refuses_a_primary(cluster: Cluster, colour: Colour) -> None:
    with pytest.raises(pgreplkit.errors.NotAStandby, match="not in recovery"):
        await colour.standby(cluster.primary.conninfo)
    bound = await colour.standby_on(cluster.primary.conninfo)
    for call in (bound.replay_status, bound.receiver, bound.upstream):
        with pytest.raises(pgreplkit.errors.NotAStandby, match="use Primary"):
            await call()
    await close(bound.connection)


async def test_the_last_checkpoint_of_a_standby_is_its_restartpoint(
    cluster: Cluster, colour: Colour
) -> None:
    run(cluster.primary, "CHECKPOINT")
    cluster.catch_up()
    run(cluster.standby, "CHECKPOINT")
    async with await colour.standby(cluster.standby.conninfo) as standby:
        status = await standby.checkpoint_status()
        files = await standby.wal_files()
    [row] = rows(cluster.standby, "SELECT * FROM pg_control_checkpoint()")
    assert status.redo_lsn == LSN(row["redo_lsn"])
    assert status.redo_wal_file in [str(file.name) for file in files]
    assert status.wal_since_redo >= 0
