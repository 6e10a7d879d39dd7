"""Write fences: triggers that refuse all writes, except those of apply workers."""

from __future__ import annotations

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta
from functools import partial

import psycopg
import pytest
from clusters import Clusters, wait_until
from colours import Colour, execute
from databases import Database, Pair, both, make_database, subscribed
from psycopg.conninfo import make_conninfo

from pgreplkit import TableName
from pgreplkit.errors import (
    AlreadyExists,
    ServerError,
    TableNotFound,
    WaitTimeout,
)

PARTITIONED = (
    "CREATE TABLE parent (id int, v text) PARTITION BY RANGE (id)",
    "CREATE TABLE leaf PARTITION OF parent FOR VALUES FROM (0) TO (100)",
    "CREATE TABLE other (id int PRIMARY KEY)",
)


def refused(database: Database, statement: str) -> psycopg.Error:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction) as caught:
        database.run(statement)
    return caught.value


@pytest.mark.one_colour
async def test_a_fence_refuses_every_kind_of_write_until_it_is_lifted(
    database: Database, colour: Colour, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.run(*PARTITIONED)
    # As with more tables than one transaction may lock.
    for room in ("_async", "_sync"):
        monkeypatch.setattr(f"pgreplkit.{room}.logical.fence.AT_ONCE", 1)
    statements = [
        "INSERT INTO parent VALUES (1)",
        "INSERT INTO leaf VALUES (1)",
        "UPDATE leaf SET id = 2",
        "DELETE FROM parent WHERE false",
        "TRUNCATE leaf",
        "WITH gone AS (DELETE FROM parent) SELECT 1",
        "COPY leaf FROM PROGRAM 'echo 1'",
    ]
    if database.node.major >= 15:
        statements.append(
            "MERGE INTO leaf USING (SELECT 1 AS id) new ON leaf.id = new.id"
            " WHEN NOT MATCHED THEN INSERT VALUES (1)"
        )
    async with await colour.primary(database.conninfo) as primary:
        fence = await primary.fence_writes(["parent"], hint="it's on db2; \\ $fence$")
        assert [table.name for table in fence.tables] == ["leaf", "parent"]
        assert fence.waited is not None
        for statement in statements:
            error = refused(database, statement)
            assert error.diag.message_hint == "it's on db2; \\ $fence$"
            assert "are fenced" in str(error)
        database.run("INSERT INTO other VALUES (1)")
        # As another process after a crash.
        [again] = await primary.write_fences()
        assert (again.name, again.tables) == (fence.name, fence.tables)
        assert again.state.is_up
        await again.lift()
        assert await primary.write_fences() == []
        await again.lift()
        database.run(*statements[:2])
        assert database.one("SELECT count(*) FROM pg_namespace WHERE nspname ~ 'fence'") == 0


@pytest.mark.one_colour
async def test_a_fence_waits_for_an_open_writer_and_names_it_if_it_does_not_end(
    database: Database, colour: Colour
) -> None:
    database.run(*PARTITIONED)
    async with await colour.primary(database.conninfo) as primary:
        with psycopg.connect(database.conninfo, application_name="slow") as app:
            app.execute("INSERT INTO other VALUES (7)")
            with pytest.raises(WaitTimeout, match=f"process {app.info.backend_pid} .slow.*other"):
                await primary.fence_writes(["other", "parent"], timeout=0.1)
            # The failed fence leaves nothing behind.
            assert await primary.write_fences() == []
            database.run("INSERT INTO leaf VALUES (1)")
            app.commit()
        database.run("BEGIN; INSERT INTO other VALUES (6); PREPARE TRANSACTION 'two'")
        with pytest.raises(WaitTimeout, match=r"prepared transaction \(two, .*other"):
            await primary.fence_writes(["other"], timeout=0.1)
        database.run("ROLLBACK PREPARED 'two'")
        fence = await primary.fence_writes(["other"], timeout=5)
        assert database.one("SELECT max(id) FROM other") == 7
        with psycopg.connect(database.conninfo) as reader:
            reader.execute("SELECT FROM other")
            with pytest.raises(WaitTimeout, match="other"):
                await fence.lift(timeout=0.1)
            # Writes are permitted already, though the trigger cannot be dropped.
            database.run("INSERT INTO other VALUES (8)")
            [state] = [each.state for each in await primary.write_fences()]
            assert not state.is_up
            # Fencing again waits for the rows that were written in between.
            reader.execute("INSERT INTO other VALUES (9)")
            with pytest.raises(WaitTimeout, match="other"):
                await primary.fence_writes(["other"], timeout=0.1)
            # As before that attempt.
            database.run("INSERT INTO other VALUES (-1)")
        fence = await primary.fence_writes(["other"])
        assert database.one("SELECT max(id) FROM other") == 9
        refused(database, "INSERT INTO other VALUES (10)")


@pytest.mark.one_colour
async def test_a_fence_with_an_altered_trigger_is_not_up_until_it_is_completed(
    database: Database, colour: Colour
) -> None:
    database.run(*PARTITIONED)
    function = "CREATE OR REPLACE FUNCTION pgreplkit_fence.pgreplkit_refuse_writes()"
    async with await colour.primary(database.conninfo) as primary:
        await primary.fence_writes(["other", "parent"])
        for how in ("DISABLE TRIGGER", "ENABLE REPLICA TRIGGER", "ENABLE ALWAYS TRIGGER"):
            for table in ("leaf", "other"):
                database.run(f"ALTER TABLE {table} {how} pgreplkit_fence")
            [altered] = await primary.write_fences()
            assert [table.name for table in altered.state.disabled] == ["leaf", "other"]
            assert not altered.state.is_up
            # The others stay as they are.
            part = await primary.fence_writes(["other"])
            assert [table.name for table in part.state.disabled] == ["leaf"]
            assert (await primary.fence_writes(["parent", "other"])).state.is_up
            for table in ("leaf", "other", "parent"):
                refused(database, f"DELETE FROM {table}")
        database.run(
            f"{function} RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN RAISE NOTICE ''writes''; RETURN NULL; END'"
        )
        [replaced] = await primary.write_fences()
        assert (replaced.state.is_lifted, replaced.state.is_up) == (True, False)
        await primary.fence_writes(["other"])
        refused(database, "DELETE FROM leaf")


@pytest.mark.one_colour
async def test_tables_that_cannot_be_added_to_a_fence_leave_it_as_it_was(
    database: Database, colour: Colour, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.run(*PARTITIONED)
    for room in ("_async", "_sync"):
        monkeypatch.setattr(f"pgreplkit.{room}.logical.fence.AT_ONCE", 1)
    async with await colour.primary(database.conninfo) as primary:
        await primary.fence_writes(["other"])
        with psycopg.connect(database.conninfo) as app:
            # The leaf is fenced first.
            app.execute("LOCK TABLE ONLY parent IN ROW EXCLUSIVE MODE")
            with pytest.raises(WaitTimeout, match="parent"):
                await primary.fence_writes(["other", "parent"], timeout=0.1)
        [state] = [each.state for each in await primary.write_fences()]
        assert ([table.name for table in state.tables], state.is_up) == (["other"], True)
        database.run("INSERT INTO leaf VALUES (1)")


@pytest.mark.one_colour
async def test_partitions_that_are_attached_while_a_fence_waits_are_fenced_too(
    database: Database, colour: Colour
) -> None:
    database.run(*PARTITIONED, "CREATE TABLE late (id int, v text)")

    def attach() -> None:
        # It waits for the writer, and knows the partitions.
        wait_until(lambda: has_trigger(database, "leaf"))
        database.run("ALTER TABLE parent ATTACH PARTITION late FOR VALUES FROM (100) TO (200)")
        app.commit()

    async with await colour.primary(database.conninfo) as primary:
        with psycopg.connect(database.conninfo) as app, ThreadPoolExecutor() as pool:
            app.execute("INSERT INTO other VALUES (7)")
            attaching = pool.submit(attach)
            fence = await primary.fence_writes(["other", "parent"])
            attaching.result()
        assert [table.name for table in fence.tables] == ["late", "leaf", "other", "parent"]
        refused(database, "INSERT INTO late VALUES (150)")
        await fence.lift()
        database.run("INSERT INTO late VALUES (150)")


@pytest.mark.one_colour
async def test_the_error_of_a_fence_that_is_not_removed_says_so(
    database: Database, colour: Colour, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.run(*PARTITIONED)
    for room in ("_async", "_sync"):
        monkeypatch.setattr(f"pgreplkit.{room}.logical.fence._REMOVED_WITHIN", 0.1)
    async with await colour.primary(database.conninfo) as primary:
        with (
            psycopg.connect(database.conninfo) as writer,
            psycopg.connect(database.conninfo) as reader,
        ):
            writer.execute("INSERT INTO other VALUES (7)")
            # A trigger is added while others read, but not dropped.
            reader.execute("SELECT FROM leaf")
            with pytest.raises(WaitTimeout, match="other") as caught:
                await primary.fence_writes(["other", "parent"], timeout=0.5)
        [note] = caught.value.__notes__
        assert note.startswith(
            "could not remove the fence 'pgreplkit_fence' either: could not lift"
        )
        assert note.endswith("; lift() the one that write_fences() returns")
        [fence] = await primary.write_fences()
        database.run("INSERT INTO leaf VALUES (1)")
        await fence.lift()
        assert await primary.write_fences() == []


@pytest.mark.one_colour
async def test_a_fence_with_the_name_of_a_schema_is_refused_with_a_remedy(
    database: Database, colour: Colour
) -> None:
    database.run(*PARTITIONED)
    async with await colour.primary(database.conninfo) as primary:
        with pytest.raises(AlreadyExists, match=r'"public" already exists.*; choose another name'):
            await primary.fence_writes(["other"], name="public")


@pytest.mark.one_colour
async def test_a_fence_keeps_the_identity_of_the_run_that_created_it(
    database: Database, colour: Colour
) -> None:
    database.run(*PARTITIONED)
    async with await colour.primary(database.conninfo) as primary:
        fence = await primary.fence_writes(["other"], name="own")
        assert fence.state.identity == ""
        # As an upgrade marks it.
        database.run("COMMENT ON FUNCTION own.pgreplkit_refuse_writes() IS 'run 1'")
        assert (await primary.fence_writes(["parent"], name="own")).state.identity == "run 1"
        [found] = await primary.write_fences()
        assert found.state.identity == "run 1"


@pytest.mark.one_colour
async def test_a_fence_knows_since_when_no_one_can_write(
    database: Database, colour: Colour
) -> None:
    """Between the attempts of a fence, clients write; another process reads the same time."""
    database.run(*PARTITIONED)
    begun: list[datetime] = []

    def write() -> None:
        with (
            suppress(psycopg.errors.ReadOnlySqlTransaction),
            psycopg.connect(database.conninfo, autocommit=True) as client,
        ):
            while True:
                begin = datetime.now(UTC)
                client.execute("INSERT INTO leaf VALUES (1)")
                begun.append(begin)

    def end() -> None:
        time.sleep(1.5)
        slow.commit()

    async with await colour.primary(database.conninfo) as primary:
        with psycopg.connect(database.conninfo) as slow, ThreadPoolExecutor() as pool:
            slow.execute("INSERT INTO other VALUES (1)")
            writing = pool.submit(write)
            wait_until(lambda: bool(begun))
            called = datetime.now(UTC)
            pool.submit(end)
            fence = await primary.fence_writes(["parent", "other"])
            returned = datetime.now(UTC)
            writing.result()
        assert fence.state.since is not None
        # The attempt that stood waits for 0.3 seconds or less, and the client writes before.
        for last in (max(begun), fence.state.since):
            assert called + timedelta(seconds=0.8) < last < datetime.now(UTC)
        assert fence.waited is not None
        assert returned - fence.waited < fence.state.since
        # As a process that continues what another one has begun.
        assert (await primary.fence_writes(["parent", "other"])).state.since == fence.state.since
        [again] = await primary.write_fences()
        assert again.state.since == fence.state.since
        function = "pgreplkit_fence.pgreplkit_refuse_writes()"
        database.run(
            f"CREATE OR REPLACE FUNCTION {function} RETURNS trigger LANGUAGE plpgsql AS"
            " 'BEGIN RETURN NULL; END'"
        )
        anew = await primary.fence_writes(["parent", "other"])
        assert anew.state.since is not None
        assert anew.state.since > fence.state.since


def has_trigger(database: Database, table: str) -> bool:
    count = "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = '{}'::regclass"
    return database.one(count.format(table)) == 1


@pytest.mark.one_colour
@pytest.mark.parametrize("level", ["READ COMMITTED", "SERIALIZABLE"])
async def test_a_transaction_that_has_written_passes_a_fence_that_waits_for_it(
    database: Database, colour: Colour, level: str
) -> None:
    database.run(
        *PARTITIONED,
        "CREATE TABLE zone (id int)",
        "CREATE PUBLICATION everything FOR ALL TABLES",
        "GRANT INSERT ON other, parent, zone TO observer",
    )
    gate = "pgreplkit_fence.pgreplkit_gate"
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = "
    waiting += f"to_regclass('{gate}')"
    # The client has no privileges on the objects of the fence.
    client = database.as_role("observer")
    async with await colour.primary(database.conninfo) as primary:
        with (
            psycopg.connect(database.conninfo) as slow,
            psycopg.connect(client) as first,
            psycopg.connect(client) as late,
            ThreadPoolExecutor() as pool,
        ):
            # The last table: the others have their triggers before it ends.
            slow.execute("INSERT INTO zone VALUES (1)")

            def cross() -> None:
                wait_until(lambda: has_trigger(database, "other"))
                first.execute("INSERT INTO other VALUES (1)")
                slow.commit()
                wait_until(lambda: database.one(waiting) == 1)
                # In the order in which the fence would wait for this client.
                first.execute("INSERT INTO parent VALUES (1)")
                first.execute("INSERT INTO zone VALUES (2)")
                later = pool.submit(begin_late)
                wait_until(lambda: database.one(waiting) == 2)
                first.commit()
                later.result()

            def begin_late() -> None:
                late.execute(f"SET TRANSACTION ISOLATION LEVEL {level}".encode())
                late.execute("SELECT count(*) FROM pg_class")
                with suppress(psycopg.errors.ReadOnlySqlTransaction):
                    while True:
                        # It passes if the attempt ends before the other transaction.
                        late.execute("INSERT INTO other VALUES (2)")
                        late.rollback()

            crossed = pool.submit(cross)
            fence = await primary.fence_writes(["parent", "other", "zone"], timeout=30)
            crossed.result()
        assert fence.state.is_up
        published = "SELECT count(*) FROM pg_publication_tables WHERE schemaname ~ 'fence'"
        assert database.one(published) == 0
        assert database.one(f"SELECT to_regclass('{gate}') IS NULL") is True
        for table, rows in (("other", 1), ("parent", 1), ("zone", 2)):
            assert database.one(f"SELECT count(*) FROM {table}") == rows
            refused(database, f"INSERT INTO {table} VALUES (3)")


@pytest.mark.one_colour
async def test_a_fence_that_is_interrupted_before_it_stands_is_completed_by_another_call(
    database: Database, colour: Colour
) -> None:
    database.run(*PARTITIONED)
    async with await colour.primary(database.conninfo) as primary:
        with (
            psycopg.connect(database.conninfo) as slow,
            psycopg.connect(database.conninfo) as client,
            ThreadPoolExecutor() as pool,
        ):
            slow.execute("LOCK TABLE ONLY parent IN ROW EXCLUSIVE MODE")
            found: list[object] = []

            def waits() -> bool:
                gate = "to_regclass('pgreplkit_fence.pgreplkit_gate')"
                pids = "SELECT pid FROM pg_locks WHERE NOT granted AND relation = "
                found[:] = [pid for (pid,) in database.all(pids + gate)]
                return bool(found)

            def interrupt() -> None:
                wait_until(lambda: has_trigger(database, "other"))
                client.execute("INSERT INTO other VALUES (1)")
                slow.commit()
                wait_until(waits)
                database.run(f"SELECT pg_terminate_backend({found[0]})")

            interrupted = pool.submit(interrupt)
            with pytest.raises(Exception, match=r"terminat|closed|connection"):
                await primary.fence_writes(["parent", "other"], timeout=30)
            interrupted.result()
            async with await colour.primary(database.conninfo) as again:
                [state] = [each.state for each in await again.write_fences()]
                assert (state.is_gated, state.is_lifted, state.is_up) == (True, False, False)
                assert state.since is None
                database.run("INSERT INTO leaf VALUES (1)")
                pattern = f"process {client.info.backend_pid} .*other"
                with pytest.raises(WaitTimeout, match=pattern):
                    await again.fence_writes(["parent", "other"], timeout=0.1)
                client.commit()
                fence = await again.fence_writes(["parent", "other"])
                refused(database, "INSERT INTO leaf VALUES (2)")
                await fence.lift()
        assert database.one("SELECT count(*) FROM pg_namespace WHERE nspname ~ 'fence'") == 0


@pytest.mark.one_colour
@pytest.mark.matrix
async def test_a_fence_stands_among_writers_that_cross_each_other_without_a_pause(
    database: Database, colour: Colour
) -> None:
    names = ["a", "b", "c", "d"]
    database.run(*(f"CREATE TABLE {name} (i int)" for name in names))

    def write(number: int) -> int:
        count = 0
        with psycopg.connect(database.conninfo) as client:
            with suppress(psycopg.errors.ReadOnlySqlTransaction):
                while True:
                    for name in names if number % 2 else reversed(names):
                        client.execute(f"INSERT INTO {name} VALUES (1)".encode())
                    client.commit()
                    count += 1
            client.rollback()
        return count

    async with await colour.primary(database.conninfo) as primary:
        with ThreadPoolExecutor() as pool:
            writing = [pool.submit(write, number) for number in range(6)]
            wait_until(lambda: database.one("SELECT count(*) > 100 FROM a") is True)
            await primary.fence_writes(names)
            acknowledged = sum(each.result() for each in writing)
    for name in names:
        assert database.one(f"SELECT count(*) FROM {name}") == acknowledged


def set_patience(monkeypatch: pytest.MonkeyPatch, *seconds: float) -> None:
    for room in ("_async", "_sync"):
        monkeypatch.setattr(f"pgreplkit.{room}.logical.fence.PATIENCE", seconds)


def attempts(caplog: pytest.LogCaptureFixture) -> int:
    """Return how often a fence has tried to lock its tables since the last call."""
    count = sum(": DO " in record.getMessage() for record in caplog.records)
    caplog.clear()
    return count


@pytest.mark.one_colour
@pytest.mark.matrix
async def test_an_attempt_to_lock_tables_has_one_limit_for_all_of_them(
    database: Database,
    colour: Colour,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "pgreplkit")
    set_patience(monkeypatch, 0.5)
    names = [f"t{number}" for number in range(4)]
    database.run(*(f"CREATE TABLE {name} (i int)" for name in names))
    waiting = "SELECT relation::regclass::text FROM pg_locks WHERE NOT granted"

    def one_after_another(sessions: list[psycopg.Connection]) -> None:
        for name, session in zip(names, sessions, strict=True):
            wait_until(partial(waits_for, name))
            # Each lock is free before the limit, but not all of them.
            time.sleep(0.3)
            session.commit()

    def waits_for(name: str) -> bool:
        return (name,) in database.all(waiting)

    async with await colour.primary(database.conninfo) as primary:
        with ThreadPoolExecutor() as pool, ExitStack() as stack:
            sessions = [stack.enter_context(psycopg.connect(database.conninfo)) for _ in names]
            for statement in ("INSERT INTO {} VALUES (1)", "SELECT FROM {}"):
                for name, session in zip(names, sessions, strict=True):
                    session.execute(statement.format(name).encode())
                ended = pool.submit(one_after_another, sessions)
                if statement.startswith("INSERT"):
                    fence = await primary.fence_writes(names, timeout=60)
                else:
                    await fence.lift(timeout=60)
                ended.result()
                assert attempts(caplog) >= 2


@pytest.mark.one_colour
@pytest.mark.matrix
async def test_writers_have_as_much_time_as_the_attempts_of_a_fence(
    database: Database,
    colour: Colour,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "pgreplkit")
    set_patience(monkeypatch, 0.2)
    database.run(*PARTITIONED)
    async with await colour.primary(database.conninfo) as primary:
        with psycopg.connect(database.conninfo) as app:
            app.execute("INSERT INTO other VALUES (1)")
            with pytest.raises(WaitTimeout, match="other"):
                await primary.fence_writes(["other"], timeout=1.6)
    # Twice as many without pauses. The last ones are at the deadline, and remove the fence.
    assert 1 <= attempts(caplog) <= 6


@pytest.mark.one_colour
@pytest.mark.matrix
async def test_a_fence_that_is_the_victim_of_a_deadlock_tries_again(
    database: Database, colour: Colour, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The deadlock ends the attempt, and not its limit, which is the pause after it, too.
    set_patience(monkeypatch, 5)
    database.run(*(f"CREATE TABLE {name} (i int)" for name in "abc"))
    count = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    # Another test may have used the database before.
    before = int(str(database.one(count)))
    # The fence looks for a deadlock before the client does.
    patient, impatient = (
        make_conninfo(database.conninfo, options=f"-c deadlock_timeout={time}")
        for time in ("10min", "200ms")
    )

    def waits_for(table: str) -> bool:
        waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = '{}'::regclass"
        return database.one(waiting.format(table)) == 1

    async with await colour.primary(impatient) as primary:
        with (
            psycopg.connect(patient) as app,
            psycopg.connect(database.conninfo) as slow,
            ThreadPoolExecutor() as pool,
        ):
            slow.execute("INSERT INTO b VALUES (1)")
            app.execute("INSERT INTO c VALUES (1)")

            def cross() -> None:
                wait_until(lambda: waits_for("b"))
                # The fence has this one already, and will wait for the other.
                waiting = pool.submit(app.execute, "INSERT INTO a VALUES (1)")
                wait_until(lambda: waits_for("a"))
                # A server looks for a deadlock once, when a session has waited for a while.
                slow.commit()
                waiting.result()
                app.commit()

            crossed = pool.submit(cross)
            fence = await primary.fence_writes(["a", "b", "c"], timeout=60)
            crossed.result()
        assert fence.state.is_up
        for table in "abc":
            assert database.one(f"SELECT count(*) FROM {table}") == 1
        refused(database, "INSERT INTO a VALUES (2)")
        wait_until(lambda: database.one(count) == before + 1)


@pytest.mark.one_colour
@pytest.mark.matrix
async def test_a_fence_ends_an_autovacuum_that_it_would_wait_for(
    clusters: Clusters, major: int, colour: Colour
) -> None:
    # The server itself would end it after ten minutes of waiting.
    settings = {
        "autovacuum_naptime": "1s",
        "autovacuum_vacuum_cost_delay": "100ms",
        "autovacuum_vacuum_cost_limit": "1",
        "deadlock_timeout": "10min",
    }
    server = clusters.lab.primary(version=major, settings=settings)
    database = make_database(server)
    database.run(
        "CREATE TABLE t (i int) WITH (autovacuum_vacuum_threshold = 1)",
        "INSERT INTO t SELECT generate_series(1, 100000)",
        "DELETE FROM t",
    )
    vacuums = "SELECT count(*) FROM pg_stat_progress_vacuum WHERE relid = 't'::regclass"
    wait_until(lambda: database.one(vacuums) == 1)
    async with await colour.primary(database.conninfo) as primary:
        fence = await primary.fence_writes(["t"], timeout=20)
    assert fence.state.is_up
    refused(database, "INSERT INTO t VALUES (1)")
    server.stop()


@pytest.mark.pg(">=18")
@pytest.mark.one_colour
async def test_apply_workers_write_to_fenced_tables_and_a_wait_ends_before_the_slot_knows(
    pair: Pair, colour: Colour
) -> None:
    async with both(pair, colour) as (publisher, subscriber):
        subscription = await subscribed(pair, subscriber)
        await subscription.wait_for_sync(timeout=60)
        # By default the subscribed tables.
        fence = await subscriber.fence_writes()
        assert fence.tables == (TableName("public", "one"), TableName("public", "two"))
        # Without feedback the slot stays where it is: only the origin shows what is applied.
        setting = "wal_receiver_status_interval"
        pair.subscriber.run(f"ALTER SYSTEM SET {setting} = 0", "SELECT pg_reload_conf()")
        try:
            wait_until(lambda: pair.subscriber.one(f"SHOW {setting}") == "0")
            pair.publisher.run("INSERT INTO two VALUES (4711)")
            reached = await subscription.wait_for_catchup(timeout=30)
            assert pair.subscriber.one("SELECT count(*) FROM two WHERE id = 4711") == 1
            slot = (await subscription.status(publisher)).slot
            assert slot is not None
            assert slot.confirmed_flush_lsn is not None
            assert slot.confirmed_flush_lsn < reached
        finally:
            pair.subscriber.run(f"ALTER SYSTEM RESET {setting}", "SELECT pg_reload_conf()")
        refused(pair.subscriber, "INSERT INTO two VALUES (4712)")


@pytest.mark.one_colour
async def test_what_a_fence_does_not_cover_is_listed_with_the_sessions(
    database: Database, colour: Colour
) -> None:
    database.run(*PARTITIONED, "CREATE SEQUENCE numbers", "GRANT CREATE ON SCHEMA public TO PUBLIC")
    async with await colour.primary(database.conninfo) as primary:
        fence = await primary.fence_writes(["other"])
        with (
            psycopg.connect(database.conninfo, application_name="boss") as boss,
            psycopg.connect(database.as_role("observer"), application_name="clerk"),
        ):
            boss.execute("SET session_replication_role = replica")
            boss.execute("INSERT INTO other VALUES (1)")
            listed = {(one.application_name, one.kind.name) for one in await fence.unfenced()}
        kinds = {"SEQUENCES", "DDL", "REPLICA_ROLE"}
        assert {kind for name, kind in listed if name == "boss"} == kinds
        assert {kind for name, kind in listed if name == "clerk"} == set()


@pytest.mark.pg(">=18")
@pytest.mark.one_colour
async def test_bad_fences_are_refused(database: Database, colour: Colour) -> None:
    database.run(*PARTITIONED, "CREATE SCHEMA taken")
    async with await colour.primary(database.conninfo) as primary:
        with pytest.raises(TableNotFound, match="nowhere"):
            await primary.fence_writes(["other", "nowhere"])
        with pytest.raises(TableNotFound, match="neither subscribes"):
            await primary.fence_writes()
        with pytest.raises(AlreadyExists, match="taken"):
            await primary.fence_writes(["other"], name="taken")
        for name in ("", "pg_fence", "x" * 64, "a\0b"):
            with pytest.raises(ValueError, match="name must"):
                await primary.fence_writes(["other"], name=name)
        with pytest.raises(TypeError):
            await primary.fence_writes("other")
        assert await primary.write_fences() == []
        await execute(primary.connection, "BEGIN")
        with pytest.raises(ServerError, match="in a transaction"):
            await primary.fence_writes(["other"])


@pytest.mark.alone
@pytest.mark.pg(">=18")
@pytest.mark.one_colour
async def test_a_thousand_tables_are_fenced_within_a_second(
    database: Database, colour: Colour
) -> None:
    create = "DO $$ BEGIN FOR i IN 1..1000 LOOP EXECUTE 'CREATE TABLE t' || i || ' (i int)'"
    database.run(f"{create}; END LOOP; END $$")
    async with await colour.primary(database.conninfo) as primary:
        fence = await primary.fence_writes([f"t{number}" for number in range(1, 1001)])
        assert fence.waited is not None
        began = time.monotonic()
        await fence.lift()
        assert (fence.waited.total_seconds() < 1, time.monotonic() - began < 1) == (True, True)
