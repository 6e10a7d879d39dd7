"""The preconditions of a major upgrade: the tables."""

from __future__ import annotations

import pytest
from upgradefacts import NO_KEY, facts_of, table

from pgreplkit.catalog.logical.replicaidentity import IdentityKind, ReplicaIdentity
from pgreplkit.plans.cluster.upgradechecks import upgrade_findings
from pgreplkit.plans.cluster.upgradefacts import UpgradeFacts
from pgreplkit.plans.cluster.upgradetables import replicated_findings
from pgreplkit.plans.logical.drift import Drift, DriftKind, SchemaDrift
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import TableName

CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING
MISSING = Drift(
    kind=DriftKind.COLUMN_MISSING,
    table=TableName("public", "a"),
    name="x",
    severity=CRITICAL,
    found="missing",
    ddl=("ALTER TABLE public.a ADD x int",),
)


def identity(kind: str, *columns: str) -> ReplicaIdentity:
    return ReplicaIdentity(
        table=TableName("public", "a"),
        kind=IdentityKind(kind),
        index="a_key" if columns else None,
        columns=columns,  # type: ignore[arg-type]
        remedy="",
    )


def finding(remedy: str, severity: Severity) -> Finding:
    return Finding(check="s", severity=severity, found="", needed="", remedy=remedy)


BAD: list[tuple[str, Severity, str, UpgradeFacts]] = [
    ("tables", CRITICAL, "connect", facts_of(tables=())),
    ("replica identity", CRITICAL, "ALTER TABLE a", facts_of(identities=(NO_KEY,))),
    (
        "missing tables",
        CRITICAL,
        "create these tables on the new server, or drop the others there",
        facts_of(tables=(table("a"), table("b", kind="p")), there=[TableName("public", "a")]),
    ),
    (
        "missing tables",
        CRITICAL,
        "create these tables on the new server, or prepare with copy_schema=True",
        facts_of(copies_schema=False),
    ),
    (
        "types without equality",
        CRITICAL,
        "j",
        facts_of(tables=(table("a", unequal_columns=("j",)),)),
    ),
    (
        "triggers that fire on apply",
        WARNING,
        'ALTER TABLE public.a ENABLE TRIGGER "T"',
        facts_of(tables=(table("a", firing=("T",)),)),
    ),
    (
        "forced row level security",
        CRITICAL,
        "ALTER TABLE public.a NO FORCE ROW LEVEL SECURITY",
        facts_of(tables=(table("a", hides_rows=True),)),
    ),
    (
        "XML columns",
        CRITICAL,
        "built with libxml",
        facts_of(tables=(table("a", xml_columns=("x",)), table("b")), new_reads_xml=False),
    ),
    (
        "unlogged tables",
        WARNING,
        "ALTER TABLE public.u SET LOGGED",
        facts_of(tables=(table("a"), table("u", persistence="u"))),
    ),
    ("foreign tables", WARNING, "reaches", facts_of(tables=(table("a"), table("f", kind="f")))),
    (
        "materialized views",
        WARNING,
        "REFRESH MATERIALIZED VIEW public.m",
        facts_of(tables=(table("a"), table("m", kind="m"))),
    ),
    (
        "rows on the new server",
        CRITICAL,
        "TRUNCATE public.a",
        facts_of(nonempty=(TableName("public", "a"),)),
    ),
    (
        "updates without an index",
        WARNING,
        "public.a REPLICA IDENTITY",
        facts_of(tables=(table("a", slow_changes=1, index_methods=("gin",)),)),
    ),
    (
        "updates without an index",
        WARNING,
        "public.a REPLICA IDENTITY",
        facts_of(tables=(table("a", slow_changes=1),), new={"version": 150020}),
    ),
    (
        "generated columns",
        Severity.INFO,
        "computes",
        facts_of(tables=(table("a", generated=("g",)),)),
    ),
    (
        "late constraints",
        WARNING,
        'ALTER TABLE public.a DROP CONSTRAINT "x"; ALTER TABLE public.a DROP CONSTRAINT "y"',
        facts_of(tables=(table("a", late_constraints=("x", "y")),)),
    ),
    (
        "large values",
        WARNING,
        "public.a",
        facts_of(tables=(table("a", value_bytes=1 << 28),)),
    ),
    (
        "sequences",
        WARNING,
        "ALTER SEQUENCE s",
        facts_of(sequences=(finding("ALTER SEQUENCE s", WARNING),)),
    ),
    (
        "tables on the new server",
        CRITICAL,
        "ALTER TABLE public.a ADD x int",
        facts_of(drift=SchemaDrift(drifts=(MISSING,))),
    ),
]


@pytest.mark.parametrize(("check", "severity", "remedy", "facts"), BAD, ids=[b[0] for b in BAD])
def test_each_precondition_is_found_with_its_remedy(
    check: str, severity: Severity, remedy: str, facts: UpgradeFacts
) -> None:
    [bad] = [finding for finding in upgrade_findings(facts) if finding.severity > Severity.OK]
    assert (bad.check, bad.severity) == (check, severity)
    assert remedy in bad.remedy


@pytest.mark.parametrize(
    ("kind", "columns", "new_major", "refused"),
    [
        ("d", ["id"], 18, False),
        ("d", ["id", "g"], 18, True),
        ("i", ["g"], 14, True),
        # From 18 on, a published table with all columns as its identity refuses UPDATE.
        ("f", [], 18, True),
        ("f", [], 17, False),
    ],
)
def test_a_replica_identity_has_no_generated_columns(
    kind: str, columns: list[str], new_major: int, *, refused: bool
) -> None:
    tables, identities = [table("a", generated=("g",))], [identity(kind, *columns)]
    findings = {one.check: one for one in replicated_findings(tables, identities, new_major)}
    found = findings["generated columns in the replica identity"]
    assert found.severity is (CRITICAL if refused else Severity.OK)
    assert ('a key for public.a without "g"' in found.remedy) == refused


@pytest.mark.parametrize(
    ("methods", "since"), [(("btree",), 16), (("hash",), 17), (("gin", "hash"), 17), (("gin",), 19)]
)
def test_an_index_is_enough_where_the_apply_worker_uses_its_access_method(
    methods: tuple[str, ...], since: int
) -> None:
    tables = [table("a", slow_changes=1, index_methods=methods)]
    for major in range(10, 19):
        findings = {one.check: one for one in replicated_findings(tables, [], major)}
        is_found = findings["updates without an index"].severity is Severity.WARNING
        assert is_found == (major < since)


def test_a_materialized_view_without_data_is_not_refreshed() -> None:
    views = (table("m", kind="m"), table("n", kind="m", is_populated=False))
    findings = {one.check: one for one in upgrade_findings(facts_of(tables=(table("a"), *views)))}
    found = findings["materialized views"]
    assert (found.found, "public.n" in str(found.remedy)) == ("public.m", False)
    empty = {one.check: one for one in upgrade_findings(facts_of(tables=(table("a"), views[1])))}
    assert empty["materialized views"].severity is Severity.OK
