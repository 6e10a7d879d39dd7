"""Compare the applier with a native subscription, as ratios of speed measured in one run.

Both apply the same changes: a slot is copied for each. The native subscription receives values in
binary, and does not stream transactions in progress. On a busy machine compare the CPU time: that
of the slower one of our two processes, this one and the subscriber's, and that of the native
subscription's worker.
"""

from __future__ import annotations

import contextlib
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from threading import Event, Thread
from typing import Any

import attrs
import psycopg

from pgreplkit import LSN
from pgreplkit.apply import Applier, LastUpdateWins, Membership
from pgreplkit.lab import Lab, Node

SETTINGS = {"wal_level": "logical", "fsync": "off"}
TABLE = "CREATE TABLE t (id bigint PRIMARY KEY, a int, b text, c numeric, d timestamptz)"
ROW = "SELECT {0}, {0}, 'text number ' || {0}, {0} * 1.5, now()"
ROUNDS = 5
LATENCY_ROUNDS = 9
WINS = {
    "conflicts": LastUpdateWins(),
    "membership": Membership(
        node="b", source="a", ranks={"a": 1, "b": 2}, origins={"pgreplkit_bench": "a"}
    ),
}
SESSIONS = """
    SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname IS NOT NULL
    AND backend_type IN ('client backend', 'logical replication worker',
        'logical replication apply worker')
"""


@attrs.frozen
class Cost:
    """The seconds of one way to apply changes, and those of CPU of its busiest process."""

    seconds: float
    cpu: float


@attrs.frozen
class Line:
    """One comparison: changes a second, ours and the native subscription's.

    The ratios are medians of those of the rounds: the load of the machine changes between them.
    """

    what: str
    changes: int
    rounds: Sequence[tuple[Cost, Cost]]
    """The costs of ours and of the native subscription."""
    goal: float

    def __str__(self) -> str:
        ours, native = (
            self.changes / median(cost.seconds for cost in costs)
            for costs in zip(*self.rounds, strict=True)
        )
        ratio = median(theirs.seconds / own.seconds for own, theirs in self.rounds)
        by_cpu = median(theirs.cpu / own.cpu for own, theirs in self.rounds)
        return (
            f"{self.what:43} {ours:9,.0f}/s {native:9,.0f}/s {ratio:5.2f},"
            f" by CPU {by_cpu:5.2f} (goal {self.goal:.2f})"
        )


class Clock:
    """Measures the time of a block, and the CPU time of the sessions of a node."""

    def __init__(self, node: Node) -> None:
        self._node, self._over = node, Event()
        self._used: dict[int, float] = {}
        self._thread = Thread(target=self._watch)

    def _watch(self) -> None:
        with psycopg.connect(self._node.conninfo, autocommit=True) as connection:
            while not self._over.wait(0.02):
                for [pid] in connection.execute(SESSIONS).fetchall():
                    # A process may end at any time.
                    with contextlib.suppress(OSError):
                        text = Path(f"/proc/{pid}/schedstat").read_text()
                        self._used[pid] = int(text.split()[0]) / 1e9

    def __enter__(self) -> Clock:
        self._thread.start()
        self._start, self._own = time.perf_counter(), time.process_time()
        return self

    def __exit__(self, *_: object) -> None:
        self._seconds = time.perf_counter() - self._start
        self._own = time.process_time() - self._own
        self._over.set()
        self._thread.join()

    def cost(self, *, is_ours: bool) -> Cost:
        used = max(self._used.values(), default=0.0)
        return Cost(self._seconds, max(used, self._own) if is_ours else used or self._seconds)


