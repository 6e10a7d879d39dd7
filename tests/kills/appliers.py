"""Kill an applier, its source and its target: ``appliers.py [kills] [seed] [PG PG [group]]``.

Writers change rows all the time. At the end the rows of both servers are compared; a lost or
doubled transaction makes the counters differ, or leaves a conflict.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

import psycopg
from killing import Process, Writers, applier_command, commit_or_roll_back, position

from pgreplkit.apply import Applier
from pgreplkit.lab import Lab, Node

SETUP = (
    "CREATE TABLE t (id bigint PRIMARY KEY, n int NOT NULL DEFAULT 0, pad text)",
    "CREATE TABLE log (at bigint PRIMARY KEY, who int)",
)
WRITERS, KEYS = 3, 200


def write(writer: psycopg.Connection, chance: random.Random, number: int) -> None:
    """Run a transaction of one change or of many; one of ten is rolled back."""
    for _ in range(chance.choice([1, 1, 3, 40, 40, 2000])):
        change(writer, chance)
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
    elif kind < 0.9:
        writer.execute("UPDATE t SET n = n + 1 WHERE id = %s", [key])
    else:
        writer.execute("DELETE FROM t WHERE id = %s", [key])


def main() -> None:
    kills, seed = (int(word) for word in [*sys.argv[1:3], *["50", "1"][len(sys.argv) - 1 :]])
    versions = [int(word) for word in sys.argv[3:5]] or [18, 18]
    group = int(sys.argv[5]) if len(sys.argv) > 5 else 1
    chance = random.Random(seed)
    with Lab() as lab, tempfile.TemporaryDirectory() as folder:
        settings = {"wal_level": "logical", "restart_after_crash": "on"}
        source = lab.primary(name="source", version=versions[0], settings=settings)
        target = lab.primary(name="target", version=versions[-1], settings=settings)
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
        killed = {"applier": 0, "source": 0, "target": 0}
        try:
            for _ in range(kills):
                time.sleep(chance.uniform(0.1, 0.8))
                who = chance.choice([*killed])
                killed[who] += 1
                if who == "applier":
                    process.kill()
                else:
                    crash(nodes[who])
                process.ensure()
        finally:
            writers.stop()
            process.kill()
        applier.run(stop_at=position(source), timeout=120)
        insist_on_same_rows(source, target)
        conflicts = applier.conflicts()
        with psycopg.connect(target.conninfo) as connection:
            [rows] = connection.execute("SELECT count(*) FROM log").fetchone() or [0]
        print(f"{killed} seed {seed}: {rows} transactions, the same rows")
        if conflicts:
            raise SystemExit(f"conflicts: {conflicts[:3]}")


def set_up(node: Node) -> None:
    with psycopg.connect(node.conninfo, autocommit=True) as connection:
        for statement in SETUP:
            connection.execute(statement.encode())


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
