"""The decisions of a fleet: which feeds start again, and when."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from colours import Colour
from feedfacts import Lines
from modelsink import Engine, ModelSink

from pgreplkit.errors import (
    ConnectionFailed,
    EncodingFailed,
    PositionLost,
    ServerError,
    SinkFenced,
    SinkNotFitting,
    SinkRefused,
    SinkUnreachable,
    SlotActive,
    SlotLost,
    WaitTimeout,
    WrongSource,
)
from pgreplkit.feeds import AsyncFeed, AsyncFleet, Feed, FeedState, Fleet
from pgreplkit.feeds.fleet import Attempts
from pgreplkit.plans.streams.retries import may_succeed_later

FEED = "run the feed 'orders'"
PASSING = [
    ConnectionFailed(FEED, "connection refused"),
    SinkUnreachable(FEED, "no answer"),
    SlotActive(FEED, "orders", 7, None, None),
    WaitTimeout("timed out waiting for the slot"),
    ServerError(FEED, "no more connections", "53300"),
]
LASTING = [
    PositionLost(FEED, "0/5", None),
    WrongSource(FEED, "another cluster"),
    SinkNotFitting(FEED, "retention", "it drops messages"),
    SinkRefused(FEED, "bad subject"),
    EncodingFailed(FEED, "not a message", "0/5", 1),
    SlotLost(FEED, "wal removed"),
    ServerError(FEED, "no such publication", "42704"),
    ServerError(FEED, "unknown"),
    OSError("a defect of a sink"),
]


@pytest.mark.parametrize("error", PASSING, ids=lambda one: type(one).__name__)
def test_a_feed_starts_again_after_an_error_that_passes(error: Exception) -> None:
    assert may_succeed_later(error)
    attempts = Attempts()
    assert (attempts.is_due(0), attempts.is_running, attempts.is_over) == (True, False, False)
    attempts.begin(100.0, 0)
    assert (attempts.is_due(100.0), attempts.is_running) == (False, True)
    assert attempts.retry_in(100.0) is None
    attempts.end(error, 101.0, 0, 1.0)
    assert (attempts.state, attempts.is_over, attempts.error) == (FeedState.WAITING, False, error)
    assert attempts.retry_in(101.25) == 0.25
    assert (attempts.is_due(101.4), attempts.is_due(101.5)) == (False, True)
    assert attempts.retry_in(102.0) == 0
    attempts.begin(102.0, 0)
    assert (attempts.state, attempts.error) == (FeedState.STARTING, None)


@pytest.mark.parametrize("error", LASTING, ids=lambda one: type(one).__name__)
def test_a_feed_with_an_error_that_needs_a_decision_never_starts_again(error: Exception) -> None:
    assert not may_succeed_later(error)
    attempts = Attempts()
    attempts.begin(0.0, 0)
    attempts.end(error, 1.0, 0, 0.5)
    assert (attempts.state, attempts.is_over, attempts.error) == (FeedState.FAILED, True, error)
    assert (attempts.is_due(1e9), attempts.retry_in(1.0)) == (False, None)


def test_a_feed_that_was_fenced_begins_again_once_for_its_own_late_batch() -> None:
    fenced = SinkFenced(FEED, "another process wrote")
    attempts, states = Attempts(), []
    for now, messages in enumerate([5, 6, 6]):
        attempts.begin(float(now), messages)
        attempts.end(fenced, float(now), messages, 0.5)
        states.append(attempts.state)
    # The second time, messages were stored in between; the third time, nothing was.
    assert states == [FeedState.WAITING, FeedState.WAITING, FeedState.FAILED]


def test_a_feed_that_waits_for_minutes_is_not_healthy() -> None:
    attempts, status = (
        Attempts(),
        AsyncFleet(
            {"a": AsyncFeed("", "a", publications=["p"], sink=ModelSink(Engine()), encoder=Lines())}
        ).status()[0],
    )
    now = 0.0
    while attrs.evolve(status, failures=attempts.failures).is_healthy:
        attempts.begin(now, 0)
        attempts.end(PASSING[0], now, 0, 0.5)
        now += attempts.retry_in(now) or 0
    assert 180 < now < 300
    attempts.begin(now, 0)
    attempts.end(None, now + 40, 1, 0.5)
    assert attempts.failures == 0


@pytest.mark.parametrize(("now", "messages"), [(141.0, 6), (170.0, 5)])
def test_a_feed_that_recovers_is_healthy_while_it_runs(now: float, messages: int) -> None:
    attempts = Attempts(failures=30)
    attempts.begin(100.0, 5)
    # It hangs for 40 seconds, and then it streams.
    attempts.note_progress(140.0, 5, is_streaming=False)
    attempts.note_progress(169.9, 5, is_streaming=True)
    assert attempts.failures == 30
    attempts.note_progress(now, messages, is_streaming=True)
    assert (attempts.failures, attempts.is_running) == (0, True)


def test_an_attempt_that_hangs_is_not_a_success() -> None:
    attempts = Attempts(failures=29)
    attempts.begin(100.0, 5)
    attempts.note_progress(190.0, 5, is_streaming=False)
    attempts.end(PASSING[0], 200.0, 5, 0.5)
    assert attempts.failures == 30


async def test_the_feeds_of_a_fleet_do_not_connect_all_at_once() -> None:
    fleet = AsyncFleet(
        {
            f"f{number}": AsyncFeed(
                "host=127.0.0.1 port=1 connect_timeout=1",
                f"f{number}",
                publications=["p"],
                sink=ModelSink(Engine()),
                encoder=Lines(),
            )
            for number in range(60)
        }
    )
    with pytest.raises(WaitTimeout):
        await fleet.run(timeout=0)
    assert [one.since is None for one in fleet.status()] == [False] * 50 + [True] * 10


@pytest.mark.parametrize("name", ["async", "sync"])
async def test_no_feed_of_a_fleet_that_has_ended_waits_for_an_attempt(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    colour = Colour(name)
    kinds: Any = (AsyncFleet, AsyncFeed) if name == "async" else (Fleet, Feed)
    fleet_kind, feed_kind = kinds
    feed = feed_kind(
        "host=127.0.0.1 port=1 connect_timeout=1",
        "orders",
        publications=["p"],
        sink=ModelSink(Engine()),
        encoder=Lines(),
    )
    fleet = fleet_kind({"orders": feed})
    with pytest.raises(WaitTimeout):
        await colour.bound(fleet).run(timeout=1.5)
    [row] = fleet.status()
    assert (row.state, row.retry_in) == (FeedState.STOPPED, None)
    assert row.failures > 0
    assert "ConnectionFailed" in str(row.error)
    # libpq's own text has two lines.
    assert "Connection refused Is the server running on" in caplog.messages[0]
    assert not [message for message in caplog.messages if "\n" in message]


def test_a_feed_that_is_stopped_while_it_waits_keeps_its_error_and_never_starts_again() -> None:
    attempts, error = Attempts(), ConnectionFailed(FEED, "refused")
    attempts.stop()
    assert attempts.state is FeedState.NEW
    attempts.begin(0.0, 0)
    attempts.end(error, 1.0, 0, 0.5)
    attempts.stop()
    assert (attempts.state, attempts.is_over, attempts.error) == (FeedState.STOPPED, True, error)
    assert attempts.retry_in(1.0) is None
    assert not attempts.is_due(1e9)


def test_a_feed_that_was_stopped_never_starts_again() -> None:
    attempts = Attempts()
    attempts.begin(0.0, 0)
    attempts.end(None, 1.0, 5, 0.5)
    assert (attempts.state, attempts.is_over, attempts.error) == (FeedState.STOPPED, True, None)
    assert not attempts.is_due(1e9)


def test_pauses_grow_until_an_attempt_stores_messages_or_lasts() -> None:
    attempts, now, pauses = Attempts(), 0.0, []

    def attempt(lasts: float, messages: int) -> None:
        nonlocal now
        attempts.begin(now, 10)
        now += lasts
        attempts.note_progress(now, 10, is_streaming=True)
        attempts.end(PASSING[0], now, messages, 1.0)
        pauses.append(attempts.retry_in(now))

    for _ in range(7):
        attempt(1.0, 10)
    attempt(1.0, 11)
    attempt(29.9, 10)
    attempt(30.0, 10)
    assert pauses == [0.5, 1, 2, 4, 8, 10, 10, 0.5, 1, 0.5]


def test_a_fleet_takes_only_a_mapping_of_feeds_with_sinks_of_their_own() -> None:
    sink = ModelSink(Engine())
    one, same = (Feed("", name, publications=["p"], sink=sink, encoder=Lines()) for name in "ab")
    asynchronous = AsyncFeed("", "a", publications=["p"], sink=sink, encoder=Lines())
    wrong: list[tuple[Any, str]] = [
        ([one], "feeds must map names to feeds, not list"),
        ({}, "feeds is empty"),
        ({"one": asynchronous}, "the feed 'one' must be a Feed, not AsyncFeed"),
        ({"one": one, "same": same}, "'one' and 'same' have one sink; each needs its own"),
    ]
    for feeds, found in wrong:
        with pytest.raises((TypeError, ValueError), match=found):
            Fleet(feeds)
    fleet = Fleet({"one": one})
    assert (fleet.names, fleet.is_healthy, fleet.status()[0].state) == (("one",), True, "new")
    assert repr(fleet) == "<Fleet of 1 feed>"
