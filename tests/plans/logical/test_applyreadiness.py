"""Whether an applier can run: each missing right, setting and table is a finding."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from applyfacts import OWN, column
from logicalfacts import RIGHTS
from serverfacts import insufficient_settings, settings, settings_named

from pgreplkit.catalog.logical.publication import Operation
from pgreplkit.catalog.logical.replicaidentity import identity_in
from pgreplkit.plans.logical.applyleaves import UnfoundRows
from pgreplkit.plans.logical.applyreadiness import ApplyFacts, apply_readiness
from pgreplkit.rows import Readiness, Severity
from pgreplkit.values.tablename import TableName

T = TableName("public", "t")
IDENTITY = identity_in(
    {
        "schema": "public",
        "name": "t",
        "kind": "d",
        "index": "t_pkey",
        "columns": ["id"],
        "remedy": "",
    }
)
FACTS = ApplyFacts(
    major=18,
    uses_origin=True,
    rights=RIGHTS,
    settings=settings(
        max_active_replication_origins=10, max_replication_slots=10, track_commit_timestamp="on"
    ),
    origins=0,
    has_origin=False,
    publisher=settings(wal_level="logical", max_replication_slots=10),
    may_replicate=True,
    publisher_role="mover",
    slots=0,
    copies_slots=True,
    has_slot=False,
    is_same_database=False,
    tables={T: T},
    identities=[IDENTITY],
    not_full={T: ("public.t",)},
    unsent={},
    operations={T: {*Operation}},
    unreadable=(),
    sends_truncate=True,
    targets={T: OWN},
    mismatches={},
    misfits={},
    setup="run what setup_sql('mover') prints",
    truncates=True,
)


def readiness(**changes: Any) -> Readiness:
    rights = {name: changes.pop(name) for name in [*changes] if hasattr(RIGHTS, name)}
    return apply_readiness(attrs.evolve(FACTS, rights=attrs.evolve(RIGHTS, **rights), **changes))


def test_partitions_of_which_changes_would_be_lost_are_critical() -> None:
    unfound = UnfoundRows(("id",), (TableName("public", "t1"),))
    finding = readiness(unfound={T: unfound})["table public.t, its partitions"]
    assert finding.severity is Severity.CRITICAL
    assert (finding.found, finding.remedy) == (unfound.found, unfound.remedy)


def test_everything_is_found() -> None:
    found = readiness()
    assert found.severity is Severity.OK
    assert {finding.check for finding in found.findings} == {
        *("wal_level", "max_replication_slots", "role of the publisher", "two databases"),
        "changes of both directions",
        "read-write transactions",
        *("schema pgreplkit", "session_replication_role", "replication origins"),
        *("max_active_replication_origins of the subscriber", "track_commit_timestamp"),
        *("published tables", "table public.t"),
    }


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"publisher": settings(wal_level="replica", max_replication_slots=10)}, "wal_level"),
        ({"slots": 9}, "max_replication_slots"),
        ({"slots": 10, "copies_slots": False}, "max_replication_slots"),
        ({"may_replicate": False}, "role of the publisher"),
        ({"is_same_database": True}, "two databases"),
        ({"is_standby": True}, "read-write transactions"),
        ({"is_read_only": True}, "read-write transactions"),
        ({"may_create": False}, "schema pgreplkit"),
        ({"may_set_role": False}, "session_replication_role"),
        ({"may_use_origins": False}, "replication origins"),
        ({"origins": 10}, "max_active_replication_origins of the subscriber"),
        ({"tables": {}}, "published tables"),
        ({"mismatches": {T: "no column 'n'"}}, "table public.t"),
        ({"unsent": {T: ("made",)}}, "table public.t, its replica identity"),
        ({"targets": {T: attrs.evolve(OWN, lacks=("DELETE",))}}, "table public.t"),
        ({"unreadable": [T]}, "table public.t on the publisher"),
        ({"state": "lost", "remedies": {"lost": "copy again"}}, "slot"),
        ({"state": "missing", "remedies": {"missing": "copy again"}}, "slot"),
        ({"targets": {T: attrs.evolve(OWN, is_out_of_reach=True)}}, "table public.t"),
        ({"targets": {T: attrs.evolve(OWN, hides_rows=True)}}, "table public.t"),
    ],
)
def test_a_missing_requirement_is_critical(changes: dict[str, Any], check: str) -> None:
    finding = readiness(**changes)[check]
    assert finding.severity is Severity.CRITICAL
    assert finding.needed


@pytest.mark.parametrize("missing", [*Operation])
def test_changes_that_are_not_published_are_found(missing: Operation) -> None:
    sent = {T: {*Operation} - {missing}}
    check = "table public.t, its changes"
    found = readiness(operations=sent)[check]
    assert found.severity is Severity.WARNING
    assert missing.value.upper() in found.found
    # A TRUNCATE that will not be applied, or cannot be sent, does not matter.
    is_truncate = missing is Operation.TRUNCATE
    for changes in ({"truncates": False}, {"sends_truncate": False}, {"stamps": True}):
        others = {finding.check for finding in readiness(operations=sent, **changes).findings}
        assert (check not in others) == is_truncate


NUMBERED = attrs.evolve(OWN, columns=(*OWN.columns[:2], column("n", identity="a")))
LARGE = attrs.evolve(OWN, columns=(*OWN.columns[:2], attrs.evolve(OWN.columns[2], is_large=True)))


@pytest.mark.parametrize(
    ("changes", "check"),
    [
        ({"settings": settings(track_commit_timestamp="off")}, "track_commit_timestamp"),
        ({"targets": {T: attrs.evolve(OWN, lacks=("TRIGGER",))}}, "table public.t"),
        ({"targets": {T: attrs.evolve(OWN, keys=())}}, "table public.t, its key"),
        (
            {"targets": {T: attrs.evolve(OWN, keys=(("id",), ("name",)))}},
            "table public.t, other unique indexes",
        ),
        ({"targets": {T: NUMBERED}}, "table public.t, identity columns"),
        ({"targets": {T: attrs.evolve(OWN, rules=("r",))}}, "table public.t, its rules"),
        ({"targets": {T: LARGE}}, "table public.t, large values"),
        ({"operations": {T: {Operation.INSERT}}}, "table public.t, its changes"),
    ],
)
def test_last_update_wins_needs_more(changes: dict[str, Any], check: str) -> None:
    assert readiness(stamps=True).is_ready
    assert readiness(**changes, has_origin=True).is_ready
    more = {"has_origin": True, "stamps": True, "reads_commits": True, "replaced": [T]}
    found = readiness(**changes, **more)
    assert found[check].severity is Severity.CRITICAL


def test_a_position_in_a_table_needs_no_origin() -> None:
    found = readiness(uses_origin=False, may_use_origins=False, origins=10)
    assert found.is_ready
    assert "replication origins" not in {finding.check for finding in found.findings}


def test_an_existing_applier_needs_no_other_places() -> None:
    assert readiness(slots=10, has_slot=True, origins=10, has_origin=True).is_ready
    assert readiness(slots=9, copies_slots=False).is_ready


def test_a_privilege_to_truncate_matters_only_if_truncate_is_applied() -> None:
    own = {T: attrs.evolve(OWN, lacks=("TRUNCATE",))}
    assert not readiness(targets=own).is_ready
    assert readiness(targets=own, truncates=False).is_ready


def test_one_database_can_be_both_if_every_table_is_mapped() -> None:
    other = TableName("copy", "t")
    found = readiness(is_same_database=True, tables={T: other}, targets={other: OWN})
    assert found.is_ready


def test_a_table_without_a_key_is_a_warning() -> None:
    loose = attrs.evolve(OWN, keys=())
    assert readiness(targets={T: loose})["table public.t"].severity is Severity.WARNING
    without = attrs.evolve(IDENTITY, index=None, columns=(), remedy="ALTER TABLE t …")
    finding = readiness(identities=[without])["table public.t"]
    assert finding.severity is Severity.WARNING
    assert "ALTER TABLE t …" in finding.remedy


def test_columns_that_do_not_take_every_value_are_a_warning() -> None:
    found = readiness(misfits={T: ["the column 'n' is integer, and bigint on the publisher"]})
    assert found.is_ready
    assert found["table public.t, its types"].severity is Severity.WARNING


def test_large_values_that_functions_do_not_see_are_a_warning() -> None:
    check = "table public.t, large values"
    found = readiness(filtered=[T], targets={T: LARGE})[check]
    assert found.severity is Severity.WARNING
    assert found.remedy == "ALTER TABLE public.t REPLICA IDENTITY FULL"
    assert readiness(filtered=[T])[check].severity is Severity.OK
    assert check not in readiness(targets={T: LARGE})


@pytest.mark.parametrize("version", range(10, 19))
def test_remedies_set_settings_that_the_version_has(version: int) -> None:
    low = insufficient_settings(version)
    found = readiness(major=version, settings=low, publisher=low, origins=9, slots=9)
    named = settings_named(found)
    assert named <= low.keys()
    assert named >= {"wal_level", "max_replication_slots", "track_commit_timestamp"}
    assert ("max_active_replication_origins" in named) == (version >= 18)
