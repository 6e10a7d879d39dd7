"""Runs of appliers that end while a server waits: at their deadline, when stopped or cancelled."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from threading import Event, Thread, Timer
from typing import Any

import attrs
import psutil
import psycopg
import pytest
from clusters import Cluster, Clusters, wait_until
from colours import Colour
from databases import Pair, end, make_pair, publishing

from pgreplkit.apply import Applier, AsyncApplier
from pgreplkit.errors import WaitTimeout
from pgreplkit.lab import Node

TABLE = "CREATE TABLE t (id int PRIMARY KEY, name text, n int)"
# More than the buffers of both sockets and of the pipeline take.
MANY = "DO 'BEGIN FOR i IN 1..1500 LOOP UPDATE t SET n = i, name = {}; COMMIT; END LOOP; END'"
SESSIONS = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
    AND pid NOT IN (pg_backend_pid(), {}) AND backend_type IN ('client backend', 'walsender')"""

SLOT = "SELECT FROM pg_replication_slots WHERE slot_name = 'pgreplkit_one'"
ORIGIN = "SELECT FROM pg_replication_origin WHERE roname = 'pgreplkit_one'"


@pytest.fixture
def two(cluster: Cluster) -> Iterator[Pair]:
    with publishing(cluster.primary, TABLE) as pair:
        yield pair


def applier(pair: Pair, colour: Colour, **options: Any) -> Any:
    kind = AsyncApplier if colour.name == "async" else Applier
    servers = pair.publisher.conninfo, pair.subscriber.conninfo
    return colour.bound(kind(*servers, "one", publications=["p"], **options))


def stopping(applier: Any) -> Callable[[], None]:
    """Return a call that stops it from another thread."""
    stop: Callable[[], None] = getattr(applier, "_target", applier).stop
    return stop


async def begun(pair: Pair, colour: Colour) -> Any:
    """Return an applier that has copied one row."""
    one = applier(pair, colour)
    pair.publisher.run("INSERT INTO t VALUES (1, 'one', 1)")
    await one.run(stop_at=end(pair.publisher), timeout=20)
    return one


async def fast(pair: Pair, colour: Colour) -> Any:
    one = await begun(pair, colour)
    pair.publisher.run("UPDATE t SET n = 2")
    return one


async def full(pair: Pair, colour: Colour) -> Any:
    one = await begun(pair, colour)
    value = "''" + "x" * 8000 + "''"
    if pair.publisher.node.major >= 11:
        pair.publisher.run(MANY.format(value))
    else:
        pair.publisher.run(*1500 * [f"UPDATE t SET n = n + 1, name = {value[1:-1]}"])
    return one


async def slow(pair: Pair, colour: Colour) -> Any:
    one = await begun(pair, colour)
    pair.subscriber.run("INSERT INTO t VALUES (2, 'local', 2)")
    pair.publisher.run("WITH new AS (INSERT INTO t VALUES (2)) UPDATE t SET n = 2 WHERE id = 1")
    return one


async def first(pair: Pair, colour: Colour) -> Any:
    rows = "SELECT i, repeat('x', 100), i FROM generate_series(1, 9999) AS i"
    pair.publisher.run("INSERT INTO t " + rows)
    return applier(pair, colour)


@attrs.frozen
class Wait:
    """A wait in which a run ends."""

    prepare: Callable[..., Any]
    lock: str
    on_publisher: bool = False
    removed: bool = False
    """Whether the run leaves nothing behind."""


ROW = "SELECT FROM t WHERE id = 1 FOR UPDATE"
WAITS = {
    "pipeline": Wait(fast, ROW),
    "full pipeline": Wait(full, ROW),
    "single changes": Wait(slow, ROW),
    "copied rows": Wait(first, "LOCK t IN SHARE MODE"),
    "checked table": Wait(first, "LOCK t IN ACCESS EXCLUSIVE MODE"),
    "slot": Wait(first, "SELECT txid_current()", on_publisher=True, removed=True),
    "copied table": Wait(first, "LOCK t IN ACCESS EXCLUSIVE MODE", on_publisher=True),
}


