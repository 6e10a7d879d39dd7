# Generated from pgreplkit/_async/cluster/rejoin.py by `nox -s sync`. Do not edit.
"""Coming back, and following another: what decides whether that is possible, and how."""

from __future__ import annotations

import attrs

from pgreplkit._sync.cluster.follow import history_finding
from pgreplkit._sync.cluster.rewind import refusal
from pgreplkit._sync.cluster.site import Site
from pgreplkit.errors import ControlFailed, ServerError
from pgreplkit.host.nodecontrol import NodeControl
from pgreplkit.host.recoveryfiles import control_file, is_standby, major_of
from pgreplkit.plans.cluster.follow import needs_rewind
from pgreplkit.plans.cluster.steps import (
    Checkpoint,
    Demote,
    DropSlots,
    MakeSlots,
    Rewind,
    StartStandby,
    Step,
    StopPrimary,
)
from pgreplkit.plans.cluster.topology import ClusterNode
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.controlfile import ControlFile
from pgreplkit.values.finding import Finding, Severity

_CLONE = "make it anew by clone_standby()"


@attrs.frozen(kw_only=True)
class Return:
    """A server that is to come back under a primary."""

    name: str
    primary: ClusterNode
    is_running: bool
    address: str
    """Where the primary is, for others."""
    slot: str | None
    application_name: str
    stopped: ControlFile
    """What its control file says; while it runs, as it was last written."""
    diverged: bool | None
    """Whether it has WAL that the primary has not; None when only its recovery can tell."""
    stale_slots: tuple[str, ...]
    """Its slots whose users have gone over to the primary."""


def read_return(site: Site, name: str, primary: ClusterNode, *, slot: str | None) -> Return:
    """How that server is, beside the primary.

    Raises: ControlFailed without a control for it.
    """
    is_running = site.controlled(name, lambda control: control.is_running())
    stopped = site.controlled(name, control_file)
    history = primary.history
    if history is None:
        found = f"the history of its timeline {primary.timeline} cannot be read"
        raise ServerError(f"compare {name} with {primary.name}", found)
    diverged = needs_rewind(stopped, history)
    if is_running and primary.timeline != stopped.timeline:
        # It writes a shutdown checkpoint at least, where the primary has something else.
        diverged = True
    return Return(
        name=name,
        primary=primary,
        is_running=is_running,
        slot=slot,
        address=site.address(primary.name),
        application_name=site.name_of(name),
        stopped=stopped,
        diverged=diverged,
        stale_slots=_stale_slots(site, name, primary),
    )


def _stale_slots(site: Site, name: str, primary: ClusterNode) -> tuple[str, ...]:
    """The slots of a former primary that the new one used, or has of the same name in use."""
    slots = site.controlled(name, _slots_of_a_primary)
    left = {slot.slot_name for slot in primary.slots if slot.active}
    left.add((site.use_of(primary)).slot or "")
    return tuple(slot for slot in slots if slot in left)


def _slots_of_a_primary(control: NodeControl) -> list[str]:
    if is_standby(control):
        return []
    return control.list_folder(f"{control.data_dir}/pg_replslot") or []


def return_steps(back: Return) -> tuple[Step, ...]:
    """What is done, in this order."""
    primary = back.primary.name
    steps: list[Step] = [StopPrimary(back.name)] if back.is_running else []
    if back.slot and back.slot not in {slot.slot_name for slot in back.primary.slots}:
        steps.append(MakeSlots(primary, (back.slot,)))
    if back.diverged is not False:
        # Until it is checkpointed, pg_rewind reads the old timeline in its control file.
        steps += [Checkpoint(primary), Rewind(back.name, primary, back.address)]
    major = back.primary.major
    steps.append(Demote(back.name, primary, back.address, back.slot, back.application_name, major))
    steps.append(StartStandby(back.name, primary))
    if back.stale_slots:
        steps.append(DropSlots(back.name, back.stale_slots))
    return tuple(steps)


