"""The commands of a walsender."""

from __future__ import annotations

import re

import pytest
from clusters import Cluster, one, rows
from colours import Colour
from databases import Database

import pgreplkit
from pgreplkit import LSN, TimelineHistory
from pgreplkit.rows import Snapshot


async def test_identify_system_returns_the_servers_identity(
    cluster: Cluster, colour: Colour
) -> None:
    async with await colour.replication(cluster.primary.conninfo) as walsender:
        identity = await walsender.identify_system()
        assert identity.system_id == int(
            str(one(cluster.primary, "SELECT system_identifier FROM pg_control_system()"))
        ) % (1 << 64)
        assert (identity.timeline, identity.database) == (1, None)
        # Many times: psycopg would prepare the statement, which a walsender refuses.
        for _ in range(7):
            assert (await walsender.identify_system()).position >= identity.position
        assert await walsender.show("wal_segment_size") == "16MB"
        assert await walsender.timeline_history(1) == TimelineHistory(1)
        with pytest.raises(pgreplkit.errors.SettingNotFound):
            await walsender.show("no_such_setting")
        with pytest.raises(pgreplkit.errors.ServerError, match="history of timeline 9"):
            await walsender.timeline_history(9)
        assert walsender.version.major == cluster.major
    assert walsender.connection.closed
    assert "closed" in repr(walsender)


async def test_physical_slots_are_created_read_and_dropped(
    cluster: Cluster, colour: Colour
) -> None:
    async with await colour.replication(cluster.primary.conninfo) as walsender:
        made = await walsender.create_slot("physical_1")
        assert (made.name, made.consistent_point, made.plugin) == ("physical_1", LSN("0/0"), None)
        with pytest.raises(pgreplkit.errors.AlreadyExists):
            await walsender.create_slot("physical_1")
        await walsender.create_slot("physical_2", reserve_wal=True, temporary=True)
        state = "SELECT temporary, restart_lsn::text FROM pg_replication_slots WHERE slot_name = "
        [second] = rows(cluster.primary, state + "'physical_2'")
        assert second["temporary"]
        if cluster.major >= 15:
            assert (await walsender.read_slot("physical_1")).restart_lsn is None
            position = await walsender.read_slot("physical_2")
            assert str(position.restart_lsn) == second["restart_lsn"]
            assert position.restart_timeline == 1
            with pytest.raises(pgreplkit.errors.SlotNotFound):
                await walsender.read_slot("no_such_slot")
        else:
            with pytest.raises(pgreplkit.errors.UnsupportedByServer):
                await walsender.read_slot("physical_1")
        await walsender.drop_slot("physical_1")
        with pytest.raises(pgreplkit.errors.SlotNotFound):
            await walsender.drop_slot("physical_1")
        for wrong in ({"two_phase": True}, {"snapshot": "export"}):
            with pytest.raises(TypeError):
                await walsender.create_slot("physical_3", **wrong)
        with pytest.raises(pgreplkit.errors.InvalidSlotName):
            await walsender.create_slot("Physical")
        with pytest.raises(pgreplkit.errors.ServerError, match="connect with database="):
            await walsender.create_slot("logical", plugin="pgoutput")


@pytest.mark.one_colour
async def test_dropping_a_slot_in_use_waits_until_its_timeout(
    database: Database, colour: Colour
) -> None:
    database.run("CREATE PUBLICATION p")
    async with (
        await colour.replication(database.conninfo, database=database.name) as walsender,
        await colour.primary(database.conninfo) as primary,
    ):
        await walsender.create_slot("used", plugin="pgoutput")
        async with primary.changes("used", publications=["p"]):
            with pytest.raises(pgreplkit.errors.SlotActive):
                await walsender.drop_slot("used")
            with pytest.raises(pgreplkit.errors.StatementTimeout):
                await walsender.drop_slot("used", wait=True, timeout=0.3)
        await walsender.drop_slot("used", wait=True)


