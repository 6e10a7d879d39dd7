"""A feed between a server and a sink in memory."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import cast

import attrs
import psycopg
import pytest
from clusters import wait_until
from colours import Colour, inner
from databases import Database
from feedfacts import confirmed, end_of, feed_of, written
from modelsink import Engine, ModelSink
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from pgreplkit import LSN
from pgreplkit.errors import (
    EncodingFailed,
    FeedError,
    PositionLost,
    PublicationGap,
    SinkNotFitting,
    SinkUnreachable,
    SlotActive,
    UnsupportedByServer,
    WaitTimeout,
    WrongSource,
)
from pgreplkit.feeds import AsyncFeed, FeedBatch, FeedMessage, FeedPosition, FeedStage, FeedState

TABLE = "CREATE TABLE t (id int PRIMARY KEY, name text)"
PUBLICATION = "CREATE PUBLICATION p FOR ALL TABLES"


async def test_every_change_is_sent_once_and_in_order(colour: Colour, database: Database) -> None:
    database.run(TABLE, "CREATE TABLE skipped (id int)", PUBLICATION)
    engine = Engine()
    feed = feed_of(colour, database, "feed_changes", sink=ModelSink(engine))
    assert (await feed.run(stop_at=LSN("0/1"), timeout=10)).messages == 0
    database.run(
        "INSERT INTO t VALUES (1, 'one'), (2, NULL)",
        "INSERT INTO skipped VALUES (1)",
        "UPDATE t SET name = 'zwei' WHERE id = 2",
        "INSERT INTO t SELECT i, 'more' FROM generate_series(3, 40) AS i",
        "DELETE FROM t WHERE id = 1",
        "TRUNCATE t",
    )
    truncates = 1 if database.node.major >= 11 else 0
    report = await feed.run(stop_at=end_of(database), timeout=30)
    found = written(await engine.read())
    assert [line[2:] for line in found if line[1] in (1, 2)][:4] == [
        ["insert", "t", "1", "one"],
        ["insert", "t", "2", None],
        ["update", "t", "2", "zwei"],
        ["insert", "t", "3", "more"],
    ]
    assert [line[2] for line in found[42 - 1 :]] == ["delete", "truncate"][: 1 + truncates]
    assert (report.messages, report.transactions) == (42 + truncates, 5 + truncates)
    assert feed.state == FeedState.STOPPED
    # The sink has everything that is confirmed to the slot, and a second run finds nothing new.
    assert engine.position is not None
    assert confirmed(database, "feed_changes") == engine.position.lsn
    assert (await feed.run(stop_at=end_of(database), timeout=30)).messages == 0


@pytest.mark.one_colour
async def test_a_transaction_is_continued_at_the_batch_at_which_it_was_interrupted(
    colour: Colour, database: Database
) -> None:
    database.run(TABLE, PUBLICATION)
    engine = Engine()
    await feed_of(colour, database, "feed_part", sink=ModelSink(engine)).run(
        stop_at=LSN("0/1"), timeout=10
    )
    database.run(
        "INSERT INTO t SELECT i, 'x' FROM generate_series(1, 95) AS i", "INSERT INTO t VALUES (0)"
    )

    class Breaking(ModelSink):
        async def send(self, batch: FeedBatch) -> None:
            if len(engine.messages) >= 40:
                raise OSError("broken")
            await ModelSink.send(self, batch)

    with pytest.raises(OSError, match="broken"):
        await feed_of(colour, database, "feed_part", sink=Breaking(engine)).run(timeout=10)
    assert engine.position is not None
    assert (engine.position.number, engine.position.is_whole) == (40, False)
    assert confirmed(database, "feed_part") < engine.position.lsn
    feed = feed_of(colour, database, "feed_part", sink=ModelSink(engine))
    assert (await feed.run(stop_at=end_of(database), timeout=30)).messages == 56
    found = written(await engine.read())
    assert [line[4] for line in found] == [*map(str, range(1, 96)), "0"]


@pytest.mark.one_colour
async def test_the_existing_rows_come_first_and_a_copy_that_was_interrupted_begins_again(
    colour: Colour, database: Database
) -> None:
    database.run(TABLE, PUBLICATION, "INSERT INTO t SELECT i FROM generate_series(1, 35) AS i")
    engine = Engine()

    class Breaking(ModelSink):
        async def send(self, batch: FeedBatch) -> None:
            if engine.messages:
                raise OSError("broken")
            await ModelSink.send(self, batch)

    with pytest.raises(OSError, match="broken"):
        await feed_of(colour, database, "feed_copy", sink=Breaking(engine), snapshot="initial").run(
            timeout=10
        )
    assert engine.position is not None
    assert engine.position.stage is FeedStage.COPYING
    database.run("INSERT INTO t VALUES (36)")
    engine.messages.clear()
    feed = feed_of(colour, database, "feed_copy", sink=ModelSink(engine), snapshot="initial")
    report = await feed.run(stop_at=LSN("0/1"), timeout=30)
    assert (report.copied_rows, engine.position.generation) == (36, 2)
    # A position of a standby, or of before a failover, has another timeline.
    engine.position = attrs.evolve(engine.position, timeline=0)
    database.run("INSERT INTO t VALUES (37)")
    await feed.run(stop_at=end_of(database), timeout=30)
    assert engine.position.timeline == 1
    found = written(await engine.read())
    assert [(line[2], line[4]) for line in found] == [
        *(("read", str(number)) for number in range(1, 37)),
        ("insert", "37"),
    ]


@pytest.mark.one_colour
@pytest.mark.pg(">=18")
async def test_an_existing_row_that_is_too_large_is_parked_and_counted(
    colour: Colour, database: Database
) -> None:
    database.run(TABLE, PUBLICATION)
    database.run("INSERT INTO t VALUES (1, 'small'), (2, repeat('x', 20000)), (3, 'small')")
    engine = Engine()
    feed = feed_of(
        *(colour, database, "feed_parked"),
        sink=ModelSink(engine),
        snapshot="initial",
        parked="aside",
    )
    report = await feed.run(stop_at=LSN("0/1"), timeout=10)
    assert (report.copied_rows, report.parked) == (3, 1)
    assert [one.destination for one in engine.messages] == ["cdc.rows", "aside", "cdc.rows"]


@pytest.mark.one_colour
@pytest.mark.pg(">=18")
async def test_the_existing_rows_can_be_all_that_is_sent(
    colour: Colour, database: Database
) -> None:
    database.run(TABLE, PUBLICATION, "INSERT INTO t SELECT i FROM generate_series(1, 25) AS i")
    engine, closed = Engine(), []

    class Closing(ModelSink):
        async def close(self) -> None:
            closed.append(self)

    feed = feed_of(colour, database, "feed_only", sink=Closing(engine), snapshot="only")
    assert (await feed.run(timeout=10)).copied_rows == 25
    database.run("INSERT INTO t VALUES (26)")
    assert (await feed.run(timeout=10)).messages == 0
    assert len(closed) == 2
    assert [line[4] for line in written(await engine.read())] == [*map(str, range(1, 26))]
    assert database.all("SELECT 1 FROM pg_replication_slots WHERE slot_name = 'feed_only'") == []


@pytest.mark.one_colour
async def test_changes_that_are_lost_are_never_passed_over_silently(
    colour: Colour, database: Database
) -> None:
    database.run(TABLE, PUBLICATION)
    engine = Engine()
    feed = feed_of(colour, database, "feed_lost", sink=ModelSink(engine))
    await feed.run(stop_at=LSN("0/1"), timeout=10)
    database.run("INSERT INTO t VALUES (1)")
    consume = """SELECT count(*) FROM pg_logical_slot_get_binary_changes(
        'feed_lost', NULL, NULL, 'proto_version', '1', 'publication_names', 'p')"""
    database.all(consume)
    with pytest.raises(PositionLost, match=r"the sink ends at .*, and the slot begins at"):
        await feed.run(timeout=10)
    with pytest.raises(PositionLost, match="the sink has no position"):
        await feed_of(colour, database, "feed_lost", sink=ModelSink(Engine())).run(timeout=10)
    assert feed.state == FeedState.FAILED
    accepting = feed_of(colour, database, "feed_lost", sink=ModelSink(engine), on_lost="accept")
    database.run("INSERT INTO t VALUES (2)")
    await accepting.run(stop_at=end_of(database), timeout=30)
    assert [line[4] for line in written(await engine.read())] == ["2"]
    foreign = FeedPosition(LSN("0/5"), 0, True, FeedStage.STREAMING, 77, 1)
    with pytest.raises(WrongSource, match="of the cluster 77"):
        await feed_of(colour, database, "feed_lost", sink=ModelSink(Engine(position=foreign))).run()


@pytest.mark.one_colour
@pytest.mark.pg(">=18")
async def test_a_slot_that_is_gone_is_created_again_only_with_a_word_about_the_gap(
    colour: Colour, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    database.run(TABLE, PUBLICATION)
    engine = Engine()
    feed = feed_of(colour, database, "feed_gone", sink=ModelSink(engine), on_lost="accept")
    await feed.run(stop_at=LSN("0/1"), timeout=10)
    assert engine.position is not None
    before = engine.position.lsn
    database.run("SELECT pg_drop_replication_slot('feed_gone')", "INSERT INTO t VALUES (1)")
    with caplog.at_level(logging.WARNING, "pgreplkit"):
        await feed.run(stop_at=LSN("0/1"), timeout=10)
    [said] = [one.getMessage() for one in caplog.records]
    assert said.startswith(f"feed feed_gone: changes between {before} and {engine.position.lsn}")


@pytest.mark.one_colour
@pytest.mark.pg(">=18")
async def test_a_batch_that_the_engine_stores_late_does_not_end_its_own_feed(
    colour: Colour, database: Database
) -> None:
    database.run(TABLE, PUBLICATION)
    engine = Engine()
    late: list[FeedBatch] = []

    class Slow(ModelSink):
        async def send(self, batch: FeedBatch) -> None:
            if batch.messages and not engine.messages and not late:
                late.append(batch)
                raise SinkUnreachable("send", "it did not answer in time")
            if len(late) == 1:
                # The engine stores it only now, after the sink was opened again.
                other = ModelSink(engine)
                await other.open("")
                await other.send(late[0])
                late.append(batch)
            await ModelSink.send(self, batch)

    feed = feed_of(colour, database, "feed_late", sink=Slow(engine), reconnect=20)
    await feed.run(stop_at=LSN("0/1"), timeout=10)
    database.run(*(f"INSERT INTO t VALUES ({number})" for number in (1, 2)))
    await feed.run(stop_at=end_of(database), timeout=20)
    assert len(late) == 2
    assert [line[4] for line in written(await engine.read())] == ["1", "2"]


@pytest.mark.one_colour
@pytest.mark.pg(">=18")
async def test_a_timeout_bounds_the_copy_and_the_time_of_reconnecting(
    colour: Colour, database: Database
) -> None:
    database.run(TABLE, PUBLICATION, "INSERT INTO t SELECT i FROM generate_series(1, 900) AS i")

    class Slow(ModelSink):
        async def send(self, batch: FeedBatch) -> None:
            await asyncio.sleep(0.2 if batch.messages else 0)
            await ModelSink.send(self, batch)

    class Down(ModelSink):
        async def open(self, feed: str) -> FeedPosition | None:
            raise SinkUnreachable("open the sink", "connection refused")

    began, allowed, engine = time.monotonic(), 10, Engine()
    options = {"snapshot": "initial", "reconnect": 60}
    with psycopg.connect(database.conninfo) as writer:
        # A slot waits for the end of transactions that have begun to write.
        writer.execute("DELETE FROM t WHERE id = 900")
        creating = feed_of(colour, database, "feed_wait", sink=ModelSink(Engine()), **options)
        with pytest.raises(WaitTimeout, match=r"'feed_wait' .*: it has not begun"):
            await creating.run(timeout=0.3)
    copying = feed_of(colour, database, "feed_slow", sink=Slow(engine), **options)
    # A busy machine may need more than two seconds to begin the copy, which takes 18.
    for timeout in (2, 4, 8):
        with pytest.raises(WaitTimeout, match="it has not begun"):
            await copying.run(timeout=timeout)
        allowed += timeout
        if engine.position is not None and engine.position.stage is FeedStage.COPYING:
            break
    assert 0 < len(engine.messages) < 900
    down = feed_of(colour, database, "feed_down", sink=Down(Engine()), **options)
    with pytest.raises(WaitTimeout, match=r"the last attempt failed: .* connection refused"):
        await down.run(timeout=0.3)
    assert time.monotonic() - began < allowed


@pytest.mark.one_colour
@pytest.mark.pg(">=18")
async def test_an_error_is_not_hidden_by_that_of_closing_the_sink(
    colour: Colour, database: Database
) -> None:
    database.run(TABLE, PUBLICATION)

    class Broken(ModelSink):
        async def send(self, batch: FeedBatch) -> None:
            raise SinkNotFitting("send", "disk", "it is full")

        async def close(self) -> None:
            raise OSError("already closed")

    with pytest.raises(SinkNotFitting, match="it is full"):
        await feed_of(colour, database, "feed_close", sink=Broken(Engine())).run(timeout=10)


@pytest.mark.one_colour
@pytest.mark.pg(">=18")
async def test_the_database_may_come_from_the_environment(
    colour: Colour, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    database.run(TABLE, PUBLICATION)
    parts = conninfo_to_dict(database.conninfo)
    monkeypatch.setenv("PGDATABASE", str(parts.pop("dbname")))
    engine, source = Engine(), make_conninfo("", **parts)
    feed = feed_of(colour, database, "feed_env", sink=ModelSink(engine), source=source)
    await feed.run(stop_at=LSN("0/1"), timeout=10)
    database.run("INSERT INTO t VALUES (1)")
    await feed.run(stop_at=end_of(database), timeout=10)
    assert [line[4] for line in written(await engine.read())] == ["1"]


@pytest.mark.pg("<17")
@pytest.mark.one_colour
async def test_options_that_the_server_lacks_are_refused_before_anything_is_stored(
    colour: Colour, database: Database
) -> None:
    database.run(TABLE, PUBLICATION)
    engine, lacking = Engine(), {"failover": "17"}
    if database.node.major < 14:
        lacking["messages"] = "14"
    for option, since in lacking.items():
        feed = feed_of(colour, database, "feed_new", sink=ModelSink(engine), **{option: True})
        with pytest.raises(UnsupportedByServer, match=f"it needs PostgreSQL {since}"):
            await feed.run(timeout=10)
    assert engine.position is None


@pytest.mark.pg(">=18")
async def test_a_slot_of_something_else_is_refused_and_stays(
    colour: Colour, database: Database
) -> None:
    database.run(TABLE, PUBLICATION, "SELECT pg_create_physical_replication_slot('feed_standby')")
    database.run("SELECT pg_create_logical_replication_slot('feed_two', 'pgoutput', false, true)")
    try:
        for slot, found in (("feed_standby", "is physical"), ("feed_two", "only prepared")):
            feed = feed_of(colour, database, slot, sink=ModelSink(Engine()), on_lost="accept")
            with pytest.raises(FeedError, match=f"the slot '{slot}' .*{found}"):
                await feed.run(timeout=5)
    finally:
        database.run("SELECT pg_drop_replication_slot('feed_standby')")
        database.run("SELECT pg_drop_replication_slot('feed_two')")


async def test_a_slot_in_use_is_named_and_a_stopped_feed_ends(
    colour: Colour, database: Database
) -> None:
    database.run(TABLE, PUBLICATION)
    engine = Engine()
    first = feed_of(colour, database, "feed_used", sink=ModelSink(engine), heartbeat=0.05)
    await first.run(stop_at=LSN("0/1"), timeout=10)
    began = engine.position
    running = cast(AsyncFeed, inner(first))
    job = asyncio.ensure_future(asyncio.to_thread(lambda: asyncio.run(_run(first))))
    database.run("SELECT pg_current_wal_lsn()", "CREATE TABLE unpublished_wal (id int)")
    try:
        async with asyncio.timeout(20):
            while engine.position == began or running.state != FeedState.STREAMING:
                await asyncio.sleep(0.01)
        readiness = await feed_of(colour, database, "feed_used", sink=ModelSink(engine)).check()
        assert "it was not asked: process" in str(readiness)
        with pytest.raises(SlotActive, match="feed_used"):
            await feed_of(colour, database, "feed_used", sink=ModelSink(engine)).run(timeout=5)
        assert engine.messages == []
    finally:
        running.stop()
        await job
    # The heartbeats have moved the slot, though nothing was published.
    assert began is not None
    assert confirmed(database, "feed_used") > began.lsn


@pytest.mark.one_colour
@pytest.mark.pg(">=18")
async def test_a_feed_waits_for_the_end_of_the_one_that_ran_before(
    colour: Colour, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The session of its start ends a little after its client, and holds the feed's lock."""
    for kind in ("_async", "_sync"):
        monkeypatch.setattr(f"pgreplkit.{kind}.feeds.start._LET_GO_WITHIN", 20.0)
    database.run(TABLE, PUBLICATION)
    feed = feed_of(colour, database, "feed_locked", sink=ModelSink(Engine()))
    asking = """SELECT FROM pg_stat_activity WHERE datname = current_database()
        AND pid <> pg_backend_pid() AND query LIKE '%try_advisory_lock%'"""
    with psycopg.connect(database.conninfo, autocommit=True) as before:
        before.execute("SELECT pg_advisory_lock(1885697652, hashtext('feed_locked'))")
        run = _run(feed, stop_at=LSN("0/1"), timeout=30)
        job = asyncio.ensure_future(asyncio.to_thread(lambda: asyncio.run(run)))
        await asyncio.to_thread(wait_until, lambda: bool(database.all(asking)))
        before.execute("SELECT pg_advisory_unlock_all()")
        await job


