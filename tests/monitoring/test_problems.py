"""The problems in a report, and the status that follows from them."""

from __future__ import annotations

import re

import attrs
import pytest
from clusterfacts import handover, slot_state
from instances import Builder
from monitoringfacts import GONE, HIDDEN, down, primary, retention, sample, standby, unused_slot

from pgreplkit import TableName, WalFileName
from pgreplkit.checks import CheckResult
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
    created = attrs.evolve(DRIFT, ddl=("CREATE TABLE t ()",))
    assert str(CheckResult.of(SchemaDrift(drifts=(created,)))) == (
        "CRITICAL - public.t: table missing: t: the subscriber does not have it; CREATE TABLE t ()"
    )
    slots = [attrs.evolve(slot_state(name), active=True) for name in "st"]
    assert CheckResult.of(slots).message == "2 slots"  # type: ignore[arg-type]
    assert CheckResult.of(handover().topology).message.endswith("; 2 standbys")
    assert CheckResult.of(sample(primary())).message.startswith("1 server, ")


def test_an_error_instead_of_a_report_has_a_status() -> None:
    assert CheckResult.of(GONE).exit_code == 2
    assert CheckResult.of(HIDDEN).exit_code == 3
    assert "permission denied" in str(CheckResult.of(HIDDEN))
