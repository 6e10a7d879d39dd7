"""Interrupt the plans of meshes at each step: ``meshplans.py [runs] [seed] [PG …]``.

A plan that creates, joins or leaves runs in a process that is killed before, after or during a
step, while others write. Then another process resumes or undoes it. In the end the rows of all
nodes are compared, every insert that a server acknowledged must be on all of them, and a plan that
was undone must have left nothing.
"""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psycopg
from kills.meshes import PATIENCE, ROLE, SETTINGS, SETUP, Process, Writer, execute, mesh_of, remove
from psycopg.conninfo import make_conninfo

from pgreplkit import Plan
from pgreplkit.lab import Lab, Node
from pgreplkit.mesh import Mesh
from pgreplkit.plans.cluster.steps import Step

NAMES = ("berlin", "paris", "rome")
STEPS = {"create": 17, "join": 14, "leave": 9}
"""At most: the last ones of a mesh of two do not exist."""
OBJECTS = """
    SELECT (SELECT count(*) FROM pg_replication_slots WHERE database = current_database()),
        (SELECT count(*) FROM pg_publication),
        (SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'pgreplkit%'),
        (SELECT count(*) FROM pg_replication_origin),
        coalesce((SELECT sum(n) FROM (
            SELECT count(*) AS n FROM t UNION ALL SELECT count(*) FROM log
            UNION ALL SELECT count(*) FROM counter) AS one), 0)
"""


def plan_of(mesh: Mesh, kind: str, journal: str) -> Plan:
    if kind == "create":
        return mesh.plan_create(first="berlin", timeout=PATIENCE, journal=journal)
    if kind == "join":
        return mesh.plan_join("rome", donor="berlin", timeout=PATIENCE, journal=journal)
    return mesh.plan_leave("rome", timeout=PATIENCE, journal=journal)


class Leaver(Writer):
    """Ends when its node refuses writes: later ones, after the node has left, stay there."""

    def _run_transaction(self, writer: psycopg.Connection, entry: str) -> None:
        try:
            super()._run_transaction(writer, entry)
        except psycopg.errors.ObjectNotInPrerequisiteState:
            self.stopped.set()
            raise


def perform_until_killed(
    nodes: dict[str, str], kind: str, journal: str, at: int, when: str
) -> None:
    """Run a plan in this process, and end the process at a step as a kill does."""
    plan = plan_of(mesh_of(nodes), kind, journal)
    actor = plan._actor
    begun = itertools.count()

    class Killed:
        def perform(self, step: Step) -> object:
            number = next(begun)
            if number == at and when == "before":
                os._exit(9)
            if number == at and when == "during":
                # Steps take from a few milliseconds to a second.
                signal.setitimer(signal.ITIMER_REAL, random.uniform(0.001, 0.15))
            outcome = actor.perform(step)
            if number == at:
                os._exit(9)
            return outcome

    plan._actor = Killed()  # type: ignore[assignment]
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    plan.run()


