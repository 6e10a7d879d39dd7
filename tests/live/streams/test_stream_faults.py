"""Streams under faults: slow clients, lost connections, server shutdowns, and kills."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from clusters import Clusters, one, rows, run, wait_until
from databases import Database
from feedfacts import Lines, written
from modelsink import Engine, ModelSink
from running import in_thread

import pgreplkit
from pgreplkit import LSN, Primary
from pgreplkit.changes import Change, Commit, Insert, Row
from pgreplkit.feeds import Feed
from pgreplkit.lab import Node

MADE = (
    "CREATE TABLE t (id int PRIMARY KEY)",
    "CREATE PUBLICATION p FOR TABLE t",
    "SELECT pg_create_logical_replication_slot('s', 'pgoutput')",
)


@pytest.fixture
def source(database: Database) -> Database:
    database.run(*MADE)
    return database


@contextmanager
def a_primary(clusters: Clusters, major: int, **settings: str | int) -> Iterator[Node]:
    """A separate server with the table, the publication and the slot."""
    node = clusters.lab.primary(
        version=major, settings={"wal_level": "logical", "autovacuum": "off", **settings}
    )
    for statement in MADE:
        run(node, statement)
    yield node


def ids(changes: list[Change[Row]]) -> list[object]:
    return [change.new["id"] for change in changes if isinstance(change, Insert)]


def read_until(stream: pgreplkit.changes.ChangeStream[Row], last: int) -> list[object]:
    """Return the ids up to the end of the transaction that has `last`; acknowledge each."""
    found: list[Change[Row]] = []
    for change in stream:
        found.append(change)
        if isinstance(change, Commit):
            stream.acknowledge(change.end_lsn)
            if last in ids(found):
                return ids(found)
    raise AssertionError("the stream ended")


ACTIVE = "SELECT active FROM pg_replication_slots WHERE slot_name = 's'"


def active(node: Node) -> bool:
    return bool(one(node, ACTIVE))


def test_a_slow_client_keeps_its_connection_and_confirms_nothing(
    clusters: Clusters, major: int
) -> None:
    with (
        a_primary(clusters, major, wal_sender_timeout="2s") as node,
        Primary.connect(node.conninfo) as primary,
        primary.changes("s", publications=["p"], timeout=10) as stream,
    ):
        run(node, "INSERT INTO t VALUES (1)")
        change = next(c for c in stream if isinstance(c, Insert))
        confirmed = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots"
        before = one(node, confirmed)
        time.sleep(3)  # the client's work on each change
        assert active(node)
        assert one(node, confirmed) == before
        run(node, "INSERT INTO t VALUES (2)")
        assert read_until(stream, 2) == [2]
        assert change.new["id"] == 1


@pytest.mark.matrix
async def test_a_slow_task_keeps_its_connection_too(clusters: Clusters, major: int) -> None:
    with a_primary(clusters, major, wal_sender_timeout="2s") as node:
        async with (
            await pgreplkit.AsyncPrimary.connect(node.conninfo) as primary,
            primary.changes("s", publications=["p"], timeout=10) as stream,
        ):
            run(node, "INSERT INTO t VALUES (1)")
            await anext(stream)
            await asyncio.sleep(3)
            assert active(node)
            await anext(stream)


def test_another_thread_can_close_a_stream(source: Database) -> None:
    with Primary.connect(source.conninfo) as primary:
        stream = primary.changes("s", publications=["p"])
        found: list[Change[Row]] = []

        with in_thread(lambda: found.extend(stream), end=stream.close) as reader:
            source.run("INSERT INTO t VALUES (1)")
            wait_until(lambda: ids(found) == [1] and isinstance(found[-1], Commit))
            stream.close()
            assert not primary.slot("s").state.active
            reader.join(5)
            assert not reader.is_alive()


def test_an_unreferenced_stream_is_closed(source: Database) -> None:
    with Primary.connect(source.conninfo) as primary:
        stream = primary.changes("s", publications=["p"], timeout=10)
        source.run("INSERT INTO t VALUES (1)")
        next(stream)
        slot = primary.slot("s")
        assert slot.state.active
        with pytest.warns(ResourceWarning):
            del stream
        wait_until(lambda: not slot.refresh().state.active)


async def test_a_cancelled_task_ends_the_stream_cleanly(source: Database) -> None:
    async with await pgreplkit.AsyncPrimary.connect(source.conninfo) as primary:

        async def read(is_open: asyncio.Event) -> None:
            async with primary.changes("s", publications=["p"]) as stream:
                is_open.set()
                async for change in stream:
                    if isinstance(change, Commit):
                        stream.acknowledge(change.end_lsn)

        for _ in range(3):
            task = asyncio.create_task(read(is_open := asyncio.Event()))
            async with asyncio.timeout(20):
                await is_open.wait()
            slot = await primary.slot("s")
            assert slot.state.active
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not (await slot.refresh()).state.active


@pytest.mark.matrix
def test_closing_does_not_wait_for_a_large_transaction(source: Database) -> None:
    source.run("INSERT INTO t SELECT generate_series(1, 300000)")
    with Primary.connect(source.conninfo) as primary:
        with primary.changes("s", publications=["p"], timeout=30) as stream:
            next(c for c in stream if isinstance(c, Insert))
            began = time.monotonic()
        assert time.monotonic() - began < 10
        wait_until(lambda: not primary.slot("s").state.active)


def test_a_lost_connection_raises_or_is_reopened_on_request(source: Database) -> None:
    def lose() -> None:
        source.all(
            """SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
            WHERE slot_name = 's'"""
        )

    with Primary.connect(source.conninfo) as primary:
        with primary.changes("s", publications=["p"], timeout=20) as stream:
            lose()
            with pytest.raises(pgreplkit.errors.ConnectionFailed):
                next(stream)
            with pytest.raises(pgreplkit.errors.ConnectionFailed):
                next(stream)
        wait_until(lambda: not primary.slot("s").state.active)
        with primary.changes("s", publications=["p"], timeout=20, reconnect=20) as stream:
            source.run("INSERT INTO t SELECT generate_series(1, 5)")
            seen = [next(c for c in stream if isinstance(c, Insert)).new["id"] for _ in range(2)]
            # Within a transaction: its changes that were returned already are not repeated.
            lose()
            seen += read_until(stream, 5)
            source.run("INSERT INTO t VALUES (6)")
            lose()
            source.run("INSERT INTO t VALUES (7)")
            seen += read_until(stream, 7)
        assert seen == [*range(1, 8)]


@pytest.mark.matrix
def test_a_server_shutdown_raises_or_is_waited_for_on_request(
    clusters: Clusters, major: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "pgreplkit")
    with a_primary(clusters, major) as node:
        with (
            Primary.connect(node.conninfo) as primary,
            # A shutdown waits until the client has confirmed everything, also empty transactions
            # (which are sent before 15).
            primary.changes("s", publications=["p"], timeout=20, auto_acknowledge=True) as stream,
        ):
            stopping = threading.Thread(target=node.stop)
            stopping.start()
            with pytest.raises(pgreplkit.errors.ConnectionFailed):
                exhaust(stream)
            stopping.join()
        node.start()
        with (
            Primary.connect(node.conninfo) as primary,
            primary.changes("s", publications=["p"], timeout=20, reconnect=30) as stream,
        ):
            seen: list[object] = []
            for number, end in enumerate((node.kill, node.stop), 1):
                run(node, f"INSERT INTO t VALUES ({number})")
                seen += read_until(stream, number)
                restarting = threading.Thread(target=restart, args=(node, end, number))
                restarting.start()
                seen += read_until(stream, number * 10)
                restarting.join()
        assert seen == [1, 10, 2, 20]
        logged = [r.getMessage() for r in caplog.records if r.name == "pgreplkit.streams"]
        assert sum("the connection is lost, reconnecting for up to 30 s" in m for m in logged) == 2
        assert sum("slot s: reconnected after" in message for message in logged) == 2


def restart(node: Node, end: Callable[[], None], number: int) -> None:
    end()
    node.start()
    run(node, f"INSERT INTO t VALUES ({number * 10})")


def exhaust(stream: pgreplkit.changes.ChangeStream[Row]) -> None:
    for _ in stream:
        pass


@pytest.mark.pg(">=13")
@pytest.mark.matrix
def test_an_invalidated_slot_raises(clusters: Clusters, major: int) -> None:
    settings = {"max_slot_wal_keep_size": "1MB", "min_wal_size": "32MB", "max_wal_size": "32MB"}
    with a_primary(clusters, major, **settings) as node:
        run(node, "CREATE TABLE filler (data text)")
        for _ in range(4):
            run(node, "INSERT INTO filler SELECT repeat('x', 2000) FROM generate_series(1, 8000)")
            run(node, "SELECT pg_switch_wal()")
            run(node, "CHECKPOINT")
        with Primary.connect(node.conninfo) as primary:
            stream = primary.changes("s", publications=["p"], timeout=20)
            with pytest.raises(pgreplkit.errors.SlotLost), stream:
                next(stream)
            sink = ModelSink(Engine())
            feed = Feed(primary, "s", publications=["p"], sink=sink, encoder=Lines())
            with pytest.raises(pgreplkit.errors.PositionLost, match="has invalidated the slot"):
                feed.run(timeout=20)


@pytest.mark.matrix
@pytest.mark.pg(">=17")
def test_a_stream_continues_on_the_promoted_standby(clusters: Clusters, major: int) -> None:
    """Its failover slot was synchronized before the promotion."""
    lab = clusters.lab
    primary = lab.primary(version=major, settings={"wal_level": "logical"})
    for statement in MADE[:2]:
        run(primary, statement)
    run(primary, "SELECT pg_create_logical_replication_slot('s', 'pgoutput', failover => true)")
    standby = lab.standby(primary, slot="physical", settings={"hot_standby_feedback": "on"})
    # The slot sync worker connects to a database.
    upstream = one(standby, "SELECT current_setting('primary_conninfo')")
    syncing = {"primary_conninfo": f"{upstream} dbname=postgres", "sync_replication_slots": "on"}
    standby.configure(syncing)
    standby.restart()
    both = f"host=127.0.0.1,127.0.0.1 port={primary.port},{standby.port} user=postgres"
    passfile = psycopg.conninfo.conninfo_to_dict(primary.conninfo)["passfile"]
    both += f" dbname=postgres passfile={passfile} target_session_attrs=read-write"
    with (
        Primary.connect(both) as server,
        server.changes("s", publications=["p"], timeout=30, reconnect=30) as stream,
    ):
        seen: list[object] = []
        engine = Engine()
        feed = Feed(
            *(both, "fed"),
            publications=["p"],
            sink=ModelSink(engine),
            encoder=Lines(),
            failover=True,
        )
        # A slot is synchronized once the primary's slot is ahead of the standby's own position.
        while not seen or not synchronized(primary, standby):
            run(primary, f"INSERT INTO t VALUES ({len(seen)})")
            seen += read_until(stream, len(seen))
            feed.run(stop_at=LSN(str(one(primary, "SELECT pg_current_wal_lsn()::text"))))
        # A shutdown waits until the walsenders' clients have received everything.
        stopping = threading.Thread(target=primary.stop)
        stopping.start()
        promoting = threading.Thread(target=promoted_after, args=(stopping, standby))
        promoting.start()
        seen += read_until(stream, 1000)
        promoting.join()
    assert seen == [*range(len(seen) - 1), 1000]
    feed.run(stop_at=LSN(str(one(standby, "SELECT pg_current_wal_lsn()::text"))), timeout=30)
    sent = [int(str(line[4])) for line in written([one.body for one in engine.messages])]
    assert sent == seen[len(seen) - len(sent) :]
    assert engine.position is not None
    assert engine.position.timeline == 2


def promoted_after(stopping: threading.Thread, standby: Node) -> None:
    stopping.join()
    standby.promote()
    run(standby, "INSERT INTO t VALUES (1000)")


def synchronized(primary: Node, standby: Node) -> bool:
    run(primary, "SELECT pg_log_standby_snapshot()")
    time.sleep(0.1)
    slots = rows(standby, "SELECT synced AND NOT temporary AS ready FROM pg_replication_slots")
    return [slot["ready"] for slot in slots] == [True, True]


CONSUMER = """
import sys
import pgreplkit
from pgreplkit.changes import Commit, Insert

