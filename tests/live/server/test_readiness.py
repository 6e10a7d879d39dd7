"""Readiness: one finding for each requirement, with the observed and needed value and the SQL."""

from __future__ import annotations

import json
import threading

import psycopg
import pytest
from clusters import Cluster, Clusters, conninfo_as, one, rows, run, wait_until
from colours import Colour
from serverfacts import SETTINGS_SINCE, newer_settings

import pgreplkit
from pgreplkit import SyncStandbyNames
from pgreplkit.lab import Node
from pgreplkit.rows import BackupPhase, EffectiveAfter, Finding, Severity

OK, INFO, WARNING, CRITICAL = Severity.OK, Severity.INFO, Severity.WARNING, Severity.CRITICAL


async def test_a_configured_primary_is_ready(cluster: Cluster, colour: Colour) -> None:
    cluster.without_others()
    async with await colour.primary(cluster.primary.conninfo) as primary:
        readiness = await primary.check_readiness(standbys=1)
        logical = await primary.check_readiness("logical")
        with pytest.raises(ValueError, match="physical"):
            await primary.check_readiness("other")  # type: ignore[arg-type]
    for check in ("wal_level", "max_wal_senders", "max_replication_slots", "hot_standby"):
        assert readiness[check].severity is OK, readiness[check]
        assert not readiness[check].remedy
    assert readiness["max_wal_senders"].found == "10, 1 used, 9 free"
    assert readiness["synchronous_standby_names"].severity is OK
    assert readiness["archive_mode"].severity is INFO
    # The lab listens on the loopback address, and its clusters have no checksums before 18.
    assert readiness["listen_addresses"].severity is WARNING
    checksums = one(cluster.primary, "SHOW data_checksums") == "on"
    assert (readiness["wal_log_hints"].severity is OK) == checksums
    assert readiness.is_ready
    assert readiness.severity is WARNING
    assert [finding.severity for finding in readiness.problems] == [WARNING] * len(
        readiness.problems
    )
    assert logical["wal_level"].severity is OK
    assert json.loads(json.dumps(readiness.to_dict()))["is_ready"] is True
    with pytest.raises(KeyError):
        readiness["no such check"]


@pytest.mark.one_colour
async def test_findings_of_a_primary_contain_the_sql_that_fixes_them(
    clusters: Clusters, cluster: Cluster, colour: Colour
) -> None:
    settings: dict[str, str | int | bool] = {
        "wal_level": "minimal",
        "max_wal_senders": 0,
        "max_replication_slots": 0,
        "full_page_writes": False,
        "hot_standby": False,
    }
    node = clusters.lab.primary(version=cluster.major, settings=settings)
    try:
        async with await colour.primary(node.conninfo) as primary:
            before = await primary.check_readiness(standbys=2)
            assert not before.is_ready
            wrong = ("wal_level", "max_wal_senders", "max_replication_slots", "full_page_writes")
            for check in wrong:
                assert before[check].severity is CRITICAL
            assert before["wal_level"] == Finding(
                check="wal_level",
                severity=CRITICAL,
                found="minimal",
                needed="replica or logical",
                remedy="ALTER SYSTEM SET wal_level = replica",
                effective_after=EffectiveAfter.RESTART,
            )
            assert before["max_wal_senders"].remedy == "ALTER SYSTEM SET max_wal_senders = 3"
            assert before["full_page_writes"].effective_after is EffectiveAfter.RELOAD
            assert before.problems[0].severity is CRITICAL
        for finding in before.problems:
            if finding.remedy.startswith("ALTER SYSTEM") and "…" not in finding.remedy:
                run(node, finding.remedy)
        node.restart()
        async with await colour.primary(node.conninfo) as primary:
            after = await primary.check_readiness(standbys=2)
            assert not after.problems
            assert (await primary.check_readiness("logical"))["wal_level"].severity is CRITICAL
    finally:
        node.stop()


