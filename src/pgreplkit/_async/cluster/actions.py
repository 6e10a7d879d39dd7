"""The actions of each kind of step, and how to undo them."""

from __future__ import annotations

import attrs
from psycopg.sql import SQL

from pgreplkit._async._io import sleep
from pgreplkit._async.cluster.failover import missing_evidence
from pgreplkit._async.cluster.follow import demote, follow, start_standby
from pgreplkit._async.cluster.rewind import rewind
from pgreplkit._async.cluster.site import AsyncSite
from pgreplkit._async.server.server import AsyncServer
from pgreplkit._async.standby import AsyncStandby
from pgreplkit.catalog.features import has
from pgreplkit.catalog.server.checkpoints import FORCE_CHECKPOINT
from pgreplkit.catalog.server.replay import Promotion
from pgreplkit.catalog.server.settingcommands import SYNC_STANDBY_NAMES
from pgreplkit.driver.backoff import Backoff
from pgreplkit.errors import (
    AlreadyExists,
    ConnectionFailed,
    ControlFailed,
    NotAStandby,
    ServerError,
    SlotNotFound,
    WaitTimeout,
)
from pgreplkit.host.nodecontrol import NodeControl
from pgreplkit.host.recoveryfiles import SIGNAL_FILES, control_file
from pgreplkit.plans.cluster import steps
from pgreplkit.plans.cluster.journal import LostPrimary
from pgreplkit.plans.cluster.steps import Step
from pgreplkit.values.controlfile import ControlFile, ControlState


async def make_slots(site: AsyncSite, step: steps.MakeSlots) -> None:
    """Create the slots that are missing."""
    async with await site.server(step.node) as server:
        for slot in step.slots:
            try:
                # WAL that is written before the standby first uses the slot must not be removed.
                await server.create_physical_slot(slot, reserve_wal=True)
            # Created by an interrupted attempt, or by the user before.
            except AlreadyExists:
                continue


async def drop_slots(site: AsyncSite, step: steps.DropSlots | steps.MakeSlots) -> None:
    """Drop the slots that exist."""
    async with await site.server(step.node) as server:
        for slot in step.slots:
            try:
                await (await server.slot(slot)).drop()
            except SlotNotFound:
                continue


async def checkpoint(site: AsyncSite, step: steps.Checkpoint) -> None:
    """Run a checkpoint, and wait for its end."""
    async with await site.server(step.node) as server:
        grant = "pg_checkpoint" if has("role.pg_checkpoint", server.version.major) else "SUPERUSER"
        await server._link.run(
            f"checkpoint {step.node}", SQL(FORCE_CHECKPOINT).format(), grant=grant
        )


async def set_sync_names(site: AsyncSite, node: str, names: str) -> None:
    """Set synchronous_standby_names, and wait until the setting is in effect."""
    async with await site.server(node) as server:
        await server._link.alter_system(f"set {SYNC_STANDBY_NAMES}", SYNC_STANDBY_NAMES, names)


async def stop_primary(site: AsyncSite, step: steps.StopPrimary) -> None:
    """Shut the server down, and verify that the shutdown was clean."""

    def stop(control: NodeControl) -> ControlFile:
        control.stop()
        return control_file(control)

    # A server that was killed may have WAL that it sent to no standby.
    _insist_on_shutdown(step.node, await site.controlled(step.node, stop))


async def start_again(site: AsyncSite, step: steps.StopPrimary) -> None:
    """Start the server again and wait until it accepts connections.

    A shutdown that was requested before may still be in progress; the server is started after it.
    """
    backoff = Backoff(site.timeout)
    while True:
        await site.controlled(step.node, lambda control: control.start())
        try:
            async with await site.server(step.node):
                return
        except ConnectionFailed as error:
            if backoff.is_over:
                raise WaitTimeout(
                    f"timed out after {site.timeout:g} s waiting for {step.node} to start: {error}"
                ) from error
        await sleep(backoff.next_pause())


def remove_standby_files(control: NodeControl) -> None:
    """Remove the files that make a server a standby."""
    for name in SIGNAL_FILES:
        control.write_file(name, None)


