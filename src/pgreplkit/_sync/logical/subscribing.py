# Generated from pgreplkit/_async/logical/subscribing.py by `nox -s sync`. Do not edit.
"""Making and dropping subscriptions, whether or not the publisher answers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import attrs
from psycopg.sql import SQL, Composed, Identifier

from pgreplkit._sync.logical.publisher import asking, missing_publications, read_conninfo
from pgreplkit._sync.server.server import Server, insist_on_servers
from pgreplkit._sync.server.slot import Slot, read_slot
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.logical.stuck import (
    OLD_TRANSACTIONS,
)
from pgreplkit.catalog.logical.subscription import (
    ALTER_SUBSCRIPTION,
    CREATE_SUBSCRIPTION,
    DETACH_SUBSCRIPTION,
    DISABLE_SUBSCRIPTION,
    DROP_SUBSCRIPTION,
    ONE_SUBSCRIPTION,
    SUBSCRIPTIONS,
    WITH_OPTIONS,
    SubscribedTable,
    SubscriptionState,
)
from pgreplkit.catalog.server.identity import IDENTITY, STARTED, unsigned_system_id
from pgreplkit.driver import statements as parts
from pgreplkit.driver.conninfo import address, server_conninfo
from pgreplkit.driver.failures import (
    DUPLICATE_OBJECT,
    PROTOCOL_VIOLATION,
    READ_ONLY_TRANSACTION,
    UNDEFINED_OBJECT,
    UNDEFINED_TABLE,
)
from pgreplkit.errors import (
    AlreadyExists,
    ConnectionFailed,
    InsufficientPrivilege,
    NotAPrimary,
    PublicationNotFound,
    PublisherUnreachable,
    ServerError,
    SlotNotFound,
    StatementTimeout,
    SubscriptionNotFound,
    TableNotFound,
)
from pgreplkit.plans.logical.subscription import (
    DroppedSubscription,
    SubscriptionOptions,
    leftovers,
)
from pgreplkit.values.slotname import checked_slot_name

MEANING = {
    DUPLICATE_OBJECT: AlreadyExists,
    UNDEFINED_OBJECT: SubscriptionNotFound,
    UNDEFINED_TABLE: TableNotFound,
    READ_ONLY_TRANSACTION: NotAPrimary,
}
"""What the statements about subscriptions raise."""
_NOT_ANSWERED = {"08006": PublisherUnreachable, "08001": PublisherUnreachable}
"""From 14 on; before, an unreachable publisher is an internal error (XX000)."""
_OF_THE_PUBLISHER = {*_NOT_ANSWERED, "XX000"}
"""What is raised too when the publisher answers, and cannot drop the slot."""
_ANSWERS_WITHIN = 5
"""Seconds that this program tries to connect there."""
_NOWHERE = "host=/nowhere password=none"


def read_subscription(link: Link, name: str) -> SubscriptionState:
    """The subscription of that name in this database.

    Raises: SubscriptionNotFound.
    """
    tried = f"read the subscription {name!r}"
    sql = ONE_SUBSCRIPTION.sql(link.version.major)
    for record in link.all(tried, sql, [name], grant="SELECT ON pg_subscription"):
        return ONE_SUBSCRIPTION.read(record)
    raise SubscriptionNotFound(tried, "there is no subscription of that name in this database")


def ask_publisher(
    link: Link, tried: str, statement: Composed, *, timeout: float, grant: str
) -> None:
    """Execute a statement for which the server connects to a publisher.

    Raises: PublisherUnreachable; AlreadyExists for a slot of the publisher.
    """
    # A publisher that refuses is told as a breach of protocol, from 16 on.
    meaning = {**MEANING, **_NOT_ANSWERED, PROTOCOL_VIOLATION: ServerError}
    try:
        link.alone(tried, statement, timeout=timeout, grant=grant, meaning=meaning)
    except ServerError as error:
        if "replication slot" in error.found and error.found.endswith("already exists"):
            raise AlreadyExists(tried, error.found, error.sqlstate) from None
        is_old = link.version.major < 14 and error.sqlstate == "XX000"
        if not is_old or "connect" not in error.found:
            raise
        raise PublisherUnreachable(tried, error.found, error.sqlstate) from None


def make_subscription(
    link: Link,
    name: str,
    publisher: str | Server,
    publications: Sequence[str],
    options: SubscriptionOptions,
    *,
    timeout: float,
) -> SubscriptionState:
    """CREATE SUBSCRIPTION, with the slot made before where the server would wait for itself."""
    tried = f"create the subscription {name!r}"
    if not publications:
        raise ValueError("a subscription is to one publication at least")
    parts.subscription_options(link.require, options)
    theirs = publisher if isinstance(publisher, Server) else None
    conninfo = publisher
    if not isinstance(conninfo, str):
        insist_on_servers(publisher=conninfo)
        conninfo = server_conninfo(
            conninfo.connection, conninfo._link.conninfo, major=link.version.major
        )
    connection = parts.connection(conninfo)
    slot_name, answers = _slot_on_own_server(
        link, name, conninfo, theirs, publications, options, timeout=timeout
    )
    if slot_name is not None:
        options = attrs.evolve(options, create_slot=False, slot_name=slot_name)
    statement = SQL(CREATE_SUBSCRIPTION).format(
        Identifier(name), connection, parts.names(publications)
    )
    if given := parts.subscription_options(link.require, options):
        statement += SQL(WITH_OPTIONS).format(SQL(", ").join(given))
    grant = "SUPERUSER"
    if link.version.major >= 16:
        grant = f"pg_create_subscription; CREATE ON DATABASE {link.connection.info.dbname}"
    try:
        ask_publisher(link, tried, statement, timeout=timeout, grant=grant)
    except BaseException as error:
        if slot_name is not None:
            Slot(link, read_slot(link, slot_name)).drop()
        elif isinstance(error, StatementTimeout) and not answers:
            found = f"no answer in {timeout:g} s"
            raise PublisherUnreachable(tried, found, error.sqlstate) from None
        elif isinstance(error, StatementTimeout) and (open_now := _open_on(conninfo)):
            found = f"{error.found}: a slot waits for what is open on the publisher, {open_now}"
            raise StatementTimeout(tried, found, error.sqlstate) from None
        raise
    return read_subscription(link, name)


def _slot_on_own_server(
    link: Link,
    name: str,
    conninfo: str,
    publisher: Server | None,
    publications: Sequence[str],
    options: SubscriptionOptions,
    *,
    timeout: float,
) -> tuple[str | None, bool]:
    """The slot that is made beforehand where the publisher is the subscriber's own server; and
    whether the publisher answers from here.

    There the server would wait for its own transaction to end before it had the slot.

    Raises: PublicationNotFound.
    """
    if options.connect is False:
        return None, False
    try:
        opened = publisher or Server.connect(conninfo, connect_timeout=_ANSWERS_WITHIN)
    except ConnectionFailed:
        # The server may have a way there that this program has not: it will tell.
        return None, False
    try:
        missing = missing_publications(opened, publications)
        if missing:
            raise PublicationNotFound(
                f"create the subscription {name!r}",
                f"the publisher has no publication {', '.join(missing)} in its database",
            )
        is_own = _identity(opened._link) == _identity(link)
        if not is_own or options.create_slot is False:
            return None, True
        slot_name = checked_slot_name(options.slot_name or name)
        slot = opened.create_logical_slot(
            slot_name,
            two_phase=bool(options.two_phase),
            failover=bool(options.failover),
            timeout=timeout,
        )
        return slot.name, True
    finally:
        if opened is not publisher:
            opened.close()


def _open_on(conninfo: str) -> str:
    """The oldest transactions that are open on a publisher; empty when that cannot be asked."""
    try:
        with Server.connect(conninfo, connect_timeout=_ANSWERS_WITHIN) as publisher:
            link = publisher._link
            sql = OLD_TRANSACTIONS.sql(link.version.major)
            records = link.all("read the transactions", sql, timeout=5.0)
    except ServerError:
        return ""
    return "; ".join(str(OLD_TRANSACTIONS.read(record)) for record in records[:3])


def _identity(link: Link) -> tuple[int, object]:
    """What tells a server from all others, from its own clones too."""
    started = link.one("ask when the server was started", STARTED)
    return _system_id(link), started["started"]


def _system_id(link: Link) -> int:
    record = link.one("ask for the identity", IDENTITY)
    return unsigned_system_id(record["system_id"])


def drop_both(
    link: Link, state: SubscriptionState, tables: Sequence[SubscribedTable], *, timeout: float
) -> DroppedSubscription:
    """DROP SUBSCRIPTION, for which the server drops the slots of the publisher.

    Raises: PublisherUnreachable; nothing is changed then.
    """
    tried = f"drop the subscription {state.subname!r}"
    statement = SQL(DROP_SUBSCRIPTION).format(Identifier(state.subname))
    try:
        ask_publisher(link, tried, statement, timeout=timeout, grant=state.subowner)
    except StatementTimeout as error:
        found = f"no answer in {timeout:g} s{_THEN}"
        raise PublisherUnreachable(tried, found, error.sqlstate) from None
    except ServerError as error:
        if error.sqlstate not in _OF_THE_PUBLISHER:
            raise
        # A slot that is not there any more keeps the server from dropping the subscription.
        if _has_slot(link, state) is not False:
            raise PublisherUnreachable(tried, f"{error.found}{_THEN}", error.sqlstate) from None
        dropped = drop_here(link, state, tables, timeout=timeout)
        left = tuple(one for one in dropped.leftovers if one.name != state.subslotname)
        return attrs.evolve(dropped, leftovers=left, slot_was_missing=True)
    return DroppedSubscription(name=state.subname)


_THEN = "; drop(publisher='gone') drops it without asking there, and tells what stays"


def _has_slot(link: Link, state: SubscriptionState) -> bool | None:
    """Whether the publisher has its slot; None when this program cannot find out."""
    try:
        with asking(link, state.oid, None) as publisher:
            read_slot(publisher._link, str(state.subslotname))
    except SlotNotFound:
        return False
    except (ConnectionFailed, InsufficientPrivilege):
        return None
    return True


def drop_here(
    link: Link, state: SubscriptionState, tables: Sequence[SubscribedTable], *, timeout: float
) -> DroppedSubscription:
    """Drop it without a word to the publisher, all or nothing."""
    name = Identifier(state.subname)
    where = "the publisher"
    with suppress(InsufficientPrivilege):
        where = address(read_conninfo(link, state.oid))
    left = leftovers(
        state.oid,
        state.subslotname,
        tables,
        system_id=_system_id(link),
        major=link.version.major,
        where=where,
    )
    tried = f"drop the subscription {state.subname!r}"
    with link.transaction(tried, timeout=timeout) as within:
        # With tables that are not ready the server tries to connect even without a slot; where it
        # is led it fails at once.
        within.run(
            tried,
            SQL(DISABLE_SUBSCRIPTION).format(name),
            SQL(ALTER_SUBSCRIPTION).format(name, parts.connection(_NOWHERE)),
            SQL(DETACH_SUBSCRIPTION).format(name),
            SQL(DROP_SUBSCRIPTION).format(name),
            grant=state.subowner,
            meaning=MEANING,
        )
    return DroppedSubscription(name=state.subname, leftovers=left)


def read_subscriptions(subscriber: Link) -> list[SubscriptionState]:
    """The subscriptions of the database, by name."""
    sql = SUBSCRIPTIONS.sql(subscriber.version.major)
    grant = "SELECT ON pg_subscription"
    records = subscriber.all("read pg_subscription", sql, grant=grant)
    return [SUBSCRIPTIONS.read(record) for record in records]
