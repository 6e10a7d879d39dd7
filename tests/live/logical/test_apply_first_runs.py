"""First runs of appliers that are killed: whose slot the next run finds."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from clusters import Cluster, wait_until
from databases import Database, Pair, end, make_database, publishing, remove_databases
from killing import applier_command

from pgreplkit.apply import Applier
from pgreplkit.catalog.features import has
from pgreplkit.errors import AlreadyExists

pytestmark = pytest.mark.one_colour
TABLE = "CREATE TABLE t (id int PRIMARY KEY)"
SLOT = "SELECT FROM pg_replication_slots WHERE slot_name = 'pgreplkit_one'"
STATE = "SELECT state FROM pgreplkit.applier WHERE name = 'one'"
WALSENDERS = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND backend_type = 'walsender'"""
CREATING = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
    AND backend_type = 'walsender' AND wait_event_type = 'Lock'"""
NOTING = """FROM pg_stat_activity
    WHERE query ~ 'slot_restart_lsn = ' AND wait_event_type = 'Lock'"""
DROP = "SELECT pg_drop_replication_slot('pgreplkit_one')"
ROW = "INSERT INTO t SELECT coalesce(max(id), 0) + 1 FROM t"


@pytest.fixture
def two(cluster: Cluster) -> Iterator[Pair]:
    with publishing(cluster.primary, TABLE) as pair:
        yield pair


@pytest.fixture
def third(two: Pair) -> Iterator[Database]:
    """Another subscriber."""
    database = make_database(two.publisher.node)
    database.run(TABLE)
    yield database
    remove_databases(database)


def applier(publisher: Database, subscriber: Database, *, copy: bool = True) -> Applier:
    ends = publisher.conninfo, subscriber.conninfo
    # Subscribers of one server cannot have origins of one name.
    return Applier(*ends, "one", publications=["p"], copy=copy, resume="table")


def kill_first_run(
    pair: Pair, folder: Path, is_reached: Callable[[], bool], *, copy: bool = True
) -> None:
    """Kill the process of a first run, and end its session that creates the slot."""
    config = folder / "config.toml"
    config.write_text(
        f'name = "one"\npublisher = "{pair.publisher.conninfo}"\n'
        f'subscriber = "{pair.subscriber.conninfo}"\npublications = ["p"]\n'
        f'copy = {str(copy).lower()}\nresume = "table"\n'
    )
    process = subprocess.Popen(applier_command(config))
    try:
        wait_until(is_reached)
    finally:
        process.kill()
        process.wait()
    pair.publisher.run(WALSENDERS)


def kill_without_slot(pair: Pair, folder: Path, *, copy: bool = True) -> None:
    """Kill a first run that has noted the applier and does not have its slot yet."""
    with psycopg.connect(pair.publisher.conninfo) as client:
        # The creation of a slot waits for it.
        client.execute("SELECT txid_current()")
        kill_first_run(pair, folder, lambda: pair.publisher.one(CREATING) == 1, copy=copy)
    assert pair.subscriber.one(STATE) == "creating"
    wait_until(lambda: not pair.publisher.all(SLOT))


@pytest.mark.parametrize("copy", [True, False])
def test_a_killed_first_run_does_not_take_the_slot_of_another_subscriber(
    two: Pair, third: Database, tmp_path: Path, copy: bool
) -> None:
    kill_without_slot(two, tmp_path, copy=copy)
    other = applier(two.publisher, third)
    other.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run(ROW)
    one = applier(two.publisher, two.subscriber, copy=copy)
    with pytest.raises(AlreadyExists, match="nothing shows that this applier has created it"):
        one.run(timeout=20)
    other.run(stop_at=end(two.publisher), timeout=20)
    assert third.all("SELECT id FROM t") == [(1,)]
    other.drop()
    # Now the slot is free.
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run(ROW)
    one.run(stop_at=end(two.publisher), timeout=20)
    assert two.subscriber.all("SELECT id FROM t") == ([(1,), (2,)] if copy else [(2,)])


def test_a_first_run_that_was_killed_before_it_had_its_slot_begins_again(
    two: Pair, tmp_path: Path
) -> None:
    kill_without_slot(two, tmp_path)
    two.publisher.run(ROW)
    applier(two.publisher, two.subscriber).run(stop_at=end(two.publisher), timeout=20)
    assert two.subscriber.all("SELECT id FROM t") == [(1,)]


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_copy_that_was_killed_continues_with_its_own_slot_only(
    two: Pair, tmp_path: Path, is_replaced: bool
) -> None:
    two.publisher.run(ROW)
    with psycopg.connect(two.subscriber.conninfo) as client:
        client.execute("LOCK t IN SHARE MODE")
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 't'::regclass"
        kill_first_run(two, tmp_path, lambda: two.subscriber.one(waits) == 1)
        assert two.subscriber.one(STATE) == "copying"
    one = applier(two.publisher, two.subscriber)
    if is_replaced:
        wait_until(lambda: two.publisher.one("SELECT bool_and(NOT active)" + SLOT[6:]) is True)
        create = "SELECT pg_create_logical_replication_slot('pgreplkit_one', 'pgoutput')"
        two.publisher.run(DROP, create)
        with pytest.raises(AlreadyExists):
            one.run(timeout=20)
        two.publisher.run(DROP)
    two.publisher.run(ROW)
    one.run(stop_at=end(two.publisher), timeout=20)
    assert two.subscriber.all("SELECT id FROM t ORDER BY id") == [(1,), (2,)]


def test_a_slot_that_was_not_noted_is_refused_unless_the_server_copies_slots(
    two: Pair, tmp_path: Path
) -> None:
    publisher, subscriber = two.publisher, two.subscriber
    applier(publisher, subscriber).run(stop_at=end(publisher), timeout=20)
    applier(publisher, subscriber).drop()
    with (
        psycopg.connect(subscriber.conninfo) as client,
        psycopg.connect(publisher.conninfo) as holder,
    ):
        holder.execute("SELECT txid_current()")

        def is_reached() -> bool:
            if publisher.one(CREATING) == 1:
                client.execute("LOCK pgreplkit.applier IN SHARE MODE")
                holder.rollback()
            return subscriber.one("SELECT count(*) " + NOTING) == 1

        kill_first_run(two, tmp_path, is_reached)
        # Otherwise it would still note the slot, without its client.
        subscriber.run("SELECT pg_terminate_backend(pid) " + NOTING)
    publisher.run(ROW)
    one = applier(publisher, subscriber)
    if not has("slot.copy", publisher.node.major):
        with pytest.raises(AlreadyExists):
            one.run(timeout=20)
        publisher.run(DROP)
    one.run(stop_at=end(publisher), timeout=20)
    assert subscriber.all("SELECT id FROM t") == [(1,)]


@pytest.mark.pg(">=12")
def test_a_first_run_leaves_the_slot_of_another_subscriber_that_has_the_same_positions(
    two: Pair,
) -> None:
    publisher, subscriber = two.publisher, two.subscriber
    one = applier(publisher, subscriber)
    one.run(stop_at=end(publisher), timeout=20)
    one.drop()
    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(subscriber.conninfo) as client,
        psycopg.connect(publisher.conninfo) as holder,
    ):
        holder.execute("SELECT txid_current()")
        running = pool.submit(one.run, timeout=30)
        wait_until(lambda: publisher.one(CREATING) == 1)
        client.execute("LOCK pgreplkit.applier IN SHARE MODE")
        holder.rollback()
        wait_until(lambda: subscriber.one("SELECT count(*) " + NOTING) == 1)
        # As if the other one had created its own slot in the same moment.
        publisher.run(
            """SELECT pg_copy_logical_replication_slot(slot_name, 'pgreplkit_one', false)
            FROM pg_replication_slots WHERE temporary AND database = current_database()"""
        )
        client.rollback()
        with pytest.raises(AlreadyExists):
            running.result(20)
    assert publisher.all(SLOT)
    assert not subscriber.all(STATE)
    publisher.run(DROP)
