"""Whether a server can serve further standbys: places, slots, connection strings, access."""

from __future__ import annotations

import attrs
import pytest
from clusterfacts import handover, slot_state
from hypothesis import given, strategies as st
from serverfacts import sender, settings

from pgreplkit.plans.cluster.upstream import (
    UpstreamFacts,
    best_verdict,
    encryptions,
    missing_slots,
    unusable_slots,
    upstream_findings,
)
from pgreplkit.plans.server.access import AccessVerdict
from pgreplkit.rows import ClusterNode, Severity, SlotState, SlotType

NEW = handover().new
FACTS = UpstreamFacts(
    node=NEW,
    settings=settings(max_wal_senders=10, max_replication_slots=10),
    joining={},
    unconnected={},
    slots=frozenset(),
)


def verdict(allowed: bool | None) -> AccessVerdict:
    return AccessVerdict(
        allowed=allowed, rule=None, undecided=(), errors=(), unmatchable=(), line="host all"
    )


def physical(name: str, **changed: object) -> SlotState:
    return slot_state(name, slot_type=SlotType.PHYSICAL, **changed)


def problems(**changed: object) -> dict[str, Severity]:
    findings = upstream_findings(attrs.evolve(FACTS, **changed))  # type: ignore[arg-type]
    return {f.check: f.severity for f in findings if f.severity is not Severity.OK}


def node(**changed: object) -> ClusterNode:
    return attrs.evolve(NEW, **changed)  # type: ignore[arg-type]


def test_a_server_with_free_places_can_serve_standbys() -> None:
    joining = dict.fromkeys(["db3", "Db-1"], verdict(True))
    assert problems(joining=joining, slots=frozenset({"three", "db_1"})) == {}


@given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4))
def test_each_joining_standby_needs_a_walsender(limit: int, used: int, joining: int) -> None:
    found = problems(
        settings=settings(max_wal_senders=limit, max_replication_slots=9),
        node=node(senders=(sender(),) * used),
        joining={str(number): verdict(True) for number in range(joining)},
    )
    expected = {"max_wal_senders": Severity.CRITICAL} if limit - used < joining else {}
    assert found == expected


@given(st.integers(0, 4), st.sets(st.sampled_from("abcd")), st.sets(st.sampled_from("abcd")))
def test_only_slots_that_do_not_exist_need_a_place(
    limit: int, existing: set[str], wanted: set[str]
) -> None:
    found = problems(
        settings=settings(max_wal_senders=9, max_replication_slots=limit),
        node=node(slots=tuple(map(physical, existing))),
        slots=frozenset(wanted),
    )
    is_short = limit - len(existing) < len(wanted - existing)
    assert found == ({"max_replication_slots": Severity.CRITICAL} if is_short else {})


def test_a_limit_that_the_role_cannot_read_is_unknown_and_not_zero() -> None:
    found = problems(settings=settings(max_wal_senders=9))
    assert found == {"max_replication_slots": Severity.WARNING}


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, ""),
        ({"active": True, "active_pid": 1}, "in use"),
        ({"wal_status": "lost"}, "invalidated"),
        ({"slot_type": "logical"}, "logical"),
    ],
)
def test_a_slot_of_a_wanted_name_must_be_one_that_a_standby_can_stream_from(
    changed: dict[str, object], reason: str
) -> None:
    slot = slot_state("three", **{"slot_type": "physical"} | changed)
    assert unusable_slots({"three", None}, [slot]) == ([f"three ({reason})"] if reason else [])
    assert unusable_slots({"other"}, [slot]) == []
    found = problems(node=node(slots=(slot,)), slots=frozenset({"three"}))
    assert found == ({"slots of the same names": Severity.CRITICAL} if reason else {})


def test_missing_slots_are_named_once_and_in_order() -> None:
    assert missing_slots(["b", None, "a", "b", "c"], [physical("c")]) == ("b", "a")


@pytest.mark.parametrize(
    ("answer", "severity"),
    [
        (verdict(True), None),
        (verdict(False), Severity.CRITICAL),
        (verdict(None), Severity.INFO),
        ("its replication role is unknown", Severity.INFO),
    ],
)
def test_an_unknown_access_is_not_an_obstacle_and_a_refused_one_is(
    answer: AccessVerdict | str, severity: Severity | None
) -> None:
    assert problems(joining={"db3": answer}) == ({"access of db3": severity} if severity else {})


def test_a_standby_without_a_connection_string_is_an_obstacle() -> None:
    found = problems(unconnected={"db3": "neither has a primary_conninfo"})
    assert found == {"connection of db3": Severity.CRITICAL}


@pytest.mark.parametrize(
    ("sslmode", "has_ssl", "attempts"),
    [
        ("", True, (True, False)),
        ("", False, (False,)),
        ("prefer", True, (True, False)),
        ("disable", True, (False,)),
        ("allow", True, (False, True)),
        ("verify-full", True, (True,)),
        ("require", False, (True,)),
    ],
)
def test_a_line_for_encrypted_connections_admits_a_standby_that_encrypts(
    sslmode: str, has_ssl: bool, attempts: tuple[bool, ...]
) -> None:
    assert encryptions({"sslmode": sslmode}, has_ssl=has_ssl) == attempts


def test_one_admitted_attempt_is_enough() -> None:
    assert best_verdict([verdict(False), verdict(True)]).allowed is True
    assert best_verdict([verdict(False), verdict(None)]).allowed is None


@pytest.mark.parametrize(
    ("listed", "missing"), [("", False), ("three, four", False), ('three,"gone"', True)]
)
def test_logical_slots_must_not_wait_for_a_slot_that_does_not_exist(
    listed: str, missing: bool
) -> None:
    limits = settings(max_wal_senders=9, max_replication_slots=9, synchronized_standby_slots=listed)
    found = problems(
        settings=limits, node=node(slots=(physical("four"),)), slots=frozenset({"three"})
    )
    assert found == ({"synchronized_standby_slots": Severity.WARNING} if missing else {})
