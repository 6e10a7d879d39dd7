"""Kill an applier, its source and its target: ``appliers.py [kills] [seed] [PG PG [group]]``.

Writers change rows all the time. At the end the rows of both servers are compared; a lost or
doubled transaction makes the counters differ, or leaves a conflict.
"""

from __future__ import annotations

import contextlib
import random
import sys
import tempfile
import time
from pathlib import Path

import psycopg
from killing import Process, Writers, applier_command, commit_or_roll_back, position

from pgreplkit.apply import Applier
from pgreplkit.lab import Lab, Node

SETTINGS = {
    "wal_level": "logical",
    "restart_after_crash": "on",
    # Writers change the same keys in any order: a deadlock takes that long.
    "deadlock_timeout": "20ms",
}
SETUP = (
    "CREATE TABLE t (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0, pad text)",
    "CREATE TABLE log (at bigint PRIMARY KEY, who int)",
)
WRITERS, KEYS = 3, 200
KINDS = ("applier", "stop", "source", "target", "walsender", "session")
"""``stop`` is a SIGTERM; ``walsender`` and ``session`` end the applier's sessions on a server."""
SESSIONS = {
    "walsender": "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots",
    "session": "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid IN"
    " (SELECT pid FROM pg_locks WHERE locktype = 'advisory')",
}


def write(writer: psycopg.Connection, chance: random.Random, number: int) -> None:
    """Run a transaction of one change or of many; one of ten is rolled back."""
    size = chance.choice([1, 1, 1, 1, 3, 3, 40, 2000])
    if size == 2000:
        change_many(writer, chance)
    else:
        for _ in range(size):
            change(writer, chance)
    if chance.random() < 0.2:
        with contextlib.suppress(psycopg.errors.DivisionByZero), writer.transaction():
            change(writer, chance)
            writer.execute("SELECT 1 / 0")
    entry = [time.time_ns(), number]
    writer.execute("INSERT INTO log VALUES (%s, %s) ON CONFLICT DO NOTHING", entry)
    commit_or_roll_back(writer, chance)
    time.sleep(0.001)


def change(writer: psycopg.Connection, chance: random.Random) -> None:
    key = chance.randrange(KEYS)
    kind = chance.random()
    if kind < 0.3:
        writer.execute(
            "INSERT INTO t VALUES (%s, 0, repeat('x', %s)) ON CONFLICT DO NOTHING",
            [key, chance.choice([10, 5000])],
        )
    elif kind < 0.85:
        writer.execute("UPDATE t SET n = n + 1 WHERE id = %s", [key])
    elif kind < 0.9:
        writer.execute(
            "UPDATE t SET id = %s WHERE id = %s AND NOT EXISTS (SELECT FROM t WHERE id = %s)",
            [other := chance.randrange(KEYS), key, other],
        )
    else:
        writer.execute("DELETE FROM t WHERE id = %s", [key])


def change_many(writer: psycopg.Connection, chance: random.Random) -> None:
    """Make a transaction that is applied while it comes."""
    writer.execute(
        "INSERT INTO t SELECT id, 0, repeat('y', 3000) FROM generate_series(0, %s) AS id"
        " ON CONFLICT DO NOTHING",
        [KEYS - 1],
    )
    for _ in range(chance.randint(1, 10)):
        writer.execute(
            "UPDATE t SET n = n + 1, pad = pad || 'z' WHERE id % 3 = %s", [chance.randrange(3)]
        )
    writer.execute("DELETE FROM t WHERE id % 7 = %s", [chance.randrange(7)])


def main() -> None:
    kills, seed = (int(word) for word in [*sys.argv[1:3], *["50", "1"][len(sys.argv) - 1 :]])
    versions = [int(word) for word in sys.argv[3:5]] or [18, 18]
    group = int(sys.argv[5]) if len(sys.argv) > 5 else 1
    chance = random.Random(seed)
    with Lab() as lab, tempfile.TemporaryDirectory() as folder:
        source = lab.primary(name="source", version=versions[0], settings=SETTINGS)
        target = lab.primary(name="target", version=versions[-1], settings=SETTINGS)
        for node in (source, target):
            set_up(node)
        with psycopg.connect(source.conninfo, autocommit=True) as connection:
            connection.execute("CREATE PUBLICATION p FOR TABLE t, log")
        applier = Applier(source.conninfo, target.conninfo, "kills", publications=["p"])
        applier.run(stop_at=position(source), timeout=60)
        config, log = Path(folder, "config.toml"), Path(folder, "log")
        config.write_text(
            f'name = "kills"\npublisher = "{source.conninfo}"\n'
            f'subscriber = "{target.conninfo}"\npublications = ["p"]\nreconnect = 60\n'
            f"group = {group}\n"
        )
        writers = Writers(source, seed, WRITERS, write)
        process = Process(applier_command(config), log)
        nodes = {"source": source, "target": target}
        killed = dict.fromkeys(KINDS, 0)
        try:
            for _ in range(kills):
                # Otherwise most kills would meet an applier that has just started.
                if chance.random() < 0.7:
                    wait_for_progress(process, target)
                time.sleep(chance.uniform(0, 0.5))
                who = chance.choice(KINDS)
                killed[who] += 1
                if who == "applier":
                    process.kill()
                elif who == "stop":
                    process.stop()
                elif who in SESSIONS:
                    execute(source if who == "walsender" else target, SESSIONS[who])
                else:
                    crash(nodes[who])
                process.ensure()
        finally:
            writers.stop()
            process.kill()
        applier.run(stop_at=position(source), timeout=120)
        insist_on_same_rows(source, target)
        conflicts = applier.conflicts()
        print(f"{killed} seed {seed}: {count(target)} transactions, the same rows", flush=True)
        if conflicts:
            raise SystemExit(f"conflicts: {conflicts[:3]}")


def set_up(node: Node) -> None:
    for statement in SETUP:
        execute(node, statement)


def execute(node: Node, statement: str) -> None:
    with psycopg.connect(node.conninfo, autocommit=True) as connection:
        connection.execute(statement.encode())


def wait_for_progress(process: Process, target: Node) -> None:
    """Wait until another transaction is applied."""
    before, end = count(target), time.monotonic() + 60
    while count(target) == before:
        process.ensure()
        if time.monotonic() > end:
            raise SystemExit("no transaction was applied for 60 s")
        time.sleep(0.05)


def count(target: Node) -> int:
    with psycopg.connect(target.conninfo) as connection:
        [rows] = connection.execute("SELECT count(*) FROM log").fetchone() or [0]
    return int(rows)


def crash(node: Node) -> None:
    node.stop("immediate")
    node.start()


def insist_on_same_rows(source: Node, target: Node) -> None:
    for table, key in (("t", "id"), ("log", "at")):
        found = []
        for node in (source, target):
            with psycopg.connect(node.conninfo) as connection:
                query = f"SELECT {table}::text FROM {table} ORDER BY {key}"
                found.append(connection.execute(query.encode()).fetchall())
        if found[0] != found[1]:
            only = {*found[0]} ^ {*found[1]}
            raise SystemExit(f"{len(only)} rows of {table} differ: {sorted(only)[:5]}")


if __name__ == "__main__":
    main()
