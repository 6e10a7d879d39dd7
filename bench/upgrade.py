"""Compare the write outage of a cutover under four writers with the same statements by hand."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.sharedctypes import Synchronized
from statistics import median

import psycopg

from pgreplkit.lab import Lab, Node
from pgreplkit.rows import PlanResult
from pgreplkit.upgrade import Upgrade

ROUNDS, TABLES, WRITERS = 11, 20, 4
STOPPED, OLD, NEW = 0, 1, 2
SETTINGS = {"wal_level": "logical"}
REFUSE = """
    CREATE FUNCTION hand() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE 'fenced' USING ERRCODE = 'read_only_sql_transaction'; END $$
"""
ADD = "CREATE TRIGGER hand BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON t{}"
FENCE = "BEGIN;" + "".join(
    f"{ADD.format(number)} FOR EACH STATEMENT EXECUTE PROCEDURE hand();" for number in range(TABLES)
)
OPEN = "BEGIN;" + "".join(f"DROP TRIGGER hand ON t{number};" for number in range(TABLES))
MARK = "SELECT pg_logical_emit_message(true, 'hand', ''), pg_current_wal_flush_lsn()"
PASSED = "SELECT max(latest_end_lsn) FROM pg_stat_subscription WHERE relid IS NULL"
POSITIONS = " UNION ALL ".join(
    f"SELECT 't{number}_id_seq', last_value, is_called FROM t{number}_id_seq"
    for number in range(TABLES)
)
END = "SELECT pg_terminate_backend(pid) FROM pg_stat_subscription WHERE pid IS NOT NULL"
SLOT = "SELECT pg_create_logical_replication_slot('hand', 'pgoutput')"


def by_hand(old: Node, new: Node) -> float:
    """Return the seconds from the first statement of a cutover until the new server is open."""
    with (
        psycopg.connect(old.conninfo, autocommit=True) as here,
        psycopg.connect(new.conninfo, autocommit=True) as there,
    ):
        here.execute(REFUSE)
        began = time.perf_counter()
        here.execute((FENCE + "COMMIT").encode())
        here.execute(MARK)
        target = here.execute("SELECT pg_current_wal_flush_lsn()").fetchone()
        assert target is not None
        passed = f"SELECT ({PASSED}) >= '{target[0]}'"
        while there.execute(passed.encode()).fetchone() != (True,):
            time.sleep(0.001)
        sequences = here.execute(POSITIONS.encode()).fetchall()
        there.cursor().executemany("SELECT setval(%s, %s, %s)", sequences)
        there.execute("ALTER SUBSCRIPTION shop_1 DISABLE")
        # Without their end, they would send what they apply back later.
        while there.execute(END).fetchall():
            time.sleep(0.001)
        there.execute(SLOT)
        there.execute("DROP SCHEMA shop_fence CASCADE")
        took = time.perf_counter() - began
        # And back to where it began.
        there.execute("SELECT pg_drop_replication_slot('hand')")
        there.execute("ALTER SUBSCRIPTION shop_1 ENABLE")
        here.execute((OPEN + "COMMIT").encode())
        here.execute("DROP FUNCTION hand()")
    return took


def write(servers: dict[int, str], target: Synchronized[int], commits: Synchronized[int]) -> None:
    """Write to the server that ``target`` names, until it names none."""
    at, number = 0, 0
    while (wanted := target.value) != STOPPED:
        if at != wanted:
            at = wanted
            connection = psycopg.connect(servers[at], autocommit=True)
        number += 1
        try:
            connection.execute(f"INSERT INTO t{number % TABLES} (v) VALUES (1)".encode())
            with commits.get_lock():
                commits.value += 1
        except psycopg.errors.ReadOnlySqlTransaction:
            pass  # Fenced: try again, perhaps on the other server.
        time.sleep(0.002)


@contextmanager
def writing(old: Node, new: Node) -> Iterator[tuple[Synchronized[int], Synchronized[int]]]:
    """Let clients write; yield the server that they write to, and their count of commits."""
    # Processes: threads would take turns with the cutover in this one.
    context = get_context("spawn")
    target, commits = context.Value("i", OLD), context.Value("i", 0)
    given = ({OLD: old.conninfo, NEW: new.conninfo}, target, commits)
    writers = [context.Process(target=write, args=given) for _ in range(WRITERS)]
    for writer in writers:
        writer.start()
    while not commits.value:
        time.sleep(0.01)
    try:
        yield target, commits
    finally:
        target.value = STOPPED
        for writer in writers:
            writer.join()


def shown(result: PlanResult) -> float:
    """Return the outage of an operation in seconds."""
    assert result.write_outage is not None
    return result.write_outage.total_seconds()


def main() -> None:
    """Cut over and roll back with the library, and cut over by hand, several times."""
    with Lab() as lab:
        old = lab.primary(version="16", settings=SETTINGS)
        new = lab.primary(version="18", settings=SETTINGS)
        with old.connect() as here, new.connect() as there:
            for number in range(TABLES):
                create = f"CREATE TABLE t{number} (id serial PRIMARY KEY, v int)"
                here.connection.execute(create.encode())
                here.connection.execute(f"INSERT INTO t{number} (v) VALUES (1)".encode())
            upgrade = Upgrade(here, there, name="shop")
            upgrade.plan_prepare(bindir=new.installation.bindir).run()
            ours, back, theirs = [], [], []
            steps: dict[str, list[float]] = {}
            with writing(old, new) as (target, commits):

                def redirect(node: str) -> None:
                    target.value = {"old": OLD, "new": NEW}[node]

                for _ in range(ROUNDS):
                    result = upgrade.plan_cutover(redirect).run()
                    ours.append(shown(result))
                    for step in result.steps:
                        took = step.elapsed.total_seconds()
                        steps.setdefault(step.step.description, []).append(took)
                    back.append(shown(upgrade.plan_rollback(redirect).run()))
                    theirs.append(by_hand(old, new))
                    there.fence_writes([f"t{n}" for n in range(TABLES)], name="shop_fence")
    for text, times in steps.items():
        print(f"  {1000 * median(times):6.1f} ms {text}")
    # Of each pair: the load of the machine changes between them.
    ratio = median(mine / hand for mine, hand in zip(ours, theirs, strict=True))
    print(f"upgrade: no writes for {median(ours):.3f} s at the cutover, {median(back):.3f} s back;")
    print(f"  {commits.value} commits of {WRITERS} writers;", end="")
    print(f"  the same statements by hand: {median(theirs):.3f} s; ratio {ratio:.2f} (limit 2)")


if __name__ == "__main__":
    main()