async def _run(feed: object, **options: object) -> None:
    await feed.run(**options)  # type: ignore[attr-defined]


@pytest.mark.one_colour
@pytest.mark.pg(">=14")
async def test_logical_messages_come_in_their_order(colour: Colour, database: Database) -> None:
    database.run(TABLE, PUBLICATION)
    engine = Engine()
    feed = feed_of(colour, database, "feed_messages", sink=ModelSink(engine), messages=True)
    await feed.run(stop_at=LSN("0/1"), timeout=10)
    with psycopg.connect(database.conninfo) as connection:
        connection.execute("INSERT INTO t VALUES (1)")
        connection.execute("SELECT pg_logical_emit_message(false, 'now', 'alone')")
        connection.execute("SELECT pg_logical_emit_message(true, 'outbox', 'within')")
        connection.execute("INSERT INTO t VALUES (2)")
    await feed.run(stop_at=end_of(database), timeout=30)
    await feed.run(stop_at=end_of(database), timeout=30)
    assert [line[1:] for line in written(await engine.read())] == [
        [1, "message", "now", "alone"],
        [1, "insert", "t", "1", None],
        [2, "message", "outbox", "within"],
        [3, "insert", "t", "2", None],
    ]


@pytest.mark.one_colour
@pytest.mark.pg(">=18")
async def test_hold_keeps_the_slot_back_so_that_an_engine_may_lose_its_last_messages(
    colour: Colour, database: Database
) -> None:
    database.run(TABLE, PUBLICATION)
    engine = Engine()
    feed = feed_of(colour, database, "feed_hold", sink=ModelSink(engine), hold=3600)
    await feed.run(stop_at=LSN("0/1"), timeout=10)
    before = engine.position
    database.run(*(f"INSERT INTO t VALUES ({number})" for number in range(30)))
    assert (await feed.run(stop_at=end_of(database), timeout=30)).messages == 30
    assert (await feed.run(stop_at=end_of(database), timeout=30)).messages == 0
    assert before is not None
    assert confirmed(database, "feed_hold") == before.lsn
    del engine.messages[20:]
    lost = engine.names[19]
    engine.position = FeedPosition(
        LSN(lost[0]), 1, True, FeedStage.STREAMING, before.system_id, before.timeline
    )
    await feed.run(stop_at=end_of(database), timeout=30)
    assert [line[4] for line in written(await engine.read())] == [*map(str, range(30))]


