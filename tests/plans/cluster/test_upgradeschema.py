"""DDL since the preparation of an upgrade."""

from __future__ import annotations

import pytest

from pgreplkit.plans.cluster.upgradeschema import (
    COPY,
    KeptSchema,
    colliding,
    schema_findings,
    uncopied,
    uncopied_tables,
)
from pgreplkit.plans.logical.drift import SchemaSection
from pgreplkit.values.finding import Severity

KEPT = KeptSchema(old={"a": "1", "b": "2"}, new={"a": "1", "b": "20"})


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        # Unchanged, though the majors write b differently.
        ({"a": "1", "b": "2"}, {"a": "1", "b": "20"}, ""),
        ({"a": "1", "b": "3"}, {"a": "1", "b": "20"}, "b was changed"),
        ({"a": "1"}, {"a": "1", "b": "20"}, "b was dropped"),
        ({"a": "1", "b": "2", "c": "5"}, {"a": "1", "b": "20"}, "c is new"),
        # The same DDL on both servers, in the same or in other words.
        ({"a": "9", "b": "3"}, {"a": "9", "b": "33"}, ""),
        ({"a": "1"}, {"a": "1"}, ""),
        ({"a": "1", "b": "2", "c": "5"}, {"a": "1", "b": "20", "c": "50"}, ""),
        # The same as before again, or changed on the new server only.
        ({"a": "1", "b": "2"}, {"a": "8", "b": "20", "d": "4"}, ""),
        ({"a": "3", "b": "2"}, {"a": "3", "b": "20"}, ""),
    ],
)
def test_ddl_on_the_old_server_is_found_until_the_new_one_has_it(
    old: dict[str, str], new: dict[str, str], found: str
) -> None:
    finding, _ = schema_findings(KEPT, old, new)
    assert finding.found == (found or "none")
    assert finding.severity is (Severity.CRITICAL if found else Severity.OK)


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ({"a": "1", "b": "2"}, {"a": "1", "b": "20"}, ""),
        ({"a": "1", "b": "2"}, {"a": "8", "b": "20"}, "a was changed"),
        ({"a": "1", "b": "2"}, {"a": "1"}, "b was dropped"),
        ({"a": "1", "b": "2"}, {"a": "1", "b": "20", "c": "5"}, "c is new"),
        # Now it is written as on the old server.
        ({"a": "1", "b": "2"}, {"a": "1", "b": "2"}, ""),
        # The same DDL on both servers, in the same or in other words, and on the old one only.
        ({"a": "9", "b": "3"}, {"a": "9", "b": "33"}, ""),
        ({"a": "1"}, {"a": "1"}, ""),
        ({"a": "1", "b": "2", "c": "5"}, {"a": "1", "b": "20", "c": "50"}, ""),
        ({"a": "3", "b": "2"}, {"a": "1", "b": "20"}, ""),
    ],
)
def test_ddl_on_the_new_server_only_is_a_warning(
    old: dict[str, str], new: dict[str, str], found: str
) -> None:
    _, finding = schema_findings(KEPT, old, new)
    assert finding.found == (found or "none")
    assert finding.severity is (Severity.WARNING if found else Severity.OK)


def test_the_kept_schema_survives_its_text_and_other_comments_are_none() -> None:
    assert KeptSchema.from_text(KEPT.to_text()) == KEPT
    for text in (None, "", "our tables", "[]", '{"pgreplkit": 1}'):
        kept = KeptSchema.from_text(text)
        assert (kept.old, kept.new) == ({}, {})
        [finding] = schema_findings(kept, {"a": "1"}, {"a": "1"})
        assert (finding.severity, finding.found[:7]) == (Severity.INFO, "unknown")


@pytest.mark.parametrize(
    ("section", "privileges", "found"),
    [
        (SchemaSection.PRE_DATA, True, ["function f()", "table public.t"]),
        (SchemaSection.KEYS, True, []),
        (SchemaSection.REST, True, ["default privileges r", "policy p", "trigger g"]),
        (SchemaSection.REST, False, ["policy p", "trigger g"]),
    ],
)
def test_the_objects_of_each_section_are_missed(
    section: SchemaSection, privileges: bool, found: list[str]
) -> None:
    # Keys and indexes are compared by their definitions.
    names = "function f()", "index i", "policy p", "table public.t", "trigger g", "constraint c"
    old = dict.fromkeys([*names, "default privileges r", "view v"], "1")
    new = {"view v": "another definition", "trigger alone": "1"}
    assert uncopied(section, old, new, privileges=privileges) == found


COPIED = {
    "schema a": "1",
    "table a.t": "1",
    "options of a.t": "1",
    "index t_pkey": "1",
    "policy p of a.t": "1",
    "schema public": "1",
    "extension e": "1",
    "default privileges r": "1",
}


@pytest.mark.parametrize(
    ("new", "found"),
    [
        ([], []),
        (["schema public", "extension e", "options of a.t", "policy p of a.t"], []),
        (["schema a", "schema b"], ["schema a"]),
        (["table a.t", "index t_pkey"], ["table a.t"]),
        # Nothing is left to copy.
        (["schema a", "table a.t"], []),
    ],
)
def test_objects_of_the_new_server_collide_with_a_copy_unless_it_has_all(
    new: list[str], found: list[str]
) -> None:
    assert colliding(COPIED, dict.fromkeys(new, "2")) == found


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("1", "0/1", []),
        ("2", "0/1", ["public.a"]),
        # Copied again, or not after all.
        ("2", "0/2", []),
        ("2", "", ["public.a"]),
    ],
)
def test_a_table_that_was_published_again_is_found_until_it_is_copied(
    old: str, new: str, found: list[str]
) -> None:
    name = f"{COPY}public.a"
    kept = KeptSchema(old={name: "1"}, new={name: "0/1"})
    assert uncopied_tables(kept, {name: old}, {name: new}) == found
    assert uncopied_tables(KeptSchema(), {name: old}, {name: new}) == []
    # No publication or subscription has it: other findings.
    assert uncopied_tables(kept, {}, {name: new}) == uncopied_tables(kept, {name: old}, {}) == []
    # These are no definitions.
    one = KeptSchema(old={name: "1", "x": "1"}, new={name: "0/1", "x": "1"})
    findings = schema_findings(one, {name: old, "x": "1"}, {name: new, "x": "1"})
    assert {finding.severity for finding in findings} == {Severity.OK}