async def wait_for_wal(site: AsyncSite, step: steps.WaitForWal) -> None:
    """Wait until the standby has replayed the last record of the stopped primary."""
    stopped = await site.controlled(step.source, control_file)
    _insist_on_shutdown(step.source, stopped)
    async with await site.server(step.node) as server:
        if not await server.is_in_recovery():
            return  # An interrupted attempt has already promoted it.
        # The shutdown checkpoint is the last record. It begins at checkpoint_lsn, and the replayed
        # position is past that once the record is replayed.
        target = stopped.checkpoint_lsn + 1
        await AsyncStandby._taking_over(server).wait_for_replay(target, timeout=site.timeout)


async def wait_for_replay(site: AsyncSite, step: steps.WaitForReplay) -> None:
    """Wait until the standby has replayed all WAL that it has received."""
    async with await site.server(step.node) as server:
        if not await server.is_in_recovery():
            return
        standby = AsyncStandby._taking_over(server)
        received = (await standby.replay_status()).received_lsn
        # A standby that restarted has received nothing since: it replays what is in its pg_wal.
        if received is not None:
            await standby._wait_for_replay(received, site.timeout, is_end=True)


async def promote(site: AsyncSite, step: steps.Promote) -> Promotion:
    """Promote the standby; if it is already promoted, read where that happened."""
    async with await site.server(step.node) as server:
        if not await server.is_in_recovery():
            return await _past_promotion(server, step.node)
        control = site.controls.get(step.node)
        standby = AsyncStandby._taking_over(server)
        try:
            return await standby.promote(timeout=site.timeout, control=control)
        except (NotAStandby, ControlFailed):
            # An interrupted attempt may have requested the promotion before.
            if await server.is_in_recovery():
                raise
        return await _past_promotion(server, step.node)


async def _past_promotion(server: AsyncServer, node: str) -> Promotion:
    """Return the last promotion in the timeline history of a primary."""
    timeline = await server.timeline()
    history = await server._history(timeline)
    # No history of a promotion: the server was changed by another program.
    if history is None or not history.switches:
        raise ServerError(f"promote {node}", "it is a primary that was never promoted")
    last = history.switches[-1]
    return Promotion(
        old_timeline=last.timeline, new_timeline=timeline, switchpoint=last.switchpoint
    )


def _insist_on_shutdown(node: str, stopped: ControlFile) -> None:
    if stopped.state not in {ControlState.SHUT_DOWN, ControlState.SHUT_DOWN_IN_RECOVERY}:
        raise ControlFailed(
            f"shut {node} down cleanly", f"its control file says that it is {stopped.state}"
        )


@attrs.frozen
class AsyncClusterActor:
    """Performs the steps of operations on the servers of a site."""

    site: AsyncSite

    async def perform(self, step: Step) -> Promotion | None:
        """Perform one step; a promotion returns its timelines and switchpoint."""
        site = self.site
        match step:
            case steps.MakeSlots():
                await make_slots(site, step)
            case steps.DropSlots():
                await drop_slots(site, step)
            case steps.Checkpoint():
                await checkpoint(site, step)
            case steps.SetSyncNames():
                await set_sync_names(site, step.node, step.names)
            case steps.StopPrimary():
                await stop_primary(site, step)
            case steps.Demote():
                await demote(site, step)
            case steps.WaitForWal():
                await wait_for_wal(site, step)
            case steps.WaitForReplay():
                await wait_for_replay(site, step)
            case steps.Promote():
                return await promote(site, step)
            case steps.Follow():
                await follow(site, step)
            case steps.Rewind():
                await rewind(site, step)
            case steps.StartStandby():
                await start_standby(site, step)
            case steps.Fence():
                await site.fence_off(step.node)
            case _:
                raise TypeError(f"unknown kind of step: {type(step).__name__}")
        return None

    async def take_back(self, step: Step) -> None:
        """Undo one step, which may be done completely, in part or not at all."""
        site = self.site
        match step:
            case steps.MakeSlots():
                await drop_slots(site, step)
            case steps.SetSyncNames():
                await set_sync_names(site, step.node, step.before)
            case steps.StopPrimary():
                await start_again(site, step)
            case steps.Demote():
                await site.controlled(step.node, remove_standby_files)
            case _:
                raise TypeError(f"a step that cannot be undone: {type(step).__name__}")

    async def missing_evidence(self, lost: LostPrimary) -> str:
        """Return the missing evidence that a primary is lost; empty if none is missing."""
        return await missing_evidence(self.site, lost)
