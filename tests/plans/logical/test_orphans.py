"""Which slots and origins belong to no subscription of a set of servers."""

from __future__ import annotations

from datetime import timedelta

import pytest
from logicalfacts import NOW, slot_state

from pgreplkit import LSN
from pgreplkit.plans.logical.orphans import Orphan, Subscriber, orphans_among
from pgreplkit.rows import LeftoverKind, SlotState


def server(where: str = "a", system_id: int = 1, **changed: object) -> Subscriber:
    facts: dict[str, object] = {
        "where": where,
        "system_id": system_id,
        "started": NOW,
        "in_recovery": False,
        "subscriptions": {},
        "slots": (),
        "origins": (),
    }
    return Subscriber(**facts | changed)  # type: ignore[arg-type]


def names(*servers: Subscriber) -> list[str]:
    return [orphan.name for orphan in orphans_among(servers)]


def only(*servers: Subscriber) -> Orphan:
    [orphan] = orphans_among(servers)
    return orphan


def test_a_slot_is_used_if_any_server_has_a_subscription_with_it() -> None:
    publisher = server("p", 1, slots=(slot_state(slot_name="s"),))
    assert names(publisher) == ["s"]
    assert names(publisher, server("b", 2, subscriptions={5: "s"})) == []
    assert names(publisher, server("b", 2, subscriptions={5: None, 6: "other"})) == ["s"]


def test_a_slot_without_a_subscription_is_not_certainly_an_orphan() -> None:
    orphan = only(server("p", slots=(slot_state(slot_name="s"),)))
    assert (orphan.kind, orphan.where, orphan.is_certain) == (LeftoverKind.SLOT, "p", False)
    assert orphan.retained_bytes == 0x100
    assert orphan.sql == "SELECT pg_drop_replication_slot('s')"


@pytest.mark.parametrize(
    "slot",
    [
        slot_state(slot_type="physical", plugin=None),
        slot_state(active=True, active_pid=1),
        slot_state(temporary=True),
        slot_state(plugin="wal2json"),
        slot_state(synced=True),
        slot_state(slot_name="pg_5_sync_6_1", active=True, active_pid=1),
    ],
)
def test_slots_of_other_clients_are_not_orphans(slot: SlotState) -> None:
    assert names(server(slots=(slot,))) == []


@pytest.mark.parametrize(
    ("subscriptions", "expected"), [({5: "s"}, []), ({7: "s"}, [True]), ({}, [True])]
)
def test_a_sync_slot_belongs_to_a_subscription_of_the_system_in_its_name(
    subscriptions: dict[int, str], expected: list[bool]
) -> None:
    publisher = server("p", 1, slots=(slot_state(slot_name="pg_5_sync_16384_2"),))
    subscriber = server("b", 2, subscriptions=subscriptions)
    found = orphans_among([publisher, subscriber])
    assert [orphan.is_certain for orphan in found] == expected
    assert {orphan.kind for orphan in found} <= {LeftoverKind.SYNC_SLOT}


def test_a_sync_slot_of_an_unknown_system_is_not_certainly_an_orphan() -> None:
    orphan = only(server("p", 1, slots=(slot_state(slot_name="pg_5_sync_16384_2"),)))
    assert (orphan.kind, orphan.is_certain) == (LeftoverKind.SYNC_SLOT, False)


def test_origins_belong_to_a_subscription_of_their_own_server() -> None:
    origins = ("pg_5", "pg_5_16384", "pg_6", "pg_6_16384", "mine", "pg_x")
    here = server("b", 2, subscriptions={5: "s"}, origins=origins)
    assert names(here, server("c", 3, subscriptions={6: "t"})) == ["pg_6", "pg_6_16384"]
    orphan = orphans_among([here])[0]
    assert (orphan.kind, orphan.is_certain) == (LeftoverKind.ORIGIN, True)
    assert orphan.sql == "SELECT pg_replication_origin_drop('pg_6')"


def test_a_standby_lists_no_origins_of_its_primary_and_counts_its_subscriptions() -> None:
    standby = server("s", 1, in_recovery=True, origins=("pg_9",), subscriptions={5: "s"})
    assert names(standby) == []
    assert names(standby, server("p", 2, slots=(slot_state(slot_name="s"),))) == []


def test_one_server_with_two_addresses_is_listed_once_and_its_standby_separately() -> None:
    slots = (slot_state(slot_name="s"),)
    one = server("a", 1, slots=slots)
    assert len(names(one, server("b", 1, slots=slots))) == 1
    later = server("b", 1, slots=slots, started=NOW + timedelta(hours=1))
    assert len(names(one, later)) == 2


def test_the_orphan_that_retains_most_wal_comes_first() -> None:
    slots = [
        slot_state(slot_name=name, restart_lsn=LSN(start))
        for name, start in (("x", "0/3000090"), ("b", "0/3000010"), ("a", "0/3000090"))
    ]
    assert names(server(slots=tuple(slots), origins=("pg_1",))) == ["b", "a", "x", "pg_1"]
