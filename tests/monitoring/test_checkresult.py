"""CheckResult: statuses, thresholds and the line that monitoring plugins print."""

from __future__ import annotations

import json
import re

import attrs
import pytest
from clusterfacts import handover, slot_state
from hypothesis import given, strategies as st
from instances import Builder
from monitoringfacts import down, primary, retention, sample, standby, unused_slot

from pgreplkit import TableName, WalFileName
from pgreplkit.checks import CheckResult, CheckStatus, PerformanceValue, Threshold
from pgreplkit.errors import ConnectionFailed, InsufficientPrivilege, InvalidThreshold
from pgreplkit.monitoring.problems import Report
from pgreplkit.rows import (
    ClusterNode,
    Drift,
    DriftKind,
    Finding,
    LagReason,
    Readiness,
    SchemaDrift,
    Severity,
    SubscriptionStatus,
    Topology,
    WalStatus,
    WatchSamples,
)
from pgreplkit.wal import ArchiveFinding, ArchiveProblem, ArchiveRange, ArchiveReport

GONE = ConnectionFailed("read the state of db2", "connection refused")
HIDDEN = InsufficientPrivilege("read the state of db2", "observer", "pg_monitor")


def finding(severity: Severity, check: str = "wal_level") -> Finding:
    return Finding(check=check, severity=severity, found="minimal", needed="replica")


def archive(*findings: ArchiveFinding, ranges: tuple[ArchiveRange, ...]) -> ArchiveReport:
    report: ArchiveReport = Builder("full").build(ArchiveReport)
    return attrs.evolve(report, findings=findings, ranges=ranges)


FILES = (ArchiveRange(1, WalFileName(1, 1), WalFileName(1, 4), 4),)
HOLE = ArchiveFinding(ArchiveProblem.MISSING, Severity.CRITICAL, "3 is missing", "find it")
DRIFT = Drift(
    kind=DriftKind.TABLE_MISSING,
    table=TableName("public", "t"),
    name="t",
    severity=Severity.CRITICAL,
    found="the subscriber does not have it",
    ddl=(),
)
TWO = Topology(
    tuple(
        ClusterNode(name=name, system_id=7, timeline=1, is_primary=True) for name in ("db1", "db2")
    )
)
FINE = [
    Readiness(findings=(finding(Severity.OK), finding(Severity.INFO))),
    retention(),
    handover().topology,
    primary(),
    sample(primary(), standby("db2", LagReason.CAUGHT_UP)),
    sample(primary(), standby("db2", LagReason.DELAYED, 1 << 20, 3600)),
    SchemaDrift(drifts=()),
    archive(ranges=FILES),
]
LOST = slot_state("s", wal_status=WalStatus.LOST)
STOPPED: SubscriptionStatus = Builder("empty").build(SubscriptionStatus)
BAD = [
    (Readiness(findings=(finding(Severity.WARNING),)), 1),
    (Readiness(findings=(finding(Severity.WARNING), finding(Severity.CRITICAL))), 2),
    (retention(unused_slot()), 1),
    (retention(failing=True), 2),
    (retention(unused_slot(), rate=1.0, disk=1 << 20), 2),
    (Topology((ClusterNode(name="db1", error=GONE),)), 2),
    (Topology((ClusterNode(name="db1", error=HIDDEN),)), 3),
    (Topology((ClusterNode(name="db1", error=HIDDEN), ClusterNode(name="db2", error=GONE))), 2),
    (TWO, 2),
    (standby("db2", LagReason.NOT_STREAMING, None, None), 2),
    (standby("db2", LagReason.PAUSED, 1 << 20, 5), 1),
    (standby("db2", LagReason.CLOCKS_DIFFER, 1 << 20, None), 1),
    (primary(slots=(unused_slot(),)), 1),
    (primary(slots=(LOST,)), 2),
    (primary(slots=(slot_state("s", wal_status=WalStatus.UNRESERVED),)), 2),
    (primary(retention=retention(failing=True)), 2),
    (primary(subscriptions=(STOPPED,)), 2),
    (sample(primary(), down("db2", GONE)), 2),
    (sample(primary(), down("db2", HIDDEN)), 3),
    (sample(primary("db1"), primary("db2")), 2),
    (SchemaDrift(drifts=(DRIFT,)), 2),
    ([unused_slot()], 1),
    ([STOPPED], 2),
    (archive(HOLE, ranges=FILES), 2),
]
NOTHING: list[Report] = [
    Readiness(findings=()),
    Topology(()),
    sample(),
    WatchSamples(()),
    attrs.evolve(primary(), is_primary=None),
    archive(ranges=()),
]


@pytest.mark.parametrize("report", FINE, ids=lambda r: type(r).__name__)
def test_a_report_without_a_problem_is_ok(report: Report) -> None:
    result = CheckResult.of(report)
    assert (result.exit_code, result.details) == (0, ())
    assert re.match(r"OK - \S", str(result))


