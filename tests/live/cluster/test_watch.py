"""Watch: samples of several servers at once, with failures as values."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import psutil
import psycopg
import pytest
from clusters import (
    SLOT,
    TIMEOUT,
    Cluster,
    Clusters,
    conninfo_as,
    one,
    reads_twice,
    run,
    wait_until,
)
from colours import Awaited, Colour
from databases import Database
from psycopg.conninfo import make_conninfo

import pgreplkit
from pgreplkit import AsyncWatch, Watch
from pgreplkit.rows import LagReason, WatchSample


def watch(colour: Colour, servers: Mapping[str, str] | list[str], **options: Any) -> AsyncWatch:
    if colour.name == "async":
        return AsyncWatch(servers, **options)
    return cast(AsyncWatch, WatchAwaited(Watch(servers, **options)))


class WatchAwaited(Awaited):
    """A sync watch behind the async interface."""

    def __aiter__(self) -> WatchAwaited:
        return self

    async def __anext__(self) -> WatchSample:
        try:
            return next(cast(Watch, self._target))
        except StopIteration:
            raise StopAsyncIteration from None


def both(cluster: Cluster) -> dict[str, str]:
    return {"p": cluster.primary.conninfo, "s": cluster.standby.conninfo}


@reads_twice
async def test_a_sample_has_the_state_of_every_server(cluster: Cluster, colour: Colour) -> None:
    cluster.catch_up()
    async with watch(colour, both(cluster), interval=0.2, timeout=5) as watching:
        started = time.monotonic()
        sample = await anext(watching)
        run(cluster.primary, "SELECT pg_logical_emit_message(true, 'x', repeat('x', 100000))")
        cluster.catch_up()
        after = await anext(watching)
        assert time.monotonic() - started > 0.19
    primary, standby = sample["p"], sample["s"]
    assert (primary.is_primary, standby.is_primary) == (True, False)
    assert primary.system_id == standby.system_id
    assert (primary.timeline, primary.lag) == (1, None)
    assert [sender.application_name for sender in primary.senders] == [cluster.standby.name]
    assert SLOT in [slot.slot_name for slot in primary.slots]
    assert standby.lag is not None
    assert standby.lag.reason is LagReason.CAUGHT_UP
    assert standby.lag.bytes == 0
    assert primary.wal_rate is None
    assert after["p"].wal_rate is not None
    assert primary.observed_at is not None
    assert after["p"].observed_at is not None
    seconds = (after["p"].observed_at - primary.observed_at).total_seconds()
    assert after["p"].wal_rate * seconds > 100_000
    assert after["s"].lsn is not None
    assert after.taken_at > sample.taken_at


async def test_samples_are_records_for_a_table(cluster: Cluster, colour: Colour) -> None:
    async with watch(colour, both(cluster), interval=0.1) as watching:
        samples = await watching.take(3)
        assert len(samples) == 3
        assert next(iter(samples)) is samples[0]
        records = samples.to_records()
    assert len(records) == 6
    assert len({tuple(record) for record in records}) == 1
    values = [value for record in records for value in record.values()]
    assert all(isinstance(v, str | int | float | datetime | timedelta | None) for v in values)
    assert [record["name"] for record in records] == ["p", "s"] * 3
    assert samples[1:].to_records() == records[2:]


async def test_a_sample_has_the_subscriptions_of_the_database_on_request(
    cluster: Cluster, database: Database, colour: Colour
) -> None:
    database.run(
        "CREATE SUBSCRIPTION s CONNECTION 'host=/nowhere' PUBLICATION p WITH (connect = false)"
    )
    cluster.catch_up()
    # The standby has the row of it too.
    standby = make_conninfo(cluster.standby.conninfo, dbname=database.name)
    servers = {"p": database.conninfo, "s": standby}
    for asked, expected in ((True, ["s"]), (False, [])):
        async with watch(colour, servers, subscriptions=asked, timeout=TIMEOUT) as watching:
            sample = await anext(watching)
        assert (sample["p"].error, sample["s"].error) == (None, None)
        assert [each.state.subname for each in sample["p"].subscriptions] == expected
        assert sample["s"].subscriptions == ()


@pytest.mark.one_colour
async def test_an_unreachable_server_is_a_sample_with_an_error_and_returns(
    clusters: Clusters, cluster: Cluster, colour: Colour, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pgreplkit.watch")
    node = clusters.lab.primary(version=cluster.major)
    try:
        servers = {"p": cluster.primary.conninfo, "away": node.conninfo}
        async with watch(colour, servers, interval=0.1, timeout=TIMEOUT) as watching:
            assert (await anext(watching))["away"].error is None
            node.stop("immediate")
            sample = await anext(watching)
            assert isinstance(sample["away"].error, pgreplkit.errors.ConnectionFailed)
            assert sample["away"].lsn is None
            assert sample["p"].error is None
            [record] = [r for r in sample.to_records() if r["name"] == "away"]
            assert record["error"] == str(sample["away"].error)
            assert isinstance(
                (await anext(watching))["away"].error, pgreplkit.errors.ConnectionFailed
            )
            node.start()
            assert (await anext(watching))["away"].error is None
        # A gap is logged at its begin and its end, and not in each round.
        assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
        assert caplog.records[0].getMessage().startswith("away does not answer: ")
        assert caplog.records[1].getMessage().startswith("away answers again after a gap of ")
    finally:
        node.stop()


async def answer_of(watching: AsyncWatch, name: str) -> WatchSample:
    """Return the next sample with the state of a server.

    A busy machine may take longer than the timeout for a sample now and then.
    """
    for _ in range(20):
        sample = await anext(watching)
        if sample[name].error is None:
            return sample
    raise AssertionError(f"{name} did not answer: {sample[name].error}")


def signal_all(processes: list[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        # The server process of an abandoned connection has ended.
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)


@pytest.mark.one_colour
@pytest.mark.matrix
async def test_a_server_that_does_not_answer_delays_no_other_sample(
    clusters: Clusters, cluster: Cluster, colour: Colour
) -> None:
    node = clusters.lab.primary(version=cluster.major)
    pid = int((node.data_directory / "postmaster.pid").read_text().split("\n")[0])
    servers = {"p": cluster.primary.conninfo, "silent": node.conninfo}
    stopped: list[psutil.Process] = []
    try:
        async with watch(colour, servers, interval=0.3, timeout=1) as watching:
            await answer_of(watching, "silent")
            stopped = [psutil.Process(pid), *psutil.Process(pid).children()]
            signal_all(stopped, signal.SIGSTOP)
            started = time.monotonic()
            for _ in range(3):
                sample = await answer_of(watching, "p")
                assert isinstance(sample["silent"].error, pgreplkit.errors.WaitTimeout)
            assert time.monotonic() - started < 10
            signal_all(stopped, signal.SIGCONT)
            await answer_of(watching, "silent")
            signal_all(stopped, signal.SIGSTOP)
            await anext(watching)
            started = time.monotonic()
        assert time.monotonic() - started < 5
    finally:
        signal_all(stopped, signal.SIGCONT)
        node.stop()


@pytest.mark.one_colour
@pytest.mark.matrix
async def test_a_standby_of_a_delayed_standby_is_not_caught_up(
    clusters: Clusters, cluster: Cluster, colour: Colour
) -> None:
    cluster.catch_up()
    leaf = clusters.lab.standby(cluster.standby)
    servers = {**both(cluster), "leaf": leaf.conninfo}
    try:
        async with watch(colour, servers, interval=0.3, timeout=TIMEOUT) as watching:
            await anext(watching)
            # The standby receives nothing, so the cascaded standby has all WAL of its upstream.
            walreceiver = int(str(one(cluster.standby, "SELECT pid FROM pg_stat_wal_receiver")))
            os.kill(walreceiver, signal.SIGSTOP)
            try:
                run(cluster.primary, "SELECT pg_logical_emit_message(true, 'x', repeat('x', 9999))")
                await anext(watching)
                sample = await anext(watching)
            finally:
                os.kill(walreceiver, signal.SIGCONT)
            lag = sample["leaf"].lag
            assert lag is not None
            assert lag.reason is LagReason.UPSTREAM_BEHIND
            assert lag.bytes is not None
            assert lag.bytes >= 9999
            assert lag.time is None
    finally:
        leaf.stop()


async def test_a_missing_privilege_is_a_sample_with_an_error(
    cluster: Cluster, colour: Colour
) -> None:
    servers = {"p": cluster.primary.conninfo, "no": conninfo_as(cluster.primary, "stranger")}
    async with watch(colour, servers, interval=0.1, timeout=TIMEOUT) as watching:
        sample = await anext(watching)
    assert isinstance(sample["no"].error, pgreplkit.errors.InsufficientPrivilege)
    assert sample["p"].error is None


async def test_a_closed_watch_ends(cluster: Cluster, colour: Colour) -> None:
    watching = watch(colour, [cluster.primary.conninfo], interval=0.1, timeout=5)
    async for sample in watching:
        [name] = sample.nodes
        assert name == f"127.0.0.1:{cluster.primary.port}"
        await watching.close()
    with pytest.raises(StopAsyncIteration):
        await anext(watching)


async def test_the_callers_servers_stay_open(cluster: Cluster, colour: Colour) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        server: Any = getattr(primary, "_target", primary)
        async with watch(colour, {"p": server}, interval=0.1, timeout=TIMEOUT) as watching:
            assert (await anext(watching))["p"].is_primary
        assert await primary.is_in_recovery() is False


async def test_objects_that_cannot_be_watched_are_refused(cluster: Cluster, colour: Colour) -> None:
    with pytest.raises(ValueError, match="same name"):
        watch(colour, [cluster.primary.conninfo] * 2)
    for interval in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match="interval must be"):
            watch(colour, ["host=x"], interval=interval)
    for strange in ([5], {"a": None}):
        with pytest.raises(TypeError, match="servers must be connection strings or servers"):
            watch(colour, strange)  # type: ignore[arg-type]
    async with watch(colour, ["no=such"], interval=0.1, timeout=5) as malformed:
        [node] = (await anext(malformed)).nodes.values()
        assert isinstance(node.error, pgreplkit.errors.ConnectionFailed)


@pytest.mark.matrix
def test_a_watch_shows_a_promotion(clusters: Clusters, cluster: Cluster, tmp_path: Path) -> None:
    node = clusters.lab.standby(cluster.primary)
    try:
        with Watch({"n": node.conninfo}, interval=0.1, timeout=TIMEOUT) as watching:
            assert next(watching)["n"].is_primary is False
            node.promote()
            sample = next(watching)["n"]
            assert (sample.is_primary, sample.timeline) == (True, 2)
            wait_until(lambda: next(watching)["n"].wal_rate is not None)
    finally:
        node.stop()


class Proxy:
    """A TCP proxy that can go silent, like a network that drops every packet."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._silent: set[int] = set()
        self._sockets: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def silence(self) -> None:
        """Stop passing data on the existing connections."""
        self._silent = {id(each) for each in self._sockets}

    def close(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                for pair in ((client, server), (server, client)):
                    threading.Thread(target=self._pass, args=pair, daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if id(source) not in self._silent:
                    target.sendall(data)


async def test_a_silent_connection_is_closed(cluster: Cluster, colour: Colour) -> None:
    proxy = Proxy(cluster.primary.port)
    conninfo = psycopg.conninfo.make_conninfo(cluster.primary.conninfo, port=proxy.port)
    try:
        async with watch(colour, {"p": conninfo}, interval=0.2, timeout=1) as watching:
            await answer_of(watching, "p")
            proxy.silence()
            assert isinstance((await anext(watching))["p"].error, pgreplkit.errors.WaitTimeout)
            await answer_of(watching, "p")
    finally:
        proxy.close()


async def test_closing_the_watch_ends_a_running_iteration(cluster: Cluster) -> None:
    started = time.monotonic()
    with Watch([cluster.primary.conninfo], interval=30) as watching:
        next(watching)
        threading.Timer(0.1, watching.close).start()
        assert len(watching.take(5)) == 0
    asynchronous = AsyncWatch([cluster.primary.conninfo], interval=30)
    await anext(asynchronous)
    samples = asyncio.create_task(asynchronous.take(5))
    await asyncio.sleep(0.1)
    await asynchronous.close()
    assert len(await samples) == 0
    assert time.monotonic() - started < 20
