"""What is wrong with a server's retention of WAL, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from pgreplkit.catalog.server.slot import SlotState, WalStatus
from pgreplkit.plans.server.retention import HolderKind, WalHolder, WalRetention
from pgreplkit.values.finding import Finding, Severity, Takes

_SOON, _TODAY = timedelta(hours=1), timedelta(days=1)


def findings_of(report: WalRetention, freeze_max_age: int) -> Iterator[Finding]:
    """One finding for each thing that is, or will be, a trouble; none when there is none."""
    for holder in report.holders:
        if holder.slot is not None:
            yield from _of_slot(holder, holder.slot)
            yield from _of_horizon(holder.slot, freeze_max_age)
    yield from _of_limit(report)
    yield from _of_archiver(report)
    yield from _of_disk(report)


def _of_slot(holder: WalHolder, slot: SlotState) -> Iterator[Finding]:
    check = f"slot {slot.slot_name}"
    drop = f"SELECT pg_drop_replication_slot('{slot.slot_name}')"
    if slot.is_lost:
        why = slot.invalidation_reason or slot.wal_status or "conflicting"
        yield Finding(
            check=check,
            severity=Severity.CRITICAL,
            found=f"lost ({why}): its receiver cannot go on",
            needed="a slot whose WAL is there",
            remedy=f"make its receiver anew (a standby from a new base backup), and {drop}",
        )
    elif slot.wal_status is WalStatus.UNRESERVED:
        yield Finding(
            check=check,
            severity=Severity.CRITICAL,
            found="unreserved: the next checkpoint removes WAL that it needs",
            needed="within max_slot_wal_keep_size",
            remedy="let its receiver catch up now, or raise max_slot_wal_keep_size",
            takes=Takes.RELOAD,
        )
    elif _is_ending(holder, slot) and holder.time_left is not None:
        yield Finding(
            check=check,
            severity=Severity.CRITICAL if holder.time_left < _SOON else Severity.WARNING,
            found=f"{holder.time_left} until it is lost, if it stands still",
            needed="time enough to bring its receiver back",
            remedy="let its receiver catch up, or raise max_slot_wal_keep_size",
            takes=Takes.RELOAD,
        )
    elif not slot.active and holder.bytes:
        since = f" since {slot.inactive_since}" if slot.inactive_since else ""
        yield Finding(
            check=check,
            severity=Severity.WARNING,
            found=f"nobody uses it{since}, and it keeps {holder.bytes} bytes of WAL",
            needed="a receiver",
            remedy=f"start its receiver; if there is none any more: {drop}",
        )


def _is_ending(holder: WalHolder, slot: SlotState) -> bool:
    """Whether its time is short. One that is used has used up half of its limit at least."""
    if holder.time_left is None or holder.time_left >= _TODAY:
        return False
    return not slot.active or holder.bytes > (slot.safe_wal_size or 0)


def _of_horizon(slot: SlotState, freeze_max_age: int) -> Iterator[Finding]:
    ages = {"xmin": slot.xmin_age, "catalog_xmin": slot.catalog_xmin_age}
    for name, age in ages.items():
        if age is not None and age > freeze_max_age // 2:
            yield Finding(
                check=f"slot {slot.slot_name}",
                severity=Severity.CRITICAL if age > freeze_max_age else Severity.WARNING,
                found=f"{name} is {age} transactions old: VACUUM removes nothing newer",
                needed=f"less than half of autovacuum_freeze_max_age ({freeze_max_age})",
                remedy="let its receiver catch up, or drop the slot",
            )


def _of_limit(report: WalRetention) -> Iterator[Finding]:
    slots = [holder for holder in report.holders if holder.kind is HolderKind.SLOT]
    if slots and report.max_slot_wal_keep_size is None:
        yield Finding(
            check="max_slot_wal_keep_size",
            severity=Severity.INFO,
            found="no limit: a slot that is not used fills the disk",
            needed="a limit, where a lost standby is better than a full disk",
            remedy="ALTER SYSTEM SET max_slot_wal_keep_size = '…GB' (13 on)",
            takes=Takes.RELOAD,
        )


def _of_archiver(report: WalRetention) -> Iterator[Finding]:
    archiver = report.archiver
    if archiver.archive_mode == "off" or not archiver.is_failing:
        return
    waiting = "" if report.ready_count is None else f", {report.ready_count} files wait"
    yield Finding(
        check="archiver",
        severity=Severity.CRITICAL,
        found=f"failed for {archiver.last_failed_wal} at {archiver.last_failed_time}{waiting}",
        needed="an archive_command or archive_library that succeeds",
        remedy="see the server's log for what it said; the WAL is kept until it is archived",
    )


def _of_disk(report: WalRetention) -> Iterator[Finding]:
    left = report.time_left
    if report.disk_size is None:
        return
    full = report.directory_bytes >= report.disk_size
    if full or (left is not None and left < _TODAY):
        worst = report.worst
        yield Finding(
            check="disk",
            severity=Severity.CRITICAL
            if full or left is None or left < _SOON
            else Severity.WARNING,
            found=f"{report.directory_bytes} of {report.disk_size} bytes are used, {left} are left",
            needed="room for the WAL that is kept",
            remedy=f"the oldest is kept for {worst.name}" if worst else "",
        )
