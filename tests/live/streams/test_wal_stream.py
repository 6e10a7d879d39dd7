"""WAL streams: complete bytes, timelines, keepalives, confirmation, and ends."""

from __future__ import annotations

import asyncio
import threading
import time
from itertools import pairwise

import pytest
from clusters import Cluster, Clusters, one, rows, run, wait_until
from walfiles import flushed, next_segment, replication, segment_of, wal_of, write_wal

from pgreplkit import LSN, AsyncReplicationConnection
from pgreplkit.errors import (
    AheadOfServer,
    ConnectionFailed,
    InvalidAcknowledgement,
    ServerError,
    SlotActive,
    SlotNotFound,
    StreamClosed,
    WaitTimeout,
    WalRemoved,
)
from pgreplkit.lab import Node
from pgreplkit.protocol.walfeed import WalFeed
from pgreplkit.wal import WalChunk


def joined(chunks: list[WalChunk]) -> bytes:
    for before, after in pairwise(chunks):
        assert before.end_lsn == after.lsn
    return b"".join(chunk.data for chunk in chunks)


def test_a_stream_returns_the_servers_bytes_up_to_stop_at(cluster: Cluster) -> None:
    start = segment_of(flushed(cluster.primary)) + 1001
    end = max(write_wal(cluster.primary, 3 << 20), start + 10)
    stop = end - 7
    with replication(cluster.primary) as connection:
        with connection.start_physical(start, stop_at=stop) as stream:
            chunks = list(stream)
        assert (chunks[0].lsn, chunks[-1].end_lsn, stream.position) == (start, stop, stop)
        assert {chunk.timeline for chunk in chunks} == {1}
        assert joined(chunks) == wal_of(cluster.primary, start, stop)
        # The connection can be used again, for another stream too.
        assert connection.identify_system().timeline == 1
        again = list(connection.start_physical(start, stop_at=stop))
        assert joined(again) == joined(chunks)
        assert list(connection.start_physical(start, stop_at=start)) == []


def test_the_connection_can_be_used_after_a_stream_closed_amid_much_wal(cluster: Cluster) -> None:
    start = segment_of(flushed(cluster.primary))
    write_wal(cluster.primary, 2 << 20)
    with replication(cluster.primary) as connection:
        stream = connection.start_physical(start)
        assert next(stream).lsn == start
        with pytest.raises(ServerError, match="a stream runs on the connection"):
            connection.identify_system()
        stream.close()
        assert stream.is_closed
        assert list(stream) == []
        with pytest.raises(StreamClosed):
            stream.acknowledge(start)
        assert connection.identify_system().timeline == 1


@pytest.mark.quiet
def test_a_stream_continues_after_a_timeout(cluster: Cluster) -> None:
    with replication(cluster.primary) as connection:
        start = flushed(cluster.primary)
        stream = connection.start_physical(start, timeout=1)
        with pytest.raises(WaitTimeout, match="after 1 s waiting for WAL"):
            list(stream)
        end = stream.position
        written = write_wal(cluster.primary, 0)
        assert start <= end == next(stream).lsn < written
        stream.close()


def sender(node: Node, name: str) -> dict[str, object]:
    query = "SELECT state, write_lsn::text, flush_lsn::text, replay_lsn::text"
    [row] = rows(node, f"{query} FROM pg_stat_replication WHERE application_name = '{name}'")
    return row


