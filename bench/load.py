"""Print the seconds to load a million-row pg_lsn column as JSON: ``load.py conninfo``."""

from __future__ import annotations

import json
import sys
import time

import psycopg

import pgreplkit

ROWS = 1_000_000
REPEATS = 5
TABLE = f"""
    CREATE TABLE IF NOT EXISTS positions AS
    SELECT '0/0'::pg_lsn + n * 7919::numeric AS lsn FROM generate_series(1, {ROWS}) AS n
"""


def load(connection: psycopg.Connection, *, binary: bool) -> float:
    start = time.perf_counter()
    connection.execute("SELECT lsn FROM positions", binary=binary).fetchall()
    return time.perf_counter() - start


def main() -> None:
    with psycopg.connect(sys.argv[1]) as ours, psycopg.connect(sys.argv[1]) as theirs:
        ours.execute(TABLE.encode())
        ours.commit()
        pgreplkit.register(ours)
        rounds = [
            {
                "str": load(theirs, binary=False),
                "text": load(ours, binary=False),
                "binary": load(ours, binary=True),
            }
            for _ in range(REPEATS)
        ]
    print(json.dumps({form: min(seconds[form] for seconds in rounds) for form in rounds[0]}))


if __name__ == "__main__":
    main()
