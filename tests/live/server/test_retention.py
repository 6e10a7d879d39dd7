"""WAL retention: the holders, the WAL that they would free, and the remaining time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from clusters import (
    SLOT,
    Cluster,
    Clusters,
    conninfo_as,
    one,
    reads_twice,
    rows,
    run,
    soon,
    streaming,
    wait_until,
)
from colours import Colour

import pgreplkit
from pgreplkit import SegmentSize
from pgreplkit.lab import Node
from pgreplkit.plans.server.retention import lasting
from pgreplkit.rows import HolderKind, Severity, WalHolder, WalRetention, WalStatus

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def small(clusters: Clusters, major: int) -> Iterator[Node]:
    """A primary whose WAL is small, archiving in vain."""
    node = clusters.lab.primary(
        version=major,
        name=f"pg{major}-small",
        segment_size=SegmentSize(MEGABYTE) if major >= 11 else None,
        settings={
            "max_wal_size": "64MB" if major >= 11 else "256MB",
            "min_wal_size": "2MB" if major >= 11 else "32MB",
            **({"max_slot_wal_keep_size": "8MB"} if major >= 13 else {}),
            "wal_level": "logical",
            # The tests themselves say when.
            "checkpoint_timeout": "1h",
        },
    )
    yield node
    clusters.lab.remove(node)


def fill(node: Node, segments: int) -> None:
    """Write that many WAL files."""
    for _ in range(segments):
        run(node, "SELECT pg_logical_emit_message(false, 'x', 'x')")
        run(node, "SELECT pg_switch_wal()")


def holder(report: WalRetention, name: str) -> WalHolder:
    [found] = [holder for holder in report.holders if holder.name == name]
    return found


@reads_twice
async def test_a_report_counts_as_the_server_does(cluster: Cluster, colour: Colour) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        slot = await primary.create_physical_slot("held", reserve_wal=True)
        try:
            fill(cluster.primary, 3)
            report = await primary.wal_retention()
            now = report.current_lsn
            [server] = rows(
                cluster.primary,
                f"""SELECT pg_wal_lsn_diff('{now}', restart_lsn)::bigint AS bytes,
                pg_walfile_name(restart_lsn) AS file, (SELECT sum(size)::bigint
                FROM pg_ls_waldir()) AS size FROM pg_replication_slots WHERE slot_name = 'held'""",
            )
            held = holder(report, "held")
            assert (held.kind, held.bytes, str(held.oldest_file)) == (
                *(HolderKind.SLOT, server["bytes"], server["file"]),
            )
            assert held.oldest_lsn == slot.state.restart_lsn
            assert report.directory_bytes == server["size"]
            assert held.files == (await slot.refresh()).state.retained_files
            assert held.slot == slot.state or held.slot is not None
            checkpoint = holder(report, "last checkpoint")
            redo = "SELECT redo_lsn::text FROM pg_control_checkpoint()"
            assert str(checkpoint.oldest_lsn) == one(cluster.primary, redo)
            assert holder(report, SLOT).is_binding
            assert report.wal_rate is None
            assert report.time_left is None
            [finding] = [f for f in report.findings if f.check == "slot held"]
            assert finding.severity is Severity.WARNING
            assert "pg_drop_replication_slot('held')" in finding.remedy
        finally:
            await slot.drop()


async def test_the_reported_freeable_wal_equals_what_a_checkpoint_removes(
    small: Node, colour: Colour
) -> None:
    oldest = "SELECT min(name) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$'"
    async with await colour.primary(small.conninfo) as primary:
        run(small, "CHECKPOINT")
        first = await primary.create_physical_slot("first", reserve_wal=True)
        fill(small, 3)
        run(small, "CHECKPOINT")  # from which on a new slot reserves
        second = await primary.create_physical_slot("second", reserve_wal=True)
        fill(small, 2)
        run(small, "CHECKPOINT")
        report = await primary.wal_retention()
        assert report.worst is not None
        assert report.worst.name == "first"
        assert str(report.worst.oldest_file) == one(small, oldest)
        freed = report.worst.freed_bytes
        assert freed >= 3 * report.segment_size.bytes
        assert holder(report, "second").freed_bytes == 0
        await first.drop()
        run(small, "CHECKPOINT")
        after = await primary.wal_retention()
        assert after.worst is not None
        assert after.worst.name == "second"
        assert str(after.worst.oldest_file) == one(small, oldest)
        moved = after.worst.oldest_file.number - report.worst.oldest_file.number  # type: ignore[union-attr]
        assert moved * report.segment_size.bytes == freed
        await second.drop()


async def test_an_impossible_measuring_window_is_refused(cluster: Cluster, colour: Colour) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        with pytest.raises(ValueError, match="a window must be finite"):
            await primary.wal_retention(window=-1)
        with pytest.raises(TypeError):
            await primary.wal_retention(window="1")  # type: ignore[arg-type]


async def test_a_report_is_json(cluster: Cluster, colour: Colour) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        report = await primary.wal_retention(window=0.2, disk_size=1 << 40)
    text = json.dumps(report.to_dict())
    told = json.loads(text)
    assert told["current_lsn"] == str(report.current_lsn)
    assert told["segment_size"] == report.segment_size.bytes
    assert told["severity"] == report.severity
    by_name = {each["name"]: each for each in told["holders"]}
    assert by_name[SLOT]["bytes"] == holder(report, SLOT).bytes
    assert by_name[SLOT]["oldest_lsn"] == str(holder(report, SLOT).oldest_lsn)
    assert by_name[SLOT]["slot"]["active"] is True
    assert told["observed_at"] == report.observed_at.isoformat()


async def test_the_report_has_the_rate_and_the_remaining_time(small: Node, colour: Colour) -> None:
    async with await colour.primary(small.conninfo) as primary:
        idle = await primary.wal_retention(window=0.3, disk_size=1 << 40)
        assert idle.wal_rate is not None
        assert idle.wal_rate >= 0
        slot = await primary.create_physical_slot("standing", reserve_wal=True)
        try:
            with small.connect() as writer:
                writer.connection.execute(
                    """DO $$ BEGIN FOR i IN 1..50 LOOP
                    PERFORM pg_logical_emit_message(false, 'x', repeat('x', 1000));
                    END LOOP; END $$"""
                )
            report = await primary.wal_retention(window=0.1, disk_size=1 << 40)
            rate = 10_000.0
            assert lasting(50_000, rate) == timedelta(seconds=5)
            assert lasting(-5, rate) == timedelta(0)
            assert lasting(5, 0.0) is None
            assert lasting(1 << 200, 1e-300) is None
            standing = holder(report, "standing")
            if report.wal_rate and standing.slot and standing.slot.safe_wal_size:
                assert standing.time_left == lasting(standing.slot.safe_wal_size, report.wal_rate)
                assert report.time_left == lasting(
                    (1 << 40) - report.directory_bytes, report.wal_rate
                )
        finally:
            await slot.drop()


@pytest.mark.pg(">=13")
async def test_a_slot_is_reported_until_the_server_invalidates_it(
    small: Node, cluster: Cluster, colour: Colour
) -> None:
    async with await colour.primary(small.conninfo) as primary:
        slot = await primary.create_physical_slot("doomed", reserve_wal=True)
        try:
            assert str(slot.state.wal_status) == "reserved"
            assert slot.state.safe_wal_size is not None
            fill(small, 12)
            assert (await slot.refresh()).state.wal_status is WalStatus.UNRESERVED
            report = await primary.wal_retention()
            assert report.severity is Severity.CRITICAL
            assert report.max_slot_wal_keep_size == 8 * MEGABYTE
            assert "next checkpoint removes" in report.findings[0].found
            run(small, "CHECKPOINT")
            await slot.refresh()
            assert slot.state.wal_status is WalStatus.LOST
            assert slot.state.is_lost
            assert (slot.state.retained_bytes, slot.state.retained_files) == (0, 0)
            report = await primary.wal_retention()
            lost = holder(report, "doomed")
            assert (lost.bytes, lost.oldest_lsn, lost.freed_bytes) == (0, None, 0)
            [finding] = [f for f in report.findings if f.check == "slot doomed"]
            assert finding.severity is Severity.CRITICAL
            assert finding.found.startswith("lost (")
            if cluster.major >= 17:
                assert "wal_removed" in finding.found
            with pytest.raises(pgreplkit.errors.SlotLost, match="is lost"):
                await slot.wait_for_catchup(report.current_lsn, timeout=5)
        finally:
            await slot.drop()


@pytest.mark.pg(">=13")
async def test_a_lost_logical_slot_is_reported_as_lost(
    small: Node, cluster: Cluster, colour: Colour
) -> None:
    async with await colour.primary(small.conninfo) as primary:
        slot = await primary.create_logical_slot("doomed_too")
        try:
            fill(small, 12)
            run(small, "CHECKPOINT")
            with pytest.raises(pgreplkit.errors.SlotLost):
                await slot.peek(options={"proto_version": "1", "publication_names": "x"})
        finally:
            await slot.drop()


@pytest.mark.one_colour
async def test_a_failing_archiver_is_reported_with_its_wal(
    clusters: Clusters, cluster: Cluster, colour: Colour
) -> None:
    node = clusters.lab.primary(
        version=cluster.major,
        name=f"pg{cluster.major}-{colour.name}-archiving",
        settings={"archive_mode": True, "archive_command": "exit 1"},
    )
    try:
        run(node, "CREATE ROLE observer LOGIN PASSWORD 'observer' IN ROLE pg_monitor")
        fill(node, 3)
        failed = "SELECT failed_count > 0 FROM pg_stat_archiver"
        wait_until(lambda: bool(one(node, failed)))
        async with await colour.primary(node.conninfo) as primary:
            report = await primary.wal_retention()
            [finding] = [f for f in report.findings if f.check == "archiver"]
            assert finding.severity is Severity.CRITICAL
            assert str(report.archiver.last_failed_wal) in finding.found
            archiver = holder(report, "archiver")
            assert report.ready_count == 3
            assert str(archiver.oldest_file) == report.archiver.last_failed_wal
            assert archiver.oldest_lsn == archiver.oldest_file.first_lsn  # type: ignore[union-attr]
            assert archiver.files >= 3
            standby = clusters.lab.standby(node)
            clusters.lab.remove(standby)
            waiting = "SELECT count(*) FROM pg_ls_dir('pg_wal/archive_status') AS f WHERE f ~ '{}'"
            assert one(node, waiting.format("backup.ready")) == 1
            report = await primary.wal_retention()
            assert report.ready_count == one(node, waiting.format("ready"))
            assert str(holder(report, "archiver").oldest_file) == report.archiver.last_failed_wal
        async with await colour.primary(conninfo_as(node, "observer")) as primary:
            report = await primary.wal_retention()
            assert (report.ready_count is not None) == (cluster.major >= 12)
    finally:
        node.stop("immediate")


async def test_wal_keep_size_is_counted_from_the_current_position(
    cluster: Cluster, colour: Colour
) -> None:
    keep = "wal_keep_size = '32MB'" if cluster.major >= 13 else "wal_keep_segments = 2"
    reload = "SELECT pg_reload_conf()"
    setting = keep.split()[0]
    async with await colour.primary(cluster.primary.conninfo) as primary:
        assert holder(await primary.wal_retention(), "wal_keep").oldest_lsn is None
        run(cluster.primary, f"ALTER SYSTEM SET {keep}")
        run(cluster.primary, reload)
        try:
            fill(cluster.primary, 3)
            wait_until(lambda: one(cluster.primary, f"SHOW {setting}") in {"32MB", "2"})
            report = await primary.wal_retention()
            kept = holder(report, "wal_keep")
            assert kept.oldest_file is not None
            current = await primary.current_wal_file()
            assert current.number - kept.oldest_file.number in {1, 2}
        finally:
            run(cluster.primary, f"ALTER SYSTEM RESET {setting}")
            run(cluster.primary, reload)


def has_no_walsender(report: WalRetention) -> bool:
    return HolderKind.WALSENDER not in {holder.kind for holder in report.holders}


async def test_a_receiver_without_a_slot_has_no_retained_wal(
    cluster: Cluster, colour: Colour
) -> None:
    async with await colour.primary(cluster.primary.conninfo) as primary:
        slot = await primary.create_physical_slot("mine", reserve_wal=True)
        try:
            with streaming(cluster.primary, "mine", name="with"):
                # A receiver that has just ended keeps its row for a moment.
                report = await soon(primary.wal_retention, has_no_walsender)
                assert has_no_walsender(report)
        finally:
            await slot.drop(force=True)
        with streaming(cluster.primary, None, name="without") as pid:
            report = await primary.wal_retention()
    needy = holder(report, f"without (process {pid})")
    assert needy.kind is HolderKind.WALSENDER
    assert not needy.is_binding
    assert needy.freed_bytes == 0
    assert needy.sender is not None


@reads_twice
async def test_a_standby_has_a_retention_report(cluster: Cluster, colour: Colour) -> None:
    async with await colour.standby(cluster.standby.conninfo) as standby:
        slot = await standby.create_physical_slot("below", reserve_wal=True)
        try:
            report = await standby.wal_retention()
            assert holder(report, "below").bytes == slot.state.retained_bytes
        finally:
            await slot.drop()


async def test_reading_retention_without_privileges_is_refused(
    cluster: Cluster, colour: Colour
) -> None:
    async with await colour.primary(conninfo_as(cluster.primary, "stranger")) as primary:
        with pytest.raises(pgreplkit.errors.InsufficientPrivilege, match="GRANT pg_monitor"):
            await primary.wal_retention()
    async with await colour.primary(conninfo_as(cluster.primary, "observer")) as primary:
        assert (await primary.wal_retention()).holders
