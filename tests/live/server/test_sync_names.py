"""synchronous_standby_names on a primary: read, set, and kept from blocking every commit."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from clusters import Cluster, one, rows, run, soon, streaming, wait_until
from colours import Colour, close, execute

import pgreplkit
from pgreplkit import ReplicationConnection, SyncStandbyNames


async def test_synchronous_standby_names_take_effect_immediately(
    cluster: Cluster, colour: Colour
) -> None:
    node = cluster.standby.name
    cluster.without_others()
    async with await colour.primary(cluster.primary.conninfo) as primary:
        assert await primary.sync_standby_names() == SyncStandbyNames()
        names = SyncStandbyNames((node, 'it\'s "odd" é'))
        await primary.set_sync_standby_names(names)
        try:
            assert await primary.sync_standby_names() == names
            assert one(cluster.primary, "SHOW synchronous_standby_names") == str(names)
            # Walsenders read the setting each for itself.
            replicas = await soon(
                primary.replicas, lambda found: bool(found) and found[0].sync_state == "sync"
            )
            assert [replica.sync_state for replica in replicas] == ["sync"]
            run(cluster.primary, "SELECT pg_logical_emit_message(true, 'x', 'x')")
            edited = (await primary.sync_standby_names()).remove('it\'s "odd" é')
            await primary.set_sync_standby_names(edited)
            with pytest.raises(pgreplkit.errors.InvalidSyncStandbyNames, match="force=True"):
                edited.remove(node)
        finally:
            await primary.set_sync_standby_names(SyncStandbyNames())
        assert one(cluster.primary, "SHOW synchronous_standby_names") == ""


async def test_names_that_would_make_every_commit_wait_are_refused(
    cluster: Cluster, colour: Colour
) -> None:
    cluster.without_others()
    missing = SyncStandbyNames.parse(f'ANY 2 ("{cluster.standby.name}", other)')
    async with await colour.primary(cluster.primary.conninfo) as primary:
        with pytest.raises(TypeError):
            await primary.set_sync_standby_names("a")  # type: ignore[arg-type]
        with pytest.raises(pgreplkit.errors.QuorumUnreachable) as caught:
            await primary.set_sync_standby_names(missing)
        assert caught.value.connected == (cluster.standby.name,)
        assert one(cluster.primary, "SHOW synchronous_standby_names") == ""
        await primary.set_sync_standby_names(missing, force=True)
        try:
            writer = threading.Thread(target=cluster.write_until, args=[seen := threading.Event()])
            writer.start()
            waiting = "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
            try:
                wait_until(lambda: bool(rows(cluster.primary, waiting)))
            finally:
                seen.set()
        finally:
            await primary.set_sync_standby_names(SyncStandbyNames())
        writer.join()


async def test_a_receiver_without_a_flush_position_does_not_count(
    cluster: Cluster, colour: Colour
) -> None:
    cluster.without_others()
    async with await colour.primary(cluster.primary.conninfo) as primary:
        with streaming(cluster.primary, None, name="archiver") as pid:
            receivers = await soon(
                primary.replicas,
                lambda found: any(r.pid == pid and r.state == "streaming" for r in found),
            )
            [receiver] = [r for r in receivers if r.pid == pid]
            assert not receiver.confirms_commits
            with pytest.raises(pgreplkit.errors.QuorumUnreachable):
                await primary.set_sync_standby_names(SyncStandbyNames(("archiver",)))
            names = SyncStandbyNames.parse("ANY 2 (*)")
            with pytest.raises(pgreplkit.errors.QuorumUnreachable) as caught:
                await primary.set_sync_standby_names(names)
            assert caught.value.connected == (cluster.standby.name,)
            assert one(cluster.primary, "SHOW synchronous_standby_names") == ""


@pytest.mark.one_colour
@pytest.mark.matrix
async def test_with_remote_apply_a_receiver_that_never_replays_does_not_confirm(
    cluster: Cluster, colour: Colour, tmp_path: Path
) -> None:
    node = cluster.standby.name
    run(cluster.primary, "ALTER SYSTEM SET synchronous_commit = 'remote_apply'")
    run(cluster.primary, "SELECT pg_reload_conf()")
    opened = ReplicationConnection.connect(cluster.primary.conninfo, application_name="archiver")
    try:
        async with await colour.primary(cluster.primary.conninfo) as primary:
            with opened, opened.receive_wal(tmp_path, synchronous=True, timeout=60) as stream:
                reading = threading.Thread(target=lambda: [*stream])
                reading.start()
                flushing = "FROM pg_stat_replication WHERE application_name = 'archiver' AND"
                wait_until(
                    lambda: bool(rows(cluster.primary, f"SELECT {flushing} flush_lsn > '0/0'"))
                )
                for names in ("archiver", f'FIRST 1 (archiver, "{node}")', "ANY 2 (*)"):
                    with pytest.raises(pgreplkit.errors.QuorumUnreachable) as caught:
                        await primary.set_sync_standby_names(SyncStandbyNames.parse(names))
                    assert caught.value.unreplaying == ("archiver",)
                    assert "archiver cannot" in str(caught.value)
                both = SyncStandbyNames.parse(f'FIRST 1 ("{node}", archiver)')
                await primary.set_sync_standby_names(both)
                run(cluster.primary, "SELECT pg_logical_emit_message(true, 'x', 'x')")
                await primary.set_sync_standby_names(SyncStandbyNames())
                stream.close()
            reading.join()
    finally:
        run(cluster.primary, "ALTER SYSTEM RESET synchronous_commit")
        run(cluster.primary, "SELECT pg_reload_conf()")


async def test_names_are_not_set_in_a_transaction(cluster: Cluster, colour: Colour) -> None:
    theirs = await colour.primary_on(cluster.primary.conninfo)
    await execute(theirs.connection, "BEGIN")
    with pytest.raises(pgreplkit.errors.ServerError, match="cannot run in a transaction"):
        await theirs.set_sync_standby_names(SyncStandbyNames((cluster.standby.name,)))
    await close(theirs.connection)
