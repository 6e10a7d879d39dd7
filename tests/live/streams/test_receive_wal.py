"""WAL files equal the server's byte for byte, however the run that wrote them ended."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from clusters import Cluster, Clusters, one, rows, run, wait_until
from walfiles import flushed, next_segment, pg_wal, replication, segment_of, write_wal

from pgreplkit import LSN, AsyncReplicationConnection, SegmentSize
from pgreplkit.errors import (
    AheadOfServer,
    HostFileError,
    InvalidWalMessage,
    SlotNotFound,
    StreamClosed,
    WaitTimeout,
    WalRemoved,
)
from pgreplkit.host.walfolder import WalFolder
from pgreplkit.lab import Node
from pgreplkit.wal import ReceivedSegment, WalChunk

SIZE = SegmentSize.DEFAULT.bytes


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def assert_as_on(node: Node, folder: Path, *, partial: int = 0) -> None:
    """Assert that the files equal the server's; the last file up to its received part."""
    for path in folder.iterdir():
        original = pg_wal(node) / path.name.removesuffix(".partial")
        content, theirs = path.read_bytes(), original.read_bytes()
        assert not path.name.endswith(".tmp")
        if path.name.endswith(".partial"):
            assert len(content) == len(theirs)
            assert content[:partial] == theirs[:partial]
        else:
            assert content == theirs, path.name


@pytest.fixture
def kept(cluster: Cluster) -> Iterator[str]:
    """A slot that retains WAL from its creation on."""
    with replication(cluster.primary) as connection:
        connection.create_slot("kept_wal", reserve_wal=True)
        yield "kept_wal"
        wait_until(
            lambda: not one(
                cluster.primary,
                "SELECT active FROM pg_replication_slots WHERE slot_name = 'kept_wal'",
            )
        )
        connection.drop_slot("kept_wal")


def test_segments_equal_the_servers(cluster: Cluster, kept: str, tmp_path: Path) -> None:
    primary = cluster.primary
    start = next_segment(primary)
    next_segment(primary)
    end = next_segment(primary, 3 << 20) + 100
    with replication(primary) as connection:
        received = [*connection.receive_wal(tmp_path, start=start + 5, stop_at=end)]
        assert [one.name.first_lsn for one in received] == [start, start + SIZE]
        assert all(one.path == tmp_path / str(one.name) for one in received)
        assert names(tmp_path)[2].endswith(".partial")
        assert_as_on(primary, tmp_path, partial=100)
        assert (tmp_path / names(tmp_path)[2]).read_bytes()[100:] == bytes(SIZE - 100)
        # The next run starts with the incomplete segment.
        more = connection.receive_wal(tmp_path, stop_at=next_segment(primary))
        with more:
            assert more.position == segment_of(end)
            assert [one.name.first_lsn for one in more] == [segment_of(end)]
        assert more.is_closed
        assert_as_on(primary, tmp_path)
        # A second run receives nothing again.
        assert [*connection.receive_wal(tmp_path, stop_at=end)] == []
        with pytest.raises(StreamClosed):
            more.__enter__()


def test_the_slot_advances_to_the_flushed_position(
    cluster: Cluster, kept: str, tmp_path: Path
) -> None:
    primary = cluster.primary
    state = "SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = 'kept_wal'"
    begins = segment_of(LSN(str(one(primary, state))))
    before = flushed(primary)
    end = next_segment(primary)
    with replication(primary) as connection:
        with connection.receive_wal(tmp_path, slot=kept, timeout=5) as stream:
            # Before 15 a slot cannot be read here.
            expected = begins if primary.major >= 15 else segment_of(flushed(primary))
            assert stream.position == expected
            if primary.major < 15:
                end = next_segment(primary)
            for segment in stream:
                if segment.name.end_lsn == end:
                    break
            wait_until(lambda: one(primary, state) == str(end))
        assert before < end
        with pytest.raises(SlotNotFound):
            next(connection.receive_wal(tmp_path, slot="nosuch"))


