"""Findings about settings, and the report that holds them."""

from __future__ import annotations

import pytest
from serverfacts import settings

from pgreplkit.errors import CheckNotFound
from pgreplkit.plans.server.readiness import (
    Readiness,
    checked,
    free_places,
    rewindable,
    setting_found,
    shown,
)
from pgreplkit.rows import EffectiveAfter, Severity

GOOD = checked("a", ok=True, observed="fine", needed="fine", remedy="none")
BAD = checked("b", ok=False, observed="off", needed="on", remedy="switch it on")
SO_SO = checked("c", ok=False, observed="1", needed="2", otherwise=Severity.WARNING)


def test_a_check_that_passed_needs_no_remedy() -> None:
    assert (GOOD.severity, GOOD.remedy) == (Severity.OK, "")
    assert (BAD.severity, BAD.remedy) == (Severity.CRITICAL, "switch it on")


def test_a_warning_does_not_prevent_readiness_and_a_critical_finding_does() -> None:
    assert Readiness(findings=(GOOD, SO_SO)).is_ready
    report = Readiness(findings=(GOOD, SO_SO, BAD))
    assert not report
    assert report.problems == (BAD, SO_SO)
    assert str(report).startswith("not ready: ")


def test_findings_are_found_by_their_check() -> None:
    report = Readiness(findings=(GOOD, BAD))
    assert report["b"] is BAD
    assert "a" in report
    assert "x" not in report
    with pytest.raises(CheckNotFound, match="'x'"):
        report["x"]


def test_a_setting_says_whether_it_needs_a_restart() -> None:
    found = settings(wal_level="replica", wal_keep_size=(512, "MB"))
    level = setting_found(found, "wal_level", False, needed="logical", value="logical")
    assert (level.remedy, level.effective_after) == (
        *("ALTER SYSTEM SET wal_level = logical", EffectiveAfter.RESTART),
    )
    kept = setting_found(found, "wal_keep_size", False, needed="1GB", value="'1GB'")
    assert (kept.found, kept.effective_after) == ("512MB", EffectiveAfter.RELOAD)
    hidden = setting_found(found, "x", False, needed="on", value="on")
    assert hidden.found == shown(None)


@pytest.mark.parametrize(
    ("used", "severity"), [(7, Severity.OK), (8, Severity.WARNING), (10, Severity.CRITICAL)]
)
def test_spare_places_are_only_missed_during_a_clone(used: int, severity: Severity) -> None:
    found = free_places(
        settings(max_wal_senders=10), "max_wal_senders", used=used, wanted=1, spare=2
    )
    assert found.severity is severity
    assert found.found == f"10, {used} used, {10 - used} free"


def test_places_of_a_hidden_setting_are_unknown() -> None:
    found = free_places({}, "max_wal_senders", used=3, wanted=1)
    assert (found.severity, found.found[:7]) == (Severity.WARNING, "unknown")


@pytest.mark.parametrize(
    ("checksums", "hints", "severity"),
    [("on", "off", Severity.OK), ("off", "on", Severity.OK), ("off", "off", Severity.WARNING)],
)
def test_rewinding_needs_checksums_or_hints(checksums: str, hints: str, severity: Severity) -> None:
    given = settings(full_page_writes="on", data_checksums=checksums, wal_log_hints=hints)
    images, logged = rewindable(given)
    assert (images.severity, logged.severity) == (Severity.OK, severity)
    off = next(iter(rewindable(settings(full_page_writes="off"))))
    assert off.severity is Severity.CRITICAL
