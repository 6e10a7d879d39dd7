"""Write on all nodes of meshes, and kill servers and appliers: ``meshes.py [runs] [seed] [PG …]``.

Each run has 2 to 4 nodes of random major versions; some of them may join, leave and return while
the others write. At the end the rows of all nodes are compared, and every insert that a server
acknowledged must be on all of them. Each transaction also adds 1 to a delta column: the sum is
their number.
"""

from __future__ import annotations

import contextlib
import functools
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from pgreplkit import Plan
from pgreplkit.apply import DeltaColumns
from pgreplkit.errors import Error
from pgreplkit.lab import Lab, Node
from pgreplkit.mesh import Mesh

SETTINGS = {
    "wal_level": "logical",
    "track_commit_timestamp": "on",
    "max_replication_slots": "40",
    "max_wal_senders": "40",
    "restart_after_crash": "on",
    # Writers change hot keys in any order: a deadlock takes that long.
    "deadlock_timeout": "20ms",
}
SETUP = (
    "CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, pad text)",
    "CREATE TABLE log (at text PRIMARY KEY)",
    "CREATE TABLE counter (id int PRIMARY KEY, n bigint NOT NULL, at text)",
    "ALTER TABLE t REPLICA IDENTITY FULL",
    "ALTER TABLE log REPLICA IDENTITY FULL",
    "ALTER TABLE counter REPLICA IDENTITY FULL",
)
NAMES, KEYS, WRITERS = ("berlin", "paris", "rome", "oslo"), 12, 2
PAUSE = 0.02
"""Seconds between transactions: a machine of two processors applies those of four nodes in time."""
ROLE = "mover"
PATIENCE = 300
"""Seconds for all streams to catch up: they share one process, and machines can be busy."""


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
                    number += 1
                    self._run_transaction(writer, f"{self._label}-{number}")
                    time.sleep(PAUSE)
            time.sleep(0.05)

    def _run_transaction(self, writer: psycopg.Connection, entry: str) -> None:
        for _ in range(self._chance.choice([1, 1, 2, 10])):
            self._change(writer)
        writer.execute("INSERT INTO log VALUES (%s)", [entry])
        writer.execute(
            "INSERT INTO counter VALUES (%s, 1, %s) ON CONFLICT (id)"
            " DO UPDATE SET n = counter.n + 1, at = EXCLUDED.at",
            [self._chance.randrange(KEYS), entry],
        )
        writer.commit()
        self.acknowledged.append(entry)

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
    """All streams of a mesh, or those to one node, as a process."""

    def __init__(self, nodes: dict[str, str], node: str = "") -> None:
        pairs = [f"{name}={conninfo}" for name, conninfo in nodes.items()]
        self._command = [sys.executable, __file__, "--run", node, *pairs]
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
    return Mesh(nodes, tables=["public.*"], policy=DeltaColumns({"counter": ["n"]}))


