"""Large transactions, which appliers apply while the publisher still sends them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from clusters import Cluster, wait_until
from databases import Pair, end, publishing

from pgreplkit import LSN
from pgreplkit.apply import Applier, ApplyReport, TableRule
from pgreplkit.changes import Row
from pgreplkit.errors import ApplyFailed, SchemaMismatch

# More than the buffers of sockets take, so that the publisher cannot send all of it.
ROWS = 20_000
LARGE = f"INSERT INTO t SELECT n, repeat('x', 1000) FROM generate_series(1, {ROWS}) AS n"
PAUSE = (
    """CREATE FUNCTION pause() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        PERFORM pg_advisory_xact_lock(7); RETURN new; END $$""",
    "CREATE TRIGGER pause BEFORE INSERT ON t FOR EACH ROW WHEN (new.id = 3000)"
    " EXECUTE PROCEDURE pause()",
    "ALTER TABLE t ENABLE ALWAYS TRIGGER pause",
)
WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 7 AND NOT granted"
SENT = """SELECT r.sent_lsn::text FROM pg_stat_replication AS r
    JOIN pg_replication_slots AS s ON s.active_pid = r.pid WHERE s.slot_name = 'pgreplkit_one'"""
CUT = """SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots
    WHERE slot_name = 'pgreplkit_one'"""


@pytest.fixture
def two(cluster: Cluster) -> Iterator[Pair]:
    with publishing(cluster.primary, "CREATE TABLE t (id int PRIMARY KEY, pad text)") as pair:
        yield pair


def begun(pair: Pair, **options: Any) -> Applier:
    one = Applier(
        pair.publisher.conninfo, pair.subscriber.conninfo, "one", publications=["p"], **options
    )
    one.run(stop_at=end(pair.publisher), timeout=20)
    return one


@contextmanager
def held(pair: Pair, one: Applier) -> Iterator[Future[ApplyReport]]:
    """Run an applier, which waits within the large transaction until the block ends."""
    pair.subscriber.run(*PAUSE)
    pair.publisher.run(LARGE)
    stop_at = end(pair.publisher)
    with ThreadPoolExecutor(1) as pool:
        with psycopg.connect(pair.subscriber.conninfo) as holder:
            holder.execute("SELECT pg_advisory_xact_lock(7)")
            running = pool.submit(one.run, stop_at=stop_at, timeout=60)
            wait_until(lambda: pair.subscriber.one(WAITING) == 1)
            assert LSN(str(pair.publisher.one(SENT))) < stop_at
            yield running
        running.exception(60)


def insist_on_same_rows(pair: Pair) -> None:
    query = "SELECT count(*), md5(string_agg(t::text, '' ORDER BY id)) FROM t"
    assert pair.subscriber.all(query) == pair.publisher.all(query)


@pytest.mark.one_colour
def test_a_large_transaction_is_applied_while_it_comes_and_as_one(two: Pair) -> None:
    one = begun(two)
    two.publisher.run("INSERT INTO t VALUES (-1)")
    with held(two, one) as running:
        # What came before it does not wait for it, and nothing of it is visible.
        assert two.subscriber.all("SELECT id FROM t") == [(-1,)]
        assert not running.done()
    assert running.result().transactions == 2
    insist_on_same_rows(two)
    assert two.subscriber.one("SELECT count(DISTINCT xmin::text) FROM t") == 2


@pytest.mark.one_colour
def test_a_large_transaction_comes_again_after_its_stream_was_cut(two: Pair) -> None:
    one = begun(two, reconnect=20)
    with held(two, one) as running:
        two.publisher.run(CUT)
    report = running.result()
    assert (report.transactions, [*report.conflicts]) == (1, [])
    insist_on_same_rows(two)


@pytest.mark.one_colour
def test_an_applier_that_is_stopped_within_a_large_transaction_rolls_it_back(two: Pair) -> None:
    one = begun(two)
    with held(two, one) as running:
        one.stop()
    assert running.result().transactions == 0
    assert two.subscriber.all("SELECT FROM t") == []
    assert one.run(stop_at=end(two.publisher), timeout=60).transactions == 1
    insist_on_same_rows(two)


@pytest.mark.one_colour
@pytest.mark.matrix
def test_a_refused_change_of_a_large_transaction_is_named_or_parked(two: Pair) -> None:
    one = begun(two)
    two.subscriber.run("ALTER TABLE t ADD CHECK (id <> 2000)")
    two.publisher.run(LARGE.replace(f"{ROWS}", "3000"))
    with pytest.raises(ApplyFailed, match="check constraint") as caught:
        one.run(stop_at=end(two.publisher), timeout=60)
    assert (caught.value.table, caught.value.change_number) == ("public.t", 2000)
    assert two.subscriber.all("SELECT FROM t") == []
    two.publisher.run("INSERT INTO t VALUES (-1)")
    parking = Applier(
        two.publisher.conninfo, two.subscriber.conninfo, "one", publications=["p"], on_error="park"
    )
    report = parking.run(stop_at=end(two.publisher), timeout=60)
    assert (report.parked, report.transactions) == (1, 1)
    assert two.subscriber.all("SELECT id FROM t") == [(-1,)]


@pytest.mark.one_colour
def test_a_new_column_within_a_large_transaction_stops_before_it(two: Pair) -> None:
    one = begun(two)
    with psycopg.connect(two.publisher.conninfo) as writer:
        writer.execute(LARGE.encode())
        writer.execute("ALTER TABLE t ADD COLUMN n int")
        writer.execute("UPDATE t SET n = id WHERE id < 10000")
    with pytest.raises(SchemaMismatch, match="'n'"):
        one.run(stop_at=end(two.publisher), timeout=60)
    assert two.subscriber.all("SELECT FROM t") == []
    two.subscriber.run("ALTER TABLE t ADD COLUMN n int")
    assert one.run(stop_at=end(two.publisher), timeout=60).transactions == 1
    insist_on_same_rows(two)


@pytest.mark.one_colour
def test_a_conflict_before_a_large_transaction_is_decided_first(two: Pair) -> None:
    one = begun(two)
    two.subscriber.run("INSERT INTO t VALUES (-1, 'local')")
    two.publisher.run("INSERT INTO t VALUES (-1, 'remote')", LARGE)
    report = one.run(stop_at=end(two.publisher), timeout=60)
    assert (report.transactions, sum(report.conflicts.values())) == (2, 1)
    insist_on_same_rows(two)


@pytest.mark.one_colour
def test_a_rule_that_fails_within_a_large_transaction_names_its_change(two: Pair) -> None:
    def refuse(row: Row) -> bool:
        number: Any = row["id"]
        return bool(1 / (number - 2000))

    one = begun(two, tables={"t": TableRule(where=refuse)})
    two.publisher.run(LARGE.replace(f"{ROWS}", "3000"))
    with pytest.raises(ApplyFailed, match="where raised ZeroDivisionError") as caught:
        one.run(stop_at=end(two.publisher), timeout=60)
    assert caught.value.change_number == 2000
    assert two.subscriber.all("SELECT FROM t") == []


PEAK = """
import sys
from pgreplkit import LSN
from pgreplkit.apply import Applier

def peak():
    with open("/proc/self/status") as status:
        [line] = [line for line in status if line.startswith("VmHWM")]
    return int(line.split()[1]) << 10

before = peak()
Applier(*sys.argv[1:3], "one", publications=["p"]).run(stop_at=LSN(sys.argv[3]), timeout=60)
print(peak() - before)
"""


@pytest.mark.one_colour
def test_a_large_value_takes_three_times_its_size(two: Pair) -> None:
    """Once in the buffer of each connection, and once between them."""
    begun(two)
    size = 50 << 20
    two.publisher.run(f"INSERT INTO t VALUES (1, repeat('x', {size}))")
    servers = two.publisher.conninfo, two.subscriber.conninfo
    command = [sys.executable, "-c", PEAK, *servers, str(end(two.publisher))]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert two.subscriber.one("SELECT length(pad) FROM t") == size
    assert int(found.stdout) < 3.3 * size
