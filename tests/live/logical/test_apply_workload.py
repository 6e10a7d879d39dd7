"""A random workload, applied to another database: its rows are the same."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import cycle

import pytest
from clusters import Cluster
from databases import Database, make_database, remove_databases
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from workload import Workload

from pgreplkit import LSN
from pgreplkit.apply import Applier
from pgreplkit.errors import SchemaMismatch


@pytest.fixture
def two(cluster: Cluster) -> Iterator[tuple[Database, Database]]:
    both = make_database(cluster.primary), make_database(cluster.primary)
    yield both
    remove_databases(*both)


class Applied(Workload):
    """Compares the table with one to which its changes were applied."""

    target: Database
    groups = cycle([1, 20])

    def begun(self) -> None:
        self.target.run(
            "DROP TABLE IF EXISTS t", "CREATE TABLE t (id int PRIMARY KEY, big text, n int)"
        )
        self.applier = Applier(
            self.source.conninfo, self.target.conninfo, "workload", publications=["p"], copy=False,
            group=next(self.groups),
        )  # fmt: skip
        self.applier.drop()
        self.applier.run(stop_at=LSN("0/1"), timeout=20)

    def compare(self) -> None:
        end = LSN(str(self.source.one("SELECT pg_current_wal_lsn()::text")))
        added = set[str]()
        while True:
            try:
                report = self.applier.run(stop_at=end, timeout=20)
            except SchemaMismatch as error:
                new = {name for name in self.extra if f"'{name}'" in error.found}
                assert not added & new
                added |= self.add(new)
                continue
            break
        columns = "SELECT attname FROM pg_attribute WHERE attrelid = 't'::regclass AND attnum > 3"
        self.add({str(name) for [name] in self.source.all(columns)} - added)
        assert not report.conflicts
        query = "SELECT to_jsonb(t)::text FROM t ORDER BY id"
        assert self.target.all(query) == self.source.all(query)

    def add(self, names: set[str]) -> set[str]:
        for name in names:
            self.target.run(f"ALTER TABLE t ADD {name} text DEFAULT 'new'")
        return names


@pytest.mark.matrix
@pytest.mark.pg(">=17")
def test_an_applied_random_workload_leads_to_the_same_rows(
    two: tuple[Database, Database],
) -> None:
    class OnThisServer(Applied):
        pass

    OnThisServer.source, OnThisServer.target = two
    run_state_machine_as_test(
        OnThisServer,
        settings=settings(
            max_examples=5,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[*HealthCheck],
        ),
    )
