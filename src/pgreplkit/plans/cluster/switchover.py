"""Switchover and failover: the steps, by how the cluster is, and everything that they need."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import attrs

from pgreplkit.catalog.server.replay import PauseState, ReplayStatus
from pgreplkit.catalog.server.retention import ArchiverStatus
from pgreplkit.catalog.server.senders import SenderState
from pgreplkit.catalog.server.slot import SlotType
from pgreplkit.plans.cluster.steps import (
    Checkpoint,
    Demote,
    DropSlots,
    Fence,
    Follow,
    MakeSlots,
    Promote,
    SetSyncNames,
    StartStandby,
    Step,
    StopPrimary,
    WaitForReplay,
    WaitForWal,
)
from pgreplkit.plans.cluster.topology import ClusterNode, Topology
from pgreplkit.plans.server.access import AccessVerdict
from pgreplkit.plans.server.readiness import Readiness, Settings, checked, free_places
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.syncnames import SyncStandbyNames

_READY_LIMIT = 16
"""Files that may wait for the archiver: the server does not shut down before they are archived."""


@attrs.frozen
class Use:
    """With which slot, and by which name, a standby connects to its upstream."""

    slot: str | None = None
    application_name: str | None = None


@attrs.frozen(kw_only=True)
class Handover:
    """Who hands the writing over to whom, and who follows."""

    topology: Topology
    old: ClusterNode
    """The primary as it was last seen."""
    new: ClusterNode
    followers: tuple[ClusterNode, ...]
    """The other standbys of the old primary."""
    uses: Mapping[str, Use]
    """Of the new primary, and of the followers."""
    address: str
    """Where the new primary is, for others."""
    sync_names: SyncStandbyNames
    """What the old primary's commits wait for."""
    new_sync_names: SyncStandbyNames
    """What is set for that on the new one now."""

    @property
    def major(self) -> int:
        """That of all of them: WAL is of one major."""
        return self.new.major

    @property
    def old_slot(self) -> str | None:
        """The slot of the old primary on the new one; None when slots are not used."""
        if self._slot(self.new) is None:
            return None
        return re.sub("[^a-z0-9_]", "_", self.old.name.lower())[:63]

    @property
    def swapped_names(self) -> SyncStandbyNames:
        """The old primary's names, with the two having changed places."""
        leaves, comes = self.uses[self.new.name].application_name or self.new.name, self.old.name
        names = tuple(comes if name == leaves else name for name in self.sync_names.names)
        names = tuple(dict.fromkeys(names))
        # More than there are would let every commit wait; * stands for any number.
        count = self.sync_names.count
        most = count if "*" in names else min(count, max(1, len(names)))
        return attrs.evolve(self.sync_names, names=names, count=most)

    def missing_slots(self, *, with_old: bool) -> tuple[str, ...]:
        """The slots that are to be made on the new primary."""
        wanted = [self._slot(node) for node in self.followers]
        wanted += [self.old_slot] if with_old else []
        there = {slot.slot_name for slot in self.new.slots}
        return tuple(dict.fromkeys(slot for slot in wanted if slot and slot not in there))

    @property
    def useless_slots(self) -> tuple[str, ...]:
        """Those on the new primary that have the name of one that is needed, and are of no use."""
        wanted = {self.old_slot, *(self._slot(node) for node in self.followers)}
        return tuple(
            slot.slot_name
            for slot in self.new.slots
            if slot.slot_name in wanted
            and (slot.slot_type is SlotType.LOGICAL or slot.is_lost or slot.active)
        )

    @property
    def stale_slots(self) -> tuple[str, ...]:
        """The slots on the old primary that nobody uses when all have left it."""
        used = [self._slot(node) for node in (self.new, *self.followers)]
        there = {slot.slot_name for slot in self.old.slots}
        return tuple(dict.fromkeys(slot for slot in used if slot and slot in there))

    def _slot(self, node: ClusterNode) -> str | None:
        return self.uses[node.name].slot


def switchover_steps(handover: Handover) -> tuple[Step, ...]:
    """What is done, in this order; up to the promotion all of it can be taken back."""
    old, new = handover.old.name, handover.new.name
    steps: list[Step] = [*_slots(handover, with_old=True), Checkpoint(old)]
    steps += _sync_names(handover)
    # The files before the promotion: whoever starts the old primary then, it does not write.
    steps += [StopPrimary(old), WaitForWal(new, old), _demotion(handover)]
    steps.append(Promote(new, handover.major))
    steps += _follows(handover)
    steps.append(StartStandby(old, new))
    if handover.stale_slots:
        steps.append(DropSlots(old, handover.stale_slots))
    return tuple(steps)


def failover_steps(handover: Handover, *, fenced: bool) -> tuple[Step, ...]:
    """What is done when the primary is gone."""
    new = handover.new.name
    steps: list[Step] = [Fence(handover.old.name)] if fenced else []
    steps += _slots(handover, with_old=False)
    # The lost primary is no standby of the new one: commits would wait for it.
    steps += [WaitForReplay(new), Promote(new, handover.major), *_follows(handover)]
    return tuple(steps)