def waits(*fast: str) -> pytest.MarkDecorator:
    """Parametrize a test with each wait; those that are not named are left to the matrix."""
    return pytest.mark.parametrize(
        "wait",
        [
            pytest.param(wait, id=name, marks=() if name in fast else pytest.mark.matrix)
            for name, wait in WAITS.items()
        ],
    )


@attrs.frozen
class Holding:
    """A client that lets an applier wait."""

    pair: Pair
    wait: Wait
    client: psycopg.Connection

    @property
    def has_no_session(self) -> bool:
        """Whether the applier has no session on either server."""
        pid = self.client.info.backend_pid
        for database in (self.pair.publisher, self.pair.subscriber):
            if database.one(SESSIONS.format(pid)):
                return False
        return True


def holding(stack: ExitStack, pair: Pair, wait: Wait) -> Holding:
    database = pair.publisher if wait.on_publisher else pair.subscriber
    client = stack.enter_context(psycopg.connect(database.conninfo))
    client.execute(wait.lock)
    return Holding(pair, wait, client)


async def insist_on_continuing(pair: Pair, one: Any, wait: Wait) -> None:
    """Let the lock go: the next run applies everything, once."""
    if wait.removed:
        assert not pair.subscriber.all(ORIGIN)
        if pair.subscriber.one("SELECT to_regclass('pgreplkit.applier')") is not None:
            assert not pair.subscriber.all("SELECT FROM pgreplkit.applier")
        assert not pair.publisher.all(SLOT)
    await one.run(stop_at=end(pair.publisher), timeout=60)
    query = "SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM t"
    if wait is WAITS["single changes"]:
        query = "SELECT n FROM t ORDER BY id"
    assert pair.subscriber.all(query) == pair.publisher.all(query)


@waits("pipeline", "copied rows", "slot")
async def test_a_run_ends_at_its_deadline_whatever_a_server_waits_for(
    two: Pair, colour: Colour, wait: Wait
) -> None:
    one = await wait.prepare(two, colour)
    with ExitStack() as stack:
        held = holding(stack, two, wait)
        started = time.monotonic()
        with pytest.raises(WaitTimeout):
            await one.run(timeout=1)
        assert time.monotonic() - started < 5
        wait_until(lambda: held.has_no_session)
    await insist_on_continuing(two, one, wait)


