"""The slots of an upgrade, and those of others with the same names."""

from __future__ import annotations

import attrs
import pytest
from logicalfacts import slot_state
from upgradefacts import following

from pgreplkit.plans.cluster.upgradeslots import forward_slots_findings, is_own, slot_text
from pgreplkit.rows import SlotState
from pgreplkit.values.finding import Severity

PHYSICAL = {"slot_type": "physical", "plugin": None, "database": None}


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({}, "s"),
        (PHYSICAL, "s (physical)"),
        ({"database": "other"}, "s (of database other)"),
        ({"plugin": "test_decoding"}, "s (with test_decoding)"),
    ],
)
def test_slots_of_others_are_known_by_their_kind(changed: dict[str, object], text: str) -> None:
    slot = slot_state(**changed)
    assert slot_text(slot, "app") == text
    assert is_own(slot, "app") is (text == "s")


@pytest.mark.parametrize(
    ("slot", "can_advance", "wanted"),
    [
        (slot_state(), True, {}),
        (slot_state(**PHYSICAL), True, {"slots of others": Severity.CRITICAL}),
        (slot_state(wal_status="lost"), True, {"forward slots": Severity.WARNING}),
        (None, True, {"forward slots": Severity.WARNING}),
        (None, False, {}),
    ],
    ids=str,
)
def test_a_rollback_creates_lost_slots_and_is_refused_if_one_is_of_others(
    slot: SlotState | None, can_advance: bool, wanted: dict[str, Severity]
) -> None:
    forward = [attrs.evolve(following(enabled=False), slot=slot)]
    found = [*forward_slots_findings(forward, "app", can_advance=can_advance)]
    assert {one.check: one.severity for one in found if one.severity > Severity.OK} == wanted


def test_a_subscription_without_a_slot_has_none_that_could_be_lost() -> None:
    one = following(enabled=False)
    state = attrs.evolve(one.state, subslotname=None)
    found = forward_slots_findings([attrs.evolve(one, state=state)], "app", can_advance=True)
    assert {each.severity for each in found} == {Severity.OK}
