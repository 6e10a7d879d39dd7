"""Appliers and subscriptions of both directions over the same tables: no change goes round."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from clusters import Cluster, Clusters, wait_until
from databases import Database, Pair, empty_pair, end, make_database, remove_databases
from running import running

from pgreplkit.apply import Applier, TableRule
from pgreplkit.catalog.features import has
from pgreplkit.errors import OriginLoop
from pgreplkit.plans.logical.applyloops import CHECK
from pgreplkit.rows import Severity

pytestmark = pytest.mark.one_colour
TABLES = ("CREATE TABLE t (id int PRIMARY KEY, n int)", "CREATE TABLE u (id int PRIMARY KEY)")
LEFT = """SELECT slot_name::text FROM pg_replication_slots WHERE database = current_database()
    UNION ALL SELECT nspname::text FROM pg_namespace WHERE nspname = 'pgreplkit'"""


@pytest.fixture
def two(cluster: Cluster) -> Iterator[Pair]:
    """Two databases with equal tables, both of which publish t."""
    with empty_pair(cluster.primary) as pair:
        for each in (pair.publisher, pair.subscriber):
            each.run(*TABLES, "CREATE PUBLICATION p FOR TABLE t")
        yield pair


@pytest.fixture
def bystander(two: Pair) -> Iterator[str]:
    """A role without rights in the schema pgreplkit."""
    two.publisher.run("CREATE ROLE bystander LOGIN REPLICATION PASSWORD 'bystander'")
    yield "bystander"
    two.publisher.run("DROP ROLE bystander")


def applier(name: str, source: Database, target: Database, **options: Any) -> Applier:
    options = {"publications": ["p"], "copy": False, **options}
    return Applier(source.conninfo, target.conninfo, name, **options)


@contextmanager
def active(one: Applier) -> Iterator[None]:
    with running(one):
        wait_until(lambda: is_active(one))
        yield


def is_active(one: Applier) -> bool:
    try:
        return one.status().is_active
    except Exception:
        return False


ANY, NONE = {"origin": "any"}, {"origin": "none"}
TABLE = {"origin": "none", "resume": "table"}


@pytest.mark.pg(">=10")
@pytest.mark.parametrize(
    ("there", "back", "origin"),
    [
        (ANY, ANY, "pgreplkit_there"),
        ({"resume": "table"}, {"resume": "table"}, None),
        (NONE, ANY, "pgreplkit_there"),
        pytest.param(ANY, NONE, "pgreplkit_back", marks=pytest.mark.matrix),
        pytest.param(TABLE, NONE, None, marks=pytest.mark.matrix),
        pytest.param(NONE, TABLE, None, marks=pytest.mark.matrix),
    ],
)
def test_an_applier_whose_changes_come_back_is_refused_before_anything_is_made(
    two: Pair, there: dict[str, Any], back: dict[str, Any], origin: str | None
) -> None:
    one = applier("there", two.publisher, two.subscriber, **there)
    other = applier("back", two.subscriber, two.publisher, **back)
    assert other.check()[CHECK].severity is Severity.OK
    with active(one):
        assert other.check()[CHECK].severity is Severity.CRITICAL
        with pytest.raises(OriginLoop, match=r"such as changes of public\.t") as raised:
            other.run(timeout=20)
        assert raised.value.origin == origin
        assert (two.publisher.all(LEFT), two.subscriber.all(LEFT)) == (
            [("pgreplkit_there",)],
            [("pgreplkit",)],
        )
    # One that is stopped may be of a time before the directions were exchanged.
    assert other.check()[CHECK].severity is Severity.WARNING
    with active(other), pytest.raises(OriginLoop):
        one.run(timeout=20)


@pytest.mark.pg(">=10")
@pytest.mark.parametrize(
    "back",
    [
        NONE,
        {"tables": {"t": TableRule(where=lambda row: row["n"] == 2)}},
        {"tables": {"t": TableRule(to="u", columns={"n": None})}},
    ],
)
def test_directions_that_send_nothing_back_run_at_the_same_time(
    two: Pair, back: dict[str, Any]
) -> None:
    one = applier("there", two.publisher, two.subscriber, origin="none")
    other = applier("back", two.subscriber, two.publisher, **back)
    with active(one):
        assert other.check()[CHECK].severity is Severity.OK
        with active(other):
            two.publisher.run("INSERT INTO t VALUES (1, 1)")
            two.subscriber.run("INSERT INTO t VALUES (2, 2)")
            wait_until(lambda: two.subscriber.one("SELECT count(*) FROM t") == 2)
            both = "SELECT (SELECT count(*) FROM t) + (SELECT count(*) FROM u)"
            wait_until(lambda: two.publisher.one(both) in (2, 3))


@pytest.mark.pg(">=10")
def test_tables_that_lead_back_through_other_tables_are_a_loop(two: Pair) -> None:
    for each in (two.publisher, two.subscriber):
        each.run("ALTER PUBLICATION p ADD TABLE u")
    rules = {"t": TableRule(to="u", columns={"n": None})}
    one = applier("there", two.publisher, two.subscriber, publications=["p"], tables=rules)
    swapped = {"u": TableRule(to="t"), "t": TableRule(to="u", columns={"n": None})}
    other = applier("back", two.subscriber, two.publisher, tables=swapped)
    with active(one), pytest.raises(OriginLoop, match=r"changes of public\.t"):
        other.run(timeout=20)


def subscribe_natively(there: Database, here: Database) -> None:
    """Subscribe without a copy of the rows, and wait until the subscription streams."""
    there.run("SELECT pg_create_logical_replication_slot('native', 'pgoutput')")
    here.run(
        f"CREATE SUBSCRIPTION native CONNECTION '{there.conninfo}' PUBLICATION p"
        " WITH (create_slot = false, copy_data = false)"
    )
    active = "SELECT bool_or(active) FROM pg_replication_slots WHERE slot_name = 'native'"
    wait_until(lambda: there.one(active) is True)


@pytest.mark.pg(">=10")
def test_a_subscription_that_brings_the_subscribers_changes_is_a_loop(two: Pair) -> None:
    there, here = two.publisher, two.subscriber
    subscribe_natively(there, here)
    back = applier("back", here, there)
    assert back.check()[CHECK].severity is Severity.CRITICAL
    with pytest.raises(OriginLoop, match="the subscription 'native' has brought"):
        back.run(timeout=20)
    # The subscription itself would send back what the applier brings.
    only = applier("back", here, there, origin="none")
    with pytest.raises(OriginLoop, match="the subscription 'native' would send back"):
        only.run(timeout=20)
    if has("subscription.origin", here.node.major):
        here.run("ALTER SUBSCRIPTION native SET (origin = none)")
        assert only.check()[CHECK].severity is Severity.OK
    here.run("ALTER SUBSCRIPTION native DISABLE")
    assert back.check()[CHECK].severity is Severity.OK


@pytest.mark.pg(">=10")
@pytest.mark.parametrize("options", [ANY, {**ANY, "resume": "table"}])
def test_a_subscription_that_is_newer_than_a_run_ends_it(
    two: Pair, options: dict[str, Any]
) -> None:
    there, here = two.publisher, two.subscriber
    back = applier("back", here, there, **options)
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(lambda: back.run(timeout=30))
        wait_until(lambda: is_active(back))
        # Other changes do not end it.
        here.run("INSERT INTO t VALUES (1, 1)")
        wait_until(lambda: there.all("SELECT * FROM t") == [(1, 1)])
        # Without that row, which exists already.
        subscribe_natively(there, here)
        there.run("UPDATE t SET n = 2")
        with pytest.raises(OriginLoop, match="the subscription 'native' has brought"):
            running.result(20)
    wait_until(lambda: here.all("SELECT * FROM t") == [(1, 2)])
    assert there.all("SELECT * FROM t") == [(1, 2)]


@pytest.mark.pg(">=14")
def test_a_loop_that_a_role_cannot_see_is_not_called_ok(two: Pair, bystander: str) -> None:
    one = applier("there", two.publisher, two.subscriber)
    one.run(stop_at=end(two.publisher), timeout=20)
    back = Applier(
        two.subscriber.as_role(bystander), two.publisher.conninfo, "back", publications=["p"]
    )
    assert back.check()[CHECK].severity is Severity.INFO


@pytest.fixture
def three(clusters: Clusters, two: Pair) -> Iterator[list[Database]]:
    """Databases of three servers, each of which publishes an empty table t."""
    version, settings = two.publisher.node.major, {"wal_level": "logical"}
    nodes = [clusters.lab.primary(version=version, settings=settings) for _ in range(2)]
    others = [make_database(node) for node in nodes]
    for each in others:
        each.run(*TABLES, "CREATE PUBLICATION p FOR TABLE t")
    yield [two.publisher, *others]
    remove_databases(*others)


@pytest.mark.pg(">=10")
# Servers before 16 send both directions everything.
@pytest.mark.parametrize("is_chain", [True, pytest.param(False, marks=pytest.mark.matrix)])
def test_appliers_of_one_name_may_run_in_a_chain_or_in_both_directions(
    three: list[Database], is_chain: bool
) -> None:
    first, second, third = three
    there = applier("same", first, second, origin="none")
    last, options = (third, ANY) if is_chain else (first, NONE)
    other = applier("same", second, last, **options)
    for one, source in ((there, first), (other, second)):
        one.run(stop_at=end(source), timeout=20)
    first.run("INSERT INTO t VALUES (1, 1)")
    for one, source in ((there, first), (other, second)):
        one.run(stop_at=end(source), timeout=20)
    assert last.all("SELECT * FROM t") == [(1, 1)]
    assert not other.counters
    if not is_chain:
        # With the changes of others, the way back would be a loop.
        first.run("INSERT INTO t VALUES (2, 2)")
        there.run(stop_at=end(first), timeout=20)
        with pytest.raises(OriginLoop, match="'pgreplkit_same'"):
            applier("same", second, first).run(stop_at=end(second), timeout=20)