@waits("pipeline", "slot")
async def test_a_run_that_is_stopped_ends_whatever_a_server_waits_for(
    two: Pair, colour: Colour, wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pgreplkit.apply.goal._STOPS_WITHIN", 0.5)
    one = await wait.prepare(two, colour)
    with ExitStack() as stack:
        held = holding(stack, two, wait)
        started = time.monotonic()
        Timer(1, stopping(one)).start()
        await one.run()
        assert 1 < time.monotonic() - started < 6
        wait_until(lambda: held.has_no_session)
    await insist_on_continuing(two, one, wait)


@waits("pipeline")
async def test_a_run_that_is_cancelled_ends_its_sessions(
    two: Pair, colour: Colour, wait: Wait
) -> None:
    if colour.name == "sync":
        pytest.skip("only tasks can be cancelled")
    one = await wait.prepare(two, colour)
    with ExitStack() as stack:
        held = holding(stack, two, wait)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await one.run()
        wait_until(lambda: held.has_no_session)
    await insist_on_continuing(two, one, wait)


@waits("copied table", "slot")
async def test_a_run_that_is_cancelled_again_and_again_ends_its_sessions(
    two: Pair, colour: Colour, wait: Wait
) -> None:
    if colour.name == "sync":
        pytest.skip("only tasks can be cancelled")
    one = await wait.prepare(two, colour)
    with ExitStack() as stack:
        held = holding(stack, two, wait)
        running = asyncio.ensure_future(one.run())
        await asyncio.sleep(1)
        while not running.done():
            running.cancel()
            await asyncio.sleep(0.001)
        assert running.cancelled()
        assert [*asyncio.all_tasks()] == [asyncio.current_task()]
        wait_until(lambda: held.has_no_session)
    await insist_on_continuing(two, one, wait)


@contextmanager
def silent() -> Iterator[int]:
    """Yield the port of a server that accepts connections, and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("side", ["publisher", "subscriber"])
@pytest.mark.parametrize("is_stopped", [False, True], ids=["deadline", "stop"])
async def test_a_run_ends_while_a_server_does_not_answer_its_connection(
    two: Pair, colour: Colour, side: str, is_stopped: bool
) -> None:
    with silent() as port:
        servers = {name: getattr(two, name).conninfo for name in ("publisher", "subscriber")}
        servers[side] = f"host=127.0.0.1 port={port} dbname=x user=x"
        kind: Any = AsyncApplier if colour.name == "async" else Applier
        one = colour.bound(kind(*servers.values(), "one", publications=["p"]))
        started = time.monotonic()
        if is_stopped:
            Timer(1, stopping(one)).start()
            await one.run()
        else:
            with pytest.raises(WaitTimeout, match=f"127.0.0.1:{port} has not accepted"):
                await one.run(timeout=1)
        # By itself, psycopg would wait for more than two minutes.
        assert 1 <= time.monotonic() - started < 20
    # Also the session on the server that answers.
    own = two.subscriber if side == "publisher" else two.publisher
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    wait_until(lambda: own.one(sessions) == 1)


@contextmanager
def paused(node: Node) -> Iterator[None]:
    """Stop all processes of a server; the kernel still accepts its connections."""
    first_line = (node.data_directory / "postmaster.pid").read_text().split("\n", 1)[0]
    postmaster = psutil.Process(int(first_line))
    # The postmaster first, so that none is added.
    postmaster.send_signal(signal.SIGSTOP)
    processes = [postmaster, *postmaster.children()]
    for process in processes[1:]:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            # One whose client had gone may just have ended.
            with suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGCONT)


def pause_when_used(stack: ExitStack, pair: Pair, node: Node, ended: Event) -> None:
    """Pause a server as soon as the applier has its slot, and copies or streams."""
    sessions = """SELECT count(*) > 2 FROM pg_stat_activity
        WHERE datname = current_database()"""
    wait_until(lambda: ended.is_set() or pair.publisher.one(sessions) is True)
    if not ended.is_set():
        stack.enter_context(paused(node))


@pytest.mark.matrix
@pytest.mark.parametrize("side", ["publisher", "subscriber"])
@pytest.mark.parametrize("phase", ["connecting", "copying", "streaming"])
async def test_a_run_ends_at_its_deadline_while_a_server_is_paused(
    clusters: Clusters, major: int, colour: Colour, side: str, phase: str
) -> None:
    # A thread that pauses a server must not meet those of another run.
    settings = {"wal_level": "logical"}
    nodes = [clusters.lab.primary(version=major, settings=settings) for _ in range(2)]
    pair = make_pair(*nodes)
    one = applier(pair, colour)
    rows = "INSERT INTO one SELECT i, 'x' FROM generate_series(2000, 200000) AS i"
    if phase == "copying":
        pair.publisher.run(rows)
    else:
        await one.run(stop_at=end(pair.publisher), timeout=30)
    node = nodes[side == "subscriber"]
    ended = Event()
    pausing = Thread(target=lambda: pause_when_used(stack, pair, node, ended), daemon=True)
    with ExitStack() as stack:
        if phase == "connecting":
            stack.enter_context(paused(node))
        else:
            pausing.start()
        started = time.monotonic()
        with pytest.raises(WaitTimeout):
            await one.run(timeout=3)
        assert time.monotonic() - started < 25
        # On a busy machine the run may have ended first: a later pause would have no end.
        ended.set()
        if phase != "connecting":
            pausing.join()
    await one.run(stop_at=end(pair.publisher), timeout=60)
    for table in ("one", "two"):
        there, here = pair.rows(table)
        assert there == here
    for each in nodes:
        each.stop("immediate")
