"""Findings about several tables or names."""

from __future__ import annotations

from pgreplkit.plans.cluster.upgradefindings import drift_found, listed, named
from pgreplkit.plans.logical.drift import Drift, DriftKind
from pgreplkit.rows import Severity
from pgreplkit.values.tablename import TableName


def test_tables_with_one_remedy_in_common_show_it_once() -> None:
    remedies = {TableName("public", name): "connect as the owner" for name in "ab"}
    finding = listed("tables", remedies, needed="owned tables")
    assert (finding.found, finding.remedy) == ("public.a, public.b", "connect as the owner")
    assert finding.severity is Severity.CRITICAL
    assert listed("tables", {}, needed="owned tables").severity is Severity.OK


def test_the_remedy_contains_the_names() -> None:
    finding = named("roles", ["a", "b"], needed="none", remedy="DROP ROLE {}", separator="; ")
    assert (finding.found, finding.remedy) == ("a; b", "DROP ROLE a; b")
    assert named("roles", [], needed="none", remedy="DROP ROLE {}").found == "none"


def test_a_difference_names_its_table_and_its_column_once() -> None:
    table = TableName("public", "t")
    drifts = [
        Drift(kind=kind, table=table, name=name, severity=Severity.CRITICAL, found="it is missing")
        for kind, name in (
            (DriftKind.COLUMN_MISSING, "extra"),
            (DriftKind.TABLE_MISSING, "public.t"),
        )
    ]
    assert drift_found(drifts) == (
        "public.t: column missing: extra: it is missing; public.t: table missing: it is missing"
    )
    assert drift_found([]) == ""