def run(node: Node, *statements: str) -> None:
    with psycopg.connect(node.conninfo, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def one(node: Node, statement: str) -> object:
    with psycopg.connect(node.conninfo, autocommit=True) as connection:
        [[value]] = connection.execute(statement.encode()).fetchall()
        return value


def wait(holds: Callable[[], bool], *, every: float = 0.002) -> None:
    while not holds():
        time.sleep(every)


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


def measured(
    source: Node,
    own: Node,
    target: Node,
    groups: Iterator[Sequence[str]],
    options: Mapping[str, Any],
) -> tuple[Cost, Cost]:
    """Return the costs of ours and of the native subscription for the same changes.

    ``own`` is the subscriber of ours, which may be the same.
    """
    for node in {source, own, target}:
        run(node, "DROP TABLE IF EXISTS t", TABLE)
        run(
            node,
            "INSERT INTO t SELECT n, n, 'x', n, '2020-01-01' FROM generate_series(0, 120000) AS n",
        )
        run(node, "VACUUM ANALYZE t")
    run(source, "DROP PUBLICATION IF EXISTS p", "CREATE PUBLICATION p FOR TABLE t")
    applier = Applier(
        source.conninfo, own.conninfo, "bench", publications=["p"], copy=False, **options
    )
    applier.run(stop_at=LSN(str(one(source, "SELECT pg_current_wal_lsn()::text"))), timeout=60)
    run(source, "SELECT pg_create_logical_replication_slot('native', 'pgoutput')")
    write(source, groups)
    run(source, "INSERT INTO t (id) VALUES (-1)")
    end = LSN(str(one(source, "SELECT pg_current_wal_lsn()::text")))
    expected = one(source, "SELECT md5(string_agg(t::text, '' ORDER BY id)) FROM t")

    with Clock(own) as clock:
        applier.run(stop_at=end, timeout=600)
    ours = clock.cost(is_ours=True)
    found = one(own, "SELECT md5(string_agg(t::text, '' ORDER BY id)) FROM t")
    assert found == expected, "the applier's rows differ"
    applier.drop()

    run(target, "DROP TABLE t", TABLE)
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
    with Clock(target) as clock:
        run(target, "ALTER SUBSCRIPTION s ENABLE")
        # On one connection: opening others would take time from the subscription.
        with psycopg.connect(target.conninfo, autocommit=True) as reader:
            wait(lambda: bool(reader.execute("SELECT FROM t WHERE id = -1").fetchall()))
        time.sleep(0.05)
    native = clock.cost(is_ours=False)
    drop_subscription(source, target)
    return ours, attrs.evolve(native, seconds=native.seconds - 0.05)


def drop_subscription(source: Node, target: Node) -> None:
    run(target, "ALTER SUBSCRIPTION s DISABLE", "ALTER SUBSCRIPTION s SET (slot_name = NONE)")
    run(target, "DROP SUBSCRIPTION s")
    wait(lambda: not one(source, "SELECT count(*) FROM pg_replication_slots WHERE active"))
    run(source, "SELECT pg_drop_replication_slot('native')")


def copied(source: Node, target: Node, rows: int) -> tuple[float, float]:
    """Return the seconds of the initial copy of ours, and of the native subscription."""
    for node in (source, target):
        run(node, "DROP TABLE IF EXISTS t", TABLE)
    run(
        source,
        f"INSERT INTO t SELECT n, n, 'text number ' || n, n * 1.5, now()"
        f" FROM generate_series(1, {rows}) AS n",
        "VACUUM ANALYZE t",
        "DROP PUBLICATION IF EXISTS p",
        "CREATE PUBLICATION p FOR TABLE t",
    )
    applier = Applier(source.conninfo, target.conninfo, "bench", publications=["p"])
    end = LSN(str(one(source, "SELECT pg_current_wal_lsn()::text")))
    start = time.perf_counter()
    applier.run(stop_at=end, timeout=600)
    ours = time.perf_counter() - start
    applier.drop()
    run(target, "TRUNCATE t")
    start = time.perf_counter()
    run(
        target,
        f"CREATE SUBSCRIPTION s CONNECTION '{source.conninfo}' PUBLICATION p WITH (slot_name ="
        " native, binary = true)",
    )
    wait(lambda: one(target, "SELECT min(srsubstate) FROM pg_subscription_rel") == "r")
    native = time.perf_counter() - start
    drop_subscription(source, target)
    return ours, native


def latency(source: Node, target: Node) -> tuple[float, float]:
    """Return the median seconds from sending a commit to its visibility, ours and native.

    Both alternate: which processes share a processor differs between rounds, and counts.
    """
    for node in (source, target):
        run(node, "DROP TABLE IF EXISTS t", TABLE)
    run(source, "DROP PUBLICATION IF EXISTS p", "CREATE PUBLICATION p FOR TABLE t")
    applier = Applier(source.conninfo, target.conninfo, "bench", publications=["p"], copy=False)
    applier.run(stop_at=LSN(str(one(source, "SELECT pg_current_wal_lsn()::text"))), timeout=60)
    ours, native = [], []
    for number in range(0, LATENCY_ROUNDS * 2000, 2000):
        # In a process of its own, as this one is busy with looking.
        command = [sys.executable, __file__, source.conninfo, target.conninfo, "FFFFFFFF/0"]
        process = subprocess.Popen(command)
        ours.append(visible(source, target, number))
        process.kill()
        process.wait()
        run(
            target,
            f"CREATE SUBSCRIPTION s CONNECTION '{source.conninfo}' PUBLICATION p WITH (slot_name ="
            " native, copy_data = false, binary = true)",
        )
        native.append(visible(source, target, number + 1000))
        drop_subscription(source, target)
    applier.drop()
    return median(ours), median(native)


def visible(source: Node, target: Node, first: int) -> float:
    times = []
    with (
        psycopg.connect(source.conninfo) as writer,
        psycopg.connect(target.conninfo, autocommit=True) as reader,
    ):
        for number in range(first, first + 220):
            writer.execute("INSERT INTO t (id) VALUES (%s)", [number])
            # Its return comes too late: a subscriber may have the row before the client's answer.
            start = time.perf_counter()
            writer.commit()
            while not reader.execute("SELECT FROM t WHERE id = %s", [number]).fetchall():
                pass
            times.append(time.perf_counter() - start)
    # The first ones wait until the stream has begun.
    return median(times[20:])


def memory(source: Node, target: Node) -> float:
    """Return the megabytes of a process that applies one transaction of 500 000 rows."""
    for node in (source, target):
        run(node, "DROP TABLE IF EXISTS t", TABLE)
    run(source, "DROP PUBLICATION IF EXISTS p", "CREATE PUBLICATION p FOR TABLE t")
    applier = Applier(source.conninfo, target.conninfo, "bench", publications=["p"], copy=False)
    applier.run(stop_at=LSN(str(one(source, "SELECT pg_current_wal_lsn()::text"))), timeout=60)
    write(source, large(500_000))
    end = str(one(source, "SELECT pg_current_wal_lsn()::text"))
    command = [sys.executable, __file__, source.conninfo, target.conninfo, end]
    used = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    applier.drop()
    return used


def apply_alone(source: str, target: str, end: str) -> None:
    applier = Applier(source, target, "bench", publications=["p"], copy=False)
    applier.run(stop_at=LSN(end), timeout=600)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    rows, hundreds, one_large = "transactions of one row", "of 100 changes, mixed", "of inserts"
    workloads: list[tuple[str, Callable[[], Iterator[Sequence[str]]], int, float, Any]] = [
        # Enough that the start, a tenth of a second, hardly counts.
        (f"100 000 {rows}", lambda: single_rows(100_000), 100_000, 0.45, {}),
        (f"100 000 {rows}, group=50", lambda: single_rows(100_000), 100_000, 0.80, {"group": 50}),
        (f"2 000 {hundreds}", lambda: mixed(2000), 200_000, 0.65, {}),
        (f"2 000 {hundreds}, LastUpdateWins", lambda: mixed(2000), 200_000, 0.55, WINS),
        (f"2 000 {hundreds}, group=50", lambda: mixed(2000), 200_000, 0.80, {"group": 50}),
        (f"one {one_large}, 100 000 rows", lambda: large(100_000), 100_000, 0.75, {}),
    ]
    with Lab() as lab:
        source = lab.primary(name="source", settings=SETTINGS)
        target = lab.primary(name="target", settings=SETTINGS)
        # A native subscription with this setting logs each row that was not written by itself.
        tracking = lab.primary(
            name="tracking", settings={**SETTINGS, "track_commit_timestamp": "on"}
        )
        for what, groups, changes, goal, options in workloads:
            own_target = tracking if options is WINS else target
            rounds = [
                measured(source, own_target, target, groups(), options) for _ in range(ROUNDS)
            ]
            print(Line(what, changes, rounds, goal), flush=True)
        own, other = copied(source, target, 500_000)
        print(f"initial copy of 500 000 rows: {own:.2f} s, {other:.2f} s, {other / own:.2f} (0.90)")
        own, other = latency(source, target)
        ratio = own / other
        print(
            f"median latency: {own * 1e3:.2f} ms, {other * 1e3:.2f} ms, {ratio:.2f} (at most 1.5)"
        )
        print(f"memory for a transaction of 500 000 rows: {memory(source, target):.0f} MB (80)")


if __name__ == "__main__":
    apply_alone(*sys.argv[1:]) if len(sys.argv) == 4 else main()
