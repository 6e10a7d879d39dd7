"""Logical slots in a switchover or failover: which copies on the new primary are usable."""

from __future__ import annotations

import attrs
import pytest
from clusterfacts import handover, slot_state
from hypothesis import given, strategies as st
from serverfacts import newer_settings

from pgreplkit import LSN, ServerVersion
from pgreplkit.plans.cluster.logicalslots import failover_slots, slot_losses, switchover_slots
from pgreplkit.rows import ClusterNode, InvalidationReason, Severity, SlotState, SlotType

OLD, NEW, _ = handover().topology.nodes
FEED, COPY = slot_state("feed"), slot_state("feed", synced=True)
SEEN = attrs.evolve(OLD, version=NEW.version, slots=(FEED,))


def test_a_synchronized_copy_survives() -> None:
    assert slot_losses([FEED], [COPY]) == []


@pytest.mark.parametrize(
    ("slot", "copies", "reason"),
    [
        ({"failover": False}, [COPY], "not created with failover=True"),
        ({"failover": None}, [], "not created with failover=True"),
        ({}, [], "not synchronized to the standby"),
        ({}, [slot_state("other", synced=True)], "not synchronized to the standby"),
        ({}, [slot_state("feed")], "has a slot of that name that is not synchronized"),
        ({}, [attrs.evolve(COPY, temporary=True)], "is not finished"),
        (
            {},
            [attrs.evolve(COPY, invalidation_reason=InvalidationReason.WAL_REMOVED)],
            r"was invalidated \(wal_removed\)",
        ),
        ({}, [attrs.evolve(COPY, slot_type=SlotType.PHYSICAL)], "not synchronized to the standby"),
    ],
)
def test_each_reason_of_a_lost_slot_is_reported(
    slot: dict[str, object], copies: list[SlotState], reason: str
) -> None:
    [loss] = slot_losses([slot_state("feed", **slot)], copies)
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(str(loss))
    assert str(loss).startswith("feed (database app): ")


def test_slots_without_a_consumer_that_could_lose_something_do_not_count() -> None:
    slots = [
        slot_state("physical", slot_type=SlotType.PHYSICAL),
        slot_state("temporary", temporary=True),
        slot_state("gone", invalidation_reason=InvalidationReason.WAL_REMOVED),
    ]
    assert slot_losses(slots, []) == []


@given(st.integers(1, 100), st.integers(1, 100))
def test_a_consumer_ahead_of_the_new_primary_is_reported(confirmed: int, position: int) -> None:
    slot = slot_state("feed", confirmed_flush_lsn=LSN(confirmed))
    losses = slot_losses([slot], [COPY], position=LSN(position))
    assert bool(losses) == (confirmed > position)
    assert slot_losses([slot], [COPY]) == []  # a switchover waits for all WAL


@pytest.mark.parametrize(
    ("slots", "severity"),
    [
        ((), Severity.OK),
        ((slot_state("feed", failover=False),), Severity.WARNING),
        ((FEED,), Severity.CRITICAL),
    ],
)
def test_a_switchover_is_refused_for_a_slot_that_was_created_to_survive(
    slots: tuple[SlotState, ...], severity: Severity
) -> None:
    finding = switchover_slots(handover(old=attrs.evolve(OLD, slots=slots)))
    assert finding.severity is severity


def test_a_failover_warns_of_lost_slots_and_admits_what_it_does_not_know() -> None:
    def severity(old: ClusterNode, *copies: SlotState) -> Severity:
        new = attrs.evolve(NEW, slots=copies)
        return failover_slots(handover(old=old, new=new), LSN("0/4000000")).severity

    unseen = ClusterNode(name="Db-1")
    assert severity(SEEN) is Severity.WARNING
    assert severity(SEEN, COPY) is Severity.OK
    assert severity(unseen, COPY) is Severity.INFO
    assert severity(unseen) is Severity.INFO
    assert severity(unseen, attrs.evolve(COPY, temporary=True)) is Severity.WARNING


@pytest.mark.parametrize("number", range(10, 19))
def test_a_remedy_names_only_what_the_version_of_the_standby_has(number: int) -> None:
    version = ServerVersion(f"{number}.1")
    old = attrs.evolve(OLD, slots=(FEED,))
    new = attrs.evolve(NEW, version=version)
    finding = switchover_slots(handover(old=old, new=new))
    assert newer_settings([finding], number) == set()
    assert ("failover=True" in str(finding.remedy)) is (number >= 17)
