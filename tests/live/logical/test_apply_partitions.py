"""Partitioned tables that are published as one, whose partitions have replica identities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from clusters import Cluster
from databases import Pair, end, make_database, remove_databases

from pgreplkit.apply import Applier
from pgreplkit.errors import ApplyError, SchemaMismatch
from pgreplkit.rows import Severity

pytestmark = [pytest.mark.one_colour, pytest.mark.pg(">=13")]
COLUMNS = "id int NOT NULL, b int NOT NULL, n int"
ROOT = (
    f"CREATE TABLE p ({COLUMNS}) PARTITION BY RANGE (id)",
    "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (100)",
)
KEY_OF_ROOT = "ALTER TABLE p ADD PRIMARY KEY (id)"
KEY_OF_LEAF = "ALTER TABLE p1 ADD PRIMARY KEY (id)"
FULL = "ALTER TABLE {} REPLICA IDENTITY FULL"
BY_B = (
    "CREATE UNIQUE INDEX {0}_b ON {0} (b)",
    "ALTER TABLE {0} REPLICA IDENTITY USING INDEX {0}_b",
)
KEYED, KEYLESS = f"CREATE TABLE p ({COLUMNS}, PRIMARY KEY (id))", f"CREATE TABLE p ({COLUMNS})"
LOSSES = {
    "no identity of the root": ([KEY_OF_LEAF], KEYED),
    "another index": ([KEY_OF_ROOT, *(one.format("p1") for one in BY_B)], KEYED),
    "all values": ([FULL.format("p"), KEY_OF_LEAF], KEYLESS),
}
CHANGES = (
    "UPDATE p SET n = 7 WHERE id = 1",
    "UPDATE p SET id = 20 WHERE id = 2",
    "UPDATE p SET b = 300 WHERE id = 3",
    "DELETE FROM p WHERE id = 4",
)


@pytest.fixture
def two(cluster: Cluster) -> Iterator[Pair]:
    pair = Pair(make_database(cluster.primary), make_database(cluster.primary))
    yield pair
    remove_databases(pair.subscriber, pair.publisher)


def publish(pair: Pair, *altered: str, to: str, options: str = "") -> Applier:
    pair.publisher.run(
        *ROOT,
        *altered,
        f"CREATE PUBLICATION r FOR TABLE p WITH (publish_via_partition_root = true{options})",
        "INSERT INTO p SELECT i, i + 100, i FROM generate_series(1, 5) AS i",
    )
    pair.subscriber.run(to)
    return Applier(pair.publisher.conninfo, pair.subscriber.conninfo, "one", publications=["r"])


def insist_on_applied_changes(one: Applier, pair: Pair) -> None:
    one.run(stop_at=end(pair.publisher), timeout=20)
    pair.publisher.run(*CHANGES)
    report = one.run(stop_at=end(pair.publisher), timeout=20)
    assert not report.conflicts
    insist_on_same_rows(pair)


def insist_on_same_rows(pair: Pair) -> None:
    query = "SELECT id, b, n FROM p ORDER BY id"
    assert pair.subscriber.all(query) == pair.publisher.all(query)


@pytest.mark.parametrize(("altered", "to"), LOSSES.values(), ids=LOSSES)
def test_a_partition_of_which_changes_would_be_lost_is_refused(
    two: Pair, altered: Sequence[str], to: str
) -> None:
    one = publish(two, *altered, to=to)
    found = one.check()["table public.p, its partitions"]
    assert found.severity is Severity.CRITICAL
    assert "public.p1" in found.found
    with pytest.raises(ApplyError, match=r"public\.p1") as raised:
        one.run(stop_at=end(two.publisher), timeout=20)
    assert raised.value.remedy == found.remedy
    # Nothing was changed.
    assert two.subscriber.one("SELECT to_regnamespace('pgreplkit') IS NULL")
    slots = "SELECT count(*) FROM pg_replication_slots WHERE database = current_database()"
    assert two.publisher.one(slots) == 0
    assert found.remedy is not None
    two.publisher.run(found.remedy.removeprefix("on the publisher: "))
    assert one.check().is_ready
    insist_on_applied_changes(one, two)


@pytest.mark.parametrize(
    ("altered", "to"),
    [
        ([KEY_OF_ROOT], KEYED),
        ([KEY_OF_ROOT], KEYLESS),
        ([KEY_OF_ROOT, FULL.format("p1")], KEYED),
        ([FULL.format("p"), KEY_OF_LEAF], KEYED),
        ([FULL.format("p1")], KEYLESS),
    ],
)
def test_partitions_whose_identity_has_the_key_are_applied(
    two: Pair, altered: Sequence[str], to: str
) -> None:
    one = publish(two, *altered, to=to)
    assert one.check().is_ready
    insist_on_applied_changes(one, two)


def test_where_only_inserts_are_published_no_partition_needs_an_identity(two: Pair) -> None:
    one = publish(two, KEY_OF_LEAF, to=KEYED, options=", publish = 'insert'")
    assert one.check().is_ready
    one.run(stop_at=end(two.publisher), timeout=20)
    insist_on_same_rows(two)


def test_a_change_of_a_partition_that_was_attached_later_is_not_lost(two: Pair) -> None:
    one = publish(two, KEY_OF_ROOT, to=KEYED)
    one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run(
        f"CREATE TABLE p2 ({COLUMNS}, PRIMARY KEY (id))",
        *(each.format("p2") for each in BY_B),
        "ALTER TABLE p ATTACH PARTITION p2 FOR VALUES FROM (100) TO (200)",
        "INSERT INTO p VALUES (100, 1, 1)",
    )
    with pytest.raises(ApplyError, match=r"public\.p2"):
        one.run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run("DELETE FROM p WHERE id = 100", FULL.format("p2"))
    # The change was written before.
    with pytest.raises(SchemaMismatch, match=r"public\.p.* identity of the row's partition"):
        one.run(stop_at=end(two.publisher), timeout=20)
    assert two.subscriber.one("SELECT count(*) FROM p") == 6
