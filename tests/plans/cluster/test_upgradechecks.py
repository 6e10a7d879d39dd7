"""The preconditions of a major upgrade: the servers and their limits."""

from __future__ import annotations

from datetime import timedelta

import attrs
import pytest
from hypothesis import given, strategies as st
from serverfacts import insufficient_settings, settings_named
from upgradefacts import NOW, facts_of, side, table

from pgreplkit.plans.cluster.upgradechecks import (
    programs_finding,
    release_finding,
    side_reach_finding,
    upgrade_findings,
)
from pgreplkit.plans.cluster.upgradefacts import UpgradeFacts
from pgreplkit.values.finding import Severity
from pgreplkit.values.tablename import TableName
from pgreplkit.values.version import ServerVersion

FAULTY = [
    *(
        (160000 + minor, count)
        for minor, count in ((1, 8), (5, 4), (8, 3), (9, 2), (11, 1), (12, 0))
    ),
    *((170000 + minor, count) for minor, count in ((1, 4), (4, 3), (5, 2), (6, 1), (8, 0))),
    *((180000, 1), (180001, 1), (180002, 0), (150000, 0)),
]
"""Releases, and the number of their known faults."""


def test_two_ordinary_databases_are_ready() -> None:
    assert {f.severity for f in upgrade_findings(facts_of())} == {Severity.OK}
    # From 16 on, the apply worker uses any index.
    slow = facts_of(tables=(table("a", slow_changes=1),), new={"version": 160020})
    assert {f.severity for f in upgrade_findings(slow)} == {Severity.OK}
    # Limits that only the other server's copies need.
    other = facts_of(groups=3, new={"settings": {"max_wal_senders": 8, "max_replication_slots": 8}})
    assert {f.severity for f in upgrade_findings(other)} == {Severity.OK}
    # The way back needs no worker that copies.
    few = {"max_logical_replication_workers": 1, "max_worker_processes": 1}
    back = facts_of(old={"settings": few})
    assert {f.severity for f in upgrade_findings(back)} == {Severity.OK}


def test_a_promoted_clone_and_another_database_of_a_server_can_be_the_new_one() -> None:
    for changed in ({"started_at": NOW + timedelta(microseconds=1)}, {"database": "other"}):
        facts = facts_of(new={"system_id": 1, **changed})
        assert {f.severity for f in upgrade_findings(facts)} == {Severity.OK}


@pytest.mark.parametrize(("version", "faults"), FAULTY)
def test_a_minor_release_has_the_faults_that_later_ones_fixed(version: int, faults: int) -> None:
    found = release_finding("old", side(16, 1, {"version": version})).found
    assert found.count("fixed in") == faults


@pytest.mark.parametrize(
    ("sqlstate", "remedy"),
    [
        # The server's own refusals come before any connection.
        ("42501", "connect to the new server as a superuser, or GRANT pg_create_subscription TO"),
        ("42601", "pass another connection string in replication={'old': …}"),
        ("2F003", "pass another connection string in replication={'old': …}"),
        ("08006", "allow it in pg_hba.conf of the old server"),
        # Before 14, and from a comparison of the places.
        ("XX000", "allow it in pg_hba.conf of the old server"),
        (None, "allow it in pg_hba.conf of the old server"),
    ],
)
def test_the_sqlstate_of_a_connection_decides_its_remedy(sqlstate: str | None, remedy: str) -> None:
    new: dict[str, object] = {"connection_error": "refused", "connection_sqlstate": sqlstate}
    [bad] = [one for one in upgrade_findings(facts_of(new=new)) if one.severity > Severity.OK]
    assert (bad.check, bad.found) == ("new reaches old", "refused")
    assert bad.remedy.startswith(remedy)
    # The role of server versions that have none.
    before = side(15, 1, {"connection_error": "refused", "connection_sqlstate": "42501"})
    remedy = side_reach_finding("old", "new", before).remedy
    assert remedy == "connect to the old server as a superuser"


