"""Compare the applier with a native subscription, as ratios of speed measured in one run.

Both apply the same changes: a slot is copied for each. The native subscription receives values in
binary, and does not stream transactions in progress.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import attrs
import psycopg

from pgreplkit import LSN
from pgreplkit.apply import Applier
from pgreplkit.lab import Lab, Node

SETTINGS = {"wal_level": "logical", "fsync": "off"}
TABLE = "CREATE TABLE t (id bigint PRIMARY KEY, a int, b text, c numeric, d timestamptz)"
ROW = "SELECT {0}, {0}, 'text number ' || {0}, {0} * 1.5, now()"
ROUNDS = 3


@attrs.frozen
class Line:
    """One comparison: changes a second, ours and the native subscription's."""

    what: str
    ours: float
    native: float
    goal: float

    @property
    def ratio(self) -> float:
        return self.ours / self.native

    def __str__(self) -> str:
        return (
            f"{self.what:40} {self.ours:10,.0f}/s {self.native:10,.0f}/s"
            f"  {self.ratio:5.2f} (goal {self.goal:.2f})"
        )


def run(node: Node, *statements: str) -> None:
    with psycopg.connect(node.conninfo, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def one(node: Node, statement: str) -> object:
    with psycopg.connect(node.conninfo, autocommit=True) as connection:
        [[value]] = connection.execute(statement.encode()).fetchall()
        return value


def wait(holds: Callable[[], bool]) -> None:
    while not holds():
        time.sleep(0.002)


# The workloads: each yields groups of statements, one transaction each.


def single_rows(number: int) -> Iterator[Sequence[str]]:
    for at in range(number):
        yield (f"INSERT INTO t {ROW.format(at + 1_000_000)}",)


def mixed(number: int) -> Iterator[Sequence[str]]:
    """Transactions of 100 changes: half inserts, 40 updates, 10 deletes."""
    for at in range(number):
        first = at * 100
        yield (
            f"INSERT INTO t SELECT n, n, 'text number ' || n, n * 1.5, now()"
            f" FROM generate_series({first + 2_000_000}, {first + 2_000_049}) AS n",
            f"UPDATE t SET a = a + 1, b = 'changed' WHERE id BETWEEN {at * 40} AND {at * 40 + 39}",
            f"DELETE FROM t WHERE id BETWEEN {100_000 + at * 10} AND {100_000 + at * 10 + 9}",
        )


def large(number: int) -> Iterator[Sequence[str]]:
    yield (
        "INSERT INTO t SELECT n, n, 'text number ' || n, n * 1.5, now()"
        f" FROM generate_series(3000000, {2_999_999 + number}) AS n",
    )


def write(source: Node, groups: Iterator[Sequence[str]]) -> None:
    with psycopg.connect(source.conninfo) as writer, writer.pipeline():
        for statements in groups:
            for statement in statements:
                writer.execute(statement.encode(), prepare=False)
            writer.commit()


def measured(source: Node, target: Node, groups: Iterator[Sequence[str]]) -> tuple[float, float]:
    """Return the seconds of ours and of the native subscription for the same changes."""
    for node in (source, target):
        run(node, "DROP TABLE IF EXISTS t", TABLE)
        run(
            node,
            "INSERT INTO t SELECT n, n, 'x', n, '2020-01-01' FROM generate_series(0, 120000) AS n",
        )
        run(node, "VACUUM ANALYZE t")
    run(source, "DROP PUBLICATION IF EXISTS p", "CREATE PUBLICATION p FOR TABLE t")
    applier = Applier(source.conninfo, target.conninfo, "bench", publications=["p"], copy=False)
    applier.run(stop_at=LSN(str(one(source, "SELECT pg_current_wal_lsn()::text"))), timeout=60)
    run(source, "SELECT pg_create_logical_replication_slot('native', 'pgoutput')")
    write(source, groups)
    run(source, "INSERT INTO t (id) VALUES (-1)")
    end = LSN(str(one(source, "SELECT pg_current_wal_lsn()::text")))
    expected = one(source, "SELECT md5(string_agg(t::text, '' ORDER BY id)) FROM t")

    start = time.perf_counter()
    applier.run(stop_at=end, timeout=600)
    ours = time.perf_counter() - start
    found = one(target, "SELECT md5(string_agg(t::text, '' ORDER BY id)) FROM t")
    assert found == expected, "the applier's rows differ"
    applier.drop()

    run(target, "TRUNCATE t")
    run(
        target,
        "INSERT INTO t SELECT n, n, 'x', n, '2020-01-01' FROM generate_series(0, 120000) AS n",
    )
    run(target, "VACUUM ANALYZE t")
    run(
        target,
        f"CREATE SUBSCRIPTION s CONNECTION '{source.conninfo}' PUBLICATION p WITH (slot_name ="
        " native, create_slot = false, copy_data = false, enabled = false, binary = true"
        f"{', streaming = off' if target.major >= 14 else ''})",
    )
    start = time.perf_counter()
    run(target, "ALTER SUBSCRIPTION s ENABLE")
    wait(lambda: bool(one(target, "SELECT EXISTS (SELECT FROM t WHERE id = -1)")))
    native = time.perf_counter() - start
    run(target, "ALTER SUBSCRIPTION s DISABLE", "ALTER SUBSCRIPTION s SET (slot_name = NONE)")
    run(target, "DROP SUBSCRIPTION s")
    wait(lambda: not one(source, "SELECT count(*) FROM pg_replication_slots WHERE active"))
    run(source, "SELECT pg_drop_replication_slot('native')")
    return ours, native


def main() -> None:
    workloads = [
        ("20 000 transactions of one row", lambda: single_rows(20_000), 20_000, 0.45),
        ("600 transactions of 100 changes, mixed", lambda: mixed(600), 60_000, 0.65),
        ("one transaction of 100 000 inserts", lambda: large(100_000), 100_000, 0.75),
    ]
    with Lab() as lab:
        source = lab.primary(name="source", settings=SETTINGS)
        target = lab.primary(name="target", settings=SETTINGS)
        for what, groups, changes, goal in workloads:
            rounds = [measured(source, target, groups()) for _ in range(ROUNDS)]
            ours, native = (min(times) for times in zip(*rounds, strict=True))
            print(Line(what, changes / ours, changes / native, goal), flush=True)


if __name__ == "__main__":
    main()
