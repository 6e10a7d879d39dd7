"""Entries of Redis Streams, and the servers that a feed refuses."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st

from pgreplkit import LSN
from pgreplkit.errors import SinkNotFitting, SinkRefused, SinkUnreachable
from pgreplkit.feeds import FeedMessage, RedisStreams
from pgreplkit.feeds.redisstreams import (
    RedisFacts,
    address_of,
    entry_fields,
    entry_ids,
    error_of,
    insist_on_fitting,
)

FITTING = RedisFacts(
    role="master",
    evicts="noeviction",
    max_memory=0,
    writes_log=True,
    fsync="everysec",
    is_cluster=False,
)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3)), unique=True))
def test_the_ids_of_entries_grow_with_the_names_of_changes(
    found: list[tuple[int, int, int]],
) -> None:
    parts = {(LSN(lsn), number): count for lsn, number, count in sorted(found)}
    names = [name for name, count in parts.items() for _ in range(count)]
    ids = [tuple(map(int, entry.split("-"))) for entry in entry_ids(names)]
    assert ids == sorted({*ids})
    assert [(LSN(high), low // 1000) for high, low in ids] == names


def test_a_change_with_too_many_messages_is_refused() -> None:
    assert len([*entry_ids([(LSN("0/5"), 1)] * 1000)]) == 1000
    with pytest.raises(SinkRefused, match="more than 1000 messages"):
        [*entry_ids([(LSN("0/5"), 1)] * 1001)]


def test_the_fields_of_an_entry_are_headers_key_and_body() -> None:
    message = FeedMessage("t", b"7", b"{}", (("kind", "row"),))
    assert entry_fields(message) == ["kind", "row", "key", b"7", "body", b"{}"]
    assert entry_fields(FeedMessage("t", None, None)) == ["tombstone", "1"]


def test_a_message_with_more_headers_than_a_script_can_store_is_refused() -> None:
    headers = (("a", "b"),) * 2500
    assert len(entry_fields(FeedMessage("t", None, b"", headers))) == 5002
    with pytest.raises(SinkRefused, match="it has 2501 headers, and an entry takes 2500"):
        entry_fields(FeedMessage("t", None, b"", (*headers, ("a", "b"))))


@pytest.mark.parametrize(
    ("setting", "facts"),
    [
        ("cluster-enabled", {"is_cluster": True}),
        ("maxmemory-policy", {"max_memory": 1000, "evicts": "allkeys-lru"}),
        ("appendonly", {"writes_log": False}),
    ],
)
def test_a_server_that_loses_messages_is_refused(setting: str, facts: dict[str, Any]) -> None:
    for fits in (FITTING, attrs.evolve(FITTING, max_memory=1000, evicts="volatile-lru")):
        insist_on_fitting(fits, may_discard=False)
    with pytest.raises(SinkNotFitting, match="could not use the Redis server") as raised:
        insist_on_fitting(attrs.evolve(FITTING, **facts), may_discard=False)
    assert raised.value.setting == setting
    if setting == "appendonly":
        insist_on_fitting(attrs.evolve(FITTING, **facts), may_discard=True)


def test_a_replica_may_be_replaced_by_the_new_master() -> None:
    with pytest.raises(SinkUnreachable, match="its role is slave; connect to the master"):
        insist_on_fitting(attrs.evolve(FITTING, role="slave"), may_discard=False)


@pytest.mark.parametrize(
    ("fsync", "hold"), [("always", 0.0), ("everysec", 5.0), ("no", 60.0), ("", 5.0)]
)
def test_the_slot_is_held_back_until_the_log_is_on_disk(fsync: str, hold: float) -> None:
    assert attrs.evolve(FITTING, fsync=fsync).hold == hold


@pytest.mark.parametrize(
    ("kind", "found", "answered", "expected"),
    [
        ("AuthenticationError", "invalid username-password pair", False, SinkRefused),
        ("NoPermissionError", "no permissions to run the 'xadd' command", True, SinkRefused),
        ("ResponseError", "wrong number of arguments", True, SinkRefused),
        ("ResponseError", "ERR unknown command BUSYLOOP", True, SinkRefused),
        ("ConnectionError", "Connection closed by server.", False, SinkUnreachable),
        ("BusyLoadingError", "Redis is loading the dataset in memory", False, SinkUnreachable),
        ("ReadOnlyError", "You can't write against a read only replica.", True, SinkUnreachable),
        ("NoScriptError", "No matching script.", True, SinkUnreachable),
        ("OutOfMemoryError", "command not allowed when used memory", True, SinkUnreachable),
        ("ResponseError", "NOREPLICAS Not enough good replicas to write.", True, SinkUnreachable),
        ("ResponseError", "MISCONF Redis is configured to save snapshots", True, SinkUnreachable),
        ("ResponseError", "BUSY Redis is busy running a script.", True, SinkUnreachable),
        (
            "ResponseError",
            "ERR Error running script (call to f_1): @user_script:29: -READONLY You can't write",
            True,
            SinkUnreachable,
        ),
    ],
)
def test_an_answer_that_may_change_differs_from_a_refusal(
    kind: str, found: str, answered: bool, expected: type[Exception]
) -> None:
    assert type(error_of("store messages", kind, found, answered)) is expected


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://joe:secret@cache:6380/2", "redis://cache:6380/2"),
        ("redis://cache?password=secret&db=1", "redis://cache"),
        ("rediss://cache/0?username=joe&password=a@b", "rediss://cache/0"),
        ("redis://[::1]:6380", "redis://[::1]:6380"),
        ("unix://joe:secret@/run/redis.sock?db=1", "unix:///run/redis.sock"),
    ],
)
def test_the_address_of_a_server_shows_no_secret(url: str, shown: str) -> None:
    assert address_of(url) == shown
    assert repr(RedisStreams(url)) == f"<RedisStreams {shown}>"


@pytest.mark.parametrize(
    "url", ["redis://:se/cret@cache", "http://secret", "secret", "redis://:a?"]
)
def test_a_url_of_no_server_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="url is not the address of a Redis server") as raised:
        RedisStreams(url)
    assert "cret" not in str(raised.value)
