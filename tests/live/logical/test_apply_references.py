"""Appliers of tables that refer to each other by foreign keys."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from clusters import Cluster
from databases import Pair, end, publishing

from pgreplkit.apply import Applier
from pgreplkit.errors import ApplyFailed

TABLE = "CREATE TABLE t (id int PRIMARY KEY, name text)"
REFERRING = "CREATE TABLE r (id int PRIMARY KEY, t int REFERENCES t)"


@pytest.fixture
def two(cluster: Cluster) -> Iterator[Pair]:
    with publishing(cluster.primary, TABLE) as pair:
        for each in (pair.publisher, pair.subscriber):
            each.run(REFERRING)
        yield pair


def applier(two: Pair, **options: Any) -> Applier:
    ends = two.publisher.conninfo, two.subscriber.conninfo
    return Applier(*ends, "one", **{"publications": ["p"], **options})


@pytest.mark.parametrize("sends_both", [True, False])
def test_tables_that_refer_to_each_other_are_emptied_before_they_are_copied(
    two: Pair, sends_both: bool
) -> None:
    if sends_both:
        two.publisher.run("ALTER PUBLICATION p ADD TABLE r")
    rows = "INSERT INTO t VALUES (1, 'a'), (2, 'b')", "INSERT INTO r VALUES (1, 1), (2, 2)"
    two.publisher.run(*rows)
    two.subscriber.run(*rows, "UPDATE t SET name = 'old'", "INSERT INTO t VALUES (3, 'old')")
    report = applier(two, existing="truncate").run(stop_at=end(two.publisher), timeout=20)
    assert report.copied_rows == (4 if sends_both else 2)
    for table in ("t", "r"):
        query = f"SELECT * FROM {table} ORDER BY id"
        assert two.subscriber.all(query) == two.publisher.all(query)


@pytest.mark.pg(">=11")
def test_a_truncate_that_the_subscriber_refuses_can_be_parked(two: Pair) -> None:
    two.publisher.run("INSERT INTO t VALUES (1, 'a')")
    applier(two).run(stop_at=end(two.publisher), timeout=20)
    two.publisher.run("TRUNCATE t CASCADE", "INSERT INTO t VALUES (2, 'b')")
    with pytest.raises(ApplyFailed, match="referenced in a foreign key constraint") as caught:
        applier(two).run(stop_at=end(two.publisher), timeout=20)
    assert str(caught.value).endswith("or use on_error='park'")
    one = applier(two, on_error="park")
    assert one.run(stop_at=end(two.publisher), timeout=20).parked == 1
    assert two.subscriber.all("SELECT id FROM t ORDER BY id") == [(1,), (2,)]
    [parked] = one.parked()
    assert (parked.table, parked.sqlstate) == ("public.t", "0A000")
    one.drop_parked(parked)
    assert not one.parked()
