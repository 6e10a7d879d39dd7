"""Logical slots of a primary: which of them survive on the standby that replaces it."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from pgreplkit.catalog.features import has
from pgreplkit.catalog.server.slot import SlotState, SlotType
from pgreplkit.plans.cluster.handover import Handover
from pgreplkit.plans.cluster.topology import ClusterNode
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.lsn import LSN


@attrs.frozen(kw_only=True)
class SlotLoss:
    """A logical slot that its consumer cannot continue to use on the new primary."""

    slot: SlotState
    reason: str

    def __str__(self) -> str:
        return f"{self.slot.slot_name} (database {self.slot.database}): {self.reason}"


def slot_losses(
    old: Sequence[SlotState], new: Sequence[SlotState], *, position: LSN | None = None
) -> list[SlotLoss]:
    """Compare the logical slots of a primary with their copies on a standby.

    The server's own rule decides: a copy is usable after a promotion if it is synchronized, not
    temporary and not invalidated. ``position`` is the last WAL position of the standby if it will
    not receive more: then a consumer must not have confirmed a later one.
    """
    copies = {slot.slot_name: slot for slot in new if slot.slot_type is SlotType.LOGICAL}
    losses = []
    for slot in old:
        # Temporary slots end with their session, and invalidated ones are lost already.
        if slot.slot_type is not SlotType.LOGICAL or slot.temporary or slot.is_lost:
            continue
        reason = _reason(slot, copies.get(slot.slot_name), position)
        if reason:
            losses.append(SlotLoss(slot=slot, reason=reason))
    return losses


def _reason(slot: SlotState, copy: SlotState | None, position: LSN | None) -> str:
    if not slot.failover:
        return "not created with failover=True, so that no standby synchronizes it"
    if copy is None:
        return "not synchronized to the standby"
    if not copy.synced:
        return "the standby has a slot of that name that is not synchronized"
    if copy.is_lost:
        return f"its copy was invalidated ({copy.invalidation_reason or copy.wal_status})"
    if copy.temporary:
        return "its synchronization to the standby is not finished"
    confirmed = slot.confirmed_flush_lsn
    # Its next changes would come a second time with other contents, or never.
    if position is not None and confirmed is not None and confirmed > position:
        return (
            f"its consumer has confirmed changes up to {confirmed}, which the standby at {position}"
            " lacks"
        )
    return ""


def switchover_slots(handover: Handover) -> Finding:
    """Check that the new primary of a switchover has a usable copy of each logical slot.

    A missing copy of a slot with failover is critical, because the slot was created to survive and
    waiting for its synchronization is enough.
    """
    losses = slot_losses(handover.old.slots, handover.new.slots)
    is_critical = any(loss.slot.failover for loss in losses)
    return _finding(handover, losses, Severity.CRITICAL if is_critical else Severity.WARNING)


def failover_slots(handover: Handover, position: LSN | None) -> Finding:
    """Check which logical slots of the lost primary survive on the new one.

    The slots are those that the primary had when it was last seen; if it was never seen, those that
    the standby synchronized are checked.
    """
    old, new = handover.old, handover.new
    if old.version is not None:
        # A warning only: no other standby would have more, and a failover cannot wait.
        losses = slot_losses(old.slots, new.slots, position=position)
        return _finding(handover, losses, Severity.WARNING)
    # Copies that are not usable are known, whatever the primary had.
    reasons = [(slot, _reason(slot, slot, None)) for slot in new.slots if slot.synced]
    losses = [SlotLoss(slot=slot, reason=reason) for slot, reason in reasons if reason]
    if losses:
        return _finding(handover, losses, Severity.WARNING)
    finding = _finding(handover, losses, Severity.INFO)
    return attrs.evolve(
        finding, severity=Severity.INFO, found=f"unknown: the slots of {old.name} were never read"
    )


def _finding(handover: Handover, losses: Sequence[SlotLoss], severity: Severity) -> Finding:
    return checked(
        "logical slots",
        ok=not losses,
        observed="; ".join(map(str, losses)) or "none is lost",
        needed=f"a copy of each logical slot on {handover.new.name} that is synchronized, not"
        " temporary and not invalidated",
        remedy=_remedy(handover.new),
        otherwise=severity,
    )


def _remedy(new: ClusterNode) -> str:
    """Return what keeps the slots on a standby, as far as its version can."""
    lost = "their consumers lose their position, and must copy their data again"
    if new.version is None or not has("slot.failover", new.major):
        return f"{lost}: before version 17, standbys have no copies of slots"
    return (
        f"create slots with failover=True, set sync_replication_slots on {new.name}, and wait until"
        f" they are synchronized; otherwise {lost}"
    )
