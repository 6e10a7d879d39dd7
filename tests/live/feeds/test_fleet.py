"""Many feeds in one process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import attrs
import pytest
from colours import Colour, inner
from databases import Database
from feedfacts import feed_of, written
from modelsink import Engine, ModelSink

from pgreplkit.errors import EncodingFailed, FeedError, SinkNotFitting, SinkUnreachable, WaitTimeout
from pgreplkit.feeds import (
    AsyncFeed,
    AsyncFleet,
    FeedChange,
    FeedPosition,
    FeedState,
    FeedStatus,
    Fleet,
)

T = TypeVar("T")
UNREACHABLE = SinkUnreachable("open the sink", "connection refused")


@attrs.define
class Repaired(ModelSink):
    """A sink that cannot be opened until it is repaired."""

    is_up: bool = False
    error: Exception = UNREACHABLE

    async def open(self, feed: str) -> FeedPosition | None:
        if not self.is_up:
            raise self.error
        return await ModelSink.open(self, feed)


class Refusing:
    """An encoder that cannot encode any change."""

    def encode(self, change: FeedChange) -> None:
        raise ValueError("not a number")


def fleet_of(colour: Colour, **feeds: AsyncFeed) -> AsyncFleet:
    kind: Any = AsyncFleet if colour.name == "async" else Fleet
    return cast(AsyncFleet, kind({name: inner(feed) for name, feed in feeds.items()}))


async def until(find: Callable[[], T]) -> T:
    """Wait for something true, and return it."""
    async with asyncio.timeout(20):
        while not (found := find()):
            await asyncio.sleep(0.02)
    return found


@pytest.mark.one_colour
async def test_a_feed_that_fails_or_waits_never_stops_another(
    colour: Colour, database: Database
) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY, name text)")
    database.run("CREATE PUBLICATION p FOR ALL TABLES")
    good, late = Engine(), Engine()
    sink = Repaired(late)
    fleet = fleet_of(
        colour,
        good=feed_of(colour, database, "fleet_good", sink=ModelSink(good)),
        bad=feed_of(colour, database, "fleet_bad", sink=ModelSink(Engine()), encoder=Refusing()),
        late=feed_of(colour, database, "fleet_late", sink=sink),
    )
    run: Any = fleet.run
    job = asyncio.ensure_future(run() if colour.name == "async" else asyncio.to_thread(run))

    def states() -> list[str]:
        return [one.state.value for one in fleet.status()]

    def begun() -> Sequence[FeedStatus]:
        rows = fleet.status()
        has_begun = [one.state for one in rows] == ["streaming", "streaming", "waiting"]
        return rows if has_begun else ()

    try:
        *_, waiting = await until(begun)
        assert fleet.is_healthy
        assert (waiting.error, waiting.retry_in is None) == (
            f"SinkUnreachable: {UNREACHABLE}",
            False,
        )
        database.run("INSERT INTO t VALUES (1)")
        await until(lambda: states()[1] == "failed")
        assert not fleet.is_healthy
        assert isinstance(fleet.errors["bad"], EncodingFailed)
        sink.is_up = True
        await until(lambda: states()[2] == "streaming")
        database.run("INSERT INTO t VALUES (2)")
        await until(lambda: (len(good.messages), len(late.messages)) == (2, 1))
        # It has stored a message, so that the attempts that failed before no longer count.
        await until(lambda: fleet.status()[2].failures == 0)
        assert [one.is_healthy for one in fleet.status()] == [True, False, True]
        again: Any = fleet.run() if colour.name == "async" else asyncio.to_thread(run)
        with pytest.raises(FeedError, match="it runs already"):
            await again
    finally:
        fleet.stop()
        stopped = time.monotonic()
        rows = await job
    # The feeds are stopped too: a fleet waits a minute for those that do not end.
    assert time.monotonic() - stopped < 30
    assert [(one.name, one.slot, one.state) for one in rows] == [
        ("good", "fleet_good", FeedState.STOPPED),
        ("bad", "fleet_bad", FeedState.FAILED),
        ("late", "fleet_late", FeedState.STOPPED),
    ]
    assert [one.messages for one in rows] == [2, 0, 1]
    assert [line[4] for line in written(await good.read())] == ["1", "2"]
    assert "not a number" in str(rows.to_records()[1]["error"])


@pytest.mark.one_colour
async def test_a_fleet_ends_with_its_last_feed_and_the_next_run_starts_all_again(
    colour: Colour, database: Database
) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE PUBLICATION p FOR ALL TABLES")
    sink = Repaired(Engine(), error=SinkNotFitting("open the sink", "retention", "it drops"))
    fleet = fleet_of(colour, one=feed_of(colour, database, "fleet_one", sink=sink))
    run: Any = colour.bound(fleet).run
    [row] = await run()
    assert (row.state, row.error) == (FeedState.FAILED, f"SinkNotFitting: {sink.error}")
    sink.is_up = True
    with pytest.raises(WaitTimeout, match="while the fleet runs its feeds: one"):
        await run(timeout=0.1)
    assert (fleet.status()[0].state, fleet.errors) == (FeedState.STOPPED, {})
    fleet.stop()
    assert await run() == fleet.status()
