"""Whether a standby can follow its primary and be promoted, from the facts of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from clusterfacts import replay_status
from hypothesis import given, strategies as st
from serverfacts import settings

from pgreplkit import LSN, SystemIdentity, TimelineHistory
from pgreplkit.plans.server.standbyreadiness import NodeFacts, standby_readiness
from pgreplkit.rows import Readiness, Severity

GOOD = {
    "hot_standby": "on",
    "primary_conninfo": "host=primary",
    "restore_command": "",
    "recovery_target_timeline": "latest",
    "max_connections": 100,
    "max_worker_processes": 8,
    "max_prepared_transactions": 0,
    "max_locks_per_transaction": 64,
    "max_wal_senders": 10,
    "wal_segment_size": 16777216,
    "block_size": 8192,
    "wal_block_size": 8192,
    "full_page_writes": "on",
    "wal_log_hints": "on",
    "data_checksums": "off",
}
AT = LSN("0/4000000")


def node(
    major: int = 16,
    *,
    system_id: int = 7,
    timeline: int = 1,
    position: LSN = AT,
    without: Sequence[str] = (),
    **changed: object,
) -> NodeFacts:
    return NodeFacts(
        major=major,
        identity=SystemIdentity(system_id, timeline, position),
        settings={k: v for k, v in settings(**GOOD | changed).items() if k not in without},
    )


def readiness(
    standby: NodeFacts,
    primary: NodeFacts | None = None,
    history: TimelineHistory | None = None,
    **status: object,
) -> Readiness:
    return standby_readiness(standby, replay_status(**status), primary=primary, history=history)


def test_a_standby_that_agrees_with_its_primary_is_ready() -> None:
    found = readiness(node(), node())
    assert found.severity is Severity.OK
    assert len(found.findings) == 19


@pytest.mark.parametrize("hidden_on", ["standby", "primary", "both"])
def test_a_limit_that_one_side_hides_is_unknown_and_not_equal(hidden_on: str) -> None:
    without = ["max_connections"]
    own = node(without=without if hidden_on != "primary" else ())
    its = node(without=without if hidden_on != "standby" else ())
    finding = readiness(own, its)["max_connections compared with the primary"]
    assert finding.severity is Severity.WARNING
    assert "unknown" in finding.found


def test_without_the_primary_a_finding_says_what_was_not_checked() -> None:
    found = readiness(node())
    assert found["primary"].severity is Severity.INFO
    assert found.is_ready


@pytest.mark.parametrize(
    ("changed", "check", "severity"),
    [
        ({"hot_standby": "off"}, "hot_standby", Severity.WARNING),
        ({"primary_conninfo": ""}, "primary_conninfo", Severity.CRITICAL),
        ({"recovery_target_timeline": "current"}, "recovery_target_timeline", Severity.WARNING),
        ({"recovery_target_xid": "7"}, "recovery_target_xid", Severity.WARNING),
        ({"recovery_target": "immediate"}, "recovery_target", Severity.WARNING),
        ({"max_wal_senders": 0}, "max_wal_senders", Severity.WARNING),
        ({"wal_log_hints": "off"}, "wal_log_hints", Severity.WARNING),
    ],
)
def test_each_setting_of_the_standby_is_checked(
    changed: dict[str, Any], check: str, severity: Severity
) -> None:
    assert readiness(node(**changed))[check].severity is severity


def test_data_checksums_replace_wal_log_hints() -> None:
    found = readiness(node(wal_log_hints="off", data_checksums="on"))
    assert found["wal_log_hints"].severity is Severity.OK


@pytest.mark.parametrize(
    ("receiver", "conninfo", "restore", "severity"),
    [
        ("streaming", "host=primary", "", Severity.OK),
        ("waiting", "host=primary", "", Severity.WARNING),
        (None, "host=primary", "cp", Severity.WARNING),
        # A standby that reads an archive only has no walreceiver.
        (None, "", "cp", Severity.OK),
    ],
)
def test_a_standby_must_stream_unless_it_reads_an_archive(
    receiver: str | None, conninfo: str, restore: str, severity: Severity
) -> None:
    standby = node(primary_conninfo=conninfo, restore_command=restore)
    found = readiness(standby, receiver_status=receiver)
    assert found["receiver"].severity is severity
    assert found["primary_conninfo"].severity is Severity.OK


def test_before_12_the_upstream_is_not_among_the_settings() -> None:
    names = ["primary_conninfo", "restore_command", "recovery_target_timeline"]
    found = readiness(node(11, without=names), receiver_status=None)
    assert not {finding.check for finding in found.findings} & {*names}
    assert found["receiver"].severity is Severity.WARNING


@pytest.mark.parametrize("state", ["paused", "pause requested"])
def test_paused_replay_is_reported(state: str) -> None:
    assert readiness(node(), pause_state=state)["replay"].severity is Severity.WARNING


@pytest.mark.parametrize(
    ("other", "check"),
    [
        (node(system_id=8), "system identifier"),
        (node(17), "major"),
        (node(wal_segment_size=1048576), "wal_segment_size"),
        (node(block_size=4096), "block_size"),
        (node(wal_block_size=4096), "wal_block_size"),
    ],
)
def test_a_difference_that_excludes_replication_is_critical(other: NodeFacts, check: str) -> None:
    found = readiness(node(), other)
    assert [finding.check for finding in found.problems] == [check]
    assert not found.is_ready


LIMITS = [
    "max_connections",
    "max_worker_processes",
    "max_prepared_transactions",
    "max_locks_per_transaction",
    "max_wal_senders",
]


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize(("version", "replay"), [(11, "stops"), (13, "stops"), (14, "pauses")])
def test_limits_must_not_be_lower_than_the_primarys(name: str, version: int, replay: str) -> None:
    limit: dict[str, Any] = {name: 500}
    higher = node(version, **limit)
    found = readiness(node(version), higher)
    if name == "max_wal_senders" and version < 12:
        assert found.is_ready
        return
    [problem] = found.problems
    assert problem.check.startswith(name)
    assert problem.severity is Severity.CRITICAL
    assert replay in problem.needed
    assert problem.remedy == f"ALTER SYSTEM SET {name} = 500"
    assert readiness(higher, node(version)).severity is Severity.OK


HISTORY = TimelineHistory.parse("1\t0/4000000\tno recovery target specified\n", timeline=2)


@pytest.mark.parametrize(
    ("own", "primary", "replayed", "history", "severity"),
    [
        (1, node(), AT, None, Severity.OK),
        # A standby ahead of its primary has WAL that the primary lost.
        (1, node(), AT + 1, None, Severity.CRITICAL),
        (1, node(timeline=2), AT, HISTORY, Severity.OK),
        (1, node(timeline=2), AT + 1, HISTORY, Severity.CRITICAL),
        (3, node(timeline=2), AT, HISTORY, Severity.CRITICAL),
        # Without the history file nothing can be decided.
        (1, node(timeline=2), AT, None, Severity.INFO),
    ],
)
def test_the_standbys_position_must_be_on_the_primarys_history(
    own: int,
    primary: NodeFacts,
    replayed: LSN,
    history: TimelineHistory | None,
    severity: Severity,
) -> None:
    found = readiness(node(timeline=own), primary, history, replayed_lsn=replayed)
    assert found["timeline"].severity is severity


@given(st.sampled_from(LIMITS), st.integers(1, 1000), st.integers(1, 1000))
def test_a_limit_is_critical_exactly_if_it_is_lower(name: str, own: int, other: int) -> None:
    here: dict[str, Any] = {name: own}
    there: dict[str, Any] = {name: other}
    found = readiness(node(**here), node(**there))
    assert found.is_ready is (own >= other)
