"""The roles that may write."""

from __future__ import annotations

import pytest

from pgreplkit.catalog.logical.writers import WriteGrant, unstoppable
from pgreplkit.values.tablename import TableName


@pytest.mark.parametrize(
    ("role", "columns", "is_grantable", "granted"),
    [
        ("app", [], False, "GRANT UPDATE ON TABLE public.t TO app"),
        (None, [], False, "GRANT UPDATE ON TABLE public.t TO PUBLIC"),
        ("My App", ["n", "a b"], True, 'GRANT UPDATE (n, "a b") ON TABLE public.t TO "My App"'),
    ],
)
def test_a_grant_is_revoked_and_granted_again_as_it_was(
    role: str | None, columns: list[str], is_grantable: bool, granted: str
) -> None:
    grant = WriteGrant(
        table=TableName("public", "t"),
        role=role,
        privilege="UPDATE",
        columns=columns,  # type: ignore[arg-type]
        is_grantable=is_grantable,
    )
    assert grant.grant_sql == granted + " WITH GRANT OPTION" * is_grantable
    revoked = granted.replace("GRANT ", "REVOKE ", 1).replace(" TO ", " FROM ")
    assert grant.revoke_sql == f"{revoked} CASCADE"


def test_a_role_that_writes_all_data_exists_since_14() -> None:
    assert "pg_write_all_data" in unstoppable(14)
    assert "pg_write_all_data" not in unstoppable(13)