def _slots(handover: Handover, *, with_old: bool) -> Iterator[Step]:
    missing = handover.missing_slots(with_old=with_old)
    if missing:
        yield MakeSlots(handover.new.name, missing)


def _sync_names(handover: Handover) -> Iterator[Step]:
    names = handover.swapped_names
    if names != handover.new_sync_names:
        yield SetSyncNames(handover.new.name, str(names), str(handover.new_sync_names))


def _demotion(handover: Handover) -> Step:
    old, new = handover.old.name, handover.new.name
    return Demote(old, new, handover.address, handover.old_slot, old, handover.major)


def _follows(handover: Handover) -> Iterator[Step]:
    for node in handover.followers:
        use = handover.uses[node.name]
        yield Follow(
            *(node.name, handover.new.name, handover.address),
            *(use.slot, use.application_name, handover.major),
        )


@attrs.frozen(kw_only=True)
class SwitchoverFacts:
    """What was read of both servers, and of the hosts."""

    handover: Handover
    max_lag: int
    status: ReplayStatus
    readiness: Readiness
    """Whether the new primary is ready, beside the old one."""
    settings: Settings
    """Those of the new primary."""
    archiver: ArchiverStatus
    ready_files: int
    in_exclusive_backup: bool
    controlled: Mapping[str, int | str | None]
    """Of each node with a control, the system identifier in its files, or what is wrong."""
    verdicts: Mapping[str, AccessVerdict | str]
    """Whether the new primary lets each of the others in, or why that is not known."""


def switchover_findings(facts: SwitchoverFacts) -> list[Finding]:
    """Everything that a switchover needs, with what was found and its limit."""
    return [
        *_candidate(facts),
        *_old_primary(facts),
        *_others(facts),
        *control_findings(facts.handover, facts.controlled, old_too=True),
        *facts.readiness.problems,
    ]


def _candidate(facts: SwitchoverFacts) -> Iterator[Finding]:
    handover, status = facts.handover, facts.status
    old, new = handover.old, handover.new
    yield checked(
        "upstream",
        ok=new.upstream == old.name,
        observed=f"{new.name} receives from {new.upstream or 'none of these servers'}",
        needed=f"it receives from {old.name} itself",
    )
    yield checked(
        "streaming",
        ok=status.is_streaming,
        observed=f"{new.name} is {status.lag_reason}",
        needed="it streams",
    )
    lag = status.bytes_behind
    yield checked(
        "lag",
        ok=lag is not None and lag <= facts.max_lag,
        observed="unknown" if lag is None else f"{lag} bytes",
        needed=f"at most {facts.max_lag} bytes (max_lag)",
        remedy="wait, or allow more: all of it is replayed while nobody can write",
    )
    yield checked(
        "replay",
        ok=status.pause_state is PauseState.NOT_PAUSED,
        observed=f"replay is {status.pause_state}",
        needed="not paused",
        remedy="SELECT pg_wal_replay_resume()",
    )
    yield checked(
        "apply delay",
        ok=not status.apply_delay,
        observed=f"{status.apply_delay or 0}",
        needed="none, or nobody can write for so long",
        remedy="ALTER SYSTEM SET recovery_min_apply_delay = 0",
    )
    attached = len(handover.followers) + 1
    used = len(new.senders)
    yield free_places(facts.settings, "max_wal_senders", used=used, wanted=attached)
    slots = len(handover.missing_slots(with_old=True))
    yield free_places(facts.settings, "max_replication_slots", used=len(new.slots), wanted=slots)
    useless = handover.useless_slots
    yield checked(
        "slots of the same names",
        ok=not useless,
        observed=_names(useless),
        needed=f"none on {new.name} that is logical, lost, or used by another: {old.name} and the"
        " others will stream from slots of these names",
        remedy="drop it there, or let its user have another",
    )