@pytest.mark.quiet
async def test_commits_that_would_wait_are_reported(cluster: Cluster, colour: Colour) -> None:
    check = "synchronous_standby_names"
    me = cluster.standby.name
    waiting = "SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
    async with await colour.primary(cluster.primary.conninfo) as primary:
        try:
            await primary.set_sync_standby_names(SyncStandbyNames((me,)))
            last = (await primary.check_readiness())[check]
            assert last.severity is WARNING
            assert "commits wait if one more disconnects" in last.found
            await primary.set_sync_standby_names(SyncStandbyNames((me, "x"), 2), force=True)
            writer = threading.Thread(target=cluster.write_until, args=[seen := threading.Event()])
            writer.start()
            try:
                wait_until(lambda: bool(rows(cluster.primary, waiting)))
                hangs = (await primary.check_readiness())[check]
            finally:
                seen.set()
            assert hangs.severity is CRITICAL
            assert f"connected of them: {me}; commits wait, 1 of them now" in hangs.found
            assert hangs.needed == "3 of them connected, so that one may disconnect"
        finally:
            await primary.set_sync_standby_names(SyncStandbyNames())
        writer.join()


async def test_a_standby_is_compared_with_its_primary(cluster: Cluster, colour: Colour) -> None:
    cluster.catch_up()
    async with (
        await colour.primary(cluster.primary.conninfo) as primary,
        await colour.standby(cluster.standby.conninfo) as standby,
    ):
        alone = await standby.check_readiness()
        beside = await standby.check_readiness(unwrapped(primary))
    assert alone["primary"].severity is INFO
    assert alone["receiver"].severity is OK
    for check in ("system identifier", "major", "timeline", "wal_segment_size", "block_size"):
        assert beside[check].severity is OK, beside[check]
    names = {f.check for f in beside.findings if f.check.endswith(" compared with the primary")}
    assert len(names) == (5 if cluster.major >= 12 else 4)
    assert beside.is_ready


def unwrapped(server: pgreplkit.AsyncPrimary) -> pgreplkit.AsyncPrimary:
    """Return the sync object behind the async interface."""
    return getattr(server, "_target", server)


@pytest.mark.one_colour
@pytest.mark.matrix
async def test_a_standby_with_too_small_settings_is_not_ready(
    clusters: Clusters, cluster: Cluster, colour: Colour
) -> None:
    big = clusters.lab.primary(version=cluster.major, settings={"max_connections": 50})
    small = clusters.lab.standby(big)
    try:
        # The standby has what the primary had; the primary is raised then, but not yet restarted.
        run(big, "ALTER SYSTEM SET max_connections = 60")
        small.stop()
        big.restart()
        async with await colour.primary(big.conninfo) as primary:
            if cluster.major >= 14:
                small.start()
                async with await colour.standby(small.conninfo) as standby:
                    beside = await standby.check_readiness(unwrapped(primary))
                finding = beside["max_connections compared with the primary"]
                assert finding.severity is CRITICAL
                assert finding.remedy == "ALTER SYSTEM SET max_connections = 60"
                assert finding.effective_after is EffectiveAfter.RESTART
                assert "replay pauses otherwise" in finding.needed
    finally:
        small.stop("immediate")
        big.stop()


@pytest.mark.one_colour
@pytest.mark.matrix
async def test_a_standby_of_another_system_or_timeline_is_not_ready(
    clusters: Clusters, cluster: Cluster, colour: Colour
) -> None:
    other = clusters.lab.primary(version=cluster.major)
    astray = clusters.lab.standby(cluster.primary)
    try:
        async with (
            await colour.standby(cluster.standby.conninfo) as standby,
            await colour.primary(other.conninfo) as stranger,
        ):
            beside = await standby.check_readiness(unwrapped(stranger))
            assert beside["system identifier"].severity is CRITICAL
        astray.promote()
        run(cluster.primary, "SELECT pg_logical_emit_message(true, 'x', 'x')")
        cluster.catch_up()
        async with (
            await colour.standby(cluster.standby.conninfo) as standby,
            await colour.primary(astray.conninfo) as promoted,
        ):
            beside = await standby.check_readiness(unwrapped(promoted))
            assert beside["system identifier"].severity is OK
            assert beside["timeline"].severity is CRITICAL
            assert "pg_rewind" in beside["timeline"].remedy
    finally:
        other.stop()
        astray.stop()