@pytest.mark.quiet
@pytest.mark.matrix
def test_a_commit_waits_for_a_synchronous_receiver_until_it_flushes(
    cluster: Cluster, tmp_path: Path
) -> None:
    primary = cluster.primary
    write_wal(primary, 0)
    with replication(primary, application_name="receiver") as connection:
        stream = connection.receive_wal(tmp_path, synchronous=True, timeout=1)
        with stream, pytest.raises(WaitTimeout):
            next(stream)
        assert_as_on(primary, tmp_path, partial=stream.position - segment_of(stream.position))
    code = f"""
import pgreplkit
name = "receiver"
with pgreplkit.ReplicationConnection.connect({primary.conninfo!r}, application_name=name) as server:
    list(server.receive_wal({str(tmp_path)!r}, synchronous=True))
"""
    receiver = subprocess.Popen([sys.executable, "-c", code])
    run(primary, "ALTER SYSTEM SET synchronous_standby_names = 'receiver'")
    run(primary, "SELECT pg_reload_conf()")
    try:
        wait_until(
            lambda: rows(
                primary,
                "SELECT sync_state FROM pg_stat_replication WHERE application_name = 'receiver'",
            )
            == [{"sync_state": "sync"}]
        )
        with psycopg.connect(primary.conninfo, autocommit=True) as connection:
            connection.execute("SET synchronous_commit = on")
            for _ in range(3):
                connection.execute("INSERT INTO ticks VALUES (2)")
    finally:
        run(primary, "ALTER SYSTEM RESET synchronous_standby_names")
        run(primary, "SELECT pg_reload_conf()")
        receiver.kill()
        receiver.wait()


def test_a_directory_with_foreign_files_is_refused(cluster: Cluster, tmp_path: Path) -> None:
    start = segment_of(flushed(cluster.primary))
    with replication(cluster.primary) as connection:
        with pytest.raises(HostFileError, match="No such file"):
            next(connection.receive_wal(tmp_path / "missing"))
        (tmp_path / "notes.txt").write_text("no segment")
        short = tmp_path / str(start.wal_file(timeline=1))
        short.write_bytes(b"12345")
        with pytest.raises(HostFileError, match=f"{short.name} has 5 bytes"):
            next(connection.receive_wal(tmp_path))
        short.rename(tmp_path / f"{short.name}.partial")
        with pytest.raises(HostFileError, match="move the file away"):
            next(connection.receive_wal(tmp_path))
        (tmp_path / f"{short.name}.partial").rename(tmp_path / "000000010000000000000FFF")
        with pytest.raises(HostFileError, match="16MB segments"):
            next(connection.receive_wal(tmp_path))
        (tmp_path / "000000010000000000000FFF").unlink()
        with pytest.raises(WalRemoved):
            list(connection.receive_wal(tmp_path, start=LSN("0/10")))
        (tmp_path / "0000000100000099000000FF").touch()
        os.truncate(tmp_path / "0000000100000099000000FF", SIZE)
        with pytest.raises(AheadOfServer):
            next(connection.receive_wal(tmp_path))
        assert connection.identify_system().timeline == 1


def test_a_failed_write_raises_and_the_next_run_continues(
    cluster: Cluster, kept: str, tmp_path: Path
) -> None:
    start, end = next_segment(cluster.primary), next_segment(cluster.primary)
    in_the_way = tmp_path / f"{start.wal_file(timeline=1)}.partial"
    with replication(cluster.primary) as connection:
        with connection.receive_wal(tmp_path, start=start, stop_at=end) as stream:
            in_the_way.mkdir()
            with pytest.raises(HostFileError, match="Is a directory"):
                next(stream)
            assert stream.is_closed
        in_the_way.rmdir()
        assert len(list(connection.receive_wal(tmp_path, start=start, stop_at=end))) == 1
    assert_as_on(cluster.primary, tmp_path)


