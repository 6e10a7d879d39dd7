"""Records of a live server: over a replication connection, in its pg_wal, and by their tables."""

from __future__ import annotations

import threading
from contextlib import closing

import psycopg
import pytest
from clusters import Cluster, Clusters, one, run
from colours import Colour
from walfiles import flushed, pg_wal, replication, write_wal

from pgreplkit import LSN, AsyncReplicationConnection, TimelineHistory
from pgreplkit.errors import AheadOfServer, InvalidAcknowledgement
from pgreplkit.lab import Node
from pgreplkit.offline.decoder import WalDecoder
from pgreplkit.offline.reader import open_wal
from pgreplkit.offline.stats import WalBy
from pgreplkit.values.tablename import TableName


def insert_lsn(node: Node) -> LSN:
    return LSN(str(one(node, "SELECT pg_current_wal_insert_lsn()::text")))


def test_streamed_records_are_those_of_the_servers_files(cluster: Cluster) -> None:
    node = cluster.primary
    start = flushed(node)
    run(node, "CREATE TABLE IF NOT EXISTS read_wal AS SELECT 1 AS id")
    end = write_wal(node)
    in_files = [*open_wal(pg_wal(node), start=start, stop_at=end)]
    assert in_files
    with replication(node) as connection:
        with connection.read_wal(start, stop_at=end) as records:
            streamed = [*records]
            assert records.position == streamed[-1].end_lsn
        assert streamed == [record for record in in_files if record.end_lsn <= end]
        # Chunks of another stream, decoded without I/O, from the start of a record.
        decoder = WalDecoder(major=node.major)
        begin = streamed[1].lsn
        with connection.start_physical(begin, stop_at=end) as chunks:
            decoded = [record for chunk in chunks for record in decoder.feed(chunk)]
        assert decoded == streamed[1:]
        assert decoder.position == end
        assert connection.identify_system().timeline == 1


@pytest.mark.one_colour
async def test_records_arrive_while_the_server_writes(cluster: Cluster, colour: Colour) -> None:
    node = cluster.primary
    start = flushed(node)
    async with await AsyncReplicationConnection.connect(node.conninfo) as connection:
        async with connection.read_wal(start, timeout=30) as records:
            run(node, "SELECT pg_logical_emit_message(true, 'test', 'read me')")
            async for record in records:
                if record.kind == "MESSAGE" and b"read me" in record.data:
                    break
            records.acknowledge(start)
            with pytest.raises(InvalidAcknowledgement):
                records.acknowledge(LSN.MAX)
        with pytest.raises(AheadOfServer):
            async for _ in connection.read_wal(LSN.MAX - 16384):
                pass


async def test_files_in_the_wal_have_the_names_of_tables(cluster: Cluster, colour: Colour) -> None:
    node = cluster.primary
    start = insert_lsn(node)
    run(node, 'DROP TABLE IF EXISTS "Named"')
    run(node, 'CREATE TABLE "Named" (id int PRIMARY KEY)')
    run(node, 'INSERT INTO "Named" SELECT coalesce(max(id), 0) + 1 FROM "Named"')
    stats = open_wal(pg_wal(node), start=start).stats(by=WalBy.RELATION)
    async with await colour.primary(node.conninfo) as primary:
        names = await primary.relation_names(stats)
        expected = {TableName("public", "Named"), TableName("public", "Named_pkey")}
        assert expected | {TableName("pg_catalog", "pg_class")} <= {*names.values()}
        assert {*names} <= {row.key for row in stats}
        assert await primary.relation_names([]) == {}


def test_commits_and_checkpoints_are_the_servers(cluster: Cluster) -> None:
    node = cluster.primary
    start = insert_lsn(node)
    with closing(psycopg.connect(node.conninfo)) as connection:
        [xid] = connection.execute("SELECT txid_current()").fetchone() or [0]
        connection.execute("SAVEPOINT a")
        connection.execute("CREATE TEMPORARY TABLE passing (id int)")
        connection.commit()
    run(node, "CHECKPOINT")
    wal = open_wal(pg_wal(node), start=start)
    [commit] = [commit for commit in wal.commits() if commit.xid == xid % (1 << 32)]
    assert len(commit.subxids) == 1
    checkpoint = wal.last_checkpoint()
    assert checkpoint is not None
    server = one(node, "SELECT checkpoint_lsn::text FROM pg_control_checkpoint()")
    assert checkpoint.lsn == LSN(str(server))


def test_reading_follows_a_promotion(clusters: Clusters, major: int) -> None:
    primary = clusters.lab.primary(version=major)
    standby = clusters.lab.standby(primary)
    run(primary, "CREATE TABLE before_it AS SELECT 1 AS id")
    standby.wait_for_streaming()
    # The checkpoint after the promotion would remove files while they are read.
    run(standby, "SELECT pg_create_physical_replication_slot('reader', true)")
    primary.stop()
    standby.promote()
    run(standby, "CREATE TABLE after_it AS SELECT 1 AS id")
    history, end = standby_history(standby), flushed(standby)
    # Its checkpoint would write WAL between two reads.
    standby.stop()
    wal = open_wal(pg_wal(standby), timeline=history)
    timelines = [record.timeline for record in wal]
    assert {*timelines} == {1, 2}
    assert timelines == sorted(timelines)
    assert wal.end_lsn is not None
    assert wal.end_lsn >= end
    assert [record.timeline for record in open_wal(pg_wal(standby))] == timelines
    checkpoint = wal.last_checkpoint()
    assert checkpoint is not None


def standby_history(node: Node) -> TimelineHistory:
    with replication(node) as connection:
        return connection.timeline_history(2)


def test_a_directory_is_read_while_the_server_writes_to_it(cluster: Cluster) -> None:
    node = cluster.primary
    start = flushed(node)
    seen = []
    writer = threading.Thread(target=lambda: [write_wal(node, 1 << 21) for _ in range(4)])
    writer.start()
    while writer.is_alive():
        seen.append([*open_wal(pg_wal(node), start=start)])
    writer.join()
    final = [*open_wal(pg_wal(node), start=start, verify_crc=True)]
    for records in seen:
        assert records == final[: len(records)]