@pytest.mark.matrix
def test_only_positions_given_by_the_caller_are_confirmed(cluster: Cluster) -> None:
    primary = cluster.primary
    start = segment_of(flushed(primary))
    end = write_wal(primary)
    with replication(primary, application_name="confirming") as connection:
        connection.create_slot("confirming", temporary=True, reserve_wal=True)
        restart = "SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name="
        reserved = one(primary, f"{restart}'confirming'")
        with connection.start_physical(start, slot="confirming") as stream:
            chunk = next(stream)
            with pytest.raises(InvalidAcknowledgement):
                stream.acknowledge(chunk.end_lsn + 1)
            assert stream.acknowledged == LSN.INVALID
            while stream.position < end:
                chunk = next(stream)
            # Without a new confirmation: earlier WAL counts as written, and the slot has not moved.
            first, last = str(chunk.lsn), str(chunk.end_lsn)
            wait_until(lambda: sender(primary, "confirming")["write_lsn"] == first)
            reported = sender(primary, "confirming")
            assert (reported["flush_lsn"], reported["replay_lsn"]) == (None, None)
            assert one(primary, f"{restart}'confirming'") == reserved
            stream.acknowledge(chunk.end_lsn)
            wait_until(lambda: sender(primary, "confirming")["flush_lsn"] == last)
            assert sender(primary, "confirming")["replay_lsn"] is None
            wait_until(lambda: one(primary, f"{restart}'confirming'") == last)
            assert stream.acknowledged == chunk.end_lsn
            stream.acknowledge(chunk.lsn, applied=chunk.lsn)
            wait_until(lambda: sender(primary, "confirming")["replay_lsn"] == first)
            assert sender(primary, "confirming")["flush_lsn"] == last


def test_keepalives_are_answered_while_the_callers_code_runs(cluster: Cluster) -> None:
    run(cluster.primary, "ALTER SYSTEM SET wal_sender_timeout = '2s'")
    run(cluster.primary, "SELECT pg_reload_conf()")
    try:
        start = flushed(cluster.primary)
        with replication(cluster.primary) as connection:
            wait_until(lambda: connection.show("wal_sender_timeout") == "2s")
            with connection.start_physical(start) as stream:
                time.sleep(3)
                written = write_wal(cluster.primary, 0)
                while stream.position < written:
                    next(stream)
    finally:
        run(cluster.primary, "ALTER SYSTEM RESET wal_sender_timeout")
        run(cluster.primary, "SELECT pg_reload_conf()")


def test_each_reason_against_streaming_has_its_error(cluster: Cluster) -> None:
    primary = cluster.primary
    here = flushed(primary)
    with replication(primary) as connection, replication(primary) as other:

        def start(start: LSN, timeline: int | None = None, slot: str | None = None) -> None:
            next(connection.start_physical(start, timeline=timeline, slot=slot, timeout=5))

        with pytest.raises(AheadOfServer) as ahead:
            start(here + (1 << 30))
        assert ahead.value.start == str(here + (1 << 30))
        with pytest.raises(SlotNotFound):
            start(here, slot="nosuch")
        with pytest.raises(WalRemoved, match="restore it from an archive"):
            start(LSN("0/0"))
        with pytest.raises(ServerError, match="not in this server's history"):
            start(here, timeline=9)
        other.create_slot("held", temporary=True)
        with other.start_physical(here, slot="held"), pytest.raises(SlotActive, match="held"):
            start(here, slot="held")
        # The connection survives each of these errors.
        assert connection.identify_system().timeline == 1


def test_a_stream_can_be_closed_from_another_thread(cluster: Cluster) -> None:
    with (
        replication(cluster.primary) as connection,
        connection.start_physical(flushed(cluster.primary)) as stream,
    ):
        threading.Timer(0.3, stream.close).start()
        list(stream)
        assert stream.is_closed


def test_a_stream_can_be_closed_from_another_thread_while_it_starts(cluster: Cluster) -> None:
    with replication(cluster.primary) as connection:
        stream = connection.start_physical(flushed(cluster.primary))
        source, is_there, may_go_on = stream._source, threading.Event(), threading.Event()
        begin = source._request

        def late(feed: WalFeed) -> None:
            is_there.set()
            may_go_on.wait(10)
            begin(feed)

        source._request = late  # type: ignore[method-assign]
        reading = threading.Thread(target=lambda: [*stream])
        reading.start()
        assert is_there.wait(10)
        closing = threading.Thread(target=stream.close)
        closing.start()
        closing.join(0.1)
        may_go_on.set()
        closing.join(10)
        reading.join(10)
        assert not reading.is_alive()
        assert connection.identify_system().timeline == 1