@pytest.mark.one_colour
async def test_a_snapshot_is_exported_or_used(database: Database, colour: Colour) -> None:
    database.run("CREATE TABLE t (id int)", "INSERT INTO t VALUES (1)")
    async with await colour.replication(database.conninfo, database=database.name) as walsender:
        made = await walsender.create_slot("logical_1", plugin="pgoutput", snapshot="export")
        assert made.snapshot_name
        assert made.plugin == "pgoutput"
        database.run("INSERT INTO t VALUES (2)")
        assert made.consistent_point > LSN("0/0")
        with pytest.raises(pgreplkit.errors.ServerError, match="transaction"):
            await walsender.create_slot("logical_2", plugin="pgoutput", snapshot=Snapshot.USE)
        with pytest.raises(TypeError):
            await walsender.create_slot("logical_2", plugin="pgoutput", reserve_wal=True)
        if database.node.major < 17:
            with pytest.raises(pgreplkit.errors.UnsupportedByServer):
                await walsender.create_slot("logical_2", plugin="pgoutput", failover=True)
        if database.node.major < 15:
            with pytest.raises(pgreplkit.errors.UnsupportedByServer):
                await walsender.create_slot("logical_2", plugin="pgoutput", two_phase=True)


@pytest.mark.one_colour
async def test_slot_creation_that_waits_for_a_transaction_times_out(
    database: Database, colour: Colour
) -> None:
    import psycopg

    with psycopg.connect(database.conninfo) as holder:
        holder.execute("SELECT txid_current()")
        async with await colour.replication(database.conninfo, database=database.name) as walsender:
            with pytest.raises(pgreplkit.errors.StatementTimeout):
                await walsender.create_slot("late", plugin="pgoutput", timeout=0.3)
            holder.rollback()
            await walsender.create_slot("late", plugin="pgoutput")


@pytest.mark.one_colour
async def test_messages_of_another_plugin_are_streamed_as_bytes(
    database: Database, colour: Colour
) -> None:
    database.run("CREATE TABLE t (id int PRIMARY KEY)", "CREATE PUBLICATION p FOR TABLE t")
    options = {"proto_version": "1", "publication_names": "p"}
    async with await colour.replication(database.conninfo, database=database.name) as walsender:
        await walsender.create_slot("raw", plugin="pgoutput")
        database.run("INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (2)")
        with pytest.raises(TypeError, match="binary"):
            # Binary output is an option of pgoutput; another plugin has its own.
            walsender.start_logical("raw", options, binary=True)  # type: ignore[call-arg]
        kinds = ""
        async with walsender.start_logical("raw", options, timeout=10) as stream:
            async for payload in stream:
                kinds += payload.data[:1].decode()
                if kinds.endswith("C"):
                    stream.acknowledge(payload.lsn)
                if kinds.count("I") == 2 and kinds.endswith("C"):
                    break
        # The server may describe the table again at any time, for example after autovacuum.
        assert re.fullmatch("BRICBR?IC", kinds.replace("BC", ""))
        # The connection remains usable, but cannot start a second stream of changes.
        await walsender.identify_system()
        with pytest.raises(pgreplkit.errors.ServerError, match="one stream of changes"):
            async with walsender.start_logical("raw", options):
                pass
    confirmed = "SELECT confirmed_flush_lsn::text FROM pg_replication_slots WHERE slot_name = 'raw'"
    assert LSN(str(database.one(confirmed))) >= payload.lsn


async def test_a_stream_of_changes_needs_a_database(cluster: Cluster, colour: Colour) -> None:
    async with await colour.replication(cluster.primary.conninfo) as walsender:
        with pytest.raises(pgreplkit.errors.ServerError, match="for physical replication"):
            async with walsender.start_logical("any"):
                pass


async def test_a_role_without_replication_gets_an_error_with_the_remedy(
    cluster: Cluster, colour: Colour
) -> None:
    from clusters import conninfo_as

    with pytest.raises(pgreplkit.Error, match=r"replication|REPLICATION|walsender"):
        await colour.replication(conninfo_as(cluster.primary, "stranger"))