with pgreplkit.Primary.connect(sys.argv[1]) as primary:
    with primary.changes("s", publications=["p"]) as stream:
        for change in stream:
            if isinstance(change, Insert):
                print(change.new["id"], flush=True)
            elif isinstance(change, Commit):
                print("end", change.end_lsn, flush=True)
                stream.acknowledge(change.end_lsn)
"""


def test_a_killed_client_loses_no_changes(source: Database, tmp_path: Path) -> None:
    """Acknowledged changes are not repeated, all others are; none is missing."""
    script = tmp_path / "consumer.py"
    script.write_text(CONSUMER)
    got: set[int] = set()
    written = 0
    with psycopg.connect(source.conninfo, autocommit=True) as writer:
        for attempt in range(6):
            command = [sys.executable, str(script), source.conninfo]
            # The server notices the end of the killed client on its own time.
            wait_until(lambda: not source.one(ACTIVE))
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as consumer:
                assert consumer.stdout is not None
                for _ in range(20):
                    written += 1
                    writer.execute("INSERT INTO t VALUES (%s)", [written])
                lines = iter(consumer.stdout)
                seen = [next(lines).split() for _ in range(15)]
                # The last status update before a kill may be lost; odd attempts wait for it.
                time.sleep(0.3 * (attempt % 2))
                os.kill(consumer.pid, signal.SIGKILL)
                # The last line may be incomplete.
                seen += [line.split() for line in lines if line.endswith("\n")]
            got |= {int(words[0]) for words in seen if len(words) == 1 and words[0] != "end"}
        written += 1
        writer.execute("INSERT INTO t VALUES (%s)", [written])
    with Primary.connect(source.conninfo) as primary:
        slot = primary.slot("s")
        wait_until(lambda: not slot.refresh().state.active)
        with slot.changes(publications=["p"], timeout=20) as stream:
            rest = read_until(stream, written)
    assert got | {*rest} == {*range(1, written + 1)}
    # Only the last changes, which were not confirmed, were repeated.
    assert len(rest) < written


@pytest.mark.matrix
def test_a_network_that_drops_everything_is_noticed(clusters: Clusters, major: int) -> None:
    """The server closes a silent client's connection, and the slot becomes free."""
    with (
        a_primary(clusters, major, wal_sender_timeout="2s") as node,
        Primary.connect(node.conninfo) as primary,
    ):
        with primary.changes("s", publications=["p"], timeout=20) as stream:
            heartbeat = stream._stream._reporter._heartbeat
            assert heartbeat is not None
            heartbeat.close()
            wait_until(lambda: not active(node))
            with pytest.raises(pgreplkit.errors.ConnectionFailed):
                exhaust(stream)
        with primary.changes("s", publications=["p"], timeout=20) as stream:
            run(node, "INSERT INTO t VALUES (1)")
            assert read_until(stream, 1) == [1]
            assert stream.position > LSN.INVALID