@pytest.mark.quiet
def test_wal_that_could_not_be_flushed_is_not_confirmed(
    cluster: Cluster, kept: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed flush the next one succeeds, although the first one's data may be lost."""
    primary = cluster.primary
    state = "SELECT restart_lsn::text FROM pg_replication_slots WHERE slot_name = 'kept_wal'"
    before = one(primary, state)
    start = next_segment(primary)
    write_wal(primary, 1 << 20)
    with replication(primary) as connection:
        stream = connection.receive_wal(tmp_path, start=start, slot=kept, timeout=1)
        with pytest.raises(WaitTimeout):
            next(stream)
        sync, failures = os.fsync, [OSError(errno.EIO, "Input/output error")]

        def failing(file: int) -> None:
            if failures:
                raise failures.pop()
            sync(file)

        monkeypatch.setattr(os, "fsync", failing)
        next_segment(primary)
        with pytest.raises(HostFileError, match="Input/output"):
            next(stream)
        stream.close()
    assert one(primary, state) == before


def test_an_interrupted_run_leaves_no_gap(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary = cluster.primary
    start = segment_of(flushed(primary))
    end = next_segment(primary)
    write = WalFolder.write

    def interrupted(files: WalFolder, chunks: list[WalChunk]) -> list[ReceivedSegment]:
        monkeypatch.setattr(WalFolder, "write", write)
        raise KeyboardInterrupt

    monkeypatch.setattr(WalFolder, "write", interrupted)
    with replication(primary) as connection:
        stream = connection.receive_wal(tmp_path, start=start, timeout=5)
        with pytest.raises(KeyboardInterrupt):
            next(stream)
        with pytest.raises(InvalidWalMessage, match="open another stream"):
            next(stream)
        assert [*connection.receive_wal(tmp_path, start=start, stop_at=end)]
    assert_as_on(primary, tmp_path)


def test_async_and_sync_write_the_same_files(cluster: Cluster, kept: str, tmp_path: Path) -> None:
    start, end = segment_of(flushed(cluster.primary)), next_segment(cluster.primary, 2 << 20)

    async def received() -> list[str]:
        async with await AsyncReplicationConnection.connect(cluster.primary.conninfo) as connection:
            stream = connection.receive_wal(tmp_path, start=start, stop_at=end, slot=kept)
            received = []
            async with stream:
                while not stream.is_closed:
                    # A cancelled run keeps what it has received.
                    with suppress(TimeoutError, StopAsyncIteration):
                        received.append(str((await asyncio.wait_for(anext(stream), 0.02)).name))
                return received + [str(segment.name) async for segment in stream]

    assert asyncio.run(received()) == names(tmp_path)
    assert_as_on(cluster.primary, tmp_path)


@pytest.mark.quiet
def test_a_run_cancelled_during_a_write_confirms_the_write(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a synchronous commit would wait until more WAL arrives."""
    primary = cluster.primary
    query = (
        "SELECT coalesce(flush_lsn, '0/0')::text AS lsn FROM pg_stat_replication"
        " WHERE application_name = 'slow'"
    )

    async def cancelled() -> None:
        sync, is_there = os.fsync, asyncio.Event()
        loop = asyncio.get_running_loop()

        def slow(file: int) -> None:
            loop.call_soon_threadsafe(is_there.set)
            time.sleep(0.2)
            sync(file)

        async with await AsyncReplicationConnection.connect(
            primary.conninfo, application_name="slow"
        ) as connection:
            stream = connection.receive_wal(tmp_path, synchronous=True, timeout=1)
            async with stream:
                with pytest.raises(WaitTimeout):
                    await anext(stream)
                before = stream.position
                monkeypatch.setattr(os, "fsync", slow)
                reading = asyncio.create_task(anext(stream, None))
                run(primary, "SELECT pg_logical_emit_message(true, 'x', 'x')")
                async with asyncio.timeout(20):
                    await is_there.wait()
                reading.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reading
                # The event loop is blocked: no other task can send the server a status update.
                wait_until(lambda: LSN(str(rows(primary, query)[0]["lsn"])) > before)

    asyncio.run(cancelled())


KILLED = """
import sys, pgreplkit
conninfo, folder = sys.argv[1:]
with pgreplkit.ReplicationConnection.connect(conninfo) as connection:
    for segment in connection.receive_wal(folder, slot="kept_wal"):
        print(segment.name, flush=True)
"""


def test_a_killed_run_is_continued_by_the_next(cluster: Cluster, kept: str, tmp_path: Path) -> None:
    primary = cluster.primary
    command = [sys.executable, "-c", KILLED, primary.conninfo, str(tmp_path)]
    query = "SELECT active FROM pg_replication_slots WHERE slot_name = 'kept_wal'"
    rounds = 2
    for _ in range(rounds):
        with subprocess.Popen(command) as process:
            try:
                wait_until(lambda: bool(one(primary, query)))
                next_segment(primary, 2 << 20)
                time.sleep(0.02)
            finally:
                process.send_signal(signal.SIGKILL)
        wait_until(lambda: not one(primary, query))
    end = next_segment(primary)
    with replication(primary) as connection:
        list(connection.receive_wal(tmp_path, slot=kept, stop_at=end))
    numbers = [int(name[8:], 16) for name in names(tmp_path)]
    assert len(numbers) > rounds
    assert numbers == [*range(numbers[0], numbers[-1] + 1)]
    assert_as_on(primary, tmp_path)


def waits_for_more(stream: Iterator[ReceivedSegment]) -> bool:
    """Receive until nothing more comes for the stream's timeout."""
    with pytest.raises(WaitTimeout):
        next(stream)
    return True


@pytest.mark.quiet
@pytest.mark.matrix
def test_segments_of_two_timelines_equal_the_promoted_servers(
    clusters: Clusters, major: int, tmp_path: Path
) -> None:
    keep = {"wal_keep_segments": "64"} if major < 13 else {"wal_keep_size": "1GB"}
    primary = clusters.lab.primary(version=major, settings=keep)
    standby = clusters.lab.standby(primary)
    start = segment_of(flushed(primary))
    next_segment(primary)
    with replication(standby) as connection:
        stream = connection.receive_wal(tmp_path, start=start, timeout=2)
        received = [next(stream)]
        end = write_wal(primary)
        # The standby passes it on at its own pace.
        wait_until(lambda: waits_for_more(stream) and stream.position >= end)
        primary.stop()
        standby.promote()
        end = next_segment(standby)
        received += [next(stream)]
        stream.close()
    first, second = start.wal_file(timeline=1), (start + SIZE).wal_file(timeline=2)
    assert [segment.name for segment in received] == [first, second]
    last = f"{(start + SIZE).wal_file(timeline=1)}.partial"
    assert {str(first), str(second), last, "00000002.history"} <= {*names(tmp_path)}
    for path in tmp_path.iterdir():
        if path.suffix != ".partial":
            assert path.read_bytes() == (pg_wal(standby) / path.name).read_bytes(), path.name
    # The segment on the new timeline begins with the old timeline's part of it.
    old, new = (tmp_path / last).read_bytes(), (tmp_path / str(second)).read_bytes()
    old = old.rstrip(b"\0")
    assert len(old) > 8192
    assert new.startswith(old)
    # After a kill at this point, the next run continues with the new timeline.
    (tmp_path / str(second)).unlink()
    with replication(standby) as connection:
        again = list(connection.receive_wal(tmp_path, stop_at=end))
    assert [segment.name for segment in again][-1] == second


@pytest.mark.matrix
@pytest.mark.pg(">=11")
def test_segments_have_the_servers_size(clusters: Clusters, major: int, tmp_path: Path) -> None:
    if major < 11:
        pytest.skip("needs PostgreSQL 11")
    node = clusters.lab.primary(version=major, segment_size=SegmentSize(1 << 20))
    start = flushed(node)
    end = write_wal(node, 3 << 20)
    with replication(node) as connection:
        received = list(connection.receive_wal(tmp_path, start=start, stop_at=end))
    assert len(received) > 2
    assert {one.path.stat().st_size for one in received} == {1 << 20}
    for one_of in received:
        assert one_of.path.read_bytes() == (pg_wal(node) / one_of.path.name).read_bytes()