def _old_primary(facts: SwitchoverFacts) -> Iterator[Finding]:
    old, new, archiver = facts.handover.old, facts.handover.new, facts.archiver
    running = [
        f"{sender.application_name or 'one without a name'} on {node.name}"
        for node in (old, new)
        for sender in node.senders
        if sender.state is SenderState.BACKUP
    ]
    running += [f"an exclusive one on {old.name}"] if facts.in_exclusive_backup else []
    yield checked(
        "base backups",
        ok=not running,
        observed=", ".join(running) or "none runs",
        needed=f"none on {old.name}, which its stop would break off, and none on {new.name}, which"
        " its promotion would spoil",
        remedy="wait until it is done, or end it",
    )
    failed, archived = archiver.last_failed_time, archiver.last_archived_time
    is_failing = failed is not None and (archived is None or failed > archived)
    yield checked(
        "archiving",
        ok=not is_failing and facts.ready_files <= _READY_LIMIT,
        observed=f"{facts.ready_files} files wait"
        + (", and the last one failed" if is_failing else ""),
        needed=f"at most {_READY_LIMIT} files wait, and none failed last: {old.name} does not shut"
        " down before all are archived",
        remedy="see why archive_command fails",
    )
    logical = [slot for slot in old.slots if slot.slot_type is SlotType.LOGICAL]
    lost = [slot.slot_name for slot in logical if not slot.failover]
    yield checked(
        "logical slots",
        ok=not lost,
        observed=_names(lost),
        needed=f"none that {facts.handover.new.name} will not have; from 17 on those with failover"
        " are synchronized",
        remedy="their consumers start anew afterwards, unless the slots are made there by hand",
        otherwise=Severity.WARNING,
    )
    known = {*facts.handover.stale_slots}
    strange = [s.slot_name for s in old.slots if s.slot_type is not SlotType.LOGICAL]
    strange = [name for name in strange if name not in known]
    yield checked(
        "other slots",
        ok=not strange,
        observed=_names(strange),
        needed="none of receivers that are not in this cluster, which are not moved",
        remedy="let their receivers connect to the new primary; drop them on the old one",
        otherwise=Severity.WARNING,
    )


def _others(facts: SwitchoverFacts) -> Iterator[Finding]:
    handover = facts.handover
    names = {node.name for node in handover.topology.members}
    names |= {use.application_name or "" for use in handover.uses.values()}
    receivers = [s for s in handover.old.senders if s.state is not SenderState.BACKUP]
    unknown = [s.application_name or "" for s in receivers if s.application_name not in names]
    yield checked(
        "receivers",
        ok=not unknown,
        observed=f"{_names(unknown)}, besides the nodes of this cluster",
        needed="none that is not in this cluster, which would lose its upstream",
        remedy="discover the cluster with them, or move them by hand",
        otherwise=Severity.WARNING,
    )
    moved = {handover.new.name, *(node.name for node in handover.followers)}
    elsewhere = [
        f"{node.name} from {node.receives_from.address}"
        for node in handover.topology.standbys
        if node.receives_from and node.upstream is None and node.name not in moved
    ]
    yield checked(
        "other upstreams",
        ok=not elsewhere,
        observed=_names(elsewhere),
        needed="none that receives from a server that is not in this cluster: it is not moved",
        remedy="discover the cluster with that server, or let the standby follow by follow()",
        otherwise=Severity.WARNING,
    )
    down = [node.name for node in handover.topology.down]
    yield checked(
        "nodes that are down",
        ok=not down,
        observed=_names(down),
        needed="none, as they follow the old primary when they come back",
        otherwise=Severity.WARNING,
    )
    for name, verdict in facts.verdicts.items():
        allowed = verdict.allowed if isinstance(verdict, AccessVerdict) else None
        line = verdict.line if isinstance(verdict, AccessVerdict) else ""
        rule = verdict if isinstance(verdict, str) else f"by {verdict.rule or 'no line'}"
        yield checked(
            f"access of {name}",
            ok=allowed is True,
            observed={None: f"not known: {rule}", True: "let in", False: f"refused {rule}"}[
                allowed
            ],
            needed=f"pg_hba.conf of {handover.new.name} lets it in",
            remedy=f"add to pg_hba.conf: {line}" if line else "",
            otherwise=Severity.INFO if allowed is None else Severity.CRITICAL,
        )


def control_findings(
    handover: Handover, controlled: Mapping[str, int | str | None], *, old_too: bool
) -> Iterator[Finding]:
    """Whether each host that has to be acted on can be, and is the right one."""
    needed_for = {handover.old.name: "to be stopped and started"} if old_too else {}
    for node in handover.followers:
        if node.version is not None and node.version.major < 13:
            needed_for[node.name] = "to be restarted, before 13"
    if handover.new.version is not None and handover.new.version.major < 12:
        needed_for[handover.new.name] = "to be promoted, before 12"
    for name, why in needed_for.items():
        system_id = controlled.get(name, "no control was given")
        is_right = system_id == handover.topology.system_id
        yield checked(
            f"control of {name}",
            ok=is_right,
            observed=f"system {system_id}" if isinstance(system_id, int) else str(system_id),
            needed=f"a control of its host, of system {handover.topology.system_id}, {why}",
            remedy=f"discover the cluster with controls={{{name!r}: LocalControl(…)}}",
        )


def lost_bytes(handover: Handover, statuses: Sequence[ReplayStatus]) -> int | None:
    """How much WAL the old primary is known to have had, and the new one has not."""
    told = [status.latest_end_lsn for status in statuses]
    known = [lsn for lsn in (handover.old.lsn, *told) if lsn is not None]
    if not known or handover.new.lsn is None:
        return None
    return max(0, max(known) - handover.new.lsn)


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
