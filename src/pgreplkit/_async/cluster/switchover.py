"""Switchover: read what its checks need, without changing anything."""

from __future__ import annotations

from collections.abc import Collection

import attrs

from pgreplkit._async.cluster.hosts import alter_system_findings, leads_to
from pgreplkit._async.cluster.site import AsyncSite
from pgreplkit._async.cluster.standbylimits import limits_findings, read_next_start
from pgreplkit._async.cluster.upstream import (
    Joining,
    client_address,
    ip_of,
    read_again,
    serving_findings,
)
from pgreplkit._async.server.server import AsyncServer
from pgreplkit.catalog.features import has
from pgreplkit.catalog.server.retention import ARCHIVER, IN_EXCLUSIVE_BACKUP, ready_files
from pgreplkit.catalog.server.settingcommands import SYNC_STANDBY_NAMES
from pgreplkit.errors import Error
from pgreplkit.host.facts import read_host
from pgreplkit.host.recoveryfiles import control_file
from pgreplkit.plans.cluster.handover import Handover, followers_of
from pgreplkit.plans.cluster.hosts import standby_host_findings
from pgreplkit.plans.cluster.switchover import (
    SwitchoverFacts,
    switchover_findings,
    switchover_steps,
)
from pgreplkit.plans.cluster.topology import ClusterNode, Topology
from pgreplkit.values.finding import Finding
from pgreplkit.values.syncnames import SyncStandbyNames


async def read_handover(
    site: AsyncSite, topology: Topology, old: ClusterNode, new: ClusterNode, *, lost: bool = False
) -> Handover:
    """Read the slots, names and synchronous standbys; a lost primary is not asked."""
    names = SyncStandbyNames()
    if not lost:
        async with await site.server(old.name) as primary:
            names = await _sync_names(primary)
    async with await site.server(new.name) as standby:
        new_names = await _sync_names(standby)
    standbys = followers_of(topology, old, is_lost=lost)
    followers = [node for node in standbys if node.name != new.name]
    return Handover(
        topology=topology,
        old=old,
        new=new,
        followers=tuple(followers),
        upstream_settings={
            node.name: await site.upstream_settings(node) for node in (new, *followers)
        },
        old_name=old.name if lost else await site.name_of(old.name),
        address=await site.address(new.name),
        sync_names=names,
        new_sync_names=new_names,
    )


async def _sync_names(server: AsyncServer) -> SyncStandbyNames:
    return SyncStandbyNames.parse(str((await server.setting(SYNC_STANDBY_NAMES)).value or ""))


async def read_controls(site: AsyncSite, running: Collection[str]) -> dict[str, int | str | None]:
    """Return the system identifier in each control's data directory, or the error.

    The controls of servers that are ``running`` must act on these.
    """
    identifiers: dict[str, int | str | None] = {}
    for name in site.controls:
        try:
            identifiers[name] = (await site.controlled(name, control_file)).system_id
            # Servers of one cluster have the same identifier.
            if name in running and await leads_to(site, name, name) is False:
                where = site.control(name).data_directory
                identifiers[name] = f"it acts on another server than {name}, in {where}"
        except Error as error:
            # A control that does not work is a finding, and should not hide the others.
            identifiers[name] = str(error)
    return identifiers


@attrs.frozen
class AsyncSwitchoverChecks:
    """The checks of a switchover."""

    site: AsyncSite
    handover: Handover
    max_lag: int

    async def findings(self) -> list[Finding]:
        """Return one finding for each check."""
        handover = self.handover
        async with (
            await self.site.primary(handover.old.name) as primary,
            await self.site.standby(handover.new.name) as standby,
        ):
            # The plan may be old: walsenders and slots are read again.
            handover = attrs.evolve(
                handover,
                old=await read_again(handover.old, primary),
                new=await read_again(handover.new, standby),
            )
            major, operation = primary.version.major, "read the state of the archiver"
            archiver = ARCHIVER.read(await primary._link.one(operation, ARCHIVER.sql(major)))
            # The shutdown waits until these files are archived.
            ready = await primary._link.all(operation, ready_files(major))
            next_start = await read_next_start(primary, handover.old.name)
            facts = SwitchoverFacts(
                handover=handover,
                max_lag=self.max_lag,
                status=await standby.replay_status(),
                readiness=await standby.check_readiness(primary),
                archiver=archiver,
                ready_files=len(ready),
                in_exclusive_backup=await _in_exclusive_backup(primary),
                controlled=await read_controls(
                    self.site, [handover.old.name, *handover.upstream_settings]
                ),
            )
        altering = await alter_system_findings(self.site, switchover_steps(handover))
        serving = await self._serving(handover)
        host = await self._host(handover.old.name)
        limits = await limits_findings(
            self.site,
            handover.new.name,
            running=tuple(node.name for node in handover.followers),
            starting=handover.old.name,
        )
        return [*switchover_findings(facts), *serving, *altering, *host, next_start, *limits]

    async def _host(self, name: str) -> list[Finding]:
        """Check the host on which the old primary becomes a standby."""
        if name not in self.site.controls:
            return []  # another finding says that its control is missing
        try:
            host = await self.site.controlled(name, lambda control: read_host(control, name))
        except Error:
            return []  # as above, that it does not work
        return [*standby_host_findings(host)]

    async def _serving(self, handover: Handover) -> list[Finding]:
        """Check that the new primary can serve its standbys, the old primary included."""
        old = handover.old
        # The client address of the old primary is known only if its host is an IP address.
        joining = [
            *followers_joining(handover),
            Joining(old.name, handover.old_name, ip_of(old.host)),
        ]
        return await serving_findings(
            self.site, handover.new, joining, handover.wanted_slots(with_old=True)
        )


def followers_joining(handover: Handover) -> list[Joining]:
    """Return the standbys of the old primary that will follow the new one."""
    names = [handover.upstream_settings[node.name].application_name for node in handover.followers]
    return [
        Joining(node.name, name, client_address(handover.old, name))
        for node, name in zip(handover.followers, names, strict=True)
    ]


async def _in_exclusive_backup(primary: AsyncServer) -> bool:
    if has("backup.without_exclusive", primary.version.major):
        return False
    # Such a backup belongs to no session, so that no list of sessions shows it.
    row = await primary._link.one("look for an exclusive backup", IN_EXCLUSIVE_BACKUP)
    return bool(row["is_so"])
