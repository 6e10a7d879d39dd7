"""A random workload on one table of a publisher."""

from __future__ import annotations

import psycopg
from databases import Database
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

NUMBERS = st.integers(1, 6)
TEXTS = st.sampled_from(["", "a", "ü\\n\"'", "x" * 5000])


class Workload(RuleBasedStateMachine):
    """One writer of rows, keys, large values, subtransactions, prepared transactions and DDL."""

    source: Database

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
        self.begun()

    def begun(self) -> None:
        """Prepare what the comparison needs."""

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
        """Commit what is left, and compare."""
        if not hasattr(self, "writer"):
            return
        with self.writer:
            self.writer.commit()
        self.writer.close()
        self.compare()

    def compare(self) -> None:
        """Compare the table with the result of its changes."""
        raise NotImplementedError
