"""The statements that prepare a role, by major version, and those of an applier."""

from __future__ import annotations

import pytest

from pgreplkit.catalog.logical import applying as sql
from pgreplkit.values.tablename import TableName

TABLES = [TableName("shop", "t"), TableName("Shop", "u")]


@pytest.mark.parametrize("version", range(10, 19))
def test_rights_are_granted_where_the_server_allows_it(version: int) -> None:
    statements = sql.setup_sql('the "mover"', version, "db", TABLES)
    assert statements[0] == 'GRANT CREATE ON DATABASE "db" TO "the ""mover"""'
    text = "\n".join(statements)
    assert ("GRANT SET ON PARAMETER session_replication_role" in text) == (version >= 15)
    assert ("use_replica_role" in text) == (version < 15)
    # Before 14 a grant on the functions of origins has no effect.
    wrappers = [one for one in statements if "SECURITY DEFINER" in one and "origin" in one]
    assert bool(wrappers) == (version < 14)
    grants = [one for one in statements if one.startswith("GRANT EXECUTE")]
    assert len(grants) == 6 + (version < 15)
    assert text.count("REVOKE ALL ON FUNCTION") == (7 if version < 14 else 1 if version < 15 else 0)
    assert 'ON "Shop".u TO' in text
    assert 'GRANT USAGE ON SCHEMA "shop"' in text


def test_wrappers_are_for_origins_of_appliers_only() -> None:
    statements = sql.setup_sql("mover", 13, "db", [])
    [create] = [one for one in statements if "OR REPLACE FUNCTION" in one and "_create(" in one]
    assert "WHERE $1 OPERATOR(pg_catalog.~) ''^pgreplkit_''" in create


def test_other_roles_than_superusers_call_wrappers_before_14() -> None:
    assert sql.functions(13, is_superuser=False) == "pgreplkit"
    assert sql.functions(13, is_superuser=True) == sql.functions(14, is_superuser=False)
    assert "use_replica_role" in sql.replica_role(14, is_superuser=False)
    assert "set_config" in sql.replica_role(15, is_superuser=False)


def test_the_position_is_recorded_once_the_clock_has_passed_the_commit() -> None:
    # The server moves an origin even if the transaction fails after that call: a condition that
    # fails comes before it.
    text = sql.ending("pg_catalog") + sql.CLOCK_GUARD
    [recorded, guard] = text.split("WHERE")
    assert "pg_catalog.pg_replication_origin_xact_setup($1::pg_lsn, $2::timestamptz)" in recorded
    assert "clock_timestamp() > $2" in guard
    assert "jit" not in sql.session_settings(10)
    assert "'jit', 'off'" in sql.session_settings(11)


def test_deletions_are_recorded_by_triggers() -> None:
    statements = sql.setup_sql("mover", 18, "db", TABLES, triggers=True)
    assert any("TRUNCATE, TRIGGER ON" in statement for statement in statements)


@pytest.mark.parametrize(("version", "schema"), [(13, "pgreplkit"), (14, "pg_catalog")])
def test_a_role_that_creates_streams_may_advance_their_origins(version: int, schema: str) -> None:
    call = f"{schema}.pg_replication_origin_advance(text, pg_lsn)"
    assert sql.advance_sql("mover", version)[-1] == f'GRANT EXECUTE ON FUNCTION {call} TO "mover"'
    assert "advance" not in " ".join(sql.setup_sql("mover", version, "db", TABLES, triggers=True))
