"""A random workload: the replayed stream equals the table."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from clusters import Cluster
from databases import Database, make_database, remove_databases
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test
from psycopg.rows import dict_row
from workload import Workload

from pgreplkit import LSN, Primary
from pgreplkit.changes import (
    UNCHANGED,
    ChangeStream,
    Delete,
    Insert,
    Row,
    TransactionStream,
    Truncate,
    Update,
)

Rows = dict[object, dict[str, object]]


@pytest.fixture
def source(cluster: Cluster) -> Iterator[Database]:
    database = make_database(cluster.primary)
    yield database
    remove_databases(database)


def replayed(stream: ChangeStream[Row] | TransactionStream[Row], model: Rows) -> None:
    for item in stream:
        changes = [item] if isinstance(stream, ChangeStream) else [*item]  # type: ignore[misc]
        for change in changes:
            match change:
                case Insert(new=new):
                    assert new["id"] not in model
                    model[new["id"]] = dict(new)
                case Update(old=old, new=new):
                    before = model.pop(old["id"] if old is not None else new["id"])
                    kept = {
                        name: before[name] for name, v in new.as_dict().items() if v is UNCHANGED
                    }
                    model[new["id"]] = {**new.as_dict(), **kept}
                case Delete(old=old):
                    del model[old["id"]]
                case Truncate():
                    model.clear()


class Replayed(Workload):
    """Compares the table with a model to which the changes are applied."""

    def compare(self) -> None:
        with psycopg.connect(self.source.conninfo, row_factory=dict_row) as reader:
            expected = {row["id"]: row for row in reader.execute("SELECT * FROM t")}
        end = LSN(str(self.source.one("SELECT pg_current_wal_lsn()::text")))
        with Primary.connect(self.source.conninfo) as primary:
            for whole in (False, True):
                model: Rows = {}
                with primary.changes(
                    "workload", publications=["p"], stop_at=end, timeout=20
                ) as stream:
                    replayed(stream.transactions() if whole else stream, model)
                # A column that was added later is in the rows that changed since.
                for row in model.values():
                    for name in self.extra:
                        row.setdefault(name, "new")
                shared = {
                    id: {name: row[name] for name in expected[id] if name in row}
                    for id, row in model.items()
                }
                assert shared == expected


def test_a_replayed_random_workload_equals_the_table(source: Database) -> None:
    class OnThisServer(Replayed):
        pass

    OnThisServer.source = source
    run_state_machine_as_test(
        OnThisServer,
        settings=settings(
            max_examples=15,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[*HealthCheck],
        ),
    )
