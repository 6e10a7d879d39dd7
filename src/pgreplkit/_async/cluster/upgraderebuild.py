"""Read the objects of an upgrade, from which a lost journal is rebuilt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgreplkit._async.cluster.upgradefences import read_unfenced
from pgreplkit._async.cluster.upgradegroups import published_groups, read_tables, returned_groups
from pgreplkit._async.cluster.upgraderows import read_nonempty
from pgreplkit._async.cluster.upgradeschema import read_kept_schema
from pgreplkit._async.cluster.upgradestatus import read_slots
from pgreplkit._async.logical.fence import read_fence
from pgreplkit._async.primary import AsyncPrimary
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.cluster.upgrade import COPIED_TABLES
from pgreplkit.catalog.view import table_in
from pgreplkit.plans.cluster.upgrade import NEW, OLD, Names
from pgreplkit.plans.cluster.upgraderebuild import UpgradeObjects
from pgreplkit.plans.cluster.upgradeschema import KeptSchema
from pgreplkit.plans.cluster.upgradestatus import UpgradeStatus
from pgreplkit.values.tablename import TableName


async def read_objects(
    old: AsyncPrimary, new: AsyncPrimary, status: UpgradeStatus, names: Names
) -> UpgradeObjects:
    """Return the objects of an upgrade, from which a lost journal is rebuilt."""
    kept = await read_kept_schema(old, names.forward(1)) or KeptSchema()
    groups, returned = await published_groups(old, names), await returned_groups(new, names)
    fences, identities, since, unfenced = {}, {}, {}, []
    for node, server, published in ((OLD, old, groups), (NEW, new, returned)):
        if (fence := await read_fence(server._link, names.fence)) is not None:
            fences[node] = not fence.is_lifted
            if fence.since is not None:
                since[node] = fence.since
            identities[node] = fence.identity
            unfenced += [node] if await read_unfenced(server._link, published, names.fence) else []
    return UpgradeObjects(
        phase=status.phase,
        publications=groups,
        back_publications=returned,
        back_slots=names.back_in(await read_slots(new)),
        forward={one.state.subname: one.state.subenabled for one in status.forward},
        back={one.state.subname: one.state.subenabled for one in status.back},
        is_copied=bool(status.forward) and all(one.is_synced for one in status.forward),
        is_filled=await _is_filled(new._link, groups),
        kept=[node for node, found in ((OLD, kept.old), (NEW, kept.new)) if found],
        fences=fences,
        identities=identities,
        since=since,
        unfenced=unfenced,
    )


async def _is_filled(new: AsyncLink, groups: Mapping[str, Sequence[str]]) -> bool:
    """Return whether a published table has rows that no subscription copied."""
    copied = {table_in(one) for one in await new.all("read the copied tables", COPIED_TABLES)}
    there = {one.table for one in await read_tables(new)}
    published = {TableName.parse(table) for group in groups.values() for table in group}
    return bool(await read_nonempty(new, sorted((published & there) - copied)))
