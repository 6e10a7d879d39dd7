"""The shared part of switchover and failover: slots, followers, controls and lost WAL."""

from __future__ import annotations

import attrs
import pytest
from clusterfacts import handover, replay_status
from hypothesis import given, strategies as st
from logicalfacts import slot_state

from pgreplkit import LSN, ServerVersion
from pgreplkit.plans.cluster.handover import (
    Handover,
    UpstreamSettings,
    control_findings,
    followers_of,
    is_same_name,
    lost_bytes,
    no_apply_delay,
)
from pgreplkit.rows import ClusterNode, Severity, SlotState, Topology, Upstream


def physical(name: str, **changed: object) -> SlotState:
    return slot_state(
        slot_name=name,
        **{"slot_type": "physical", "plugin": None, "confirmed_flush_lsn": None} | changed,
    )


def with_slots(*, old: tuple[SlotState, ...] = (), new: tuple[SlotState, ...] = ()) -> Handover:
    plain = handover()
    return attrs.evolve(
        plain, old=attrs.evolve(plain.old, slots=old), new=attrs.evolve(plain.new, slots=new)
    )


def test_slots_of_the_new_primary_are_those_of_the_followers_and_of_the_old_primary() -> None:
    assert handover().missing_slots(with_old=True) == ("three", "db_1")
    assert handover().missing_slots(with_old=False) == ("three",)
    existing = with_slots(new=(physical("three"),))
    assert existing.missing_slots(with_old=True) == ("db_1",)


def test_without_slots_before_none_are_created() -> None:
    settings = {name: UpstreamSettings(None, name) for name in ("db2", "db3")}
    without = handover(upstream_settings=settings)
    assert without.old_slot is None
    assert without.missing_slots(with_old=True) == ()


@given(st.text(min_size=1) | st.text("aZ-ä", min_size=64, max_size=99))
def test_the_slot_of_the_old_primary_has_a_valid_name(name: str) -> None:
    plain = handover()
    slot = attrs.evolve(plain, old=attrs.evolve(plain.old, name=name)).old_slot
    assert slot is not None
    assert 0 < len(slot) <= 63
    assert {*slot} <= {*"abcdefghijklmnopqrstuvwxyz0123456789_"}


def test_the_slot_of_the_old_primary_is_not_a_followers_slot() -> None:
    settings = {"db2": UpstreamSettings("two", "app2"), "db3": UpstreamSettings("db_1", "app3")}
    shared = handover(upstream_settings=settings)
    assert shared.missing_slots(with_old=True) == ("db_1", "db_1_2")


def test_only_a_switchover_needs_a_slot_for_the_old_primary() -> None:
    assert handover().wanted_slots(with_old=True) == ("three", "db_1")
    assert handover().wanted_slots(with_old=False) == ("three",)


def test_slots_of_standbys_that_leave_the_old_primary_are_stale() -> None:
    slots = (physical("two"), physical("three"), physical("backup"))
    assert with_slots(old=slots).stale_slots == ("two", "three")


def node(name: str, **changed: object) -> ClusterNode:
    facts: dict[str, object] = {"is_primary": False, "system_id": 7, "timeline": 1}
    return ClusterNode(name=name, **facts | changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("upstream", "receives", "planned", "lost"),
    [
        ("old", True, True, True),
        # A cascading standby follows its own upstream.
        ("other", True, False, False),
        # A standby without a walreceiver may have lost the primary.
        (None, False, True, True),
        # It receives from a server outside the cluster, or still names one that it lost.
        (None, True, False, True),
    ],
)
def test_standbys_of_the_old_primary_include_those_that_lost_it(
    upstream: str | None, receives: bool, planned: bool, lost: bool
) -> None:
    old = node("old", is_primary=True)
    source = Upstream(host="h", port=5432, user="u", slot_name=None, application_name="a")
    standby = node("s", upstream=upstream, receives_from=source if receives else None)
    topology = Topology((old, node("other", upstream="old"), standby))
    for is_lost, expected in ((False, planned), (True, lost)):
        found = [each.name for each in followers_of(topology, old, is_lost=is_lost)]
        assert ("s" in found) is expected
        assert "other" in found


def controls(version: str, *, old_too: bool, **controlled: int | str | None) -> dict[str, Severity]:
    plain = handover()
    new, third = (
        attrs.evolve(each, version=ServerVersion(version)) for each in (plain.new, *plain.followers)
    )
    facts = attrs.evolve(plain, new=new, followers=(third,))
    found = control_findings(
        facts, {name.replace("_", "-"): one for name, one in controlled.items()}, old_too=old_too
    )
    return {finding.check.removeprefix("control of "): finding.severity for finding in found}


@pytest.mark.parametrize(
    ("version", "needed"),
    [("11.0", {"db2", "db3"}), ("12.0", {"db3"}), ("13.0", set()), ("18.0", set())],
)
def test_hosts_need_a_control_where_sql_is_not_enough(version: str, needed: set[str]) -> None:
    assert controls(version, old_too=False).keys() == needed
    assert controls(version, old_too=True).keys() == {"Db-1", *needed}


@pytest.mark.parametrize(
    ("found", "severity"),
    [
        (7, Severity.OK),
        (8, Severity.CRITICAL),
        (None, Severity.CRITICAL),
        ("no pg_ctl", Severity.CRITICAL),
    ],
)
def test_a_control_must_have_the_clusters_system_identifier(
    found: int | str | None, severity: Severity
) -> None:
    assert controls("16.0", old_too=True, Db_1=found) == {"Db-1": severity}


@given(
    st.none() | st.integers(0, 99), st.none() | st.integers(0, 99), st.none() | st.integers(0, 99)
)
def test_lost_wal_is_what_the_old_primary_is_known_to_have_had(
    old: int | None, reported: int | None, new: int | None
) -> None:
    plain = handover()
    old_lsn, reported_lsn, new_lsn = (
        None if each is None else LSN(each) for each in (old, reported, new)
    )
    facts = attrs.evolve(
        plain,
        old=attrs.evolve(plain.old, lsn=old_lsn),
        new=attrs.evolve(plain.new, lsn=new_lsn),
    )
    found = lost_bytes(facts, [replay_status(latest_end_lsn=reported_lsn)])
    known = [each for each in (old, reported) if each is not None]
    assert found == (max(0, max(known) - new) if known and new is not None else None)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [("Lyon", "lyon", True), ("lyon", "paris", False), ("15/main", "15/main", True)],
)
def test_names_are_compared_without_case_as_the_server_does(
    one: str, other: str, same: bool
) -> None:
    assert is_same_name(one, other) is same


@pytest.mark.parametrize(
    ("number", "remedy"),
    [
        (11, "recovery_min_apply_delay = 0 in recovery.conf, and restart the standby"),
        (12, "ALTER SYSTEM SET recovery_min_apply_delay = 0; SELECT pg_reload_conf()"),
    ],
)
def test_the_delay_of_a_standby_is_switched_off_where_its_version_has_it(
    number: int, remedy: str
) -> None:
    assert no_apply_delay(number) == remedy