class Run:
    """One mesh with its writers; every second one is run by a role that is no superuser.

    Some have one process for all streams, others one for each node.
    """

    def __init__(self, servers: list[Node], number: int, chance: random.Random) -> None:
        self.number, self.chance = number, chance
        self.killed = Counter[str]()
        chosen = chance.sample(servers, chance.randint(2, min(4, len(servers))))
        self.servers = dict(zip(NAMES, chosen, strict=False))
        # A node joins while the others write, unless it does not store the origins of commits.
        self.joining = [*self.servers][2:] if chance.random() < 0.5 else []
        old = {name for name, server in self.servers.items() if server.major < 14}
        if not old & {*[*self.servers][:2]} and old & {*self.joining}:
            self.joining = []
        self.nodes = self._databases()
        self.writers: dict[str, list[Writer]] = {}
        self.begun = 0

    def _databases(self) -> dict[str, str]:
        owned, nodes = {}, {}
        for name, server in self.servers.items():
            with psycopg.connect(server.conninfo, autocommit=True) as connection:
                connection.execute(f"CREATE DATABASE run{self.number}".encode())
            owned[name] = make_conninfo(server.conninfo, dbname=f"run{self.number}")
            execute(owned[name], *SETUP)
            nodes[name] = make_conninfo(owned[name], user=ROLE, password=ROLE)
        self.owned = owned
        if self.number % 2:
            return owned
        for name, statements in mesh_of(owned).setup_sql(ROLE).nodes.items():
            execute(owned[name], *statements)
        return nodes

    def go(self) -> Counter[str]:
        chance = self.chance
        first = {name: self.nodes[name] for name in self.nodes if name not in self.joining}
        mesh_of(first).plan_create().run()
        each = [*self.nodes] if chance.random() < 0.5 else [""]
        self.processes = [Process(self.nodes, node) for node in each]
        self.mesh = mesh_of(self.nodes)
        try:
            for name in first:
                self.write(name)
            for _ in range(chance.randint(1, 4)):
                time.sleep(chance.uniform(0.3, 1.2))
                self.kill_one()
            for name in self.joining:
                self.perform("join", functools.partial(self.join, name))
                self.write(name)
                self.kill_one()
            time.sleep(0.5)
            acknowledged = set[str]()
            if len(self.nodes) > 2 and chance.random() < 0.5:
                leaving = chance.choice([*self.nodes])
                acknowledged = self.stop(leaving)
                self.perform("leave", functools.partial(self.leave, leaving))
                if chance.random() < 0.5 and self.may_join(leaving):
                    self.return_to_mesh(leaving)
                else:
                    del self.nodes[leaving]
            acknowledged |= self.stop(*self.writers)
            # A member that this object does not know would be an error.
            self.mesh = mesh_of(self.nodes)
            self.mesh.wait_for_sync(timeout=PATIENCE)
            self.compare(acknowledged)
        finally:
            self.stop(*self.writers)
            for process in self.processes:
                process.kill()
        self.killed["transactions"] = len(acknowledged)
        versions = ", ".join(str(server.version) for server in self.servers.values())
        print(f"run {self.number} on {versions}: {dict(self.killed)}, no row differs", flush=True)
        for server in self.servers.values():
            remove(server, f"run{self.number}")
        return self.killed

    def write(self, node: str) -> None:
        self.begun += 1
        self.writers[node] = [
            Writer(self.nodes[node], f"{node}{self.begun}{copy}", self.number)
            for copy in range(WRITERS)
        ]
        for writer in self.writers[node]:
            writer.start()

    def stop(self, *nodes: str) -> set[str]:
        """Stop the writers of nodes; return what the servers acknowledged to them."""
        stopped = [writer for node in nodes for writer in self.writers.pop(node)]
        for writer in stopped:
            writer.stopped.set()
        for writer in stopped:
            writer.join()
        return {entry for writer in stopped for entry in writer.acknowledged}

    def kill_one(self) -> None:
        for process in self.processes:
            process.ensure()
        who = self.chance.choice(["mesh", *self.writers])
        self.killed["mesh" if who == "mesh" else "server"] += 1
        if who == "mesh":
            process = self.chance.choice(self.processes)
            process.kill()
            process.start()
        else:
            self.servers[who].stop("immediate")
            self.servers[who].start()

    def may_join(self, name: str) -> bool:
        """Return whether a node decides ties as the others do."""
        first = [*self.servers][: 2 if self.joining else None]
        by_rank = all(self.servers[node].major >= 14 for node in first)
        return not by_rank or self.servers[name].major >= 14

    def return_to_mesh(self, name: str) -> None:
        """Let a node that has left join again, while the others write."""
        execute(self.owned[name], "TRUNCATE t, log, counter")
        if self.owned[name] != self.nodes[name]:
            execute(self.owned[name], *mesh_of(self.owned).setup_sql(ROLE).nodes[name])
        self.perform("return", functools.partial(self.join, name))
        self.write(name)
        self.kill_one()

    def join(self, name: str, journal: str) -> Plan:
        donor = self.chance.choice([*self.writers])
        return self.mesh.plan_join(name, donor=donor, timeout=PATIENCE, journal=journal)

    def leave(self, name: str, journal: str) -> Plan:
        return self.mesh.plan_leave(name, timeout=PATIENCE, journal=journal)

    def perform(self, kind: str, planned: Callable[[str], Plan]) -> None:
        """Run a plan while something is killed, and continue it after each failure."""
        self.killed[kind] += 1
        with tempfile.TemporaryDirectory() as folder:
            journal = f"{folder}/journal.json"
            killer = threading.Timer(self.chance.uniform(0, 0.5), self.kill_one)
            plan = planned(journal)
            killer.start()
            try:
                plan.run()
            except Error as error:
                killer.join()
                print(f"run {self.number}: the {kind} continues after: {error}", flush=True)
                self.killed["resumed"] += 1
                time.sleep(1)
                # It is written when the checks have passed.
                if Path(journal).exists():
                    self.mesh.plan_resume(journal, timeout=PATIENCE).resume()
                else:
                    planned(journal).run()
            killer.join()

    def compare(self, acknowledged: set[str]) -> None:
        """Insist on equal rows on all nodes, and on everything that was acknowledged."""
        comparison = self.mesh.compare(timeout=PATIENCE)
        if not comparison.is_equal:
            raise SystemExit(f"run {self.number}:\n{comparison}")
        for name, conninfo in self.nodes.items():
            with psycopg.connect(conninfo) as connection:
                there = {entry for (entry,) in connection.execute("SELECT at FROM log")}
                [total] = connection.execute("SELECT sum(n) FROM counter").fetchone() or [0]
            if total != len(there):
                raise SystemExit(f"run {self.number}: {len(there)} commits added up to {total}")
            if lost := acknowledged - there:
                raise SystemExit(f"run {self.number}: {name} lost {len(lost)} commits")


def execute(conninfo: str, *statements: str) -> None:
    with psycopg.connect(conninfo, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


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
        mesh = mesh_of(dict(pair.split("=", 1) for pair in sys.argv[3:]))
        (mesh.node(sys.argv[2]) if sys.argv[2] else mesh).run()
        return
    runs, seed = (int(word) for word in [*sys.argv[1:3], *["10", "1"][len(sys.argv) - 1 :]])
    versions = [int(word) for word in sys.argv[3:]] or [18, 17, 16]
    # Otherwise the process of the mesh, and the servers, would outlive this one.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    chance, total = random.Random(seed), Counter[str]()
    with Lab() as lab:
        servers = [
            lab.primary(name=f"pg{place}", version=version, settings=SETTINGS)
            for place, version in enumerate(versions)
        ]
        for server in servers:
            execute(server.conninfo, f"CREATE ROLE {ROLE} LOGIN PASSWORD '{ROLE}'")
        for number in range(1, runs + 1):
            total += Run(servers, number, chance).go()
    print(f"{runs} runs, seed {seed}: {dict(total)}, no row differs")


if __name__ == "__main__":
    main()
