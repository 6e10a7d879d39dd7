"""WAL to stream in tests, and the server's own files to compare with."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import psycopg
from clusters import one, run

from pgreplkit import LSN, ReplicationConnection, SegmentSize
from pgreplkit.lab import Node


def replication(node: Node, **params: str | int | None) -> ReplicationConnection:
    """A connection for physical replication."""
    return ReplicationConnection.connect(node.conninfo, database=None, **params)


def flushed(node: Node) -> LSN:
    """Return the flush position of a primary."""
    return LSN(str(one(node, "SELECT pg_current_wal_flush_lsn()::text")))


def write_wal(node: Node, size: int = 1 << 20) -> LSN:
    """Let a primary write about `count` bytes of WAL; return its flush position afterwards."""
    with closing(psycopg.connect(node.conninfo, autocommit=True)) as connection:
        for _ in range(max(1, size >> 18)):
            text = "SELECT pg_logical_emit_message(false, 'test', repeat('wal ', 65536))"
            connection.execute(text)
        # A commit, which is flushed.
        connection.execute("CREATE TABLE IF NOT EXISTS ticks (at int)")
        connection.execute("INSERT INTO ticks VALUES (1)")
    return flushed(node)


def next_segment(node: Node, size: int = 1 << 20) -> LSN:
    """Switch a primary to a new segment; return the segment's start."""
    write_wal(node, size)
    run(node, "SELECT pg_switch_wal()")
    write_wal(node, 0)
    return segment_of(flushed(node))


def segment_of(lsn: LSN, segment_size: SegmentSize = SegmentSize.DEFAULT) -> LSN:
    """Return the start of the segment that contains a position."""
    return lsn.wal_file(timeline=1, segment_size=segment_size).first_lsn


def pg_wal(node: Node) -> Path:
    return node.data_directory / "pg_wal"


def wal_of(node: Node, start: LSN, end: LSN, timeline: int = 1) -> bytes:
    """Return the bytes of a server's WAL files between two positions."""
    parts = []
    while start < end:
        name = start.wal_file(timeline=timeline)
        stop = min(end, name.end_lsn)
        content = (pg_wal(node) / str(name)).read_bytes()
        parts.append(content[start - name.first_lsn : stop - name.first_lsn])
        start = stop
    return b"".join(parts)
