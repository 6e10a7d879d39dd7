"""Whether the role of an applier has its rights, on the server and on a table."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from applyfacts import OWN
from logicalfacts import RIGHTS

from pgreplkit.plans.logical.applyrights import privileges_missing, rights_findings
from pgreplkit.rows import Severity

CHECKS = [
    "read-write transactions",
    "schema pgreplkit",
    "session_replication_role",
    "replication origins",
]


def missing(*, major: int = 18, uses_origin: bool = True, **changed: Any) -> list[str]:
    """Return the checks of which a right is missing."""
    rights = attrs.evolve(RIGHTS, **changed)
    found = [*rights_findings(rights, major, "run it", uses_origin=uses_origin)]
    assert [finding.check for finding in found] == CHECKS[: 3 + uses_origin]
    return [finding.check for finding in found if finding.severity is Severity.CRITICAL]


def test_a_role_with_all_rights_has_no_problem() -> None:
    assert missing() == []


@pytest.mark.parametrize(
    ("changed", "check"),
    [
        ({"is_standby": True}, "read-write transactions"),
        ({"is_read_only": True}, "read-write transactions"),
        ({"may_create": False}, "schema pgreplkit"),
        ({"may_write": False}, "schema pgreplkit"),
        ({"may_set_role": False}, "session_replication_role"),
        ({"may_use_origins": False}, "replication origins"),
        # Before 14 a grant on the functions has no effect.
        ({"major": 13, "has_role_wrapper": True}, "replication origins"),
    ],
)
def test_a_missing_right_is_critical(changed: dict[str, Any], check: str) -> None:
    assert missing(**changed) == [check]


@pytest.mark.parametrize(
    "changed",
    [
        {"major": 14, "may_set_role": False, "has_role_wrapper": True},
        {"may_set_role": False, "session_role": "replica"},
        {"major": 13, "has_origin_wrapper": True},
        {
            "is_superuser": True,
            "may_create": False,
            "may_write": False,
            "may_set_role": False,
            "may_use_origins": False,
        },
        {"uses_origin": False, "may_use_origins": False},
    ],
)
def test_each_right_can_be_had_in_several_ways(changed: dict[str, Any]) -> None:
    assert missing(**changed) == []


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"is_out_of_reach": True}, "mover lacks USAGE on the schema of public.t"),
        ({"lacks": ("DELETE", "TRIGGER")}, "mover lacks DELETE on public.t"),
        ({"hides_rows": True}, "row level security of public.t applies to mover"),
    ],
)
def test_a_missing_privilege_on_a_table_is_critical(changed: dict[str, Any], found: str) -> None:
    table = attrs.evolve(OWN, **changed)
    finding = privileges_missing("table", table, "mover", ("INSERT", "DELETE"), "run it")
    assert finding is not None
    assert (finding.found, finding.severity) == (found, Severity.CRITICAL)


def test_a_privilege_that_is_not_needed_may_be_missing() -> None:
    table = attrs.evolve(OWN, lacks=("TRUNCATE",))
    assert privileges_missing("table", table, "mover", ("INSERT",), "run it") is None
