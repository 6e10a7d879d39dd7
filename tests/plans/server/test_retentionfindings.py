"""wal_retention: each danger is a finding."""

from __future__ import annotations

import attrs
import pytest
from retentionfacts import HERE, SIZE, archiver, kept, report_of, slot
from serverfacts import NOW, newer_settings

from pgreplkit import LSN
from pgreplkit.rows import Severity, WalStatus

CRITICAL = Severity.CRITICAL


def severities(**changes: object) -> dict[str, Severity]:
    facts = slot("a", HERE - 5, HERE, SIZE)
    report = report_of(
        kept(HERE, HERE, SIZE, max_slot_wal_keep_mb=1024),
        slots=[attrs.evolve(facts, **changes)],  # type: ignore[arg-type]
        senders=[],
        archiver=archiver(),
        ready=None,
        wal_rate=1000.0,
    )
    return {finding.check: finding.severity for finding in report.findings}


@pytest.mark.parametrize(
    ("changes", "severity"),
    [
        ({"active": True}, None),
        ({}, Severity.WARNING),
        ({"restart_lsn": None}, None),
        ({"wal_status": WalStatus.LOST}, Severity.CRITICAL),
        ({"wal_status": WalStatus.UNRESERVED}, Severity.CRITICAL),
        ({"safe_wal_size": 1000 * 60}, Severity.CRITICAL),
        ({"safe_wal_size": 1000 * 3600 * 5}, Severity.WARNING),
        # A slot without lag is in no danger, however small its limit is.
        ({"active": True, "safe_wal_size": 1000 * 60}, None),
        ({"active": True, "safe_wal_size": 6000, "restart_lsn": LSN(HERE - 7000)}, CRITICAL),
        ({"active": True, "safe_wal_size": 1000 * 86400 * 2}, None),
        ({"active": True, "xmin_age": 100_000_001}, Severity.WARNING),
        ({"active": True, "catalog_xmin_age": 200_000_001}, Severity.CRITICAL),
        ({"active": True, "xmin_age": 99_999_999}, None),
    ],
)
def test_each_problem_of_a_slot_has_its_severity(
    changes: dict[str, object], severity: Severity | None
) -> None:
    assert severities(**changes).get("slot a") == severity


def test_a_full_disk_is_critical() -> None:
    report = report_of(
        kept(HERE, HERE, SIZE, directory_bytes=100),
        slots=[],
        senders=[],
        archiver=archiver(),
        ready=None,
        disk_size=100,
    )
    assert [(f.check, f.severity) for f in report.findings] == [("disk", Severity.CRITICAL)]


@pytest.mark.parametrize("number", range(10, 19))
def test_only_settings_of_the_major_version_are_named(number: int) -> None:
    report = report_of(
        kept(HERE, HERE, SIZE, server_major=number),
        slots=[slot("a", HERE - 5, HERE, SIZE)],
        senders=[],
        archiver=archiver(archive_mode="on", last_failed_time=NOW, failed_count=1),
        ready=None,
    )
    names = {finding.check for finding in report.findings}
    assert {"slot a", "archiver"} <= names
    assert ("max_slot_wal_keep_size" in names) is (number >= 13)
    assert newer_settings(report.findings, number) == set()
    texts = " ".join(str(finding.needed) for finding in report.findings)
    assert ("archive_library" in texts) is (number >= 15)