@pytest.mark.parametrize(("report", "code"), BAD, ids=lambda v: type(v).__name__)
def test_the_exit_status_is_that_of_the_worst_problem(report: Report, code: int) -> None:
    result = CheckResult.of(report)
    assert result.exit_code == code
    # The reason for the status is in the first line.
    assert result.details[0].startswith(f"{result.status}: ")
    reason = result.details[0].partition(": ")[2]
    assert result.message.startswith(reason)


@pytest.mark.parametrize("report", NOTHING, ids=lambda r: type(r).__name__)
def test_a_check_that_looked_at_nothing_is_unknown(report: Report) -> None:
    assert CheckResult.of(report).exit_code == 3


def test_the_summary_says_what_was_checked_and_found() -> None:
    info = attrs.evolve(DRIFT, severity=Severity.INFO)
    assert str(CheckResult.of(SchemaDrift(drifts=(info,)))) == "OK - drift: 1 info"
    assert str(CheckResult.of(SchemaDrift(drifts=()))) == "OK - no drift"
    slots = [attrs.evolve(slot_state(name), active=True) for name in "st"]
    assert CheckResult.of(slots).message == "2 slots"  # type: ignore[arg-type]
    assert CheckResult.of(handover().topology).message.endswith("; 2 standbys")
    assert CheckResult.of(sample(primary())).message.startswith("1 server, ")


def test_an_error_instead_of_a_report_has_a_status() -> None:
    assert CheckResult.of(GONE).exit_code == 2
    assert CheckResult.of(HIDDEN).exit_code == 3
    assert "permission denied" in str(CheckResult.of(HIDDEN))


def test_the_other_problems_are_counted_and_listed_worst_first() -> None:
    result = CheckResult.of(
        sample(primary(slots=(unused_slot(),)), down("db2", HIDDEN), down("db3", GONE))
    )
    assert result.message.endswith("(and 2 more)")
    assert [line.split(":")[0] for line in str(result).split("\n")[1:]] == [
        "CRITICAL",
        "WARNING",
        "UNKNOWN",
    ]


def test_a_threshold_limits_the_lag_of_each_standby() -> None:
    late = sample(primary(), standby("db2", LagReason.REPLAYING, 5000, 31))
    line = str(CheckResult.of(late, warning="30", critical="300")).split("\n")[0]
    assert line == (
        "WARNING - db2: lag_seconds is 31 s, beyond 30 | 'db1 retained_bytes'=0B"
        " 'db2 lag_seconds'=31s;30;300 'db2 lag_bytes'=5000B 'db2 retained_bytes'=0B"
    )
    assert CheckResult.of(late, critical={"lag_bytes": "@1000:9000"}).exit_code == 2
    assert CheckResult.of(late, warning=Threshold(end=31)).exit_code == 0
    retained = retention(unused_slot(), rate=1.0, disk=1 << 30)
    assert CheckResult.of(retained, critical={"time_left_seconds": "9000000000:"}).exit_code == 2


def test_a_limit_of_an_unknown_or_missing_number_is_never_ok() -> None:
    behind = sample(primary(), standby("db2", LagReason.UPSTREAM_BEHIND, 5000, None))
    assert CheckResult.of(behind).exit_code == 0
    assert CheckResult.of(behind, warning="30").exit_code == 3
    assert CheckResult.of(primary(), warning="30").exit_code == 3


def test_thresholds_without_a_number_are_refused_with_the_known_names() -> None:
    with pytest.raises(ValueError, match="known are lag_seconds, lag_bytes, retained_bytes"):
        CheckResult.of(primary(), warning={"lag": "5"})
    with pytest.raises(ValueError, match="it has no number"):
        CheckResult.of(SchemaDrift(drifts=()), warning="5")
    with pytest.raises(InvalidThreshold):
        CheckResult.of(primary(), warning="many")
    with pytest.raises(TypeError, match="not str"):
        CheckResult.of("db1")  # type: ignore[arg-type]


@given(st.text(max_size=30))
def test_names_cannot_break_the_first_line(name: str) -> None:
    result = CheckResult.of(sample(standby(name, LagReason.NOT_STREAMING, None, None)))
    line, *others = str(result).split("\n")
    text, _, data = line.partition("|")
    assert not others
    assert text.startswith("CRITICAL - ")
    assert "|" not in data
    assert len(re.findall(r"(?:'(?:[^']|'')*'|[^' ]+)=U", data)) == 2


def test_the_dict_has_the_status_and_the_values() -> None:
    result = CheckResult.of(retention(), warning="1:")
    content = json.loads(json.dumps(result.to_dict()))
    assert (content["status"], content["exit_code"]) == ("OK", 0)
    assert content["performance"][0] == {
        "label": "directory_bytes",
        "value": 67108864,
        "unit": "B",
        "warning": "1:",
        "critical": None,
        "status": "OK",
    }
    value = PerformanceValue(label="it's", value=None, warning=Threshold.parse("5"))
    assert (str(value), value.status) == ("'it''s'=U;5", CheckStatus.UNKNOWN)
