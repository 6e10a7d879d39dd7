"""Streams that are closed, cancelled or interrupted at inconvenient moments."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from operator import attrgetter

import pytest
from clusters import soon
from databases import Database
from relays import Relay

import pgreplkit
from pgreplkit import AsyncReplicationConnection, Primary
from pgreplkit._async.wire.copyboth import AsyncCopyBoth
from pgreplkit._async.wire.walsender import AsyncWalsender
from pgreplkit._sync.wire.copyboth import CopyBoth
from pgreplkit._sync.wire.walsender import Walsender
from pgreplkit.changes import Change, Commit, Insert, Row


@pytest.fixture
def source(database: Database) -> Database:
    database.run(
        "CREATE TABLE t (id int PRIMARY KEY, pad text)",
        "CREATE PUBLICATION p FOR TABLE t",
        "SELECT pg_create_logical_replication_slot('s', 'pgoutput')",
    )
    return database


def ids(changes: list[Change[Row]]) -> list[object]:
    return [change.new["id"] for change in changes if isinstance(change, Insert)]


PID = "SELECT active_pid FROM pg_replication_slots WHERE slot_name = 's'"
TERMINATE = f"SELECT pg_terminate_backend(({PID}))"


def is_free(source: Database) -> bool:
    return not source.one("SELECT active FROM pg_replication_slots WHERE slot_name = 's'")


def test_another_thread_can_close_the_stream_as_it_starts_to_wait(
    source: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Primary.connect(source.conninfo) as primary:
        stream = primary.changes("s", publications=["p"])

        def closed(descriptor: int, timeout: float) -> bool:
            monkeypatch.undo()
            stream.close()
            raise OSError(errno.EBADF, os.strerror(errno.EBADF))

        with stream:
            monkeypatch.setattr("pgreplkit._sync.wire.copyboth.wait_readable", closed)
            assert [*stream] == []
        assert is_free(source)


def test_another_thread_can_close_the_stream_while_it_reconnects(source: Database) -> None:
    with Primary.connect(source.conninfo) as primary:
        stream = primary.changes("s", publications=["p"], reconnect=20)
        inner, is_there, may_go_on = stream._stream, threading.Event(), threading.Event()
        with stream:
            begin = inner._start

            def late(walsender: Walsender) -> CopyBoth:
                is_there.set()
                may_go_on.wait(10)
                return begin(walsender)

            inner._start = late  # type: ignore[method-assign]
            reading = threading.Thread(target=lambda: [*stream])
            reading.start()
            source.run(TERMINATE)
            assert is_there.wait(10)
            stream.close()
            may_go_on.set()
            reading.join(10)
            assert not reading.is_alive()
        assert is_free(source)
        assert inner.walsender is None


async def test_cancelling_a_reconnection_neither_loses_nor_repeats_changes(
    source: Database,
) -> None:
    async with await pgreplkit.AsyncPrimary.connect(source.conninfo) as primary:
        stream = primary.changes("s", publications=["p"], reconnect=20, timeout=20)
        inner, is_there = stream._stream, asyncio.Event()
        found: list[Change[Row]] = []

        async def read() -> None:
            async for change in stream:
                found.append(change)
                if isinstance(change, Commit) and len(found) > 2:
                    return

        async with stream:
            # More than the buffers of two sockets hold without a reader.
            source.run("INSERT INTO t SELECT n, repeat('x', 500) FROM generate_series(1, 20000) n")
            while not ids(found):
                found.append(await anext(stream))
            begin = inner._start

            async def never(walsender: AsyncWalsender) -> AsyncCopyBoth:
                is_there.set()
                await asyncio.sleep(20)
                raise AssertionError

            inner._start = never  # type: ignore[method-assign]
            source.run(TERMINATE)
            reading = asyncio.create_task(read())
            async with asyncio.timeout(10):
                await is_there.wait()
            reading.cancel()
            await asyncio.wait([reading])
            assert 1 < len(ids(found)) < 20_000
            inner._start = begin  # type: ignore[method-assign]
            await read()
    assert ids(found) == [*range(1, 20_001)]


def test_a_closed_stream_that_acknowledges_automatically_ends_quietly(source: Database) -> None:
    with Primary.connect(source.conninfo) as primary:
        stream = primary.changes("s", publications=["p"], auto_acknowledge=True, timeout=10)
        source.run("INSERT INTO t VALUES (1)")
        assert isinstance([next(stream) for _ in range(3)][-1], Commit)
        stream.close()
        assert [*stream] == []
        assert stream.acknowledged < stream.position


def test_a_stream_interrupted_while_it_loads_a_change_ends(source: Database) -> None:
    """Otherwise the change would be lost, and the commit after it acknowledged."""

    def interrupted(names: tuple[str, ...]) -> Callable[[tuple[object, ...]], object]:
        def make(values: tuple[object, ...]) -> object:
            raise KeyboardInterrupt

        return make

    with Primary.connect(source.conninfo) as primary:
        stream = primary.changes("s", publications=["p"], row_factory=interrupted, timeout=10)
        source.run("INSERT INTO t VALUES (1)")
        with pytest.raises(KeyboardInterrupt):
            next(c for c in stream if isinstance(c, Insert))
        with pytest.raises(pgreplkit.errors.StreamClosed, match="interrupted"):
            next(stream)
        assert is_free(source)


async def test_another_task_can_close_the_stream_of_a_slow_server(source: Database) -> None:
    async with await pgreplkit.AsyncPrimary.connect(source.conninfo) as primary:
        async with primary.changes("s", publications=["p"]) as stream:
            reading = asyncio.create_task(anext(stream, None))
            slot = await soon(partial(primary.slot, "s"), attrgetter("state.active"))
            pid = slot.state.active_pid
            assert pid
            os.kill(pid, signal.SIGSTOP)
            asyncio.get_running_loop().call_later(0.5, os.kill, pid, signal.SIGCONT)
            began = time.monotonic()
            await stream.close()
            assert time.monotonic() - began < 3
            assert await reading is None
        assert is_free(source)


@pytest.mark.pg(">=18")
@pytest.mark.matrix
def test_a_start_that_is_cancelled_leaves_no_handler_on_the_callers_connection(
    source: Database,
) -> None:
    async def start(conninfo: str) -> None:
        opened = AsyncReplicationConnection.connect(conninfo, database=source.name)
        async with await opened as connection:
            # What psycopg returns to no one else.
            handlers = connection.connection._notice_handlers
            before = [*handlers]
            stream = connection.changes("s", publications=["p"])
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await anext(stream)
            assert handlers == before

    # The server never answers the command that starts the stream.
    with Relay(source.node.port, frozen_by=b"START_REPLICATION") as relay:
        asyncio.run(start(relay.conninfo_of(source.conninfo)))
