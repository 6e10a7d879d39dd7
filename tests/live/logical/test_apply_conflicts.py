"""The log of an applier's conflicts: all are counted, and some of them recorded for some time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from clusters import Cluster
from databases import Pair, end, publishing

from pgreplkit._sync.logical import applyconflicts
from pgreplkit.apply import Applier, ConflictKind, KeepLocal

pytestmark = [pytest.mark.one_colour, pytest.mark.pg(">=18")]
MANY = 20_000


@pytest.fixture
def two(cluster: Cluster) -> Iterator[Pair]:
    with publishing(cluster.primary, "CREATE TABLE t (id int PRIMARY KEY, n int)") as pair:
        yield pair


@pytest.fixture
def one(two: Pair) -> Applier:
    ends = two.publisher.conninfo, two.subscriber.conninfo
    made = Applier(*ends, "one", publications=["p"], conflicts=KeepLocal())
    made.run(stop_at=end(two.publisher), timeout=20)
    return made


def recorded(one: Applier) -> dict[ConflictKind, int]:
    return Counter(conflict.kind for conflict in one.conflicts())


@pytest.mark.matrix
def test_a_transaction_of_many_missing_rows_is_applied_fast_and_some_are_recorded(
    two: Pair, one: Applier
) -> None:
    two.publisher.run(f"INSERT INTO t SELECT g, 0 FROM generate_series(1, {MANY}) AS g")
    one.run(stop_at=end(two.publisher), timeout=60)
    two.subscriber.run("TRUNCATE t")
    two.publisher.run("UPDATE t SET n = 1", "DELETE FROM t WHERE id <= 150")
    begun = time.monotonic()
    report = one.run(stop_at=end(two.publisher), timeout=60)
    # A time that grows with the square of the number would be minutes.
    assert time.monotonic() - begun < 20
    kinds = ConflictKind.UPDATE_MISSING, ConflictKind.DELETE_MISSING
    assert report.conflicts == dict(zip(kinds, (MANY, 150), strict=True)) == one.counters
    assert recorded(one) == dict.fromkeys(kinds, 100)


@pytest.mark.matrix
def test_a_transaction_of_many_existing_rows_records_no_more_than_the_rate(
    two: Pair, one: Applier
) -> None:
    two.subscriber.run("INSERT INTO t SELECT g, 7 FROM generate_series(1, 2000) AS g")
    # Change by change, since the policy is asked about each of them.
    two.publisher.run("INSERT INTO t SELECT g, 0 FROM generate_series(1, 2000) AS g")
    report = one.run(stop_at=end(two.publisher), timeout=60)
    assert report.conflicts == {ConflictKind.INSERT_EXISTS: 2000}
    assert recorded(one) == {ConflictKind.INSERT_EXISTS: 100}
    assert two.subscriber.one("SELECT count(*) FROM t WHERE n = 7") == 2000


@pytest.mark.parametrize("is_running", [False, True])
def test_records_of_conflicts_are_removed_after_30_days(
    two: Pair, one: Applier, monkeypatch: pytest.MonkeyPatch, is_running: bool
) -> None:
    def age(*days: Any) -> None:
        for number in days:
            two.publisher.run(f"INSERT INTO t VALUES ({number}, 0)")
            two.subscriber.run(f"INSERT INTO t VALUES ({number}, 1)")
            one.run(stop_at=end(two.publisher), timeout=20)
            two.subscriber.run(
                f"UPDATE pgreplkit.conflict SET at = now() - interval '{number} days'"
                f" WHERE key_values ->> 'id' = '{number}'"
            )

    age(29, 31)
    if is_running:
        # As in a run that lasts for days: the records get old after its start.
        monkeypatch.setattr(applyconflicts, "_PRUNED_EVERY", 0)
        prune = applyconflicts.ConflictLog.prune
        calls: list[float] = []

        def later(log: applyconflicts.ConflictLog) -> None:
            calls.append(time.monotonic())
            if len(calls) > 1:
                prune(log)

        monkeypatch.setattr(applyconflicts.ConflictLog, "prune", later)
        two.publisher.run("INSERT INTO t VALUES (1, 0)")
        two.subscriber.run("INSERT INTO t VALUES (1, 1)")
        one.run(stop_at=end(two.publisher), timeout=20)
        assert len(calls) > 1
    else:
        one.run(stop_at=end(two.publisher), timeout=20)
    assert "31" not in {(each.key_values or {})["id"] for each in one.conflicts()}
    assert "29" in {(each.key_values or {})["id"] for each in one.conflicts()}
