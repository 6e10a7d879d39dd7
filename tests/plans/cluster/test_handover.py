"""Handover: slots, followers, controls, and lost WAL of a switchover or failover."""

from __future__ import annotations

import attrs
import pytest
from clusterfacts import handover, replay_status, slot_state
from hypothesis import given, strategies as st
from packaging.version import Version

from pgreplkit import LSN, Severity, SlotType, Topology, Upstream, WalStatus
from pgreplkit.plans.cluster.handover import (
    UpstreamSettings,
    control_findings,
    followers_of,
    lost_bytes,
)
from pgreplkit.values.slotname import checked_slot_name

OLD, NEW, THIRD = handover().topology.nodes
PHYSICAL = slot_state("three", slot_type=SlotType.PHYSICAL, restart_lsn=LSN(1))


@given(st.text(min_size=1))
def test_the_slot_of_the_old_primary_has_a_valid_name(name: str) -> None:
    slot = handover(old=attrs.evolve(OLD, name=name)).old_slot
    assert slot is not None
    assert checked_slot_name(slot) == slot


def test_slots_that_exist_are_not_created_and_unused_ones_are_stale() -> None:
    facts = handover(new=attrs.evolve(NEW, slots=(PHYSICAL,)))
    assert facts.missing_slots(with_old=True) == ("db_1",)
    assert facts.missing_slots(with_old=False) == ()
    other = attrs.evolve(PHYSICAL, slot_name="receiver")
    facts = handover(old=attrs.evolve(OLD, slots=(PHYSICAL, other)))
    assert facts.stale_slots == ("three",)


@pytest.mark.parametrize(
    "changed", [{"slot_type": SlotType.LOGICAL}, {"active": True}, {"wal_status": WalStatus.LOST}]
)
def test_a_slot_of_a_needed_name_that_cannot_be_used_is_reported(
    changed: dict[str, object],
) -> None:
    slot = attrs.evolve(PHYSICAL, **changed)  # type: ignore[arg-type]
    assert handover(new=attrs.evolve(NEW, slots=(PHYSICAL,))).useless_slots == ()
    assert handover(new=attrs.evolve(NEW, slots=(slot,))).useless_slots == ("three",)


def test_without_slots_the_old_primary_gets_none() -> None:
    settings = {"db2": UpstreamSettings(None, "a"), "db3": UpstreamSettings(None, "b")}
    facts = handover(upstream_settings=settings)
    assert facts.old_slot is None
    assert facts.missing_slots(with_old=True) == ()


def test_the_standbys_of_a_lost_primary_include_those_that_did_not_notice() -> None:
    elsewhere = Upstream(host="x", port=1, user="r", application_name="e", slot_name=None)
    stray = attrs.evolve(THIRD, name="stray", upstream=None, receives_from=elsewhere)
    idle = attrs.evolve(THIRD, name="idle", upstream=None)
    cascade = attrs.evolve(THIRD, name="cascade", upstream="db2")
    topology = Topology((OLD, NEW, stray, idle, cascade))

    def names(*, is_lost: bool) -> list[str]:
        return [node.name for node in followers_of(topology, OLD, is_lost=is_lost)]

    assert names(is_lost=False) == ["db2", "idle"]
    assert names(is_lost=True) == ["db2", "stray", "idle"]


@pytest.mark.parametrize(
    ("version", "old_too", "needed"),
    [
        ("16.4", True, {"Db-1"}),
        ("16.4", False, set()),
        ("12.9", False, {"db3"}),
        ("11.9", True, {"Db-1", "db2", "db3"}),
    ],
)
def test_only_hosts_on_which_the_operation_acts_need_a_control(
    version: str, old_too: bool, needed: set[str]
) -> None:
    new, third = (attrs.evolve(node, version=Version(version)) for node in (NEW, THIRD))
    facts = handover(new=new, followers=(third,))

    def critical(controlled: dict[str, int | str | None]) -> set[str]:
        findings = control_findings(facts, controlled, old_too=old_too)
        return {f.check for f in findings if f.severity is Severity.CRITICAL}

    checks = {f"control of {name}" for name in needed}
    assert critical({}) == checks
    assert critical(dict.fromkeys(("Db-1", "db2", "db3"), 8)) == checks
    assert critical(dict.fromkeys(("Db-1", "db2", "db3"), "refused")) == checks
    assert critical(dict.fromkeys(("Db-1", "db2", "db3"), 7)) == set()


@given(
    st.none() | st.integers(0, 100),
    st.none() | st.integers(0, 100),
    st.lists(st.none() | st.integers(0, 100)),
)
def test_lost_wal_is_never_negative_and_known_from_the_highest_position(
    old: int | None, new: int | None, reported: list[int | None]
) -> None:
    facts = handover(
        old=attrs.evolve(OLD, lsn=None if old is None else LSN(old)),
        new=attrs.evolve(NEW, lsn=None if new is None else LSN(new)),
    )
    statuses = [replay_status(latest_end_lsn=None if end is None else LSN(end)) for end in reported]
    known = [end for end in (old, *reported) if end is not None]
    expected = None if new is None or not known else max(0, max(known) - new)
    assert lost_bytes(facts, statuses) == expected
