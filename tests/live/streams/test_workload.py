"""A random workload: the replayed stream equals the table."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest
from clusters import Cluster
from databases import Database, make_database, remove_databases
from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg.rows import dict_row

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

NUMBERS = st.integers(1, 6)
TEXTS = st.sampled_from(["", "a", "ü\\n\"'", "x" * 5000])
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


class Workload(RuleBasedStateMachine):
    """One writer of rows, keys, large values, subtransactions, prepared transactions and DDL."""

    source: Database
    streaming = "off"

    @initialize()
    def begin(self) -> None:
        self.source.run(
            "DROP TABLE IF EXISTS t",
            "CREATE TABLE t (id int PRIMARY KEY, big text, n int)",
            "ALTER TABLE t ALTER big SET STORAGE EXTERNAL",
            "DROP PUBLICATION IF EXISTS p",
            "CREATE PUBLICATION p FOR TABLE t",
            """SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots
            WHERE database = current_database()""",
            "SELECT pg_create_logical_replication_slot('workload', 'pgoutput')",
        )
        self.writer = psycopg.connect(self.source.conninfo)
        self.extra: list[str] = []
        self.savepoints = 0

    @rule(id=NUMBERS, big=TEXTS)
    def upsert(self, id: int, big: str) -> None:
        self.writer.execute(
            """INSERT INTO t (id, big, n) VALUES (%s, %s, 0)
            ON CONFLICT (id) DO UPDATE SET big = excluded.big""",
            [id, big],
        )

    @rule(id=NUMBERS)
    def count(self, id: int) -> None:
        """Update the row without its large value."""
        self.writer.execute("UPDATE t SET n = coalesce(n, 0) + 1 WHERE id = %s", [id])

    @rule(id=NUMBERS, to=st.integers(7, 12))
    def rename(self, id: int, to: int) -> None:
        self.writer.execute(
            """UPDATE t SET id = %s WHERE id = %s
            AND NOT EXISTS (SELECT FROM t WHERE id = %s)""",
            [to, id, to],
        )

    @rule(id=st.integers(1, 12))
    def delete(self, id: int) -> None:
        self.writer.execute("DELETE FROM t WHERE id = %s", [id])

    @rule()
    def truncate(self) -> None:
        # Before 11 TRUNCATE is not published.
        word = "TRUNCATE t" if self.source.node.major >= 11 else "DELETE FROM t"
        self.writer.execute(word.encode())

    @rule()
    def add_column(self) -> None:
        name = f"c{len(self.extra)}"
        self.writer.execute(f"ALTER TABLE t ADD {name} text DEFAULT 'new'".encode())
        self.extra.append(name)

    @rule()
    def savepoint(self) -> None:
        self.savepoints += 1
        self.writer.execute(f"SAVEPOINT s{self.savepoints}".encode())

    @precondition(lambda self: self.savepoints > 0)
    @rule()
    def rollback_to(self) -> None:
        self.writer.execute(f"ROLLBACK TO s{self.savepoints}".encode())

    @rule(keep=st.booleans())
    def end(self, keep: bool) -> None:
        if keep:
            self.writer.commit()
        else:
            self.writer.rollback()
        self.savepoints = 0

    @rule(keep=st.booleans())
    def prepare(self, keep: bool) -> None:
        self.writer.execute("PREPARE TRANSACTION 'workload'")
        self.writer.commit()
        self.source.run(f"{'COMMIT' if keep else 'ROLLBACK'} PREPARED 'workload'")
        self.savepoints = 0

    def teardown(self) -> None:
        if not hasattr(self, "writer"):
            return
        with self.writer:
            self.writer.commit()
        self.writer.close()
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
    class OnThisServer(Workload):
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
