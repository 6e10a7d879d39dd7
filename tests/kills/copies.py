"""Kill the first copy of an applier at random moments: ``copies.py [kills] [seed] [PG PG]``.

Each round copies tables that are being written to, and kills the applier until the copy is
complete. Then the rows of both servers are compared: a table that was copied twice, at a wrong
position, or not at all leaves a difference, a refusal or a conflict.
"""

from __future__ import annotations

import random
import sys
import tempfile
import threading
import time
from pathlib import Path

import psycopg
from killing import Process, applier_command, position

from pgreplkit.apply import Applier
from pgreplkit.lab import Lab, Node

TABLES = [f"t{number}" for number in range(6)]
ROWS = 30_000


def create(node: Node, rows: int) -> None:
    with psycopg.connect(node.conninfo, autocommit=True) as connection:
        for table in TABLES:
            connection.execute(f"DROP TABLE IF EXISTS {table}".encode())
            connection.execute(
                f"CREATE TABLE {table} AS SELECT i::bigint AS id, 0 AS n, repeat('x', 50) AS pad"
                f" FROM generate_series(1, {rows}) AS i".encode()
            )
            connection.execute(f"ALTER TABLE {table} ADD PRIMARY KEY (id)".encode())


def write(source: Node, chance: random.Random, stopped: threading.Event) -> None:
    """Change rows of several tables in each transaction."""
    with psycopg.connect(source.conninfo) as writer:
        while not stopped.is_set():
            number = time.time_ns()
            for table in chance.sample(TABLES, 3):
                key = chance.randrange(ROWS)
                writer.execute(f"UPDATE {table} SET n = n + 1 WHERE id = {key}".encode())
                writer.execute(f"INSERT INTO {table} VALUES ({number}, 0)".encode())
                writer.execute(f"DELETE FROM {table} WHERE id = {key + 7}".encode())
            writer.commit()
            time.sleep(0.002)


def fingerprints(node: Node) -> list[object]:
    found: list[object] = []
    with psycopg.connect(node.conninfo) as connection:
        for table in TABLES:
            query = f"SELECT md5(string_agg({table}::text, '' ORDER BY id)) FROM {table}"
            found += connection.execute(query.encode()).fetchall()
    return found


def round_of_kills(
    source: Node, target: Node, folder: Path, chance: random.Random, most: int
) -> int:
    """Copy once, with at most that many kills; return their number."""
    create(target, 0)
    applier = Applier(source.conninfo, target.conninfo, "copies", publications=["p"])
    config = folder / "config.toml"
    config.write_text(
        f'name = "copies"\npublisher = "{source.conninfo}"\n'
        f'subscriber = "{target.conninfo}"\npublications = ["p"]\ncopy_workers = 3\n'
    )
    stopped = threading.Event()
    writer = threading.Thread(target=write, args=(source, chance, stopped))
    writer.start()
    kills = 0
    try:
        process = Process(applier_command(config), folder / "log")
        while kills < most:
            # It needs about half a second to begin.
            time.sleep(chance.uniform(0.4, 1.1))
            process.kill()
            kills += 1
            if is_streaming(target):
                break
            process.start()
        process.kill()
    finally:
        stopped.set()
        writer.join()
    applier.run(stop_at=position(source), timeout=120)
    if fingerprints(source) != fingerprints(target):
        raise SystemExit("the rows differ")
    if conflicts := applier.conflicts():
        raise SystemExit(f"conflicts: {conflicts[:3]}")
    applier.drop()
    return kills


def is_streaming(target: Node) -> bool:
    with psycopg.connect(target.conninfo) as connection:
        exists = "SELECT to_regclass('pgreplkit.applier') IS NOT NULL"
        if connection.execute(exists).fetchone() != (True,):
            return False
        states = connection.execute("SELECT state FROM pgreplkit.applier").fetchall()
        return states == [("streaming",)]


def main() -> None:
    kills, seed = (int(word) for word in [*sys.argv[1:3], *["20", "1"][len(sys.argv) - 1 :]])
    versions = [int(word) for word in sys.argv[3:5]] or [18, 18]
    chance = random.Random(seed)
    with Lab() as lab, tempfile.TemporaryDirectory() as folder:
        settings = {"wal_level": "logical"}
        source = lab.primary(name="source", version=versions[0], settings=settings)
        target = lab.primary(name="target", version=versions[-1], settings=settings)
        create(source, ROWS)
        with psycopg.connect(source.conninfo, autocommit=True) as connection:
            connection.execute(f"CREATE PUBLICATION p FOR TABLE {', '.join(TABLES)}".encode())
        rounds = done = 0
        while done < kills:
            done += round_of_kills(source, target, Path(folder), chance, kills - done)
            rounds += 1
        print(f"{done} kills in {rounds} copies, seed {seed}: the same rows")


if __name__ == "__main__":
    main()