@pytest.mark.one_colour
@pytest.mark.pg(">=18")
async def test_an_encoder_that_fails_ends_the_feed_before_its_change(
    colour: Colour, database: Database
) -> None:
    database.run(TABLE, PUBLICATION)
    engine = Engine()

    class Failing:
        def encode(self, change: object) -> FeedMessage:
            raise KeyError("name")

    feed = feed_of(colour, database, "feed_fails", sink=ModelSink(engine), encoder=Failing())
    await feed.run(stop_at=LSN("0/1"), timeout=10)
    database.run("INSERT INTO t VALUES (1)")
    with pytest.raises(EncodingFailed, match=r"number 1, of public\.t: .* KeyError: 'name'"):
        await feed.run(timeout=10)
    assert engine.messages == []


async def test_a_check_names_what_keeps_a_feed_from_running(
    colour: Colour, database: Database
) -> None:
    database.run(TABLE, "CREATE TABLE keyless (id int)", PUBLICATION)
    feed = feed_of(colour, database, "feed_check", sink=ModelSink(Engine()))
    readiness = await feed.check()
    assert [finding.check for finding in readiness.problems] == ["table public.keyless"]
    assert "can be used" in readiness["sink"].found

    class Refusing(ModelSink):
        async def open(self, feed: str) -> FeedPosition | None:
            raise SinkNotFitting("use it", "max_age", "it removes messages", remedy="set it")

    readiness = await feed_of(colour, database, "feed_check", sink=Refusing(Engine())).check()
    assert (readiness["sink"].found, readiness["sink"].remedy) == ("it removes messages", "set it")
    assert not readiness.is_ready


async def test_a_feed_stops_where_its_publication_did_not_exist(
    colour: Colour, database: Database
) -> None:
    database.run(TABLE, PUBLICATION)
    engine = Engine()
    feed = feed_of(colour, database, "feed_gap", sink=ModelSink(engine))
    await feed.run(stop_at=LSN("0/1"), timeout=10)
    database.run(
        "INSERT INTO t VALUES (1, 'before')",
        "DROP PUBLICATION p",
        "INSERT INTO t VALUES (2, 'in')",
        PUBLICATION,
        "INSERT INTO t VALUES (3, 'after')",
    )
    for _ in range(2):
        with pytest.raises(PublicationGap, match="on_lost='accept'"):
            await feed.run(stop_at=end_of(database), timeout=30)
    assert [line[2:] for line in written(await engine.read())] == [["insert", "t", "1", "before"]]
    if database.node.major >= 18:
        accepting = feed_of(colour, database, "feed_gap", sink=ModelSink(engine), on_lost="accept")
        await accepting.run(stop_at=end_of(database), timeout=30)
        assert [line[4] for line in written(await engine.read())] == ["1", "3"]
