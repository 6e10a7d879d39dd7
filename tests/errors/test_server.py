"""The errors of a server."""

from __future__ import annotations

import pytest

from pgreplkit import Error, errors


def test_a_server_error_shows_the_sqlstate() -> None:
    error = errors.StatementTimeout("pg_promote()", "canceling statement", "57014")
    assert (error.operation, error.found, error.sqlstate) == (
        *("pg_promote()", "canceling statement", "57014"),
    )
    assert str(error) == "could not pg_promote(): canceling statement (SQLSTATE 57014)"
    assert str(errors.ConnectionFailed("connect", "refused")) == "could not connect: refused"


def test_a_missing_feature_names_the_needed_and_the_found_version() -> None:
    error = errors.UnsupportedByServer("slot.failover", 17, "16.4")
    assert (error.feature, error.since, error.version) == ("slot.failover", 17, "16.4")
    assert str(error) == "could not use slot.failover: it needs PostgreSQL 17, this is 16.4"


@pytest.mark.parametrize(
    ("role", "grantee"), [("joe", '"joe"'), ('a"b', '"a""b"'), (None, "the role")]
)
def test_a_missing_privilege_names_the_grant(role: str | None, grantee: str) -> None:
    error = errors.InsufficientPrivilege("pg_stat_replication", role, "pg_monitor")
    assert (error.operation, error.role, error.grant) == ("pg_stat_replication", role, "pg_monitor")
    assert error.sqlstate == "42501"
    assert str(error).endswith(f"GRANT pg_monitor TO {grantee}")
    # A member of the role may lack a function of it.
    found = "permission denied for function pg_ls_waldir"
    refused = errors.InsufficientPrivilege("list pg_wal", role, "pg_monitor", found)
    assert "has it already, GRANT to pg_monitor what" in refused.remedy


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        (errors.NotAPrimary("connect", "in recovery"), "use Standby"),
        (errors.NotAStandby("connect", "not in recovery"), "use Primary"),
    ],
    ids=["NotAPrimary", "NotAStandby"],
)
def test_an_error_for_the_wrong_role_names_the_right_class(error: Error, advice: str) -> None:
    assert advice in str(error)
