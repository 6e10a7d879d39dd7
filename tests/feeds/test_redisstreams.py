"""Entries of Redis Streams, and the servers that a feed refuses."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given, strategies as st

from pgreplkit import LSN
from pgreplkit.errors import SinkNotFitting, SinkRefused
from pgreplkit.feeds import FeedMessage
from pgreplkit.feeds.redisstreams import RedisFacts, entry_fields, entry_ids, insist_on_fitting

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


@pytest.mark.parametrize(
    ("setting", "facts"),
    [
        ("role", {"role": "slave"}),
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


@pytest.mark.parametrize(
    ("fsync", "hold"), [("always", 0.0), ("everysec", 5.0), ("no", 60.0), ("", 5.0)]
)
def test_the_slot_is_held_back_until_the_log_is_on_disk(fsync: str, hold: float) -> None:
    assert attrs.evolve(FITTING, fsync=fsync).hold == hold
