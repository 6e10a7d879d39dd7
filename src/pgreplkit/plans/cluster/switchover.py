"""Switchover: its steps, and everything that they need of the servers and hosts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from pgreplkit._text import counted
from pgreplkit.catalog.server.replay import PauseState, ReplayStatus
from pgreplkit.catalog.server.retention import ArchiverStatus
from pgreplkit.catalog.server.senders import SenderState
from pgreplkit.catalog.server.slot import SlotType
from pgreplkit.errors import ServerError
from pgreplkit.plans.cluster.handover import (
    Handover,
    control_findings,
    follow_steps,
    no_apply_delay,
    slot_steps,
)
from pgreplkit.plans.cluster.logicalslots import switchover_slots
from pgreplkit.plans.cluster.steps import (
    Checkpoint,
    Demote,
    DropSlots,
    Promote,
    SetSyncNames,
    StartStandby,
    Step,
    StopPrimary,
    WaitForWal,
)
from pgreplkit.plans.cluster.topology import ClusterNode, Topology
from pgreplkit.plans.server.readiness import Readiness, checked, names_of
from pgreplkit.values.finding import Finding, Severity

_READY_LIMIT = 16
"""WAL files that may wait for the archiver: the shutdown lasts until all of them are archived."""


def switchover_nodes(topology: Topology, to: str) -> tuple[ClusterNode, ClusterNode]:
    """Return the primary and the standby that takes its place.

    Raises:
        ServerError: If there is no primary, or ``to`` is not a standby.
        SplitBrain: If there are several primaries.
        NodeNotFound: If the cluster has no node ``to``.
    """
    new, old, operation = topology[to], topology.primary, f"switch over to {to}"
    if old is None:
        # A primary that recovers comes back: a failover would make two.
        refusing = [str(node) for node in topology.down if node.refuses]
        if refusing:
            found = f"no primary accepts connections at present ({'; '.join(refusing)})"
            raise ServerError(operation, found, remedy="wait until it does")
        raise ServerError(operation, "no primary answers", remedy="use plan_failover()")
    if new not in topology.standbys:
        raise ServerError(operation, f"the node is not a standby ({new})")
    return old, new


def switchover_steps(handover: Handover) -> tuple[Step, ...]:
    """Return the steps in order; those before the promotion can be undone."""
    old, new = handover.old.name, handover.new.name
    # The checkpoint here shortens the one at the shutdown, during which no server accepts writes.
    steps: list[Step] = [*slot_steps(handover, with_old=True), Checkpoint(old)]
    names = handover.swapped_names
    # Before the promotion: the first commit must wait for the right standbys.
    if names != handover.new_sync_names:
        steps.append(SetSyncNames(new, str(names), str(handover.new_sync_names)))
    # The old primary becomes a standby before the promotion: if it is started in between, it does
    # not accept writes.
    demotion = Demote(
        *(old, new, handover.address, handover.old_slot, handover.old_name, handover.major)
    )
    steps += [StopPrimary(old), WaitForWal(new, old), demotion]
    steps += [Promote(new, handover.major), *follow_steps(handover), StartStandby(old, new)]
    if handover.stale_slots:
        steps.append(DropSlots(old, handover.stale_slots))
    return tuple(steps)


@attrs.frozen(kw_only=True)
class SwitchoverFacts:
    """The state of the servers and their hosts before a switchover."""

    handover: Handover
    max_lag: int
    status: ReplayStatus
    readiness: Readiness
    """Readiness of the new primary, compared with the old one."""
    archiver: ArchiverStatus
    ready_files: int
    in_exclusive_backup: bool
    controlled: Mapping[str, int | str | None]
    """For each control, the system identifier in its data directory, or the error."""


def switchover_findings(facts: SwitchoverFacts) -> list[Finding]:
    """Return what a switchover needs, except of the new primary as an upstream."""
    return [
        *_candidate_findings(facts),
        *_shutdown(facts),
        *_slots(facts.handover),
        _commits(facts.handover),
        *_other_servers(facts.handover),
        *control_findings(facts.handover, facts.controlled, old_too=True),
        *facts.readiness.problems,
    ]


def _candidate_findings(facts: SwitchoverFacts) -> Iterator[Finding]:
    """Check that the new primary can have all WAL of the old one soon after its shutdown."""
    old, new, status = facts.handover.old, facts.handover.new, facts.status
    yield checked(
        "upstream",
        ok=new.upstream == old.name,
        observed=f"{new.name} receives from {new.upstream or 'no server of this cluster'}",
        needed=f"it receives from {old.name} directly",
    )
    yield checked(
        "streaming",
        ok=status.is_streaming,
        observed=f"{new.name} is {status.lag_reason}",
        needed="it streams",
    )
    # Replayed, not only received: the promotion waits for the replay.
    lag = status.bytes_behind
    yield checked(
        "lag",
        ok=lag is not None and lag <= facts.max_lag,
        observed="unknown" if lag is None else f"{lag} bytes",
        needed=f"at most {facts.max_lag} bytes (max_lag)",
        remedy="wait, or raise max_lag: no server accepts writes while this WAL is replayed",
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
        needed="none: no server accepts writes during the delay",
        remedy=no_apply_delay(facts.handover.major),
    )


def _shutdown(facts: SwitchoverFacts) -> Iterator[Finding]:
    """Check that the old primary can shut down soon and without harm."""
    old, new, archiver = facts.handover.old, facts.handover.new, facts.archiver
    running = [
        f"{sender.application_name or 'a client without application_name'} on {node.name}"
        for node in (old, new)
        for sender in node.senders
        if sender.state is SenderState.BACKUP
    ]
    # Exclusive backups exist before 15 only, and have no walsender.
    running += [f"an exclusive backup on {old.name}"] if facts.in_exclusive_backup else []
    yield checked(
        "base backups",
        ok=not running,
        observed=", ".join(running) or "none is running",
        needed=f"none on {old.name}, because the shutdown would break it off, and none on"
        f" {new.name}, because the promotion would make it useless",
        remedy="wait until it is done, or stop it",
    )
    yield checked(
        "archiving",
        ok=not archiver.is_failing and facts.ready_files <= _READY_LIMIT,
        observed=counted(facts.ready_files, "file waits", "files wait")
        + (", and the last attempt failed" if archiver.is_failing else ""),
        needed=f"at most {_READY_LIMIT} files wait, and the last attempt succeeded: the shutdown of"
        f" {old.name} lasts until all files are archived",
        remedy="find out why archive_command fails",
    )


def _slots(handover: Handover) -> Iterator[Finding]:
    """Check the slots of the old primary whose consumers the switchover does not move."""
    yield switchover_slots(handover)
    moved = {*handover.stale_slots}
    others = [
        slot.slot_name
        for slot in handover.old.slots
        # Logical slots have a finding of their own.
        if slot.slot_type is not SlotType.LOGICAL and slot.slot_name not in moved
    ]
    yield checked(
        "other slots",
        ok=not others,
        observed=names_of(others),
        needed="no slot of a receiver outside this cluster: such a receiver is not moved",
        remedy="connect the receiver to the new primary; drop its slot on the old one",
        otherwise=Severity.WARNING,
    )


def _commits(handover: Handover) -> Finding:
    """Check that the standbys of the new primary suffice for its synchronous commits."""
    names, standbys = handover.swapped_names, (handover.old_name, *handover.follower_names)
    return checked(
        "synchronous_standby_names",
        ok=names.is_met_by(standbys),
        observed=f"{str(names)!r} on {handover.new.name}, whose standbys will be"
        f" {names_of(standbys)}",
        needed="names that those standbys meet, or every commit waits; other receivers do not move",
        remedy=f"change it on {handover.old.name} first, with set_sync_standby_names()",
    )


def _other_servers(handover: Handover) -> Iterator[Finding]:
    """Check for receivers, standbys and nodes that the switchover does not move."""
    names = {node.name for node in handover.topology.members}
    names |= {settings.application_name for settings in handover.upstream_settings.values()}
    # A base backup has a finding of its own.
    receivers = [s for s in handover.old.senders if s.state is not SenderState.BACKUP]
    unknown = [s.application_name or "" for s in receivers if s.application_name not in names]
    yield checked(
        "receivers",
        ok=not unknown,
        observed=f"{names_of(unknown)}, in addition to the nodes of this cluster",
        needed="no receiver outside this cluster, which would lose its upstream",
        remedy="discover the cluster with the receivers, or move them yourself",
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
        observed=names_of(elsewhere),
        needed="no standby of a server outside this cluster: such a standby is not moved",
        remedy="discover the cluster with that server, or move the standby with plan_follow()",
        otherwise=Severity.WARNING,
    )
    down = [node.name for node in handover.topology.down]
    yield checked(
        "nodes that are down",
        ok=not down,
        observed=names_of(down),
        needed="none: they will still follow the old primary when they start",
        otherwise=Severity.WARNING,
    )
