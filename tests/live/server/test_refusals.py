"""Refusals with one SQLSTATE and several reasons: the error names the right one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from clusters import Cluster, Clusters, run
from colours import Colour, close, execute
from databases import Database

import pgreplkit
from pgreplkit import SyncStandbyNames

pytestmark = pytest.mark.matrix

READ_ONLY = "ALTER DATABASE {} SET default_transaction_read_only = on"
NO_GRANT = "no privilege of the role is missing"


@pytest.fixture(name="read_only")
def a_read_only_database(cluster: Cluster) -> Iterator[Database]:
    database = Database(cluster.primary, "read_only")
    run(cluster.primary, "CREATE DATABASE read_only")
    run(cluster.primary, READ_ONLY.format("read_only"))
    yield database
    run(cluster.primary, "DROP DATABASE read_only")


async def test_a_read_only_default_is_named(read_only: Database, colour: Colour) -> None:
    async with await colour.primary(read_only.conninfo) as primary:
        with pytest.raises(pgreplkit.errors.ServerError, match="source: database") as caught:
            await primary.create_publication("p", all_tables=True)
        assert not isinstance(caught.value, pgreplkit.errors.NotAPrimary)
        assert caught.value.sqlstate == "25006"
        assert "cannot execute CREATE PUBLICATION" in str(caught.value)
        assert "default_transaction_read_only=off" in caught.value.remedy
        await execute(primary.connection, "SET default_transaction_read_only = off")
        publication = await primary.create_publication("p", all_tables=True)
        await publication.drop()
    options = "-c default_transaction_read_only=off"
    async with await colour.primary(read_only.conninfo, options=options) as primary:
        await (await primary.create_publication("p", all_tables=True)).drop()


async def test_a_read_only_transaction_of_the_caller_is_named(
    cluster: Cluster, colour: Colour
) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        await execute(primary.connection, "BEGIN READ ONLY")
        with pytest.raises(
            pgreplkit.errors.ServerError, match="the transaction is read-only"
        ) as caught:
            await primary.create_publication("p", all_tables=True)
        assert not isinstance(caught.value, pgreplkit.errors.NotAPrimary)
        # The caller's transaction is still usable.
        await execute(primary.connection, "SELECT 1")
        await execute(primary.connection, "COMMIT")


async def test_a_standby_is_still_reported_as_a_standby(cluster: Cluster, colour: Colour) -> None:
    server = await colour.primary_on(cluster.standby.conninfo)
    with pytest.raises(pgreplkit.errors.NotAPrimary):
        await server.create_publication("p", all_tables=True)
    await close(server.connection)


async def test_a_file_that_the_operating_system_denies_is_no_missing_grant(
    clusters: Clusters, major: int, colour: Colour
) -> None:
    node = clusters.lab.primary(version=major)
    auto, status = node.data_directory / "postgresql.auto.conf", node.data_directory / "pg_wal"
    run(node, "CREATE ROLE observer LOGIN PASSWORD 'observer' IN ROLE pg_monitor")
    try:
        async with await colour.primary(node.conninfo) as primary:
            auto.chmod(0o400)
            with pytest.raises(pgreplkit.Error, match=r"postgresql\.auto\.conf") as caught:
                await primary.set_sync_standby_names(SyncStandbyNames())
            assert NO_GRANT in str(caught.value)
            assert "SUPERUSER" not in str(caught.value)
            assert "GRANT" not in str(caught.value)
        if major >= 15:
            run(node, "GRANT ALTER SYSTEM ON PARAMETER synchronous_standby_names TO observer")
            async with await colour.primary(
                node.conninfo, user="observer", password="observer"
            ) as primary:
                with pytest.raises(pgreplkit.errors.InsufficientPrivilege) as granted:
                    await primary.set_sync_standby_names(SyncStandbyNames())
            assert NO_GRANT in str(granted.value)
            assert "GRANT" not in str(granted.value)
        async with await colour.primary(node.conninfo, user="observer", password="observer") as it:
            status.chmod(0o000)
            with pytest.raises(pgreplkit.Error, match=r"could not open directory .*pg_wal") as no:
                await it.wal_files()
            assert NO_GRANT in str(no.value)
    finally:
        auto.chmod(0o600)
        status.chmod(0o700)
        clusters.lab.remove(node)


async def test_a_missing_select_is_named_with_its_table(
    cluster: Cluster, database: Database, colour: Colour
) -> None:
    database.run(
        "CREATE TABLE hidden (id int PRIMARY KEY)", "CREATE PUBLICATION p FOR TABLE hidden"
    )
    run(cluster.primary, "ALTER ROLE stranger REPLICATION")
    try:
        async with (
            await colour.primary(database.as_role("stranger")) as primary,
            primary.snapshot_then_changes("s", publications=["p"]) as stream,
        ):
            with pytest.raises(pgreplkit.errors.InsufficientPrivilege) as caught:
                await anext(stream)
        assert "GRANT SELECT ON public.hidden" in str(caught.value)
        assert "permission denied for" in str(caught.value)
    finally:
        run(cluster.primary, "ALTER ROLE stranger NOREPLICATION")


async def test_own_sessions_of_superusers_have_english_messages(
    clusters: Clusters, major: int, colour: Colour
) -> None:
    node = clusters.lab.primary(version=major, settings={"lc_messages": "C.UTF-8"})
    run(node, "CREATE ROLE stranger LOGIN PASSWORD 'stranger'")
    try:
        for options, language in (
            ({}, "C"),
            ({"options": "-c lc_messages=C.UTF-8"}, "C.UTF-8"),
            ({"user": "stranger", "password": "stranger"}, "C.UTF-8"),
        ):
            async with await colour.primary(node.conninfo, **options) as primary:
                setting = await primary.setting("lc_messages")
                assert setting.setting == language
        server = await colour.primary_on(node.conninfo)
        assert (await server.setting("lc_messages")).setting == "C.UTF-8"
        await close(server.connection)
    finally:
        clusters.lab.remove(node)
