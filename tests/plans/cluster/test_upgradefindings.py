"""Findings about several tables or names."""

from __future__ import annotations

from pgreplkit.plans.cluster.upgradefindings import listed, named
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