@attrs.frozen
class ReturnChecks:
    """What it takes to come back."""

    site: Site
    back: Return

    def findings(self) -> list[Finding]:
        """One finding for each thing that was looked at."""
        back, primary = self.back, self.back.primary
        told = [
            checked(
                "system",
                ok=back.stopped.system_id == primary.system_id,
                observed=f"system {back.stopped.system_id}",
                needed=f"{primary.system_id}, as {primary.name}",
                remedy=_CLONE,
            ),
            checked(
                "divergence",
                ok=back.diverged is False,
                observed=_divergence(back),
                needed="all its WAL lies in the primary's history",
                remedy="it is rewound",
                otherwise=Severity.INFO,
            ),
        ]
        if back.diverged is not False:
            told += self._rewinding()
        return told

    def _rewinding(self) -> list[Finding]:
        back = self.back
        major = self.site.controlled(back.name, major_of)
        version = self.site.controlled(back.name, _rewind_version)
        stopped, can_be_asked = back.stopped, back.stopped.is_clean and not back.is_running
        why_not, asked = None, "it would" if can_be_asked else "only a stopped one can be asked"
        if version is not None and can_be_asked:
            why_not = refusal(self.site, back.name, back.primary.name)
        return [
            checked(
                "pg_rewind",
                ok=version is not None,
                observed=version or "its host has none",
                needed=f"pg_rewind of {major}",
                remedy=f"install it, or {_CLONE}",
            ),
            checked(
                "wal_log_hints",
                ok=stopped.can_rewind,
                observed=f"wal_log_hints {_on(stopped.wal_log_hints)}, data checksums"
                f" {_on(stopped.data_checksums)}",
                needed="one of them on, before it diverged",
                remedy=_CLONE,
            ),
            checked(
                "shutdown",
                ok=major >= 13 or stopped.is_clean or back.is_running,
                observed=f"it is {stopped.state}",
                needed="shut down cleanly; from 13 on pg_rewind recovers it",
                remedy=f"start it where no client reaches it and stop it, or {_CLONE}",
            ),
            checked(
                "pg_rewind --dry-run",
                ok=why_not is None,
                observed=why_not or asked,
                needed="it finds the WAL back to where it parted, and may read the primary's files",
                remedy=_CLONE,
            ),
        ]


@attrs.frozen
class FollowChecks:
    """What it takes to follow another server."""

    site: Site
    node: str
    upstream: str
    left_slot: str | None
    """The slot that it does not use any more then."""
    left: str | None
    """Whose that is."""

    def findings(self) -> list[Finding]:
        """One finding for each thing that was looked at."""
        with (
            self.site.standby(self.node) as standby,
            self.site.server(self.upstream) as upstream,
        ):
            told = [history_finding(standby, upstream)]
            needs_control = standby.version.major < 13
        if needs_control:
            there = self.node in self.site.controls
            told.append(
                checked(
                    f"control of {self.node}",
                    ok=there,
                    observed="there" if there else "no control was given",
                    needed="one that restarts it, which it takes before 13",
                )
            )
        if self.left_slot is not None:
            told.append(
                checked(
                    "slot",
                    ok=False,
                    observed=f"it leaves the slot {self.left_slot} of {self.left}",
                    needed="no slot that nobody uses: it keeps WAL for ever",
                    remedy=f"drop it on {self.left} afterwards",
                    otherwise=Severity.WARNING,
                )
            )
        return told


def _rewind_version(control: NodeControl) -> str | None:
    said: list[str] = []
    try:
        control.run("pg_rewind", ["--version"], on_line=said.append)
    except ControlFailed:
        return None
    return " ".join(said)


def _divergence(back: Return) -> str:
    where = f"its last checkpoint is at {back.stopped.checkpoint_lsn} of {back.stopped.timeline}"
    if back.diverged is None:
        return f"{where}, and it was not shut down: only its recovery can tell"
    return f"{where}, {'which the primary has not' if back.diverged else 'which the primary has'}"


def _on(value: bool) -> str:
    return "on" if value else "off"