def test_an_interrupted_stream_leaves_no_gap(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(feed: WalFeed, messages: list[memoryview]) -> list[WalChunk]:
        raise KeyboardInterrupt

    start = segment_of(flushed(cluster.primary))
    write_wal(cluster.primary)
    with replication(cluster.primary) as connection:
        stream = connection.start_physical(start, timeout=5)
        with monkeypatch.context() as patched:
            patched.setattr(WalFeed, "take", interrupted)
            with pytest.raises(KeyboardInterrupt):
                next(stream)
        with pytest.raises(StreamClosed, match="interrupted"):
            next(stream)
        assert connection.identify_system().timeline == 1


def test_a_lost_connection_raises(cluster: Cluster) -> None:
    with replication(cluster.primary, application_name="lost") as connection:
        stream = connection.start_physical(flushed(cluster.primary))
        write_wal(cluster.primary, 0)
        next(stream)
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_replication"
        assert one(cluster.primary, f"{query} WHERE application_name = 'lost'")
        with pytest.raises(ConnectionFailed):
            list(stream)
        with pytest.raises(ConnectionFailed):
            next(stream)
        assert connection.connection.closed


@pytest.mark.quiet
def test_the_async_stream_returns_the_same_bytes(cluster: Cluster) -> None:
    start = segment_of(flushed(cluster.primary))
    end = write_wal(cluster.primary, 1 << 20)

    async def streamed() -> list[WalChunk]:
        async with await AsyncReplicationConnection.connect(cluster.primary.conninfo) as connection:
            async with connection.start_physical(start, stop_at=end) as stream:
                chunks = [chunk async for chunk in stream]
            waiting = connection.start_physical(end, timeout=0.2)
            with pytest.raises(WaitTimeout):
                # An idle server writes a little WAL every 15 s.
                [_ async for _ in waiting]
            await waiting.close()
            assert (await connection.identify_system()).timeline == 1
            return chunks

    assert joined(asyncio.run(streamed())) == wal_of(cluster.primary, start, end)


@pytest.mark.matrix
def test_a_stream_follows_the_server_to_the_next_timeline(clusters: Clusters, major: int) -> None:
    """The stream's server, a standby with a cascaded standby, is promoted."""
    keep: dict[str, str] = {"wal_keep_segments": "64"} if major < 13 else {"wal_keep_size": "1GB"}
    primary = clusters.lab.primary(version=major, settings=keep)
    standby = clusters.lab.standby(primary)
    start = segment_of(flushed(primary))
    end = next_segment(primary)
    chunks: list[WalChunk] = []
    with replication(standby) as connection:
        stream = connection.start_physical(start)
        while stream.position < end:
            chunks.append(next(stream))
        primary.stop()
        standby.promote()
        written = write_wal(standby)
        while stream.position < written:
            chunks.append(next(stream))
        assert {chunk.timeline for chunk in chunks} == {1, 2}
        whole = joined(chunks)
        switch = next(chunk.lsn for chunk in chunks if chunk.timeline == 2)
        assert whole[: switch - start] == wal_of(standby, start, switch)
        assert whole[switch - start :] == wal_of(standby, switch, stream.position, timeline=2)
        stream.close()
        # The same again, with the server's present timeline history.
        again = connection.start_physical(start, stop_at=written)
        assert joined(list(again))[: len(whole)] == whole[: written - start]
        # No WAL of the first timeline remains: the stream starts with the second.
        exact = list(connection.start_physical(switch, timeline=1, stop_at=written))
        assert {chunk.timeline for chunk in exact} == {2}
        assert exact[0].lsn == switch
        with pytest.raises(ServerError, match="not in this server's history"):
            list(connection.start_physical(switch + 8, timeline=1, stop_at=written))
        beyond = connection.start_physical(flushed(standby), timeout=10)
        standby_stop = threading.Thread(target=standby.stop)
        standby_stop.start()
        with pytest.raises(ConnectionFailed):
            list(beyond)
        standby_stop.join()
