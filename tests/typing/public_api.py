"""What type checkers see of the public API; checked by mypy, never run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import assert_type

import attrs
import cattrs

import pgreplkit
from pgreplkit import (
    LSN,
    AsyncPrimary,
    AsyncSlot,
    AsyncStandby,
    AsyncWatch,
    CompressedWalName,
    Plan,
    Primary,
    SegmentSize,
    Slot,
    Standby,
    SyncStandbyNames,
    SystemIdentity,
    TableName,
    TimelineHistory,
    WalFileName,
    WalRange,
    Watch,
)
from pgreplkit.apply import Applier, ApplyReport, ConflictKind, TableRule
from pgreplkit.checks import CheckResult, Threshold
from pgreplkit.feeds import Feed, FeedStatus, Fleet
from pgreplkit.lab import Lab, Node
from pgreplkit.rows import (
    BaseBackup,
    ByteLag,
    Finding,
    HbaRule,
    LagReason,
    ReplayLag,
    ReplayStatus,
    Rows,
    SlotChange,
    SlotState,
    Upstream,
    WalHolder,
    WalPosition,
    WalReceiver,
    WalSender,
    WatchSample,
    WatchSamples,
)
from pgreplkit.upgrade import TableGroup, Upgrade, UpgradeClone, UpgradePhase


def values(lsn: LSN, name: WalFileName, history: TimelineHistory, wal: WalRange) -> None:
    assert_type(lsn - lsn, int)
    assert_type(lsn - 1, LSN)
    assert_type(lsn + 1, LSN)
    assert_type(1 + lsn, LSN)
    assert_type(lsn < lsn, bool)
    assert_type(LSN.MAX, LSN)
    assert_type(lsn.wal_file(timeline=1), WalFileName)
    assert_type(name + 1, WalFileName)
    assert_type(name - name, int)
    assert_type(name - 1, WalFileName)
    assert_type(name.next, WalFileName)
    assert_type(SegmentSize.DEFAULT.bytes, int)
    assert_type(wal.files(1), Iterator[WalFileName])
    assert_type(wal.intersection(wal), WalRange | None)
    assert_type(history.switchpoint(1), LSN | None)
    assert_type(history.fork_from(history), tuple[int, LSN])
    assert lsn + lsn  # type: ignore[operator]
    assert lsn < 1  # type: ignore[operator]
    assert lsn[0]  # type: ignore[index]
    assert_type(lsn.wal_file(timeline=1, segment_size=64 << 20), WalFileName)
    assert_type(WalFileName(1, 5, 64 << 20).segment_size, SegmentSize)
    pgreplkit.register_cattrs(cattrs.Converter(), segment_size=64 << 20)
    LSN(1.5)  # type: ignore[arg-type]


def names(text: str) -> str:
    match pgreplkit.parse_wal_name(text):
        case WalFileName(timeline=timeline):
            return f"{assert_type(timeline, int)}"
        case CompressedWalName(compression=compression):
            return assert_type(compression, str)
    return ""


def sync() -> None:
    server = pgreplkit.connect("host=db1", connect_timeout=3)
    assert_type(server, Primary | Standby)
    assert_type(server.identity(), SystemIdentity)
    with Primary.connect() as primary:
        assert_type(primary, Primary)
        assert_type(primary.wal_position(), WalPosition)
        assert_type(primary.replicas(), Rows[WalSender])
        assert_type(primary.replicas()[:2], Rows[WalSender])
        assert_type(pgreplkit.to_records(primary.slots()), list[dict[str, object]])
        assert_type(primary.replicas()[0].lag, ByteLag)
        assert_type(primary.replicas()[0].lag.replay_bytes, int | None)
        slot = primary.create_physical_slot("a")
        assert_type(slot.refresh(), Slot)
        assert_type(slot.state.restart_lsn, LSN | None)
        assert_type(slot.state, SlotState)
        assert_type(primary.create_logical_slot("b").peek(), Rows[SlotChange])
        assert_type(primary.wal_retention().worst, WalHolder | None)
        assert_type(primary.check_readiness("logical").problems, tuple[Finding, ...])
        assert_type(primary.check_access("r", address=None).rule, HbaRule | None)
        assert_type(primary.base_backups(), Rows[BaseBackup])
        assert_type(primary.sync_standby_names().remove("a"), SyncStandbyNames)
    with Standby.connect() as standby:
        assert_type(standby.replay_status(), ReplayStatus)
        assert_type(standby.replay_status().lag_reason, LagReason)
        assert_type(standby.receiver(), WalReceiver | None)
        assert_type(standby.replay_lag().time, timedelta | None)
        assert_type(standby.wait_for_replay(LSN(0)), LSN)
        assert_type(standby.apply_delay(), timedelta | None)
        with standby.paused() as nothing:
            assert_type(nothing, None)
        assert_type(standby.upstream(), Upstream | None)


def watching() -> None:
    with Watch({"a": "host=a"}) as watch:
        for sample in watch:
            assert_type(sample["a"].lag, ReplayLag | None)
        assert_type(watch.take(3), WatchSamples)
        assert_type(watch.take(3)[1:], WatchSamples)


def fleet(feed: Feed) -> None:
    with Fleet({"orders": feed}) as fleet:
        assert_type(fleet.run(timeout=1), Rows[FeedStatus])
        assert_type(fleet.status()[0].retry_in, timedelta | None)
        assert_type(fleet.is_healthy, bool)


def physical() -> None:
    with pgreplkit.ReplicationConnection.connect("host=a") as connection:
        for chunk in connection.start_physical(LSN("0/0")):
            assert_type(chunk, pgreplkit.wal.WalChunk)
        for segment in connection.receive_wal("/archive", slot="a"):
            assert_type(segment.name, WalFileName)
        with connection.base_backup(compression="zstd") as backup:
            for item in backup:
                assert_type(
                    item,
                    pgreplkit.backups.BackupArchive
                    | pgreplkit.backups.BackupChunk
                    | pgreplkit.backups.ManifestChunk,
                )
            assert_type(backup.manifest, pgreplkit.backups.BackupManifest | None)
        assert_type(pgreplkit.backups.verify_backup("/copy"), pgreplkit.backups.BackupManifest)


@attrs.frozen
class User:
    id: int
    name: str


def changes() -> None:
    with Primary.connect() as primary:
        with primary.changes("a", publications=["p"], binary=True) as stream:
            for change in stream:
                assert_type(change, pgreplkit.changes.Change[pgreplkit.changes.Row])
                match change:
                    case pgreplkit.changes.Insert(table=table, new=row):
                        assert_type(table, pgreplkit.changes.Table)
                        assert_type(row, pgreplkit.changes.Row)
                    case pgreplkit.changes.Commit(end_lsn=lsn):
                        assert_type(lsn, LSN)
                        stream.acknowledge(lsn)
        made = primary.changes(
            "a", publications=["p"], row_factory=pgreplkit.changes.class_rows(User)
        )
        for transaction in made.transactions():
            assert_type(transaction, pgreplkit.changes.Transaction[User])
            for inner in transaction:
                if isinstance(inner, pgreplkit.changes.Update):
                    assert_type(inner.new, User)
                    assert_type(inner.old, User | pgreplkit.changes.Row | None)
        dicts = primary.slot("a").changes(
            publications=["p"], row_factory=pgreplkit.changes.dict_rows
        )
        assert_type(dicts, pgreplkit.changes.ChangeStream[dict[str, object]])
        copied = primary.snapshot_then_changes("b", publications=["p"], tables=["t"])
        assert_type(copied, pgreplkit.changes.SnapshotStream[pgreplkit.changes.Row])


async def asynchronous() -> None:
    async with AsyncWatch(["host=a"]) as watch:
        async for sample in watch:
            assert_type(sample, WatchSample)
    async with await pgreplkit.aconnect("host=db1") as server:
        assert_type(server, AsyncPrimary | AsyncStandby)
        assert_type(await server.timeline(), int)
    async with await AsyncPrimary.connect() as primary:
        assert_type(primary, AsyncPrimary)
        assert_type(await primary.current_wal_file(), WalFileName)
        assert_type(await primary.slots(), Rows[AsyncSlot])
    async with await AsyncStandby.connect() as standby, standby.paused() as nothing:
        assert_type(nothing, None)


def lab() -> None:
    with Lab() as lab:
        assert_type(lab.primary(version=18), Node)
        assert_type(lab.standby(lab.primary(), slot="a").connect(), Primary | Standby)


def applying(primary: Primary) -> None:
    rule = TableRule(to="people", columns={"mail": "email"}, where=lambda row: bool(row["active"]))
    applier = Applier(primary, "host=b", "a", publications=["p"], tables={"users": rule})
    assert_type(applier.run(stop_at=LSN(1)), ApplyReport)
    assert_type([conflict.kind for conflict in applier.conflicts()], list[ConflictKind])


def upgrading(old: Primary, new: Primary) -> None:
    upgrade = Upgrade(old, new, name="shop18", journal="shop18.json")
    assert_type(upgrade.groups(2), Rows[TableGroup])
    assert_type(upgrade.plan_cutover(lambda node: print(node)), Plan)
    assert_type(upgrade.status().phase, UpgradePhase)
    clone = UpgradeClone(old, "", name="shop18", directory="d", bindir="b", old_bindir="o")
    assert_type(clone.plan_prepare(clone.groups(2)), Plan)
    assert_type(old.fence_writes(["users"]).tables, tuple[TableName, ...])


def monitoring(samples: WatchSamples, map_: pgreplkit.ShardMap) -> None:
    result = CheckResult.of(samples, warning="30", critical={"lag_bytes": Threshold(end=1e9)})
    assert_type(result.exit_code, int)
    assert_type(map_.index("key", 1, None), int)
    assert_type(map_.where(1, column="id", key_type=int), str)
    assert_type(map_.doubled(), pgreplkit.ShardMap)
