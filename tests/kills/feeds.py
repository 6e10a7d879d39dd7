"""Kill feeds, their source and their engine: ``feeds.py [kills] [seed] [engine] [version]``.

Writers change rows all the time, in transactions of 1 row, and of more rows than a batch has. At
the end the messages are compared with the writers' table: each committed change
exactly once, and in the order of the commits. Once per ten kills a feed is paused instead, and
another one takes over: the first one, resumed, must be fenced.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psycopg
from feedfacts import Lines
from jetstreams import bodies as stream_bodies
from killing import Process, Writers, commit_or_roll_back, position
from redisstreams import bodies as redis_bodies

from pgreplkit import LSN
from pgreplkit.errors import Error, SinkFenced, SlotActive
from pgreplkit.feeds import Feed, JetStream, RedisStreams, Sink
from pgreplkit.lab import Broker, Lab, Node

SLOT, DESTINATION = "kills", "cdc.rows"
SIZES = (1, 1, 1, 2, 40, 999, 1000, 1001, 2500)


def write(writer: psycopg.Connection, chance: random.Random, number: int) -> None:
    """Insert one row or many in a transaction; one of ten is rolled back."""
    writer.execute(
        """INSERT INTO t (writer, pad)
        SELECT %s, repeat('x', 200) FROM generate_series(1, %s)""",
        [number, chance.choice(SIZES)],
    )
    commit_or_roll_back(writer, chance)
    # Slower than a feed on a busy machine, which must catch up at the end.
    time.sleep(0.2)


def sink_of(engine: str, url: str) -> Sink:
    if engine == "redis":
        return RedisStreams(url, timeout=5)
    return JetStream(url, "CDC", subjects=["cdc.>"], timeout=5)


def feed_of(conninfo: str, engine: str, url: str) -> Feed:
    return Feed(
        conninfo,
        SLOT,
        publications=["p"],
        sink=sink_of(engine, url),
        encoder=Lines(DESTINATION),
        hold=0,
        heartbeat=0.5,
        reconnect=60,
    )


def run_feed(conninfo: str, engine: str, url: str) -> int:
    """Run a feed in this process; return 3 for an error that a restart does not end."""
    logging.basicConfig(level=logging.INFO)
    try:
        feed_of(conninfo, engine, url).run()
    except (SinkFenced, SlotActive) as error:
        print(type(error).__name__, error, file=sys.stderr, flush=True)
        return 4
    except Error as error:
        print(type(error).__name__, error, file=sys.stderr, flush=True)
        return 3
    return 0


def main() -> None:
    kills, seed = (int(word) for word in [*sys.argv[1:3], *["50", "1"][len(sys.argv) - 1 :]])
    engine = sys.argv[3] if len(sys.argv) > 3 else "jetstream"
    version = int(sys.argv[4]) if len(sys.argv) > 4 else None
    chance = random.Random(seed)
    with Lab() as lab, tempfile.TemporaryDirectory() as folder:
        source = lab.primary(
            version=version, settings={"wal_level": "logical", "wal_sender_timeout": "2s"}
        )
        broker = lab.redis() if engine == "redis" else lab.nats()
        with psycopg.connect(source.conninfo, autocommit=True) as connection:
            connection.execute(
                """CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
                writer int, pad text)"""
            )
            connection.execute("CREATE PUBLICATION p FOR TABLE t")
        feed = feed_of(source.conninfo, engine, broker.url)
        feed.run(stop_at=LSN("0/1"), timeout=30)
        command = [sys.executable, __file__, "feed", source.conninfo, engine, broker.url]
        process = Process(command, Path(folder, "log"))
        writers = Writers(source, seed, 2, write)
        try:
            killed = disturb(kills, chance, source, broker, process)
        finally:
            writers.stop()
            process.kill()
        feed.run(stop_at=position(source), timeout=900)
        read = redis_bodies if engine == "redis" else stream_bodies
        name = DESTINATION if engine == "redis" else "CDC"
        found = [json.loads(body) for body in asyncio.run(read(broker.url, name))]
        insist_on_exactly_once(found, source)
        fenced = Path(folder, "log").read_text().count("another writer has stored")
        print(
            f"{engine}, seed {seed}, {killed}: {len(found)} messages, exactly once, in order;"
            f" fenced {fenced} times"
        )


def disturb(
    kills: int, chance: random.Random, source: Node, broker: Broker, process: Process
) -> dict[str, int]:
    killed = {"feed": 0, "source": 0, "engine": 0, "paused": 0}
    for _ in range(kills):
        time.sleep(chance.uniform(0.1, 0.9))
        who = chance.choice(["feed"] * 4 + ["source", "engine"] * 2 + ["paused"])
        killed[who] += 1
        if who == "feed":
            process.kill()
        elif who == "source":
            source.kill()
            source.start()
        elif who == "engine":
            broker.kill()
            time.sleep(chance.uniform(0, 0.3))
            broker.start()
        else:
            take_over(process)
        process.ensure()
    return killed


def take_over(process: Process) -> None:
    """Pause the feed until the server has given its slot to another one, and resume it."""
    zombie = process.process
    zombie.send_signal(signal.SIGSTOP)
    process.start()
    time.sleep(3.5)
    zombie.send_signal(signal.SIGCONT)
    # One of the two has the slot; the other one is fenced, or waits for the slot.
    with contextlib.suppress(subprocess.TimeoutExpired):
        zombie.wait(3)
    zombie.kill()
    zombie.wait()


def insist_on_exactly_once(found: list[list[object]], source: Node) -> None:
    names = [(int(LSN(str(line[0]))), int(str(line[1]))) for line in found]
    if names != sorted({*names}):
        raise SystemExit("messages are doubled, or out of order")
    ids = [int(str(line[4])) for line in found]
    with psycopg.connect(source.conninfo) as connection:
        stored = [row[0] for row in connection.execute("SELECT id FROM t ORDER BY id")]
    if sorted(ids) != stored:
        lost, more = {*stored} - {*ids}, {*ids} - {*stored}
        raise SystemExit(f"{len(lost)} of {len(stored)} rows are lost, {len(more)} are too many")


if __name__ == "__main__":
    if sys.argv[1:2] == ["feed"]:
        sys.exit(run_feed(*sys.argv[2:5]))
    main()
