"""Limits of standbys and configuration files: ready means that a server can start as a standby."""

from __future__ import annotations

import pytest

from pgreplkit.plans.cluster.standbylimits import limits_finding, next_start_finding
from pgreplkit.rows import Severity

THEIRS = {"max_connections": 100, "max_wal_senders": 10}


@pytest.mark.parametrize(
    ("own", "low"),
    [
        ({"max_connections": 100, "max_wal_senders": 10}, []),
        ({"max_connections": 200, "max_wal_senders": 11}, []),
        ({"max_connections": 99, "max_wal_senders": 10}, ["max_connections"]),
        ({"max_connections": 99, "max_wal_senders": 9}, ["max_connections", "max_wal_senders"]),
        # One that is not known is not claimed to be too low.
        ({"max_connections": 100}, []),
        ({}, []),
    ],
)
def test_limits_below_those_of_the_upstream_are_named(own: dict[str, int], low: list[str]) -> None:
    found = limits_finding("a", own, "b", THEIRS)
    assert found.severity is (Severity.CRITICAL if low else Severity.OK)
    assert [name for name in THEIRS if f"{name} = {own.get(name)}, " in found.found] == low
    for name in low:
        assert f"ALTER SYSTEM SET {name} = {THEIRS[name]} on a" in (found.remedy or "")


@pytest.mark.parametrize(
    ("errors", "severity"),
    [
        ([], Severity.OK),
        (["postgresql.conf, line 3: syntax error"], Severity.CRITICAL),
        (None, Severity.INFO),
    ],
)
def test_errors_in_configuration_files_stop_a_restart(
    errors: list[str] | None, severity: Severity
) -> None:
    found = next_start_finding("a", errors)
    assert found.severity is severity
    assert all(error in found.found for error in errors or [])
