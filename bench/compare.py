"""Compare ``compare`` on ten million rows with plain SQL that hashes the same rows.

The subscriber has seven differences; a writer changes rows of the publisher throughout.
"""

from __future__ import annotations

import resource
import threading
import time

import psycopg

from pgreplkit import Server, SubscriptionOptions, compare
from pgreplkit.lab import Lab

ROWS = 10_000_000
TABLE = "CREATE TABLE filled (id bigint PRIMARY KEY, name text, number int, at timestamptz)"
FILL = """INSERT INTO filled SELECT n, 'name ' || n, n %% 1000, '2026-01-01'::timestamptz
    + n * interval '1 second' FROM generate_series(1, %s) AS n"""
PLAIN = "SELECT count(*), sum(hashtext(filled::text)::bigint) FROM filled"
PLANTED = (
    "DELETE FROM filled WHERE id IN (1, 5000000)",
    "UPDATE filled SET number = -1 WHERE id IN (77, 4999999, 10000000)",
    "INSERT INTO filled VALUES (0, 'extra', 0, now()), (20000000, 'extra', 0, now())",
)
DIFFERENT = {"1", "5000000", "77", "4999999", "10000000", "0", "20000000"}


def write(conninfo: str, stop: threading.Event) -> None:
    """Change single rows until stopped, half of them in one hot range."""
    with psycopg.connect(conninfo, autocommit=True) as connection:
        turn = 0
        while not stop.is_set():
            turn += 1
            connection.execute(
                "UPDATE filled SET number = number + 1 WHERE id = %s",
                [2_000_000 + turn % 100 if turn % 2 else turn * 7919 % ROWS + 100],
            )
            time.sleep(0.002)


def hash_plainly(*conninfos: str) -> float:
    """Hash all rows of both sides in parallel and return the seconds."""

    def ask(conninfo: str) -> None:
        with psycopg.connect(conninfo) as connection:
            connection.execute(PLAIN).fetchall()

    began = time.perf_counter()
    threads = [threading.Thread(target=ask, args=[conninfo]) for conninfo in conninfos]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - began


def main() -> None:
    """Run both on the same rows."""
    settings = {"wal_level": "logical", "max_wal_size": "8GB", "fsync": "off"}
    with Lab() as lab:
        nodes = lab.primary(settings=settings), lab.primary(settings=settings)
        publisher, subscriber = (node.connect() for node in nodes)
        for server in (publisher, subscriber):
            server.connection.execute(TABLE)
            server.connection.execute(FILL, [ROWS])
            server.connection.execute("VACUUM ANALYZE filled")
        publisher.create_publication("p", tables=["filled"])
        subscription = subscriber.create_subscription(
            "s", publisher, ["p"], SubscriptionOptions(copy_data=False)
        )
        subscription.wait_for_sync()
        for statement in PLANTED:
            subscriber.connection.execute(statement)
        stop = threading.Event()
        writer = threading.Thread(target=write, args=[nodes[0].conninfo, stop])
        writer.start()
        try:
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            ours, found = measured(publisher, subscriber)
            grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            plain = hash_plainly(*(node.conninfo for node in nodes))
        finally:
            stop.set()
            writer.join()
        print(
            f"compare: {ours:.1f} s for {ROWS} rows; plain hashing of both: {plain:.1f} s;"
            f" ratio {ours / plain:.2f}; memory grew by {grown / 1024:.0f} MB;"
            f" planted {len(DIFFERENT)}, found {len(found)}"
        )
        if {*found} != DIFFERENT or len(found) != len(DIFFERENT):
            raise SystemExit(f"found {sorted(found)}")


def measured(publisher: Server, subscriber: Server) -> tuple[float, list[str]]:
    """Return the seconds of a comparison and the keys of the rows that differ."""
    began, found = time.perf_counter(), []
    for progress in compare(publisher, subscriber):
        found += [diff.key["id"] for diff in progress.diffs]
    return time.perf_counter() - began, found


if __name__ == "__main__":
    main()
