"""Handing the writing over: what is read of the servers for it, without changing anything."""

from __future__ import annotations

import attrs

from pgreplkit._async.cluster.site import AsyncSite
from pgreplkit._async.server.server import AsyncServer
from pgreplkit._async.standby import AsyncStandby
from pgreplkit.catalog.server.retention import ARCHIVER, IN_EXCLUSIVE_BACKUP, ready_files
from pgreplkit.catalog.server.settings import SYNC_STANDBY_NAMES
from pgreplkit.errors import Error
from pgreplkit.host.recoveryfiles import control_file
from pgreplkit.plans.cluster.switchover import Handover, SwitchoverFacts, switchover_findings
from pgreplkit.plans.cluster.topology import ClusterNode, Topology
from pgreplkit.plans.server.access import AccessVerdict
from pgreplkit.values.finding import Finding
from pgreplkit.values.syncnames import SyncStandbyNames


async def read_handover(
    site: AsyncSite, topology: Topology, old: ClusterNode, new: ClusterNode, *, lost: bool = False
) -> Handover:
    """Who hands over to whom, and what commits wait for; with ``lost`` the old one is not asked."""
    names = SyncStandbyNames()
    if not lost:
        async with await site.server(old.name) as primary:
            names = await _sync_names(primary)
    async with await site.server(new.name) as standby:
        new_names = await _sync_names(standby)
    # With the primary gone its standbys receive from nobody, or do not know it yet.
    theirs = [
        node
        for node in topology.standbys
        if node.upstream == old.name
        or (node.upstream is None and (lost or node.receives_from is None))
    ]
    followers = [node for node in theirs if node.name != new.name]
    return Handover(
        topology=topology,
        old=old,
        new=new,
        followers=tuple(followers),
        uses={node.name: await site.use_of(node) for node in (new, *followers)},
        old_name=old.name if lost else await site.name_of(old.name),
        address=await site.address(new.name),
        sync_names=names,
        new_sync_names=new_names,
    )


async def _sync_names(server: AsyncServer) -> SyncStandbyNames:
    return SyncStandbyNames.parse(str((await server.setting(SYNC_STANDBY_NAMES)).value or ""))


async def read_controls(site: AsyncSite) -> dict[str, int | str | None]:
    """Of each node with a control, the system identifier in its files, or what is wrong."""
    told: dict[str, int | str | None] = {}
    for name in site.controls:
        try:
            told[name] = (await site.controlled(name, control_file)).system_id
        except Error as error:
            told[name] = str(error)
    return told


@attrs.frozen
class AsyncSwitchoverChecks:
    """What a switchover needs."""

    site: AsyncSite
    handover: Handover
    max_lag: int

    async def findings(self) -> list[Finding]:
        """One finding for each thing that was looked at."""
        handover = self.handover
        async with (
            await self.site.primary(handover.old.name) as primary,
            await self.site.standby(handover.new.name) as standby,
        ):
            # It may have been planned long ago.
            handover = attrs.evolve(
                handover,
                old=await _seen_again(handover.old, primary),
                new=await _seen_again(handover.new, standby),
            )
            major = primary.version.major
            tried = "look at the archiver"
            archiver = ARCHIVER.read(await primary._link.one(tried, ARCHIVER.sql(major)))
            ready = await primary._link.all(tried, ready_files(major))
            exclusive = False
            if major < 15:
                row = await primary._link.one("look for a base backup", IN_EXCLUSIVE_BACKUP)
                exclusive = row["is_so"]
            facts = SwitchoverFacts(
                handover=handover,
                max_lag=self.max_lag,
                status=await standby.replay_status(),
                readiness=await standby.check_readiness(primary),
                settings=await standby.settings(),
                archiver=archiver,
                ready_files=len(ready),
                in_exclusive_backup=exclusive,
                controlled=await read_controls(self.site),
                verdicts=await self._verdicts(standby),
            )
        return switchover_findings(facts)

    async def _verdicts(self, standby: AsyncStandby) -> dict[str, AccessVerdict | str]:
        """Whether the new primary's pg_hba.conf lets in those who will follow it."""
        handover, verdicts = self.handover, dict[str, AccessVerdict | str]()
        senders = {sender.application_name: sender for sender in handover.old.senders}
        own = await standby.upstream()
        user = own.user if own else None
        for node in handover.followers:
            source = node.receives_from
            sender = senders.get(handover.uses[node.name].application_name)
            verdicts[node.name] = await _verdict(
                standby,
                (source.user if source else None) or user,
                str(sender.client_addr) if sender and sender.client_addr else None,
            )
        # From where it will come is known only where it is reached by an IP address.
        old = handover.old
        verdicts[old.name] = await _verdict(standby, user, old.host)
        return verdicts


async def _seen_again(node: ClusterNode, server: AsyncServer) -> ClusterNode:
    """The node with those who receive from it now, and the slots that it has now."""
    slots = tuple([slot.state for slot in await server.slots()])
    return attrs.evolve(node, senders=tuple(await server.replicas()), slots=slots)


async def _verdict(
    standby: AsyncStandby, role: str | None, address: str | None
) -> AccessVerdict | str:
    if role is None:
        return "its role is not known"
    try:
        return await standby.check_access(role, address=address)
    except (Error, ValueError) as error:
        return str(error)
