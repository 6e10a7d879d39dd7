"""Read the state of an upgrade from both servers."""

from __future__ import annotations

from pgreplkit._async.cluster.upgradefences import read_unfenced
from pgreplkit._async.cluster.upgradeschema import read_kept_schema
from pgreplkit._async.logical.fence import read_fence
from pgreplkit._async.primary import AsyncPrimary
from pgreplkit.plans.cluster.upgrade import Names
from pgreplkit.plans.cluster.upgradepairing import NamedObjects, WrongServers, wrong_servers
from pgreplkit.plans.cluster.upgradeslots import is_own
from pgreplkit.plans.cluster.upgradestatus import UpgradePhase, UpgradeStatus, is_ending, phase_of
from pgreplkit.plans.logical.subscription import SubscriptionStatus
from pgreplkit.values.tablename import TableName


async def read_state(
    old: AsyncPrimary, new: AsyncPrimary, names: Names, *, interrupted: str
) -> tuple[UpgradeStatus, WrongServers | None]:
    """Return the state of the upgrade, from the objects with its names on both servers.

    With it, what shows that the servers are not those of the preparation; None if nothing does.
    """
    forward = await _statuses(new, old, names, back=False)
    back = await _statuses(old, new, names, back=True)
    fences = [await read_fence(one._link, names.fence) for one in (old, new)]
    standing = [None if fence is None or fence.is_lifted else fence for fence in fences]
    # Someone may have disabled triggers: that is a problem of the phase, and not another one.
    fenced = [fence is not None for fence in standing]
    disabled = [{*fence.disabled} if fence else set[TableName]() for fence in standing]
    here, there = [
        await _read_named(server, has_fence=fence is not None)
        for server, fence in zip((old, new), fences, strict=True)
    ]
    wrong = wrong_servers(names, old=here, new=there)
    publications = [*names.forward_in(here.publications), *names.back_in(there.publications)]
    kept = await read_kept_schema(old, names.forward(1)) if publications else None
    phase = phase_of(
        forward,
        old_is_fenced=fenced[0],
        new_is_fenced=fenced[1],
        interrupted=interrupted,
        are_wrong=wrong is not None,
        is_lifting=any(fence is not None and fence.is_lifted for fence in fences),
        is_published=bool(publications),
        is_ending=is_ending(names, publications, is_kept=bool(kept and kept.new)),
    )
    # All of them were fenced, and there are no clients: someone may have dropped triggers, too.
    if phase is UpgradePhase.CUT_OVER:
        forward_publications = names.forward_in(here.publications)
        disabled[0] |= {*await read_unfenced(old._link, forward_publications)}
    if phase is UpgradePhase.PREPARED:
        forward_subscriptions = [one.state.subname for one in forward]
        disabled[1] |= {*await read_unfenced(new._link, forward_subscriptions)}
    status = UpgradeStatus(
        name=names.upgrade,
        phase=phase,
        forward=tuple(forward),
        back=tuple(back),
        old_is_fenced=fenced[0] and not disabled[0],
        new_is_fenced=fenced[1] and not disabled[1],
        old_disabled=tuple(sorted(disabled[0])),
        new_disabled=tuple(sorted(disabled[1])),
    )
    return status, wrong


async def _read_named(server: AsyncPrimary, *, has_fence: bool) -> NamedObjects:
    """Return the names of the objects of a server's database."""
    return NamedObjects(
        publications=[one.name for one in await server.publications()],
        subscriptions=[one.name for one in await server.subscriptions()],
        slots=await read_slots(server),
        has_fence=has_fence,
    )


async def read_slots(server: AsyncPrimary) -> list[str]:
    """Return the names of the slots that an upgrade of a server's database may have created."""
    database = server.connection.info.dbname
    return [one.name for one in await server.slots() if is_own(one.state, database)]


async def _statuses(
    subscriber: AsyncPrimary, publisher: AsyncPrimary, names: Names, *, back: bool
) -> list[SubscriptionStatus]:
    subscriptions = {one.name: one for one in await subscriber.subscriptions()}
    wanted = names.back_in(subscriptions) if back else names.forward_in(subscriptions)
    return [await subscriptions[name].status(publisher) for name in wanted]
