"""Logs and traces: statements without secrets, through the caller's cursor class."""

from __future__ import annotations

import logging

import psycopg
import psycopg_pool
import pytest
from clusters import Cluster, run
from colours import Colour

import pgreplkit

seen: list[str] = []


class Recording(psycopg.Cursor[object]):
    """A cursor as instrumentation makes it: it sees each statement."""

    def execute(self, query, params=None, **options):  # type: ignore[no-untyped-def]
        seen.append(query.decode() if isinstance(query, bytes) else str(query))
        return super().execute(query, params, **options)


async def test_statements_are_logged_without_passwords(
    cluster: Cluster, colour: Colour, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "pgreplkit")
    async with await colour.primary(cluster.primary.conninfo) as primary:
        await primary.slots()
        await primary.create_replication_role("logged", password="hidden-word")
        await primary.drop_replication_role("logged")
    messages = [record.getMessage() for record in caplog.records]
    assert {record.name for record in caplog.records} == {"pgreplkit.statements"}
    assert any(m.startswith("read pg_replication_slots: SELECT slot_name,") for m in messages)
    assert any(m.startswith("create role 'logged': CREATE ROLE") for m in messages)
    assert not any("hidden-word" in message or "SCRAM" in message for message in messages)


def test_instrumentation_sees_statements_and_no_password(cluster: Cluster) -> None:
    seen.clear()
    with psycopg.connect(
        cluster.primary.conninfo, cursor_factory=Recording, autocommit=True
    ) as connection:
        primary = pgreplkit.Primary(connection)
        primary.slots()
        primary.create_replication_role("traced", password="hidden-word")
        primary.drop_replication_role("traced")
    assert any(statement.startswith("SELECT slot_name") for statement in seen)
    assert any(statement.startswith("DROP ROLE") for statement in seen)
    assert not any("SCRAM" in statement for statement in seen)


def test_a_connection_of_a_pool_is_used_and_returned_as_it_was(cluster: Cluster) -> None:
    with psycopg_pool.ConnectionPool(cluster.primary.conninfo, min_size=1) as pool:
        with pool.connection() as connection:
            primary = pgreplkit.Primary(connection)
            slot = primary.create_physical_slot("pooled")
            assert slot.name in {each.name for each in primary.slots()}
        run(cluster.primary, "SELECT pg_drop_replication_slot('pooled')")
        with pool.connection() as again:
            assert again is connection
            assert again.info.transaction_status.name == "IDLE"
        with pytest.raises(TypeError, match=r"with pool\.connection\(\) as connection"):
            pgreplkit.Primary(pool)  # type: ignore[arg-type]
