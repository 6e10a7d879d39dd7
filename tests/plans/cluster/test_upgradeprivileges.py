"""The owners and privileges that the new server of an upgrade lacks."""

from __future__ import annotations

import pytest

from pgreplkit.catalog.cluster.upgradeprivileges import Privilege
from pgreplkit.plans.cluster.upgradeprivileges import (
    left_out_finding,
    left_out_roles,
    missing_privileges,
    privileges_finding,
    uncopied_privileges,
)
from pgreplkit.values.finding import Severity

ROLES = {"app", "clerk", "mover"}


def privilege(statement: str | None, *roles: str, **more: object) -> Privilege:
    facts: dict[str, object] = {"object": "TABLE t", "statement": statement, "roles": roles, **more}
    return Privilege(**facts)  # type: ignore[arg-type]


OWNER = privilege("ALTER TABLE t OWNER TO app", "app")
GRANT = privilege("GRANT SELECT ON TABLE t TO clerk", "clerk")
GRANTABLE = privilege(GRANT.statement, "clerk", is_grantable=True)
OF_ALL = privilege("ALTER DEFAULT PRIVILEGES FOR ROLE app GRANT …", "app", "clerk", object=None)
OF_DATABASE = privilege('GRANT CONNECT ON DATABASE {} TO "{}"', "clerk", object="DATABASE {}")
DEFAULT = privilege("GRANT EXECUTE ON FUNCTION f() TO PUBLIC", is_default=True)
SETTING = privilege("GRANT SET ON …", "clerk", object="PARAMETER work_mem")
CUSTOM = privilege("GRANT SET ON …", "clerk", object='PARAMETER "auto_explain.log_nesting"')
INITIAL = privilege("GRANT EXECUTE ON FUNCTION pg_x() TO clerk", "clerk", is_initial=True)
THERE = privilege(None, "mover")


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ([OWNER, GRANT], [OWNER, GRANT], []),
        ([GRANT], [THERE], [GRANT.statement]),
        ([GRANTABLE], [THERE, GRANT], [f"{GRANT.statement} WITH GRANT OPTION"]),
        ([GRANT], [GRANTABLE], []),
        ([THERE, INITIAL], [THERE], []),
        # One that every new function has may have been revoked there.
        ([DEFAULT], [THERE], [DEFAULT.statement]),
        ([OF_ALL], [THERE], [OF_ALL.statement]),
        # The new server has no such object, or no such role.
        ([GRANT], [privilege(None, "mover", object="TABLE u")], []),
        ([privilege("GRANT SELECT ON TABLE t TO boss", "boss")], [THERE], []),
        (
            [OF_DATABASE],
            [privilege(None, "mover", object="DATABASE {}")],
            ['GRANT CONNECT ON DATABASE "new shop" TO "{}"'],
        ),
        ([OF_DATABASE], [OF_DATABASE], []),
        ([SETTING], [privilege(None, object="PARAMETER work_mem")], [SETTING.statement]),
        # One that the newer version no longer has.
        ([SETTING], [THERE], []),
        ([CUSTOM], [THERE], [CUSTOM.statement]),
    ],
)
def test_only_privileges_that_the_new_server_lacks_are_missing(
    old: list[Privilege], new: list[Privilege], found: list[str]
) -> None:
    assert missing_privileges(old, new, roles=ROLES, database="new shop") == found


def test_privileges_that_no_copy_of_the_schema_brings_along() -> None:
    of_space = privilege("GRANT CREATE ON …", "clerk", object="TABLESPACE fast")
    there = [privilege(None, object=name) for name in ("DATABASE {}", "TABLESPACE fast", "TABLE t")]
    old = [OWNER, GRANT, OF_ALL, OF_DATABASE, of_space, CUSTOM]
    found = uncopied_privileges(old, there, roles=ROLES, database="new")
    assert found == [
        *('GRANT CONNECT ON DATABASE new TO "{}"', of_space.statement),
        CUSTOM.statement,
    ]


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ([OWNER, GRANT], [], ["app", "clerk"]),
        ([OWNER, OF_DATABASE, CUSTOM], [], ["app"]),
        ([OWNER], [OWNER], []),
        ([THERE, DEFAULT, INITIAL], [], []),
        # The role that copies owns the copies.
        ([privilege("ALTER TABLE t OWNER TO mover", "mover")], [], []),
        ([privilege("GRANT SELECT ON TABLE t TO PUBLIC")], [], ["PUBLIC"]),
    ],
)
def test_a_copy_without_owners_leaves_out_other_roles_than_its_own(
    old: list[Privilege], new: list[Privilege], found: list[str]
) -> None:
    assert left_out_roles(old, new, role="mover") == found


def test_missing_privileges_are_a_warning_with_all_statements() -> None:
    statements = [f"GRANT SELECT ON TABLE public.t{number} TO app" for number in range(3)]
    found = privileges_finding(statements)
    assert found.severity is Severity.WARNING
    assert found.found.startswith("3 statements missing on the new server, such as GRANT SELECT")
    assert found.remedy == f"on the new server: {'; '.join(statements)}"
    assert privileges_finding([]).severity is Severity.OK


def test_left_out_privileges_are_a_warning_with_their_roles() -> None:
    found = left_out_finding(["app", "clerk"], [])
    assert found.severity is Severity.WARNING
    assert found.found == "owners=False leaves out owners and privileges of app, clerk"
    both = left_out_finding(["app"], ["GRANT CREATE ON TABLESPACE fast TO app"])
    assert both.found.startswith(
        "owners=False leaves out owners and privileges of app; 1 statement"
    )
    assert str(both.remedy).endswith("; on the new server: GRANT CREATE ON TABLESPACE fast TO app")
    assert left_out_finding([], []).severity is Severity.OK
