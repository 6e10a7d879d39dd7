"""Write on all nodes of meshes, and kill servers and appliers: ``meshes.py [runs] [seed] [PG …]``.

Each run has 2 to 4 nodes of random major versions. At the end the rows of all nodes are compared,
and every insert that a server acknowledged must be on all of them.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import threading
import time
from collections import Counter

import psycopg

from pgreplkit.lab import Lab, Node
from pgreplkit.mesh import Mesh

SETTINGS = {
    "wal_level": "logical",
    "track_commit_timestamp": "on",
    "max_replication_slots": "40",
    "max_wal_senders": "40",
    "restart_after_crash": "on",
}
SETUP = (
    "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, pad text)",
    "CREATE TABLE log (at text PRIMARY KEY)",
    "ALTER TABLE t REPLICA IDENTITY FULL",
    "ALTER TABLE log REPLICA IDENTITY FULL",
)
NAMES, KEYS, WRITERS = ("berlin", "paris", "rome", "oslo"), 12, 2


class Writer(threading.Thread):
    """Changes hot keys of one node until it is stopped, across restarts."""

    def __init__(self, conninfo: str, name: str, seed: int) -> None:
        super().__init__()
        self._conninfo, self._label = conninfo, name
        self._chance = random.Random(f"{name}{seed}")
        self.stopped = threading.Event()
        self.acknowledged: list[str] = []

    def run(self) -> None:
        number = 0
        while not self.stopped.is_set():
            with (
                contextlib.suppress(psycopg.Error),
                psycopg.connect(self._conninfo, connect_timeout=5) as writer,
            ):
                while not self.stopped.is_set():
                    for _ in range(self._chance.choice([1, 1, 2, 10])):
                        self._change(writer)
                    number += 1
                    entry = f"{self._label}-{number}"
                    writer.execute("INSERT INTO log VALUES (%s)", [entry])
                    writer.commit()
                    self.acknowledged.append(entry)
                    time.sleep(0.002)
            time.sleep(0.05)

    def _change(self, writer: psycopg.Connection) -> None:
        key, kind = self._chance.randrange(KEYS), self._chance.random()
        if kind < 0.35:
            writer.execute(
                "INSERT INTO t VALUES (%s, 0, repeat('x', %s)) ON CONFLICT (id) DO UPDATE"
                " SET n = t.n + 100",
                [key, self._chance.choice([10, 5000])],
            )
        elif kind < 0.8:
            writer.execute("UPDATE t SET n = n + 1 WHERE id = %s", [key])
        elif kind < 0.9:
            writer.execute("DELETE FROM t WHERE id = %s", [key])
        else:
            with contextlib.suppress(psycopg.errors.UniqueViolation), writer.transaction():
                moved = [self._chance.randrange(KEYS), key]
                writer.execute("UPDATE t SET id = %s WHERE id = %s", moved)


class Process:
    """All streams of a mesh as a process, started again whenever it has ended."""

    def __init__(self, nodes: dict[str, str]) -> None:
        pairs = [f"{name}={conninfo}" for name, conninfo in nodes.items()]
        self._command = [sys.executable, __file__, "--run", *pairs]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def ensure(self) -> None:
        if self._process.poll() is not None:
            raise SystemExit("the mesh gave up")


def mesh_of(nodes: dict[str, str]) -> Mesh:
    return Mesh(nodes, tables=["public.*"])


def run_once(servers: list[Node], number: int, chance: random.Random) -> Counter[str]:
    chosen = chance.sample(servers, chance.randint(2, min(4, len(servers))))
    nodes: dict[str, str] = {}
    for name, server in zip(NAMES, chosen, strict=False):
        with psycopg.connect(server.conninfo, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE run{number}".encode())
        nodes[name] = psycopg.conninfo.make_conninfo(server.conninfo, dbname=f"run{number}")
        with psycopg.connect(nodes[name], autocommit=True) as connection:
            for statement in SETUP:
                connection.execute(statement.encode())
    mesh = mesh_of(nodes)
    mesh.plan_create().run()
    process = Process(nodes)
    writers = [
        Writer(conninfo, f"{name}{copy}", number)
        for name, conninfo in nodes.items()
        for copy in range(WRITERS)
    ]
    killed = Counter[str]()
    for writer in writers:
        writer.start()
    try:
        for _ in range(chance.randint(1, 4)):
            time.sleep(chance.uniform(0.3, 1.2))
            process.ensure()
            who = chance.choice(["mesh", *nodes])
            killed["mesh" if who == "mesh" else "server"] += 1
            if who == "mesh":
                process.kill()
                process.start()
            else:
                server = chosen[[*nodes].index(who)]
                server.stop("immediate")
                server.start()
        time.sleep(0.5)
    finally:
        for writer in writers:
            writer.stopped.set()
        for writer in writers:
            writer.join()
    try:
        mesh.wait_for_sync(timeout=120)
        comparison = mesh.compare(timeout=120)
    finally:
        process.kill()
    versions = ", ".join(str(server.version) for server in chosen)
    if not comparison.is_equal:
        raise SystemExit(f"run {number} ({versions}):\n{comparison}")
    acknowledged = {entry for writer in writers for entry in writer.acknowledged}
    for name, conninfo in nodes.items():
        with psycopg.connect(conninfo) as connection:
            there = {entry for (entry,) in connection.execute("SELECT at FROM log")}
        if acknowledged - there:
            raise SystemExit(f"run {number}: {name} lost {len(acknowledged - there)} commits")
    killed["transactions"] = len(acknowledged)
    print(f"run {number} on {versions}: {dict(killed)}, no row differs", flush=True)
    for server in chosen:
        remove(server, f"run{number}")
    return killed


def remove(server: Node, database: str) -> None:
    """Drop a run's database, its slots and its origins."""
    with psycopg.connect(server.conninfo, autocommit=True) as connection:
        ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
        left = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        connection.execute(ended, [database])
        while (connection.execute(left, [database]).fetchone() or [0])[0]:
            time.sleep(0.05)
        connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots"
            " WHERE database = %s",
            [database],
        )
        connection.execute("SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin")
        connection.execute(f"DROP DATABASE {database}".encode())


def main() -> None:
    if sys.argv[1:2] == ["--run"]:
        mesh_of(dict(pair.split("=", 1) for pair in sys.argv[2:])).run()
        return
    runs, seed = (int(word) for word in [*sys.argv[1:3], *["10", "1"][len(sys.argv) - 1 :]])
    versions = [int(word) for word in sys.argv[3:]] or [18, 17, 16]
    chance, total = random.Random(seed), Counter[str]()
    with Lab() as lab:
        servers = [
            lab.primary(name=f"pg{place}", version=version, settings=SETTINGS)
            for place, version in enumerate(versions)
        ]
        for number in range(1, runs + 1):
            total += run_once(servers, number, chance)
    print(f"{runs} runs, seed {seed}: {dict(total)}, no row differs")


if __name__ == "__main__":
    main()
