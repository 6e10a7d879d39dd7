"""The privileges that an upgrade compares."""

from __future__ import annotations

import pytest

from pgreplkit.catalog.cluster.upgradeprivileges import Privilege, privileges


def test_since_15_the_privileges_on_settings_are_read() -> None:
    assert "pg_parameter_acl" in privileges(15)
    assert "pg_parameter_acl" not in privileges(14)


@pytest.mark.parametrize(
    ("name", "is_copied", "is_custom"),
    [
        (None, True, False),
        ("TABLE public.t", True, False),
        ("DATABASE {}", False, False),
        ("TABLESPACE fast", False, False),
        ("PARAMETER work_mem", False, False),
        ('PARAMETER "auto_explain.log_nesting"', False, True),
    ],
)
def test_what_no_copy_of_the_schema_creates(
    name: str | None, is_copied: bool, is_custom: bool
) -> None:
    one = Privilege(object=name, statement="GRANT …", roles=())
    assert (one.is_copied, one.is_custom) == (is_copied, is_custom)
