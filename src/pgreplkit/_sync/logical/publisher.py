# Generated from pgreplkit/_async/logical/publisher.py by `nox -s sync`. Do not edit.
"""Ask a subscription's publisher about its publications and slots."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

from pgreplkit._sync.server.server import Server, insist_on_servers
from pgreplkit._sync.server.slot import read_slot
from pgreplkit._sync.wire.link import Link
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

_CONNECT_TIMEOUT = 5
"""Seconds; a diagnosis must not wait long for a publisher that does not answer."""


@contextmanager
def publisher_of(link: Link, oid: int, publisher: Server | None) -> Iterator[Server]:
    """Yield the given publisher, or a connection to the one to which the subscription connects.

    Raises: ConnectionFailed; InsufficientPrivilege if the role may not read the connection string.
    """
    # The caller's connection stays open.
    if publisher is not None:
        insist_on_servers(publisher=publisher)
        yield publisher
        return
    # As the subscriber connects: a name that only the subscriber resolves fails here.
    conninfo = read_conninfo(link, oid)
    with Server.connect(conninfo, connect_timeout=_CONNECT_TIMEOUT) as opened:
        yield opened


def read_conninfo(link: Link, oid: int) -> str:
    """Return the connection string of a subscription, which may hold a password.

    Raises: InsufficientPrivilege for other roles than superusers.
    """
    operation = "read the subscription's connection string (publisher= avoids that)"
    record = link.one(operation, CONNECTION, [oid], grant="SUPERUSER")
    conninfo: str = record["conninfo"]
    return conninfo


def read_publisher(
    publisher: Server, state: SubscriptionState
) -> tuple[PublisherFacts, list[tuple[TableName, list[str]]]]:
    """Return the publisher's facts about a subscription, and the published tables with columns."""
    link, names = publisher._link, [*state.subpublications]
    existing = link.all("read the publications", PUBLICATION_NAMES, [names])
    published_now = tables_published(link.version.major)
    tables = link.all("read the published tables", published_now, [names])
    limits = link.all("count the slots", PLACES)
    created = link.all("look for slots being created", SLOTS_BEING_MADE, [state.oid])
    old = link.all("read the transactions", OLD_TRANSACTIONS.sql(link.version.major))
    # The slot's user is read after the slot, and may have changed in between.
    slot, users = None, []
    with suppress(SlotNotFound):
        if state.subslotname is not None:
            slot = read_slot(link, state.subslotname)
            users = link.all("read the user of the slot", USED_BY, [slot.slot_name])
    published = [(table_in(r), r["columns"], r["is_readable"]) for r in tables]
    facts = PublisherFacts(
        missing_publications=tuple(sorted({*names} - {record["name"] for record in existing})),
        unreadable=tuple(table for table, _, is_readable in published if not is_readable),
        slot=slot,
        slot_user=users[0]["application_name"] if users else None,
        slots_being_made=tuple(record["name"] for record in created),
        old_transactions=tuple(OLD_TRANSACTIONS.read(record) for record in old),
        full={p["setting"]: p["most"] for p in limits if p["used"] >= p["most"]},
    )
    return facts, [(table, columns) for table, columns, _ in published]


def missing_publications(publisher: Server, names: Sequence[str]) -> list[str]:
    """Return the publications that do not exist, by name."""
    records = publisher._link.all("read the publications", PUBLICATION_NAMES, [[*names]])
    return sorted({*names} - {record["name"] for record in records})
