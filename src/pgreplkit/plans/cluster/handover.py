"""Handover: common parts of switchover and failover, from slots to synchronous standbys."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, count

import attrs

from pgreplkit._text import LONGEST_NAME
from pgreplkit.catalog.features import has
from pgreplkit.catalog.server.replay import ReplayStatus
from pgreplkit.plans.cluster.steps import Follow, MakeSlots, Step
from pgreplkit.plans.cluster.topology import ClusterNode, Topology
from pgreplkit.plans.cluster.upstream import missing_slots
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.finding import Finding
from pgreplkit.values.syncnames import SyncStandbyNames


@attrs.frozen
class UpstreamSettings:
    """The slot and the name with which a standby connects to its upstream."""

    slot: str | None
    application_name: str
    """The effective name, which synchronous_standby_names of the upstream contains."""


@attrs.frozen(kw_only=True)
class Handover:
    """The old and the new primary, the other standbys, and the synchronous ones."""

    topology: Topology
    old: ClusterNode
    """The old primary, as it was last seen."""
    new: ClusterNode
    """The standby that becomes the primary."""
    followers: tuple[ClusterNode, ...]
    """The other standbys of the old primary."""
    upstream_settings: Mapping[str, UpstreamSettings]
    """Those of the new primary and of the followers, by name."""
    old_name: str
    """The application_name of the old primary when it is a standby."""
    address: str
    """Address of the new primary for its standbys."""
    sync_names: SyncStandbyNames
    """synchronous_standby_names of the old primary."""
    new_sync_names: SyncStandbyNames
    """The present synchronous_standby_names of the new primary."""

    @property
    def major(self) -> int:
        """The major version of all servers: WAL belongs to one major version."""
        return self.new.major

    @property
    def old_slot(self) -> str | None:
        """Slot of the old primary on the new one; None if the standbys use no slots."""
        if self._slot(self.new) is None:
            return None
        # Names of nodes have characters that names of slots may not have.
        name = re.sub("[^a-z0-9_]", "_", self.old.name.lower())[:LONGEST_NAME]
        taken = {self._slot(node) for node in self.followers}
        # "db-3" and the follower "db_3" would share a slot, which serves one standby only.
        numbered = (f"{name[: LONGEST_NAME - 4]}_{number}" for number in count(2))
        return next(each for each in chain([name], numbered) if each not in taken)

    @property
    def follower_names(self) -> tuple[str, ...]:
        """Application names of the standbys that will follow the new primary."""
        return tuple(self.upstream_settings[node.name].application_name for node in self.followers)

    @property
    def swapped_names(self) -> SyncStandbyNames:
        """synchronous_standby_names with the old primary in place of the new one.

        Several standbys may share a name, as the cluster_name that a package sets; such a name
        stays for the others.
        """
        leaves, comes = self.upstream_settings[self.new.name].application_name, self.old_name
        names: list[str] = []
        for name in self.sync_names.names:
            is_left = is_same_name(name, leaves)
            if not is_left or any(is_same_name(name, other) for other in self.follower_names):
                names.append(name)
            if is_left:
                names.append(comes)
        swapped = attrs.evolve(self.sync_names, names=()).add(*names)
        expected = (comes, *self.follower_names)
        if swapped.is_met_by(expected) or "*" in names:
            return swapped
        # The primary's own name in the list never counted: without it there may be fewer names.
        return attrs.evolve(swapped, count=min(swapped.count, max(1, len(swapped.names))))

    def wanted_slots(self, *, with_old: bool) -> tuple[str | None, ...]:
        """Return the slots that the standbys will use on the new primary; None for no slot."""
        wanted = tuple(self._slot(node) for node in self.followers)
        return (*wanted, self.old_slot) if with_old else wanted

    def missing_slots(self, *, with_old: bool) -> tuple[str, ...]:
        """Return the slots to create on the new primary."""
        return missing_slots(self.wanted_slots(with_old=with_old), self.new.slots)

    @property
    def stale_slots(self) -> tuple[str, ...]:
        """Slots on the old primary that are unused after all standbys have left it."""
        # Slots of other receivers stay: they are not moved.
        used = [self._slot(node) for node in (self.new, *self.followers)]
        existing = {slot.slot_name for slot in self.old.slots}
        return tuple(dict.fromkeys(slot for slot in used if slot and slot in existing))

    def _slot(self, node: ClusterNode) -> str | None:
        return self.upstream_settings[node.name].slot


def is_same_name(one: str, other: str) -> bool:
    """Return whether the server considers the two the same application_name."""
    return one in SyncStandbyNames((other,))


def followers_of(topology: Topology, old: ClusterNode, *, is_lost: bool) -> list[ClusterNode]:
    """Return the standbys of a primary, the future primary included.

    A standby without an upstream counts as well if it receives from no server now: it may have lost
    its connection. After the primary was lost, a standby counts even if it still names an upstream,
    because it may not have noticed.
    """
    return [
        node
        for node in topology.standbys
        if node.upstream == old.name
        or (node.upstream is None and (is_lost or node.receives_from is None))
    ]


def slot_steps(handover: Handover, *, with_old: bool) -> Iterator[Step]:
    """Return the step that creates the slots of the new primary's standbys, if any is missing."""
    missing = handover.missing_slots(with_old=with_old)
    if missing:
        yield MakeSlots(handover.new.name, missing)


def follow_steps(handover: Handover) -> Iterator[Step]:
    """Return the steps that connect the other standbys to the new primary."""
    for node in handover.followers:
        settings = handover.upstream_settings[node.name]
        yield Follow(
            *(node.name, handover.new.name, handover.address),
            *(settings.slot, settings.application_name, handover.major),
        )


def control_findings(
    handover: Handover, controlled: Mapping[str, int | str | None], *, old_too: bool
) -> Iterator[Finding]:
    """Check that each host on which the operation must act has the right control.

    ``controlled`` holds the system identifier in each control's data directory, or the error.
    """
    needed_for = {handover.old.name: "stops and starts it"} if old_too else {}
    for node in handover.followers:
        if node.version is not None and not has("standby.reloaded_upstream", node.major):
            needed_for[node.name] = "restarts it (before version 13)"
    new = handover.new
    if new.version is not None and not has("standby.promote", new.major):
        needed_for[new.name] = "promotes it (before version 12)"
    for name, action in needed_for.items():
        system_id = controlled.get(name, "no control was given")
        expected = handover.topology.system_id
        yield checked(
            f"control of {name}",
            ok=system_id == expected,
            observed=f"system identifier {system_id}"
            if isinstance(system_id, int)
            else str(system_id),
            needed=f"a control of its host that {action}, with system identifier {expected}",
            remedy=f"discover the cluster with controls={{{name!r}: LocalControl(…)}}",
        )


def lost_bytes(handover: Handover, statuses: Sequence[ReplayStatus]) -> int | None:
    """Return the bytes of WAL that the old primary is known to have had and the new one lacks."""
    # The walreceivers know the end of WAL that the primary reported with its last message.
    reported = [status.latest_end_lsn for status in statuses]
    known = [lsn for lsn in (handover.old.lsn, *reported) if lsn is not None]
    if not known or handover.new.lsn is None:
        return None
    return max(0, max(known) - handover.new.lsn)


def no_apply_delay(major: int) -> str:
    """Return what switches the delay of a standby off."""
    if has("standby.recovery_settings", major):
        return "ALTER SYSTEM SET recovery_min_apply_delay = 0; SELECT pg_reload_conf()"
    return "recovery_min_apply_delay = 0 in recovery.conf, and restart the standby"
