"""Problems of a WAL retention: slots that will be lost, a failing archiver, a full disk."""

from collections.abc import Iterator
from datetime import timedelta

import attrs

from pgreplkit._text import counted
from pgreplkit.catalog.features import has
from pgreplkit.catalog.server.retention import KeptWal
from pgreplkit.catalog.server.slot import SlotState, WalStatus
from pgreplkit.plans.server.readiness import archiving_setting
from pgreplkit.plans.server.retention import HolderKind, WalHolder, WalRetention
from pgreplkit.values.finding import EffectiveAfter, Finding, Severity
from pgreplkit.values.text import duration_text, size_text, value_text

_SOON, _TODAY = timedelta(hours=1), timedelta(days=1)
"""Less than an hour is critical: hardly enough for a person to act. A day is a warning."""


def with_findings(report: WalRetention, kept: KeptWal) -> WalRetention:
    """Return the report, which is about ``kept``, with a finding for each problem."""
    return attrs.evolve(report, findings=tuple(_findings(report, kept)))


def _findings(report: WalRetention, kept: KeptWal) -> Iterator[Finding]:
    for holder in report.holders:
        if holder.slot is not None:
            yield from _of_slot(holder, holder.slot)
            yield from _of_horizon(holder.slot, kept.freeze_max_age)
    yield from _of_limit(report, kept.server_major)
    yield from _of_archiver(report, kept.server_major)
    yield from _of_disk(report)


def _of_slot(holder: WalHolder, slot: SlotState) -> Iterator[Finding]:
    """Yield the worst finding about a slot, if any: the others would follow from it."""
    drop = f"SELECT pg_drop_replication_slot('{slot.slot_name}')"
    if slot.is_lost:
        why = slot.invalidation_reason or slot.wal_status or "conflicting"
        yield _slot_finding(
            slot,
            Severity.CRITICAL,
            f"lost ({why}): its receiver cannot continue",
            needed="a slot whose WAL is available",
            remedy=f"create its receiver again (a standby from a new base backup), and {drop}",
        )
        return
    if slot.wal_status is WalStatus.UNRESERVED:
        yield _slot_finding(
            slot,
            Severity.CRITICAL,
            "unreserved: the next checkpoint removes WAL that it needs",
            needed="within max_slot_wal_keep_size",
            remedy="let its receiver catch up now, or raise max_slot_wal_keep_size",
            effective_after=EffectiveAfter.RELOAD,
        )
        return
    if _is_ending(holder, slot) and holder.time_left is not None:
        yield _slot_finding(
            slot,
            Severity.CRITICAL if holder.time_left < _SOON else Severity.WARNING,
            f"{duration_text(holder.time_left)} until it is lost, if it does not advance",
            needed="enough time to repair its receiver",
            remedy="let its receiver catch up, or raise max_slot_wal_keep_size",
            effective_after=EffectiveAfter.RELOAD,
        )
        return
    if not slot.active and holder.bytes:
        since = f" since {value_text(slot.inactive_since)}" if slot.inactive_since else ""
        yield _slot_finding(
            slot,
            Severity.WARNING,
            f"unused{since}, and retains {size_text(holder.bytes)} of WAL",
            needed="a receiver",
            remedy=f"start its receiver; if it no longer exists: {drop}",
        )


def _slot_finding(
    slot: SlotState,
    severity: Severity,
    found: str,
    *,
    needed: str,
    remedy: str,
    effective_after: EffectiveAfter = EffectiveAfter.NOTHING,
) -> Finding:
    return Finding(
        check=f"slot {slot.slot_name}",
        severity=severity,
        found=found,
        needed=needed,
        remedy=remedy,
        effective_after=effective_after,
    )


def _is_ending(holder: WalHolder, slot: SlotState) -> bool:
    """Return whether a slot is close to its limit; a used slot only beyond half of it."""
    if holder.time_left is None or holder.time_left >= _TODAY:
        return False
    # A slot in use usually follows closely; its limit is near only if it lags behind a lot.
    return not slot.active or holder.bytes > (slot.safe_wal_size or 0)


def _of_horizon(slot: SlotState, freeze_max_age: int) -> Iterator[Finding]:
    ages = {"xmin": slot.xmin_age, "catalog_xmin": slot.catalog_xmin_age}
    # Beyond autovacuum_freeze_max_age the server forces anti-wraparound vacuums, which cannot
    # freeze rows newer than the slot's xmin. Half of it leaves time to react.
    for name, age in ages.items():
        if age is not None and age > freeze_max_age // 2:
            yield _slot_finding(
                slot,
                Severity.CRITICAL if age > freeze_max_age else Severity.WARNING,
                f"{name} is {counted(age, 'transaction')} old: VACUUM removes nothing newer",
                needed=f"less than half of autovacuum_freeze_max_age ({freeze_max_age})",
                remedy="let its receiver catch up, or drop the slot",
            )


def _of_limit(report: WalRetention, major: int) -> Iterator[Finding]:
    slots = [holder for holder in report.holders if holder.kind is HolderKind.SLOT]
    # The default is no limit, so this is information and not a warning. Before 13 there is none to
    # be set.
    if slots and report.max_slot_wal_keep_size is None and has("slot.limit", major):
        yield Finding(
            check="max_slot_wal_keep_size",
            severity=Severity.INFO,
            found="no limit: an unused slot fills the disk",
            needed="a limit, if a lost standby is better than a full disk",
            remedy="ALTER SYSTEM SET max_slot_wal_keep_size = '…GB'",
            effective_after=EffectiveAfter.RELOAD,
        )


def _of_archiver(report: WalRetention, major: int) -> Iterator[Finding]:
    archiver = report.archiver
    if archiver.archive_mode == "off" or not archiver.is_failing:
        return
    # Before 12 only superusers may list the waiting files.
    waiting = (
        ""
        if report.ready_count is None
        else f", {counted(report.ready_count, 'file waits', 'files wait')}"
    )
    yield Finding(
        check="archiver",
        severity=Severity.CRITICAL,
        found=f"failed for {archiver.last_failed_wal} at {archiver.last_failed_time}{waiting}",
        needed=f"{archiving_setting(has('archive.library', major))} that succeeds",
        remedy="see the server's log for the command's output; WAL is retained until archived",
    )


def _of_disk(report: WalRetention) -> Iterator[Finding]:
    left = report.time_left
    if report.disk_size is None:
        return
    # Without a rate only a full disk is known.
    full = report.directory_bytes >= report.disk_size
    if full or (left is not None and left < _TODAY):
        worst = report.worst
        rest = "" if left is None else f", {duration_text(left)} are left"
        yield Finding(
            check="disk",
            severity=Severity.CRITICAL
            if full or left is None or left < _SOON
            else Severity.WARNING,
            found=f"{size_text(report.directory_bytes)} of {size_text(report.disk_size)} are used"
            f"{rest}",
            needed="room for the retained WAL",
            remedy=f"the oldest WAL is retained for {worst.name}" if worst else "",
        )