class Run:
    """One mesh, with one plan that is killed at one step and then resumed or undone."""

    def __init__(self, servers: list[Node], number: int, chance: random.Random) -> None:
        self.number, self.chance = number, chance
        self.servers = dict(zip(NAMES, servers, strict=False))
        owned = {}
        for name, server in self.servers.items():
            execute(server.conninfo, f"CREATE DATABASE run{number}")
            owned[name] = make_conninfo(server.conninfo, dbname=f"run{number}")
            execute(owned[name], *SETUP)
        self.nodes = owned
        self.owned = owned
        if number % 2 == 0:
            self.set_up(*NAMES)
            self.nodes = {
                name: make_conninfo(one, user=ROLE, password=ROLE) for name, one in owned.items()
            }
        self.writers: dict[str, Writer] = {}
        self.process: Process | None = None
        self.acknowledged = set[str]()
        self.count = itertools.count()

    def set_up(self, *names: str) -> None:
        statements = mesh_of(self.owned).setup_sql(ROLE).nodes
        for name in names:
            execute(self.owned[name], *statements[name])

    def write(self, *names: str) -> None:
        for name in names:
            kind = Leaver if name == "rome" else Writer
            self.writers[name] = kind(self.owned[name], f"{name}{next(self.count)}", self.number)
            self.writers[name].start()

    def rest(self, *names: str) -> None:
        for name in names or [*self.writers]:
            writer = self.writers.pop(name)
            writer.stopped.set()
            writer.join()
            self.acknowledged |= {*writer.acknowledged}

    def mesh(self, *names: str) -> Mesh:
        return mesh_of({name: self.nodes[name] for name in names or NAMES})

    def go(self, kind: str, at: int, when: str, way: str) -> str:
        try:
            return self._go(kind, at, when, way)
        finally:
            for writer in self.writers.values():
                writer.stopped.set()
            for writer in self.writers.values():
                writer.join()
            if self.process is not None:
                self.process.kill()

    def _go(self, kind: str, at: int, when: str, way: str) -> str:
        old = {name: self.objects(name) for name in NAMES}
        if kind == "create":
            self.write("berlin")
        else:
            self.mesh(*(NAMES if kind == "leave" else NAMES[:2])).plan_create().run()
            self.process = Process(self.nodes)
            self.write(*(NAMES if kind == "leave" else NAMES[:2]))
        time.sleep(self.chance.uniform(0, 0.3))
        old = old if kind == "create" else {name: self.objects(name) for name in NAMES}
        mesh = self.mesh()
        with tempfile.TemporaryDirectory() as folder:
            journal = f"{folder}/journal.json"
            killed = self.kill(kind, journal, at, when)
            if killed and Path(journal).exists():
                plan = mesh.plan_resume(journal)
                begun = plan.steps[: len(plan.steps) - len(plan.remaining) + 1]
                if any(step.is_final for step in begun) or not plan.remaining:
                    way = "resume"
                if way == "resume":
                    plan.resume()
                else:
                    plan.undo()
                    self.insist_on_undone(kind, old)
                    if kind == "leave":
                        # It takes writes again.
                        self.rest("rome")
                        self.write("rome")
                    plan_of(mesh, kind, f"{folder}/again.json").run()
            elif killed:
                plan_of(mesh, kind, journal).run()
            else:
                way = "not killed"
        if self.process is None:
            self.process = Process(self.nodes)
        if kind == "leave":
            self.rest()
            self.compare("berlin", "paris")
            if self.number % 2 == 0:
                self.set_up("rome")
            # It comes back, with the rank and the origins that it had.
            for table in ("t", "log", "counter"):
                execute(self.owned["rome"], f"DELETE FROM {table}")
            self.write("berlin", "paris")
            mesh.plan_join("rome", timeout=PATIENCE).run()
        self.write(*({*NAMES} - {*self.writers}))
        time.sleep(0.3)
        self.rest()
        self.compare(*NAMES)
        return way

    def kill(self, kind: str, journal: str, at: int, when: str) -> bool:
        pairs = [f"{name}={conninfo}" for name, conninfo in self.nodes.items()]
        done = subprocess.run(
            [sys.executable, __file__, "--kill", kind, journal, str(at), when, *pairs],
            check=False,
            capture_output=True,
            text=True,
        )
        if done.returncode not in (0, 9, -signal.SIGALRM):
            raise SystemExit(f"run {self.number}: the plan failed:\n{done.stderr}")
        return done.returncode != 0

    def objects(self, name: str) -> tuple[object, ...]:
        with psycopg.connect(self.owned[name]) as connection:
            return connection.execute(OBJECTS).fetchone() or ()

    def insist_on_undone(self, kind: str, old: dict[str, tuple[object, ...]]) -> None:
        for name in NAMES:
            now = self.objects(name)
            # Others write where they may.
            if now[:4] != old[name][:4] or (name == "rome" and kind != "leave" and now[4]):
                raise SystemExit(f"run {self.number}: {name} had {old[name]}, and has {now}")

    def compare(self, *names: str) -> None:
        """Insist on equal rows, and on everything that was acknowledged."""
        mesh = self.mesh(*names)
        mesh.wait_for_sync(timeout=PATIENCE)
        comparison = mesh.compare(timeout=PATIENCE)
        if not comparison.is_equal:
            raise SystemExit(f"run {self.number}:\n{comparison}")
        if self.writers:
            return
        for name in names:
            with psycopg.connect(self.owned[name]) as connection:
                there = {entry for (entry,) in connection.execute("SELECT at FROM log")}
                [total] = connection.execute("SELECT sum(n) FROM counter").fetchone() or [0]
            if lost := self.acknowledged - there:
                raise SystemExit(f"run {self.number}: {name} lost {len(lost)} commits")
            if (total or 0) != len(there):
                raise SystemExit(f"run {self.number}: {len(there)} commits added up to {total}")


def main() -> None:
    if sys.argv[1:2] == ["--kill"]:
        kind, journal, at, when, *pairs = sys.argv[2:]
        nodes = dict(pair.split("=", 1) for pair in pairs)
        perform_until_killed(nodes, kind, journal, int(at), when)
        return
    runs, seed = (int(word) for word in [*sys.argv[1:3], *["10", "1"][len(sys.argv) - 1 :]])
    versions = [int(word) for word in sys.argv[3:]] or [18, 18, 18]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    chance, total = random.Random(seed), Counter[str]()
    cases = [
        (kind, at, when, way)
        for kind, steps in STEPS.items()
        for at in range(steps)
        for when in ("before", "during", "after")
        for way in ("resume", "undo")
    ]
    chance.shuffle(cases)
    with Lab() as lab:
        servers = [
            lab.primary(name=f"pg{place}", version=version, settings=SETTINGS)
            for place, version in enumerate(versions)
        ]
        for server in servers:
            execute(server.conninfo, f"CREATE ROLE {ROLE} LOGIN PASSWORD '{ROLE}'")
        for number, case in enumerate(cases[:runs], 1):
            print(f"run {number}: {case}", flush=True)
            began = time.monotonic()
            run = Run(servers, number, chance)
            way = run.go(*case)
            total[f"{case[0]} {way}"] += 1
            print(f"run {number}: {way}, equal, {time.monotonic() - began:.1f} s", flush=True)
            for server in run.servers.values():
                remove(server, f"run{number}")
    print(f"{sum(total.values())} runs on {versions}, seed {seed}: {dict(total)}, no row differs")


if __name__ == "__main__":
    main()
