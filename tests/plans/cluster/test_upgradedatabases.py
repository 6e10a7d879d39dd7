"""The preconditions of a major upgrade: all that logical replication does not copy."""

from __future__ import annotations

import pytest
from upgradefacts import facts_of

from pgreplkit.plans.cluster.upgradechecks import upgrade_findings
from pgreplkit.plans.cluster.upgradefacts import UpgradeFacts
from pgreplkit.values.finding import Severity

CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING
BAD: list[tuple[str, Severity, str, UpgradeFacts]] = [
    ("large objects", CRITICAL, "bytea", facts_of(old={"large_objects": 3})),
    ("extensions of superusers", CRITICAL, "EXTENSION x, as", facts_of(refused_extensions=["x"])),
    (
        "schemas",
        CRITICAL,
        "on the new server: GRANT CREATE ON SCHEMA public TO mover; GRANT CREATE ON SCHEMA app TO",
        facts_of(closed_schemas=["public", "app"]),
    ),
    ("existing objects", CRITICAL, "drop schema app on", facts_of(colliding=["schema app"])),
    ("privileges", WARNING, "check() of plan_cutover()", facts_of(left_out_roles=["clerk"])),
    ("owners", CRITICAL, "GRANT b TO a", facts_of(refused_owners={"b": "GRANT b TO a"})),
    (
        "owners",
        CRITICAL,
        "connect to the new server as a superuser; or give the objects to other owners",
        facts_of(refused_owners={"b": "GRANT b TO a", "postgres": None}),
    ),
    ("missing extensions", CRITICAL, "install", facts_of(old={"extensions": {"postgis": "3"}})),
    # One control file that cannot be read: those that are installed need none.
    (
        "extensions",
        WARNING,
        "remove the file",
        facts_of(
            new={
                "available": {},
                "extensions": {"plpgsql": "1.0"},
                "extensions_error": "no such file",
            }
        ),
    ),
    (
        "extensions",
        CRITICAL,
        "remove the file",
        facts_of(
            old={"extensions": {"postgis": "3"}},
            new={"available": {}, "extensions_error": "no such file"},
        ),
    ),
    ("missing owners", CRITICAL, "roles-only", facts_of(old={"owners": frozenset(["boss"])})),
    ("missing roles", WARNING, "clerk", facts_of(old={"roles": frozenset(["app", "clerk"])})),
    ("encoding", WARNING, "LATIN1", facts_of(old={"encoding": "LATIN1"})),
    ("collation", WARNING, "CREATE DATABASE", facts_of(new={"collation": "C.UTF-8"})),
    (
        "functions without a search_path",
        CRITICAL,
        "ALTER FUNCTION g(int) SET search_path FROM CURRENT",
        facts_of(old={"unsafe_functions": ("f()", "g(int)")}),
    ),
    (
        "older extensions",
        WARNING,
        "postgis 3.9 < 3.10",
        facts_of(old={"extensions": {"postgis": "3.10"}}, new={"available": {"postgis": "3.9"}}),
    ),
    ("rows of extensions", WARNING, "cron.job", facts_of(old={"filled_extensions": ("cron.job",)})),
    (
        "missing tablespaces",
        CRITICAL,
        "CREATE TABLESPACE fast",
        facts_of(old={"used_tablespaces": ["fast"]}),
    ),
    (
        "memberships",
        WARNING,
        "GRANT a TO b",
        facts_of(
            old={"memberships": ("GRANT a TO b", "GRANT c TO d")},
            new={"memberships": ("GRANT c TO d",)},
        ),
    ),
    ("md5 passwords", Severity.INFO, "of app", facts_of(old={"md5_roles": ("app",)})),
    (
        "collation version",
        WARNING,
        "range partitions",
        facts_of(old={"collation_version": "2.36"}, new={"collation_version": "2.41"}),
    ),
    ("other subscriptions", WARNING, "feed", facts_of(old={"subscriptions": ("feed",)})),
    (
        "functions without a search_path",
        WARNING,
        "search_path",
        facts_of(old={"unsafe_functions": ("f()",)}, new={"version": 160020}),
    ),
    (
        "database settings",
        WARNING,
        "ALTER ROLE b SET c TO 'd'; ALTER ROLE e SET f TO 'g'",
        facts_of(
            old={
                "database_settings": (
                    "ALTER ROLE b SET c TO 'd'",
                    "ALTER ROLE e SET f TO 'g'",
                    "ALTER DATABASE {} SET h TO 'i'",
                )
            },
            new={"database_settings": ("ALTER DATABASE {} SET h TO 'i'",)},
        ),
    ),
    ("event triggers", WARNING, "guard", facts_of(old={"event_triggers": ("guard",)})),
    ("other publications", WARNING, "feed", facts_of(old={"publications": ("feed",)})),
    ("old transactions", WARNING, "end 42", facts_of(old={"old_transactions": ("42",)})),
    ("prepared transactions", CRITICAL, "COMMIT PREPARED", facts_of(old={"prepared": ("x",)})),
]


@pytest.mark.parametrize(("check", "severity", "remedy", "facts"), BAD, ids=[b[0] for b in BAD])
def test_each_precondition_is_found_with_its_remedy(
    check: str, severity: Severity, remedy: str, facts: UpgradeFacts
) -> None:
    [bad] = [finding for finding in upgrade_findings(facts) if finding.severity > Severity.OK]
    assert (bad.check, bad.severity) == (check, severity)
    assert remedy in bad.remedy