async def test_missing_privileges_are_reported(cluster: Cluster, colour: Colour) -> None:
    async with await colour.primary(conninfo_as(cluster.primary, "stranger")) as primary:
        with pytest.raises(pgreplkit.errors.InsufficientPrivilege, match="GRANT pg_monitor"):
            await primary.check_readiness()
    async with await colour.primary(conninfo_as(cluster.primary, "observer")) as primary:
        assert (await primary.check_readiness()).is_ready
    async with await colour.standby(conninfo_as(cluster.standby, "observer")) as standby:
        assert (await standby.check_readiness()).findings


def copying(node: Node) -> psycopg.pq.abc.PGconn:
    """A client that has asked for a base backup, and reads nothing of it."""
    conninfo = psycopg.conninfo.make_conninfo(
        node.conninfo, replication="true", application_name="copier"
    )
    client = psycopg.pq.PGconn.connect(conninfo.encode())
    options = b"(LABEL 'test', PROGRESS)" if node.major >= 15 else b"LABEL 'test' PROGRESS"
    client.send_query(b"BASE_BACKUP " + options)
    return client


@pytest.mark.one_colour
@pytest.mark.pg(">=13")
async def test_the_progress_of_a_base_backup_and_its_wait_are_reported(
    clusters: Clusters, cluster: Cluster, colour: Colour
) -> None:
    node = clusters.lab.primary(version=cluster.major)
    # Enough to write that the checkpoint takes its time.
    run(node, "CREATE TABLE filler AS SELECT repeat('x', 500) AS t FROM generate_series(1, 20000)")
    client = copying(node)
    try:
        async with await colour.primary(node.conninfo) as primary:
            phase = "SELECT min(phase) FROM pg_stat_progress_basebackup"
            waiting = BackupPhase.WAITING_FOR_CHECKPOINT
            wait_until(lambda: one(node, phase) == waiting)
            [backup] = await primary.base_backups()
            assert (backup.phase, backup.pid) == (waiting, client.backend_pid)
            assert (backup.application_name, backup.client_addr) == ("copier", "127.0.0.1")
            assert backup.checkpoint_wait is not None
            assert 100 < backup.checkpoint_wait.total_seconds() < 270
            assert "waiting for a checkpoint" in backup.explanation
            assert backup.elapsed is not None
            run(node, "CHECKPOINT")
            wait_until(lambda: one(node, phase) == BackupPhase.STREAMING_FILES)
            [backup] = await primary.base_backups()
            assert backup.backup_total is not None
            assert backup.backup_total > 10_000_000
            assert backup.share is not None
            assert 0 <= backup.share < 1
            assert backup.checkpoint_wait is None
            assert "streaming database files" in backup.explanation
            client.finish()
            wait_until(lambda: one(node, phase) is None)
            assert await primary.base_backups() == []
    finally:
        client.finish()
        node.stop("immediate")


@pytest.mark.pg("<13")
async def test_progress_of_base_backups_needs_13(cluster: Cluster, colour: Colour) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        with pytest.raises(pgreplkit.errors.UnsupportedByServer, match="needs PostgreSQL 13"):
            await primary.base_backups()


@pytest.mark.one_colour
def test_the_versions_of_settings_are_those_of_the_servers(cluster: Cluster) -> None:
    there = {one["name"] for one in rows(cluster.primary, "SELECT name FROM pg_settings")}
    known = {name for name, since in SETTINGS_SINCE.items() if cluster.primary.major >= since}
    assert there & SETTINGS_SINCE.keys() == known


@pytest.mark.one_colour
def test_findings_name_only_settings_that_the_server_has(cluster: Cluster) -> None:
    with (
        pgreplkit.Primary.connect(cluster.primary.conninfo) as primary,
        pgreplkit.Standby.connect(cluster.standby.conninfo) as standby,
    ):
        slot = primary.create_physical_slot("unused", reserve_wal=True)
        try:
            findings = [
                *primary.check_readiness("logical", standbys=100).findings,
                *primary.wal_retention().findings,
                *standby.check_readiness(primary).findings,
                *standby.wal_retention().findings,
            ]
        finally:
            slot.drop()
    assert findings
    assert newer_settings(findings, cluster.major) == set()
