"""Tables that are added to a feed's publications later."""

from __future__ import annotations

from typing import cast

import attrs
import pytest
from colours import Colour, inner
from databases import Database
from feedfacts import end_of, feed_of, written
from modelsink import Engine, ModelSink

from pgreplkit import LSN
from pgreplkit.errors import FeedError, TableNotFound
from pgreplkit.feeds import AsyncFeed, FeedBatch, FeedStage


@pytest.mark.one_colour
async def test_the_rows_of_an_added_table_come_between_its_earlier_and_later_changes(
    colour: Colour, database: Database
) -> None:
    database.run(
        "CREATE TABLE t (id int PRIMARY KEY)",
        "CREATE TABLE u (id int PRIMARY KEY, name text)",
        "CREATE TABLE private (id int PRIMARY KEY)",
        "CREATE PUBLICATION p FOR TABLE t",
    )
    engine = Engine()

    @attrs.define
    class Writing(ModelSink):
        """Lets others write while the changes before the rows are sent."""

        has_written: bool = False

        async def send(self, batch: FeedBatch) -> None:
            await ModelSink.send(self, batch)
            if batch.messages and not self.has_written:
                self.has_written = True
                database.run("UPDATE u SET name = 'late' WHERE id = 2", "INSERT INTO u VALUES (99)")

    sink = Writing(engine, has_written=True)
    feed = feed_of(colour, database, "feed_adding", sink=sink)
    await feed.run(stop_at=LSN("0/1"), timeout=10)
    database.run(
        "INSERT INTO u SELECT i, 'old' FROM generate_series(1, 25) AS i",
        "ALTER PUBLICATION p ADD TABLE u",
        "INSERT INTO t VALUES (1)",
        "UPDATE u SET name = 'new' WHERE id = 1",
    )
    with pytest.raises(TableNotFound, match=r"do not have the table public\.private; they have"):
        await feed.add_tables(["u", "private"], timeout=30)
    assert engine.messages == []
    sink.has_written = False
    report = await feed.add_tables(["u", "u"], timeout=30)
    assert (report.messages, report.copied_rows, report.transactions) == (2, 25, 2)
    found = written(await engine.read())
    assert [line[2:] for line in found[:2]] == [["insert", "t", "1"], ["update", "u", "1", "new"]]
    assert sorted(line[2:] for line in found[2:27]) == sorted(
        ["read", "u", str(number), "new" if number == 1 else "old"] for number in range(1, 26)
    )
    assert len(found) == 27
    await feed.run(stop_at=end_of(database), timeout=30)
    assert [line[2:] for line in written(await engine.read())[27:]] == [
        ["update", "u", "2", "late"],
        ["insert", "u", "99", None],
    ]
    assert engine.names == sorted({*engine.names})
    slots = "SELECT string_agg(slot_name, ',') FROM pg_replication_slots WHERE slot_name ~ 'pgrepl'"
    assert database.one(slots) is None


@pytest.mark.one_colour
async def test_an_interrupted_addition_lets_the_feed_continue(
    colour: Colour, database: Database
) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE PUBLICATION p FOR ALL TABLES")
    database.run("INSERT INTO t SELECT generate_series(1, 25)")
    engine = Engine()

    class Breaking(ModelSink):
        async def send(self, batch: FeedBatch) -> None:
            if len(engine.messages) >= 10:
                raise OSError("broken")
            await ModelSink.send(self, batch)

    feed = feed_of(colour, database, "feed_broken", sink=Breaking(engine))
    await feed.run(stop_at=LSN("0/1"), timeout=10)
    with pytest.raises(OSError, match="broken"):
        await feed.add_tables(["t"], timeout=30)
    assert engine.position is not None
    assert (engine.position.stage, engine.position.number) == (FeedStage.ADDING, 10)
    database.run("INSERT INTO t VALUES (100)")
    feed = feed_of(colour, database, "feed_broken", sink=ModelSink(engine))
    await feed.run(stop_at=end_of(database), timeout=30)
    assert [line[2:] for line in written(await engine.read())[10:]] == [["insert", "t", "100"]]
    assert (await feed.add_tables(["t"], timeout=30)).copied_rows == 26
    assert engine.names == sorted({*engine.names})

    class Stopping(ModelSink):
        async def send(self, batch: FeedBatch) -> None:
            await ModelSink.send(self, batch)
            cast(AsyncFeed, inner(feed)).stop()

    feed = feed_of(colour, database, "feed_broken", sink=Stopping(engine))
    with pytest.raises(FeedError, match="it was stopped before all rows were sent; call add_tab"):
        await feed.add_tables(["t"], timeout=30)
    only = feed_of(colour, database, "feed_only", sink=ModelSink(Engine()), snapshot="only")
    with pytest.raises(FeedError, match="it sends no changes"):
        await only.add_tables(["t"])