def test_servers_that_may_be_exchanged_get_no_advice_to_remove_rows() -> None:
    rows = [TableName("public", "a")]
    [bad] = [one for one in upgrade_findings(facts_of(nonempty=rows)) if one.severity > "ok"]
    assert "TRUNCATE" in bad.remedy
    # The leftovers are what a preparation creates on the old server.
    for new in ({"version": 130020}, {"leftovers": ["slot shop_1", "publication shop_1"]}):
        found = [*upgrade_findings(facts_of(nonempty=rows, new={**new}))]
        assert any(one.severity is Severity.CRITICAL for one in found)
        assert not any("TRUNCATE" in one.remedy for one in found)


def test_the_two_databases_are_named() -> None:
    facts = facts_of(new={"database": "postgres"})
    found = {one.check: one.found for one in upgrade_findings(facts)}
    assert found["databases"] == "shop of the old server, and postgres of the new one"


MAJORS = st.integers(10, 19)


@given(old=MAJORS, new=MAJORS, dump=MAJORS | st.just("it is missing"), restore=MAJORS)
def test_the_schema_is_copied_by_programs_that_know_both_servers(
    old: int, new: int, dump: int | str, restore: int
) -> None:
    programs = {"pg_dump": dump, "pg_restore": restore}
    found = programs_finding(programs, old=old, new=new)
    if isinstance(dump, str) or dump < old or restore < dump:
        assert found.severity is Severity.CRITICAL
    else:
        is_right = dump == restore == new
        assert found.severity is (Severity.OK if is_right else Severity.WARNING)
    assert str(dump) in found.found
    assert found.remedy.endswith("bindir=") is (found.severity is not Severity.OK)


CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING
BAD: list[tuple[str, Severity, str, UpgradeFacts]] = [
    ("databases", CRITICAL, "connect", facts_of(new={"system_id": 1})),
    ("direction", CRITICAL, "exchange", facts_of(new={"version": 130020})),
    ("TRUNCATE", WARNING, "DELETE", facts_of(old={"version": 100023})),
    (
        "old: wal_level",
        CRITICAL,
        "ALTER SYSTEM",
        facts_of(old={"settings": {"wal_level": "replica"}}),
    ),
    (
        "new: wal_level",
        CRITICAL,
        "ALTER SYSTEM",
        facts_of(new={"settings": {"wal_level": "replica"}}),
    ),
    (
        "old: max_replication_slots",
        CRITICAL,
        "ALTER SYSTEM",
        facts_of(old={"settings": {"max_replication_slots": 1}}),
    ),
    (
        "old: max_wal_senders",
        CRITICAL,
        "ALTER SYSTEM",
        facts_of(old={"settings": {"max_wal_senders": 1}}),
    ),
    (
        "new: max_logical_replication_workers",
        CRITICAL,
        "ALTER SYSTEM",
        facts_of(new={"settings": {"max_logical_replication_workers": 1}}),
    ),
    (
        "old: max_slot_wal_keep_size",
        WARNING,
        "ALTER SYSTEM",
        facts_of(old={"settings": {"max_slot_wal_keep_size": 1 << 20}}),
    ),
    (
        "old: max_slot_wal_keep_size",
        WARNING,
        "ALTER SYSTEM",
        facts_of(old={"settings": {"max_slot_wal_keep_size": 0}}),
    ),
    ("old: connection", CRITICAL, "old server itself", facts_of(old={"is_pooled": True})),
    ("new: connection", CRITICAL, "new server itself", facts_of(new={"is_pooled": True})),
    ("old: leftovers", CRITICAL, "slot shop_1", facts_of(old={"leftovers": ["slot shop_1"]})),
    ("new: leftovers", CRITICAL, "schema f", facts_of(new={"leftovers": ["schema f"]})),
    ("old: minor release", WARNING, "latest", facts_of(old={"version": 160011})),
    ("new: minor release", WARNING, "latest", facts_of(new={"version": 170007})),
    (
        "old reaches new",
        CRITICAL,
        "'new'",
        facts_of(old={"connection_error": "no pg_hba.conf entry"}),
    ),
    (
        "old: rights",
        CRITICAL,
        "old server as a superuser, or execute as one: ALTER ROLE a; GRANT b",
        facts_of(old={"missing": ["ALTER ROLE a", "GRANT b"]}),
    ),
    ("new: rights", CRITICAL, "new server as a superuser", facts_of(new={"missing": ["GRANT b"]})),
    (
        "new reaches old",
        CRITICAL,
        "pg_hba.conf of the old",
        facts_of(new={"connection_error": "refused"}),
    ),
    (
        "new: timeouts",
        WARNING,
        "ALTER ROLE CURRENT_USER IN DATABASE shop SET statement_timeout = 0",
        facts_of(new={"settings": {"statement_timeout": 5}}),
    ),
    (
        "old: timeouts",
        WARNING,
        "ALTER ROLE CURRENT_USER IN DATABASE shop SET lock_timeout = 0",
        facts_of(old={"settings": {"lock_timeout": 5}}),
    ),
    *(
        ("new: timeouts", WARNING, f"SET {limit} = 0", facts_of(new={"settings": {limit: 5}}))
        # These exist from 17 and 14 on.
        for limit in ("transaction_timeout", "idle_session_timeout")
    ),
    # For the way back.
    *(
        (
            f"old: {setting}",
            CRITICAL,
            f"ALTER SYSTEM SET {setting} = 1",
            facts_of(old={"settings": {setting: 0}}),
        )
        for setting in ("max_logical_replication_workers", "max_worker_processes")
    ),
    (
        "new: max_wal_senders",
        CRITICAL,
        "ALTER SYSTEM SET max_wal_senders = 1",
        facts_of(new={"settings": {"max_wal_senders": 0}}),
    ),
    (
        "new: max_worker_processes",
        CRITICAL,
        "ALTER SYSTEM",
        facts_of(new={"settings": {"max_worker_processes": 1}}),
    ),
    (
        "new: max_active_replication_origins",
        CRITICAL,
        "ALTER SYSTEM SET max_active_replication_origins = 3",
        facts_of(new={"settings": {"max_active_replication_origins": 2}}),
    ),
    (
        "new: max_replication_slots",
        CRITICAL,
        "ALTER SYSTEM SET max_replication_slots = 3",
        facts_of(new={"version": 170020, "settings": {"max_replication_slots": 2}}),
    ),
    (
        "copies at once",
        WARNING,
        "ALTER SYSTEM SET max_logical_replication_workers = 9 on the new server",
        facts_of(groups=3, new={"settings": {"max_logical_replication_workers": 8}}),
    ),
    (
        "copies at once",
        WARNING,
        "ALTER SYSTEM SET max_wal_senders = 9 on the old server",
        facts_of(groups=3, old={"settings": {"max_wal_senders": 8}}),
    ),
]


@pytest.mark.parametrize(("check", "severity", "remedy", "facts"), BAD, ids=[b[0] for b in BAD])
def test_each_precondition_is_found_with_its_remedy(
    check: str, severity: Severity, remedy: str, facts: UpgradeFacts
) -> None:
    [bad] = [finding for finding in upgrade_findings(facts) if finding.severity > Severity.OK]
    assert (bad.check, bad.severity) == (check, severity)
    assert remedy in bad.remedy


@pytest.mark.parametrize("version", range(10, 19))
def test_remedies_set_settings_that_the_version_has(version: int) -> None:
    low, facts, release = insufficient_settings(version), facts_of(), ServerVersion(version * 10000)
    old, new = (attrs.evolve(one, settings=low, version=release) for one in (facts.old, facts.new))
    named = settings_named(upgrade_findings(attrs.evolve(facts, groups=9, old=old, new=new)))
    assert named <= low.keys()
    assert named >= {"max_replication_slots", "max_worker_processes", "lock_timeout"}
    assert ("max_active_replication_origins" in named) == (version >= 18)
    assert ("max_slot_wal_keep_size" in named) == (version >= 13)
    assert ("transaction_timeout" in named) == (version >= 17)
