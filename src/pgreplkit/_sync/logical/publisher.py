# Generated from pgreplkit/_async/logical/publisher.py by `nox -s sync`. Do not edit.
"""What a subscription's publisher tells when it is asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

from pgreplkit._sync.server.server import Server
from pgreplkit._sync.server.slot import read_slot
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.logical.publication import (
    AnyPublished,
    PublishedTable,
    published,
    published_tables,
)
from pgreplkit.catalog.logical.replicaidentity import (
    NAMED_TABLES,
    ReplicaIdentity,
    identities,
    identity_in,
)
from pgreplkit.catalog.logical.snapshot import FILTERED_TABLES
from pgreplkit.catalog.logical.stuck import (
    ALL_PUBLICATION_NAMES,
    OLD_TRANSACTIONS,
    PLACES,
    PUBLICATION_NAMES,
    SLOTS_BEING_MADE,
    published as tables_published,
    table_named,
)
from pgreplkit.catalog.logical.subscription import CONNECTION, SUBSCRIPTIONS, SubscriptionState
from pgreplkit.catalog.server.positions import FENCE, FLUSHED
from pgreplkit.catalog.server.slotactions import USED_BY
from pgreplkit.driver.failures import READ_ONLY_TRANSACTION
from pgreplkit.errors import (
    InsufficientPrivilege,
    NotAPrimary,
    ServerError,
    SlotNotFound,
    TableNotFound,
)
from pgreplkit.plans.logical.coverage import publications_covered
from pgreplkit.plans.logical.stuck import PublisherFacts
from pgreplkit.values.lsn import LSN
from pgreplkit.values.several import several
from pgreplkit.values.tablename import TableName

_CONNECTED_WITHIN = 5
"""Seconds."""


@contextmanager
def asking(link: Link, oid: int, publisher: Server | None) -> Iterator[Server]:
    """The publisher that is given, or else the one to which the subscription connects.

    Raises: ConnectionFailed; InsufficientPrivilege when the role may not see where that is.
    """
    if publisher is not None:
        yield publisher
        return
    conninfo = read_conninfo(link, oid)
    with Server.connect(conninfo, connect_timeout=_CONNECTED_WITHIN) as opened:
        yield opened


def read_conninfo(link: Link, oid: int) -> str:
    """Where a subscription connects to; it may hold a password.

    Raises: InsufficientPrivilege for other roles than superusers.
    """
    tried = "read where the subscription connects to (give publisher=… instead)"
    record = link.one(tried, CONNECTION, [oid], grant="SUPERUSER")
    conninfo: str = record["conninfo"]
    return conninfo


def read_publisher(
    publisher: Server, state: SubscriptionState
) -> tuple[PublisherFacts, list[tuple[TableName, list[str]]]]:
    """What it tells of a subscription's publications and slots; and the tables that it publishes,
    with their columns."""
    link, names = publisher._link, [*state.subpublications]
    there = link.all("read the publications", PUBLICATION_NAMES, [names])
    published_now = tables_published(link.version.major)
    tables = link.all("read the published tables", published_now, [names])
    places = link.all("count the slots", PLACES)
    made = link.all("look for slots being made", SLOTS_BEING_MADE, [state.oid])
    old = link.all("read the transactions", OLD_TRANSACTIONS.sql(link.version.major))
    slot, users = None, []
    with suppress(SlotNotFound):
        if state.subslotname is not None:
            slot = read_slot(link, state.subslotname)
            users = link.all("ask who uses the slot", USED_BY, [slot.slot_name])
    facts = PublisherFacts(
        missing_publications=tuple(sorted({*names} - {record["name"] for record in there})),
        unreadable=tuple(table_named(r) for r in tables if not r["is_readable"]),
        slot=slot,
        slot_user=users[0]["application_name"] if users else None,
        slots_being_made=tuple(record["name"] for record in made),
        old_transactions=tuple(OLD_TRANSACTIONS.read(record) for record in old),
        full={p["setting"]: p["most"] for p in places if p["used"] >= p["most"]},
    )
    return facts, [(table_named(record), record["columns"]) for record in tables]


def missing_publications(publisher: Server, names: Sequence[str]) -> list[str]:
    """Those that are not there."""
    records = publisher._link.all("read the publications", PUBLICATION_NAMES, [[*names]])
    return sorted({*names} - {record["name"] for record in records})


def set_fence(link: Link) -> LSN:
    """Commit a message, and give the position by which it and all before it are flushed."""
    tried = "set a fence"
    if not link.is_autocommit:
        raise ServerError(tried, "it commits: use an autocommit connection")
    link.one(tried, FENCE, meaning={READ_ONLY_TRANSACTION: NotAPrimary})
    record = link.one(tried, FLUSHED)
    lsn: LSN = record["lsn"]
    return lsn


def read_subscriptions(subscriber: Link) -> list[SubscriptionState]:
    """The subscriptions of the database, by name."""
    sql = SUBSCRIPTIONS.sql(subscriber.version.major)
    grant = "SELECT ON pg_subscription"
    records = subscriber.all("read pg_subscription", sql, grant=grant)
    return [SUBSCRIPTIONS.read(record) for record in records]


def tables_between(
    publisher: Link,
    subscriber: Link,
    tables: Iterable[AnyPublished] | None,
    operation: str,
) -> list[PublishedTable]:
    """Return the tables that an operation covers: the given ones, or those that are replicated.

    Raises: PublicationNotFound; TableNotFound when no table is published; TypeError or ValueError
    for ``tables`` that is one str, or empty.
    """
    if tables is not None:
        return [published(table) for table in several(tables, "tables", at_least=1)]
    states = read_subscriptions(subscriber)
    records = publisher.all("read the publications", ALL_PUBLICATION_NAMES)
    names = publications_covered(
        operation,
        {state.subname: state.subpublications for state in states},
        [record["name"] for record in records],
    )
    if covered := read_published(publisher, names):
        return covered
    found = f"no table is published by {', '.join(map(repr, names))}"
    raise TableNotFound(operation, f"{found}; add tables there, or name them with tables=")


def read_published(publisher: Link, names: Iterable[str]) -> list[PublishedTable]:
    """The tables of publications as the server expands them, by name."""
    sql = published_tables(publisher.version.major)
    records = publisher.all("read the published tables", sql, [[*names]])
    return [PublishedTable(table_named(r), r["columns"], r["where"]) for r in records]


def read_identities(link: Link, tables: Sequence[TableName]) -> list[ReplicaIdentity]:
    """By what the old rows of those of the tables are told that are there, by name."""
    columns = [[table.schema for table in tables], [table.name for table in tables]]
    sql = identities(link.version.major, NAMED_TABLES)
    records = link.all("read the replica identities", sql, columns)
    return [identity_in(record) for record in records]


def insist_on_all(
    operation: str, where: str, asked: Iterable[TableName], there: Iterable[TableName]
) -> None:
    """Raise TableNotFound for the tables that are asked for and do not exist."""
    if missing := {*asked} - {*there}:
        which = ", ".join(map(str, sorted(missing)))
        raise TableNotFound(operation, f"{where} has no table {which}")


def insist_on_all_rows(link: Link, operation: str, tables: Sequence[TableName]) -> None:
    """Raise InsufficientPrivilege when row security hides rows of a table from this role."""
    columns = [[table.schema for table in tables], [table.name for table in tables]]
    if records := link.all(operation, FILTERED_TABLES, columns):
        which = ", ".join(str(table_named(record)) for record in records)
        found = f"row level security hides rows of {which} from this role"
        raise InsufficientPrivilege(operation, link.role, "BYPASSRLS", found)
