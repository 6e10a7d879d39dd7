"""Primary: positions, files, replicas, and checkpoints."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from clusters import SLOT, Cluster, Clusters, conninfo_as, one, reads_twice, rows, run
from colours import Colour, close
from htmlchecks import words_of

import pgreplkit
from pgreplkit import LSN, WalFileName
from pgreplkit.rows import SenderState, SyncState


async def test_wal_positions_are_ordered_and_between_the_servers(
    cluster: Cluster, colour: Colour
) -> None:
    before = LSN(str(one(cluster.primary, "SELECT pg_current_wal_flush_lsn()::text")))
    async with await colour.primary(cluster.primary.conninfo) as primary:
        position = await primary.wal_position()
    after = LSN(str(one(cluster.primary, "SELECT pg_current_wal_insert_lsn()::text")))
    assert before <= position.flush <= position.write <= position.insert <= after


@reads_twice
async def test_the_current_file_is_the_one_that_the_server_names(
    cluster: Cluster, colour: Colour
) -> None:
    sql = "SELECT pg_walfile_name(pg_current_wal_lsn())"
    async with await colour.primary(cluster.primary.conninfo) as primary:
        assert str(await primary.current_wal_file()) == one(cluster.primary, sql)
        await primary.switch_wal()
        # Just on a boundary now, where the majors differ.
        assert str(await primary.current_wal_file()) == one(cluster.primary, sql)


@pytest.mark.parametrize("lsn", ["0/0", "0/1", "0/3000000", "4/DF75D0E0", "FFFFFFFF/FFFFFFFF"])
async def test_the_file_of_a_position_is_the_one_that_the_server_names(
    cluster: Cluster, colour: Colour, lsn: str
) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        name = await primary.wal_file(LSN(lsn))
    assert str(name) == one(cluster.primary, f"SELECT pg_walfile_name('{lsn}')")
    assert name == pgreplkit.wal.pg_walfile_name(LSN(lsn), server_version=cluster.major)


async def test_rows_and_server_objects_are_tables_and_json(
    cluster: Cluster, colour: Colour
) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        replicas, slots = await primary.replicas(), await primary.slots()
        assert "lag_replay_bytes" in pgreplkit.to_records(replicas)[0]
        [slot] = [slot for slot in slots if slot.name == SLOT]
        [record] = [r for r in slots.to_records() if r["slot_name"] == SLOT]
        assert slot.state.restart_lsn is not None
        assert record["restart_lsn"] == int(slot.state.restart_lsn)
        assert json.loads(json.dumps(slot.to_dict()))["slot_name"] == SLOT
        assert f"slot name {SLOT}" in words_of(slot._repr_html_())
        assert SLOT in words_of(slots._repr_html_())
        assert SLOT in str(slots)
        assert (await primary.wal_files())._repr_html_()
        assert words_of((await primary.wal_retention())._repr_html_()).startswith("retained WAL")


@reads_twice
async def test_a_replica_has_every_column_of_its_major(cluster: Cluster, colour: Colour) -> None:
    cluster.catch_up()
    async with await colour.primary(cluster.primary.conninfo) as primary:
        [replica] = await primary.replicas()
    [row] = rows(cluster.primary, "SELECT * FROM pg_stat_replication")
    moving = {"reply_time", "write_lag", "flush_lag", "replay_lag", "backend_xmin"}
    fixed = {
        column: LSN(value) if column.endswith("_lsn") else value
        for column, value in row.items()
        if column not in moving
    }
    assert {column: getattr(replica, column) for column in fixed} == fixed
    assert all(hasattr(replica, column) for column in moving & set(row))
    assert (replica.reply_time is None) == (cluster.major < 12)
    assert replica.state is SenderState.STREAMING
    assert replica.sync_state is SyncState.ASYNC
    assert replica.application_name == cluster.standby.name


async def test_the_lag_counts_bytes_at_each_stage(cluster: Cluster, colour: Colour) -> None:
    cluster.without_others()
    cluster.catch_up()
    pause, resume = "SELECT pg_wal_replay_pause()", "SELECT pg_wal_replay_resume()"
    run(cluster.standby, pause)
    try:
        run(cluster.primary, "SELECT pg_logical_emit_message(true, 'x', repeat('x', 100000))")
        async with await colour.primary(cluster.primary.conninfo) as primary:
            [replica] = await primary.replicas()
    finally:
        run(cluster.standby, resume)
    assert replica.replay_lsn is not None
    assert replica.lag.replay_bytes == replica.current_lsn - replica.replay_lsn >= 100000
    assert replica.lag.sent_bytes is not None
    assert replica.lag.write_bytes is not None
    assert replica.lag.flush_bytes is not None
    assert (
        0
        <= replica.lag.sent_bytes
        <= replica.lag.write_bytes
        <= replica.lag.flush_bytes
        <= replica.lag.replay_bytes
    )
    cluster.catch_up()


async def test_switching_wal_ends_the_current_file(cluster: Cluster, colour: Colour) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        run(cluster.primary, "SELECT pg_logical_emit_message(true, 'x', 'x')")
        segment_size = await primary.wal_segment_size()
        end = await primary.switch_wal()
        position = await primary.wal_position()
    ended = end.wal_file(timeline=1, segment_size=segment_size)
    assert position.insert.wal_file(timeline=1, segment_size=segment_size) == ended.next


async def test_switching_wal_without_privilege_names_it(cluster: Cluster, colour: Colour) -> None:
    async with await colour.primary(conninfo_as(cluster.primary, "observer")) as primary:
        with pytest.raises(
            pgreplkit.errors.InsufficientPrivilege,
            match=re.escape('GRANT EXECUTE ON FUNCTION pg_switch_wal() TO "observer"'),
        ):
            await primary.switch_wal()


@reads_twice
async def test_the_files_in_pg_wal_are_listed_without_the_others(
    cluster: Cluster, colour: Colour
) -> None:
    run(cluster.primary, "SELECT pg_logical_emit_message(true, 'x', 'x')")
    async with await colour.primary(cluster.primary.conninfo) as primary:
        files = await primary.wal_files()
        current = await primary.current_wal_file()
    names = [file.name for file in files]
    assert names == sorted(names)
    assert current in names
    # pg_basebackup has left a .backup file beside them
    expected = rows(cluster.primary, "SELECT * FROM pg_ls_waldir() WHERE length(name) = 24")
    assert {(str(f.name), f.size, f.modification) for f in files} == {
        (row["name"], row["size"], row["modification"]) for row in expected
    }
    assert all(isinstance(name, WalFileName) for name in names)


@reads_twice
async def test_the_last_checkpoint_equals_the_control_file(
    cluster: Cluster, colour: Colour
) -> None:
    run(cluster.primary, "CHECKPOINT")
    async with await colour.primary(cluster.primary.conninfo) as primary:
        status = await primary.checkpoint_status()
    [row] = rows(cluster.primary, "SELECT * FROM pg_control_checkpoint()")
    assert status.checkpoint_lsn == LSN(row["checkpoint_lsn"])
    assert status.redo_lsn == LSN(row["redo_lsn"])
    assert status.redo_wal_file == row["redo_wal_file"]
    assert status.timeline_id == row["timeline_id"]
    assert status.checkpoint_time == row["checkpoint_time"]
    assert status.due_at == row["checkpoint_time"] + timedelta(minutes=5)
    assert status.wal_since_redo == status.current_lsn - status.redo_lsn
    target = 0.5 if cluster.major < 14 else 0.9
    cycles = 2 if cluster.major == 10 else 1
    assert status.wal_between_checkpoints == int(64 / (cycles + target)) * (16 << 20)
    assert status.wal_until_due == status.wal_between_checkpoints - status.wal_since_redo


async def test_a_primary_object_refuses_a_standby(cluster: Cluster, colour: Colour) -> None:
    with pytest.raises(pgreplkit.errors.NotAPrimary, match="in recovery"):
        await colour.primary(cluster.standby.conninfo)
    bound = await colour.primary_on(cluster.standby.conninfo)
    for call in (bound.wal_position, bound.current_wal_file, bound.switch_wal):
        with pytest.raises(pgreplkit.errors.NotAPrimary, match="use Standby"):
            await call()
    with pytest.raises(pgreplkit.errors.NotAPrimary):
        await bound.wal_file(LSN(1))
    await close(bound.connection)


@pytest.mark.one_colour
@pytest.mark.matrix
async def test_the_timeline_is_right_just_after_a_promotion(
    clusters: Clusters, cluster: Cluster, colour: Colour
) -> None:
    name = f"pg{cluster.major}-{colour.name}-promoted"
    node = clusters.lab.standby(cluster.primary, name=name)
    node.promote()
    async with await colour.primary(node.conninfo) as promoted:
        assert await promoted.timeline() == 2
        assert (await promoted.identity()).timeline == 2
        assert (await promoted.current_wal_file()).timeline == 2
    cascade = clusters.lab.standby(node, name=f"{name}-follower")
    async with await colour.standby(cascade.conninfo) as follower:
        assert await follower.timeline() == 2
    cascade.stop()
    node.stop()


async def test_only_a_position_has_a_wal_file(cluster: Cluster, colour: Colour) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        with pytest.raises(TypeError, match="not str"):
            await primary.wal_file("0/1")  # type: ignore[arg-type]
