"""Whether a primary is ready for standbys or subscribers, from its facts."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, strategies as st
from logicalfacts import slot_state
from serverfacts import NOW, archiver, sender, settings

from pgreplkit.plans.server.primaryreadiness import PrimaryFacts, ReplicationType, primary_readiness
from pgreplkit.rows import EffectiveAfter, Readiness, Severity, SlotState, WalSender

GOOD = {
    "wal_level": "logical",
    "max_wal_senders": 10,
    "max_replication_slots": 10,
    "listen_addresses": "*",
    "hot_standby": "on",
    "wal_keep_size": (64, "MB"),
    "archive_mode": "on",
    "archive_command": "cp %p /archive/%f",
    "archive_library": "",
    "max_slot_wal_keep_size": (1000, "MB"),
    "synchronous_standby_names": "",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "wal_log_hints": "on",
    "data_checksums": "off",
}


def readiness(
    *,
    kind: ReplicationType = "physical",
    standbys: int = 1,
    senders: Sequence[WalSender] = (),
    slots: Sequence[SlotState] = (),
    failing: bool = False,
    without: Sequence[str] = (),
    **changed: object,
) -> Readiness:
    later = NOW + timedelta(minutes=1)
    failed = {"last_failed_time": later, "last_failed_wal": "0" * 24, "failed_count": 1}
    facts = PrimaryFacts(
        settings={k: v for k, v in settings(**GOOD | changed).items() if k not in without},
        senders=senders,
        slots=slots,
        archiver=archiver(**failed if failing else {}),
        waiting_commits=3,
    )
    return primary_readiness(facts, kind=kind, standbys=standbys)


@pytest.mark.parametrize("kind", ["physical", "logical"])
def test_a_well_configured_primary_is_ready(kind: ReplicationType) -> None:
    found = readiness(kind=kind)
    assert found.severity is Severity.OK
    assert found.problems == ()
    assert all(
        f.remedy == "" and f.effective_after is EffectiveAfter.NOTHING for f in found.findings
    )


@pytest.mark.parametrize(
    ("level", "kind", "ok"),
    [
        ("minimal", "physical", False),
        ("replica", "physical", True),
        ("logical", "physical", True),
        ("replica", "logical", False),
        ("logical", "logical", True),
    ],
)
def test_logical_replication_needs_a_higher_wal_level(
    level: str, kind: ReplicationType, ok: bool
) -> None:
    found = readiness(kind=kind, wal_level=level)
    assert found.is_ready is ok
    if not ok:
        needed = {"physical": "replica", "logical": "logical"}[kind]
        assert found["wal_level"].remedy == f"ALTER SYSTEM SET wal_level = {needed}"
        assert found["wal_level"].effective_after is EffectiveAfter.RESTART


@pytest.mark.parametrize(
    ("limit", "severity"), [(3, Severity.CRITICAL), (4, Severity.WARNING), (5, Severity.OK)]
)
def test_a_clone_needs_a_second_walsender_for_a_while(limit: int, severity: Severity) -> None:
    found = readiness(max_wal_senders=limit, standbys=4, senders=[sender("a"), sender("b")])
    assert found["max_wal_senders"].severity is severity
    # Subscribers are not cloned.
    used = [slot_state(slot_name=name, active=True, active_pid=1) for name in "ab"]
    logical = readiness(
        kind="logical",
        max_wal_senders=limit,
        standbys=4,
        slots=used,
        senders=[sender("a"), sender("b")],
    )
    assert logical["max_wal_senders"].severity is (Severity.CRITICAL if limit < 4 else Severity.OK)


def test_a_connected_receiver_counts_and_a_base_backup_does_not() -> None:
    streaming = readiness(max_wal_senders=1, senders=[sender()])
    assert streaming["max_wal_senders"].severity is Severity.OK
    backup = readiness(max_wal_senders=1, senders=[sender(state="backup")])
    assert backup["max_wal_senders"].severity is Severity.CRITICAL


@pytest.mark.parametrize(
    ("changed", "severity"),
    [
        # An unused slot waits for its receiver; used, lost and foreign slots do not.
        ({"slot_type": "physical"}, Severity.OK),
        ({"slot_type": "physical", "wal_status": "lost"}, Severity.CRITICAL),
        ({"slot_type": "logical"}, Severity.CRITICAL),
    ],
)
def test_an_unused_slot_is_reserved_for_a_receiver(
    changed: dict[str, Any], severity: Severity
) -> None:
    found = readiness(max_replication_slots=1, slots=[slot_state(**changed)])
    assert found["max_replication_slots"].severity is severity


@pytest.mark.parametrize(
    ("addresses", "severity"),
    [
        ("*", Severity.OK),
        ("localhost, 192.0.2.7", Severity.OK),
        ("localhost", Severity.WARNING),
        ("127.0.0.1, ::1", Severity.WARNING),
        ("", Severity.WARNING),
    ],
)
def test_a_primary_that_listens_on_no_network_is_reported(
    addresses: str, severity: Severity
) -> None:
    assert readiness(listen_addresses=addresses)["listen_addresses"].severity is severity


@pytest.mark.parametrize(
    ("changed", "senders", "severity"),
    [
        ({"wal_keep_size": 0, "archive_mode": "off"}, [sender()], Severity.WARNING),
        ({"wal_keep_size": 0, "archive_mode": "on"}, [sender()], Severity.OK),
        ({"archive_mode": "off"}, [sender()], Severity.OK),
        ({"wal_keep_size": 0, "archive_mode": "off"}, [sender(pid=55)], Severity.OK),
        ({"wal_keep_size": 0, "archive_mode": "off"}, [], Severity.OK),
    ],
)
def test_a_receiver_without_a_slot_needs_retained_wal(
    changed: dict[str, Any], senders: list[WalSender], severity: Severity
) -> None:
    slot = slot_state(slot_type="physical", active=True, active_pid=55)
    found = readiness(senders=senders, slots=[slot], **changed)["wal_keep_size"]
    assert found.severity is severity


def test_before_13_the_retained_wal_is_counted_in_segments() -> None:
    found = readiness(
        senders=[sender()], archive_mode="off", wal_keep_segments=0, without=["wal_keep_size"]
    )
    assert found["wal_keep_segments"].remedy == "ALTER SYSTEM SET wal_keep_segments = 64"


@pytest.mark.parametrize(
    ("changed", "failing", "severity"),
    [
        ({}, False, Severity.OK),
        ({}, True, Severity.CRITICAL),
        ({"archive_command": ""}, False, Severity.CRITICAL),
        ({"archive_command": "", "archive_library": "basic_archive"}, False, Severity.OK),
    ],
)
def test_an_archive_that_fails_or_is_missing_is_critical(
    changed: dict[str, Any], failing: bool, severity: Severity
) -> None:
    assert readiness(failing=failing, **changed)["archive_command"].severity is severity


def test_no_archive_is_information_only() -> None:
    found = readiness(archive_mode="off", archive_command="(disabled)", failing=True)
    assert found["archive_mode"].severity is Severity.INFO
    assert found.severity is Severity.INFO


@pytest.mark.parametrize(
    ("limit", "slots", "severity"),
    [(-1, [slot_state()], Severity.INFO), (-1, [], Severity.OK), (9, [slot_state()], Severity.OK)],
)
def test_slots_without_a_limit_are_reported(
    limit: int, slots: list[SlotState], severity: Severity
) -> None:
    found = readiness(max_slot_wal_keep_size=(limit, "MB"), slots=slots, max_wal_senders=20)
    assert found["max_slot_wal_keep_size"].severity is severity


A, B = sender("a"), sender("b")
UNFLUSHED = sender("b", flush_lsn=None)
UNREPLAYED = sender("b", replay_lsn=None)


@pytest.mark.parametrize(
    ("names", "senders", "commit", "severity"),
    [
        ("FIRST 1 (a, b)", [A, B], "on", Severity.OK),
        ("FIRST 1 (a, b)", [A], "on", Severity.WARNING),
        ("FIRST 1 (a, b)", [], "on", Severity.CRITICAL),
        ("FIRST 1 (a, b)", [], "local", Severity.WARNING),
        ("FIRST 1 (a, b)", [], "off", Severity.WARNING),
        ("ANY 2 (a, b)", [A, B], "on", Severity.WARNING),
        # A receiver that reports no flush never confirms a commit.
        ("ANY 2 (a, b)", [A, UNFLUSHED], "on", Severity.CRITICAL),
        # With remote_apply the server waits for those that it chose by their flush.
        ("FIRST 1 (b, a)", [A, UNREPLAYED], "remote_apply", Severity.CRITICAL),
        ("FIRST 1 (b, a)", [A, UNREPLAYED], "on", Severity.OK),
        ("FIRST 1 (a, b)", [A, UNREPLAYED], "remote_apply", Severity.WARNING),
        ("FIRST 1 (A, b)", [A, B, UNREPLAYED], "remote_apply", Severity.OK),
        ("FIRST 1 (c, *)", [A, UNREPLAYED], "remote_apply", Severity.CRITICAL),
        ("FIRST 2 (a, b)", [A, UNREPLAYED], "remote_apply", Severity.CRITICAL),
        ("ANY 1 (a, b)", [A, UNREPLAYED], "remote_apply", Severity.WARNING),
        ("ANY 2 (a, b)", [A, UNREPLAYED], "remote_apply", Severity.CRITICAL),
        ("FIRST 1 (*)", [A, B], "on", Severity.OK),
        ("FIRST 1 (c)", [A, B], "on", Severity.CRITICAL),
        ("", [], "on", Severity.OK),
    ],
)
def test_commits_must_not_wait_for_missing_standbys(
    names: str, senders: list[WalSender], commit: str, severity: Severity
) -> None:
    found = readiness(synchronous_standby_names=names, senders=senders, synchronous_commit=commit)[
        "synchronous_standby_names"
    ]
    assert found.severity is severity
    assert ("3 of them now" in found.found) is (bool(names) and "commits wait," in found.found)


def test_only_two_kinds_of_replication_and_whole_numbers_are_accepted() -> None:
    with pytest.raises(ValueError, match="'physical' or 'logical'"):
        readiness(kind="both")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="standbys"):
        readiness(standbys="2")  # type: ignore[arg-type]


@given(
    limit=st.integers(0, 12),
    standbys=st.integers(0, 6),
    connected=st.integers(0, 6),
    used=st.integers(0, 6),
)
def test_raising_a_limit_as_the_remedy_says_makes_the_primary_ready(
    limit: int, standbys: int, connected: int, used: int
) -> None:
    senders = [sender(str(number), pid=number) for number in range(connected)]
    slots = [
        slot_state(slot_name=f"s{number}", slot_type="physical", active=True, active_pid=number)
        for number in range(used)
    ]
    names = ("max_wal_senders", "max_replication_slots")
    limits: dict[str, Any] = dict.fromkeys(names, limit)
    found = readiness(standbys=standbys, senders=senders, slots=slots, **limits)
    wanted = {
        name: int(found[name].remedy.rpartition(" = ")[2]) for name in names if found[name].remedy
    }
    again = readiness(standbys=standbys, senders=senders, slots=slots, **limits | wanted)
    assert [again[name].severity for name in names] == [Severity.OK, Severity.OK]
