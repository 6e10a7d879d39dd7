"""What a subscription's publisher tells when it is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from pgreplkit._async.server.server import AsyncServer, insist_on_servers
from pgreplkit._async.server.slot import read_slot
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.logical.stuck import (
    OLD_TRANSACTIONS,
    PLACES,
    PUBLICATION_NAMES,
    SLOTS_BEING_MADE,
    published as tables_published,
)
from pgreplkit.catalog.logical.subscription import CONNECTION, SubscriptionState
from pgreplkit.catalog.server.slot import USED_BY
from pgreplkit.catalog.view import table_in
from pgreplkit.errors import (
    SlotNotFound,
)
from pgreplkit.plans.logical.stuck import PublisherFacts
from pgreplkit.values.tablename import TableName

_CONNECTED_WITHIN = 5
"""Seconds."""


@asynccontextmanager
async def asking(
    link: AsyncLink, oid: int, publisher: AsyncServer | None
) -> AsyncIterator[AsyncServer]:
    """The publisher that is given, or else the one to which the subscription connects.

    Raises: ConnectionFailed; InsufficientPrivilege when the role may not see where that is.
    """
    if publisher is not None:
        insist_on_servers(publisher=publisher)
        yield publisher
        return
    conninfo = await read_conninfo(link, oid)
    async with await AsyncServer.connect(conninfo, connect_timeout=_CONNECTED_WITHIN) as opened:
        yield opened


async def read_conninfo(link: AsyncLink, oid: int) -> str:
    """Where a subscription connects to; it may hold a password.

    Raises: InsufficientPrivilege for other roles than superusers.
    """
    tried = "read where the subscription connects to (give publisher=… instead)"
    record = await link.one(tried, CONNECTION, [oid], grant="SUPERUSER")
    conninfo: str = record["conninfo"]
    return conninfo


async def read_publisher(
    publisher: AsyncServer, state: SubscriptionState
) -> tuple[PublisherFacts, list[tuple[TableName, list[str]]]]:
    """What it tells of a subscription's publications and slots; and the tables that it publishes,
    with their columns."""
    link, names = publisher._link, [*state.subpublications]
    there = await link.all("read the publications", PUBLICATION_NAMES, [names])
    published_now = tables_published(link.version.major)
    tables = await link.all("read the published tables", published_now, [names])
    places = await link.all("count the slots", PLACES)
    made = await link.all("look for slots being made", SLOTS_BEING_MADE, [state.oid])
    old = await link.all("read the transactions", OLD_TRANSACTIONS.sql(link.version.major))
    slot, users = None, []
    with suppress(SlotNotFound):
        if state.subslotname is not None:
            slot = await read_slot(link, state.subslotname)
            users = await link.all("ask who uses the slot", USED_BY, [slot.slot_name])
    published = [(table_in(r), r["columns"], r["is_readable"]) for r in tables]
    facts = PublisherFacts(
        missing_publications=tuple(sorted({*names} - {record["name"] for record in there})),
        unreadable=tuple(table for table, _, is_readable in published if not is_readable),
        slot=slot,
        slot_user=users[0]["application_name"] if users else None,
        slots_being_made=tuple(record["name"] for record in made),
        old_transactions=tuple(OLD_TRANSACTIONS.read(record) for record in old),
        full={p["setting"]: p["most"] for p in places if p["used"] >= p["most"]},
    )
    return facts, [(table, columns) for table, columns, _ in published]


async def missing_publications(publisher: AsyncServer, names: Sequence[str]) -> list[str]:
    """Those that are not there."""
    records = await publisher._link.all("read the publications", PUBLICATION_NAMES, [[*names]])
    return sorted({*names} - {record["name"] for record in records})
