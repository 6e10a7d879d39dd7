"""Streamed, prepared and complete transactions."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from clusters import Clusters, one, run
from colours import Colour

from pgreplkit import LSN, Primary
from pgreplkit.changes import (
    BeginPrepare,
    CommitPrepared,
    Insert,
    Prepare,
    RollbackPrepared,
    StreamAbort,
    StreamCommit,
    StreamStart,
    StreamStop,
)
from pgreplkit.errors import ServerError
from pgreplkit.lab import Node

ROWS = "INSERT INTO t SELECT n, repeat('x', 100) FROM generate_series({}, {}) AS n"


@pytest.fixture
def node(clusters: Clusters, major: int) -> Node:
    """A server that streams transactions over 64 kB, and allows prepared transactions."""
    settings = {"wal_level": "logical", "max_prepared_transactions": "9", "autovacuum": "off"}
    if major >= 13:
        settings["logical_decoding_work_mem"] = "64kB"
    node = clusters.lab.primary(version=major, settings=settings)
    run(node, "CREATE TABLE t (id int PRIMARY KEY, data text)")
    run(node, "CREATE PUBLICATION p FOR TABLE t")
    run(node, "SELECT pg_create_logical_replication_slot('s', 'pgoutput')")
    return node


def written(node: Node) -> LSN:
    """Return the current end of the server's WAL."""
    return LSN(str(one(node, "SELECT pg_current_wal_lsn()::text")))


def interleaved(node: Node) -> None:
    """Run two large transactions at once, one with a rolled-back part, and roll back a third."""
    with (
        psycopg.connect(node.conninfo) as one,
        psycopg.connect(node.conninfo) as two,
        psycopg.connect(node.conninfo) as three,
    ):
        one.execute(ROWS.format(1, 2000).encode())
        two.execute(ROWS.format(10_001, 12_000).encode())
        one.execute("SAVEPOINT a")
        one.execute(ROWS.format(2001, 4000).encode())
        three.execute(ROWS.format(20_001, 22_000).encode())
        one.execute("ROLLBACK TO a")
        one.execute(ROWS.format(4001, 6000).encode())
        run(node, ROWS.format(30_001, 30_002))
        three.rollback()
        two.commit()
        one.commit()


EXPECTED = [
    [*range(30_001, 30_003)],
    [*range(10_001, 12_001)],
    [*range(1, 2001), *range(4001, 6001)],
]


@pytest.mark.pg(">=14")
@pytest.mark.parametrize("streaming", ["off", "on", "parallel"])
def test_transactions_are_complete_however_they_are_sent(
    node: Node, major: int, streaming: str
) -> None:
    if streaming == "parallel" and major < 16:
        pytest.skip("needs PostgreSQL 16")
    interleaved(node)
    with Primary.connect(node.conninfo) as primary:
        options = {"publications": ["p"], "streaming": streaming, "stop_at": written(node)}
        with primary.changes("s", **options) as stream:  # type: ignore[call-overload]
            found = [*stream]
        kinds = {type(change) for change in found}
        if streaming == "off":
            assert not kinds & {StreamStart, StreamStop, StreamCommit, StreamAbort}
        else:
            assert {StreamStart, StreamStop, StreamCommit, StreamAbort} <= kinds
            aborts = [change for change in found if isinstance(change, StreamAbort)]
            assert any(abort.xid != abort.subxid for abort in aborts)
            assert all(
                (abort.abort_lsn is not None) == (streaming == "parallel") for abort in aborts
            )
        # With little memory the transactions are spooled to files.
        for memory_limit in (1000, 8 << 20):
            with primary.changes("s", **options) as stream:  # type: ignore[call-overload]
                whole = [*stream.transactions(memory_limit=memory_limit)]
            got = [[c.new["id"] for c in t if isinstance(c, Insert)] for t in whole]
            assert got == EXPECTED
            ends = [t.end_lsn for t in whole]
            assert ends == sorted(ends)


