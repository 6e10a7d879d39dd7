"""Find appliers and subscriptions that send an applier's changes back."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow

from pgreplkit._async.server.identity import read_database
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit._async.wire.sidelink import side_link
from pgreplkit.apply.settings import ApplySettings
from pgreplkit.catalog.logical import applyloops as sql
from pgreplkit.catalog.logical.applying import PREFIX
from pgreplkit.catalog.server.identity import RunningDatabase
from pgreplkit.driver.conninfo import is_same_address_on
from pgreplkit.errors import OriginLoop, ServerError
from pgreplkit.plans.logical.applyloops import Direction, Loop, find_loops, flow_in
from pgreplkit.plans.logical.snapshot import TableCopy
from pgreplkit.plans.server.identity import is_one_database
from pgreplkit.values.tablename import TableName

_OPERATION = "read the appliers of the other direction"
_CONNECT_TIMEOUT = 5
"""Seconds; the address may be one that only the publisher reaches."""


async def read_loops(
    publisher: AsyncLink,
    subscriber: AsyncLink,
    own: Direction,
) -> tuple[list[Loop], str]:
    """Return the loops with appliers and subscriptions, and what could not be read."""
    here = await read_database(subscriber)
    appliers, unread = await _appliers(publisher, here)
    subscriptions, unreadable = await _subscriptions(publisher)
    slots = [PREFIX + str(one["name"]) for one in appliers]
    slots += [str(one["slot"]) for one in subscriptions]
    records = await subscriber.all(_OPERATION, sql.SENDERS, [slots])
    senders = {str(record["slot"]): bool(record["is_active"]) for record in records}
    others = [
        Direction(
            name=f"the applier {one['name']!r}",
            flow=flow_in(one["flow"]),
            takes_all=one["takes_all"],
            origin=PREFIX + one["name"] if one["has_origin"] else None,
            # One that is stopped may be of a time before the directions were exchanged.
            is_certain=senders[PREFIX + one["name"]],
        )
        for one in appliers
        if PREFIX + one["name"] in senders
    ]
    for one in subscriptions:
        # Servers may have slots of one name.
        leads_here = one["slot"] in senders and await _leads_to(here, publisher, one["conninfo"])
        if leads_here is not False:
            others.append(
                Direction(
                    name=f"the subscription {one['name']!r}",
                    flow={TableName(*table): TableName(*table) for table in one["tables"]},
                    takes_all=one["takes_all"],
                    origin=f"pg_{one['id']}",
                    is_certain=bool(leads_here) and senders[one["slot"]],
                )
            )
    return [*find_loops(own, others)], "; ".join(filter(None, [unread, unreadable]))


async def insist_on_no_loop(
    operation: str, publisher: AsyncLink, subscriber: AsyncLink, own: Direction
) -> None:
    """Refuse an applier whose changes come back.

    Raises: OriginLoop.
    """
    loops, _ = await read_loops(publisher, subscriber, own)
    for loop in loops:
        if loop.other.is_certain:
            raise OriginLoop(operation, loop.origin, loop.found)


async def is_fed_by(publisher: AsyncLink, subscriber: AsyncLink, name: str) -> bool:
    """Return whether an applier of that name brings the publisher changes of the subscriber.

    True if that is unknown. In a chain of servers, the appliers may have one name.
    """
    appliers, unread = await _appliers(publisher, await read_database(subscriber))
    return bool(unread) or any(one["name"] == name for one in appliers)


def direction_of(copies: Sequence[TableCopy], settings: ApplySettings) -> Direction:
    """Return an applier as others see it, with the tables of which every row is applied."""
    tables = [copy.table.table_name for copy in copies if copy.where is None]
    rules = settings.rules
    return Direction(
        name=f"the applier {settings.name!r}",
        flow={
            table: settings.target_of(table)
            for table in tables
            if table not in rules or not rules[table].needs_rows
        },
        takes_all=not settings.takes_own_only,
        origin=PREFIX + settings.name if settings.uses_origin else None,
    )


async def _appliers(publisher: AsyncLink, here: RunningDatabase) -> tuple[list[DictRow], str]:
    """Return the appliers from the subscriber's cluster to the publisher."""
    may = await publisher.one(_OPERATION, sql.READABLE)
    if may["is_readable"] is None:
        return [], ""
    if not may["is_readable"]:
        return [], "the publisher's role may not read pgreplkit.applier there"
    return await publisher.all(_OPERATION, sql.APPLIERS, [str(int(here.system_id))]), ""


async def _subscriptions(publisher: AsyncLink) -> tuple[list[DictRow], str]:
    may = await publisher.one(_OPERATION, sql.SUBSCRIPTIONS_READABLE)
    if not may["is_readable"]:
        return [], "the publisher's role may not read pg_subscription there"
    query = sql.subscriptions(publisher.version.major, shows_connection=may["shows_connection"])
    return await publisher.all(_OPERATION, query), ""


async def _leads_to(
    here: RunningDatabase, publisher: AsyncLink, conninfo: str | None
) -> bool | None:
    """Return whether a subscription of the publisher gets the subscriber's changes.

    None if that cannot be found out.
    """
    if conninfo is None or not is_same_address_on(conninfo, publisher.connection):
        return None
    try:
        whole = make_conninfo(conninfo, connect_timeout=_CONNECT_TIMEOUT)
        async with side_link(whole) as there:
            return is_one_database(await read_database(there), here)
    except ServerError:
        return None
