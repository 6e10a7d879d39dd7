"""Findings about hosts and ALTER SYSTEM: ready means that every step can run."""

from __future__ import annotations

import attrs
import pytest

from pgreplkit.plans.cluster.hosts import (
    AlterSystemFacts,
    HostFacts,
    alter_system_finding,
    altered_settings,
    recovery_target_finding,
    rewind_host_findings,
    standby_host_findings,
    target_timeline_finding,
    unasked_finding,
)
from pgreplkit.plans.cluster.steps import Follow, Promote, SetSyncNames
from pgreplkit.rows import Severity
from pgreplkit.values.finding import Finding

READY = HostFacts(
    node="a",
    data_directory="/data",
    unwritable=(),
    can_keep=True,
    leftover=None,
    main_file="postgresql.conf",
    is_configured=True,
    starts_itself=True,
    hot_standby=None,
    fixed_settings={},
)
ALTER = AlterSystemFacts(
    node="b", major=18, names=("primary_conninfo",), is_allowed=True, denied=(), is_writable=None
)


def findings(facts: HostFacts) -> list[Finding]:
    return [*standby_host_findings(facts), *rewind_host_findings(facts)]


def test_a_host_without_problems_is_ready() -> None:
    assert {finding.severity for finding in findings(READY)} == {Severity.OK}


@pytest.mark.parametrize(
    ("changed", "critical"),
    [
        (
            {"unwritable": ("/data/postgresql.auto.conf",)},
            {"files of a", "files that pg_rewind writes"},
        ),
        ({"unwritable": ("/data/server.key",)}, {"files that pg_rewind writes"}),
        ({"unwritable": ("/data",)}, {"files of a", "files that pg_rewind writes"}),
        ({"can_keep": False}, {"place for its configuration files"}),
        ({"leftover": "/data.before-rewind"}, {"files of an earlier attempt"}),
        ({"is_configured": False}, {"configuration of a"}),
        ({"hot_standby": "on"}, set()),
        ({"hot_standby": "Off"}, {"hot_standby of a"}),
        ({"hot_standby": "f"}, {"hot_standby of a"}),
        ({"is_configured": False, "starts_itself": False}, set()),
        ({"fixed_settings": {"recovery_target_time": "now"}}, {"command line of a"}),
        ({"fixed_settings": {"primary_conninfo": "host=x"}}, {"command line of a"}),
    ],
)
def test_each_obstacle_is_a_finding_with_a_remedy(
    changed: dict[str, object], critical: set[str]
) -> None:
    facts = attrs.evolve(READY, **changed)  # type: ignore[arg-type]
    bad = [finding for finding in findings(facts) if finding.severity is Severity.CRITICAL]
    assert {finding.check for finding in bad} == critical
    assert all(finding.remedy for finding in bad)


def test_many_files_are_counted() -> None:
    facts = attrs.evolve(READY, unwritable=tuple(f"/data/{number}" for number in range(9)))
    [finding] = [f for f in findings(facts) if f.severity is Severity.CRITICAL]
    assert finding.found.endswith("/data/4 and 4 more")


@pytest.mark.parametrize(
    ("changed", "observed"),
    [
        ({}, "permitted"),
        ({"is_writable": True}, "permitted"),
        ({"is_allowed": False}, "allow_alter_system is off"),
        ({"denied": ("primary_conninfo",)}, "the role may not change primary_conninfo"),
        ({"is_writable": False}, "postgresql.auto.conf is not writable"),
    ],
)
def test_alter_system_must_be_permitted(changed: dict[str, object], observed: str) -> None:
    finding = alter_system_finding(attrs.evolve(ALTER, **changed))  # type: ignore[arg-type]
    assert finding.found.startswith(observed)
    assert (finding.severity is Severity.OK) == (observed == "permitted")


def test_only_steps_that_use_alter_system_need_it() -> None:
    steps = [
        SetSyncNames("b", "c", ""),
        Promote("b", 16),
        Follow("c", "b", "host=b", None, "c", 16),
        Follow("d", "b", "host=b", None, "d", 11),
    ]
    assert altered_settings(steps) == {
        "b": ("synchronous_standby_names",),
        "c": ("primary_conninfo", "primary_slot_name"),
    }


def test_a_setting_of_the_command_line_cannot_be_altered() -> None:
    finding = alter_system_finding(attrs.evolve(ALTER, fixed=("primary_conninfo",)))
    assert finding.severity is Severity.CRITICAL
    assert finding.found == "the command line of the server sets primary_conninfo"


@pytest.mark.parametrize(("timeline", "is_fine"), [(None, True), ("latest", True), ("3", False)])
def test_a_standby_that_stays_on_its_timeline_does_not_follow_a_promotion(
    timeline: str | None, is_fine: bool
) -> None:
    facts = attrs.evolve(ALTER, target_timeline=timeline)
    finding = target_timeline_finding(facts, otherwise=Severity.CRITICAL)
    assert (finding.severity is Severity.OK) == is_fine


@pytest.mark.parametrize(
    ("targets", "action", "severity"),
    [
        ((), None, Severity.OK),
        ((), "promote", Severity.OK),
        (("recovery_target_lsn = F/0",), "pause", Severity.WARNING),
        (("recovery_target_lsn = F/0",), "promote", Severity.WARNING),
    ],
)
def test_a_running_standby_with_a_recovery_target_is_reported(
    targets: tuple[str, ...], action: str | None, severity: Severity
) -> None:
    facts = attrs.evolve(ALTER, targets=targets, target_action=action)
    finding = recovery_target_finding(facts)
    assert finding.severity is severity
    assert ("promotes itself" in finding.needed) == (action == "promote")
    assert (finding.remedy or "").startswith("ALTER SYSTEM SET recovery_target_lsn =") == bool(
        targets
    )


def test_a_server_that_is_not_asked_is_an_obstacle() -> None:
    finding = unasked_finding("b", ("primary_conninfo",), "could not connect:\n  refused")
    assert finding.severity is Severity.CRITICAL
    assert finding.found == "unknown: could not connect: refused"


def test_a_password_on_the_command_line_is_not_shown() -> None:
    facts = attrs.evolve(READY, fixed_settings={"primary_conninfo": "password=hidden"})
    assert "hidden" not in "".join(finding.found for finding in findings(facts))


@pytest.mark.parametrize(("number", "named"), [(14, False), (15, True)])
def test_only_a_server_that_can_grant_alter_system_is_said_to(number: int, named: bool) -> None:
    facts = attrs.evolve(ALTER, major=number, denied=("primary_conninfo",))
    remedy = alter_system_finding(facts).remedy
    assert ("GRANT ALTER SYSTEM" in str(remedy)) is named