@pytest.mark.pg(">=15")
@pytest.mark.parametrize("streaming", ["off", "on"])
def test_prepared_transactions_are_streamed_at_prepare(node: Node, streaming: str) -> None:
    with Primary.connect(node.conninfo) as primary:
        primary.create_logical_slot("two", two_phase=True)
        rows = 2000 if streaming == "on" else 2
        for first, end in ((1, "COMMIT"), (50_001, "ROLLBACK")):
            with psycopg.connect(node.conninfo) as writer:
                writer.execute(ROWS.format(first, first + rows - 1).encode())
                writer.execute(f"PREPARE TRANSACTION 'tx {first}'".encode())
            run(node, f"{end} PREPARED 'tx {first}'")
        options: dict[str, object] = {"publications": ["p"], "streaming": streaming}
        options |= {"two_phase": True, "stop_at": written(node)}
        with primary.changes("two", **options) as stream:  # type: ignore[call-overload]
            with pytest.raises(ValueError, match="not committed"):
                stream.transactions()
            found = [c for c in stream if not isinstance(c, Insert)]
        prepares = [c for c in found if isinstance(c, Prepare)]
        assert [c.gid for c in prepares] == ["tx 1", "tx 50001"]
        assert prepares[0].is_streamed == (streaming == "on")
        [commit] = [c for c in found if isinstance(c, CommitPrepared)]
        [rollback] = [c for c in found if isinstance(c, RollbackPrepared)]
        assert (commit.gid, rollback.gid) == ("tx 1", "tx 50001")
        assert commit.xid == prepares[0].xid
        assert prepares[0].end_lsn < commit.end_lsn < prepares[1].end_lsn
        assert rollback.prepare_end_lsn == prepares[1].end_lsn
        begins = [c.gid for c in found if isinstance(c, BeginPrepare)]
        assert begins == [c.gid for c in prepares if not c.is_streamed]
        # The slot keeps two_phase, although this stream does not ask for it: no change is skipped.
        del options["two_phase"]
        with primary.changes("two", **options) as stream:  # type: ignore[call-overload]
            with pytest.raises(ServerError, match="created with two_phase"):
                next(stream.transactions())
            assert stream.is_closed
        # Without two_phase they are streamed at COMMIT PREPARED.
        with primary.changes("s", publications=["p"], stop_at=written(node)) as stream:
            assert [len([*transaction]) for transaction in stream.transactions()] == [rows]


@pytest.mark.pg(">=14")
async def test_transactions_can_be_read_with_async_for(node: Node, colour: Colour) -> None:
    interleaved(node)
    async with await colour.primary(node.conninfo) as primary:
        stream = primary.changes("s", publications=["p"], streaming="on", timeout=10)
        async with stream.transactions() as transactions:
            found = []
            async for transaction in transactions:
                found.append([c.new["id"] for c in transaction if isinstance(c, Insert)])
                transactions.acknowledge(transaction.end_lsn)
                if len(found) == 3:
                    break
    assert found == EXPECTED


BIG = """
import sys
from pathlib import Path
import pgreplkit
from pgreplkit.changes import Insert
with pgreplkit.Primary.connect(sys.argv[1]) as primary:
    with primary.changes("s", publications=["p"], streaming=sys.argv[2]) as stream:
        for transaction in stream.transactions():
            print(sum(isinstance(change, Insert) for change in transaction))
            break
        # Not ru_maxrss, which starts at the parent's value.
        status = Path("/proc/self/status").read_text().splitlines()
        [peak] = [line for line in status if "VmHWM" in line]
        print(int(peak.split()[1]) >> 10)
"""


@pytest.mark.matrix
@pytest.mark.pg(">=18")  # The measured memory is the client's, so one server version is enough.
def test_memory_stays_flat_for_a_large_transaction(node: Node, tmp_path: Path) -> None:
    run(node, ROWS.format(1, 400_000))
    script = tmp_path / "big.py"
    script.write_text(BIG)
    for streaming in ("off", "on"):
        command = [sys.executable, str(script), node.conninfo, streaming]
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        rows, megabytes = map(int, output)
        assert rows == 400_000
        assert megabytes < 80


@pytest.mark.pg(">=14")
def test_streamed_transactions_survive_a_lost_connection(node: Node) -> None:
    options = {"publications": ["p"], "streaming": "on", "reconnect": 20, "timeout": 20}
    lose = "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE active"
    with Primary.connect(node.conninfo) as primary:
        with (
            primary.changes("s", **options) as stream,  # type: ignore[call-overload]
            pytest.raises(ValueError, match=r"iterate over transactions\(\)"),
        ):
            next(stream)
        with primary.changes("s", **options) as stream:  # type: ignore[call-overload]
            transactions = stream.transactions()
            with psycopg.connect(node.conninfo) as writer:
                writer.execute(ROWS.format(1, 3000).encode())
                run(node, ROWS.format(9001, 9001))
                assert len([*next(transactions)]) == 1
                run(node, lose)
                run(node, ROWS.format(9002, 9002))
                assert len([*next(transactions)]) == 1
                writer.execute(ROWS.format(3001, 6000).encode())
            run(node, lose)
            assert [c.new["id"] for c in next(transactions)] == [*range(1, 6001)]
