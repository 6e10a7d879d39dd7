"""Create and drop subscriptions, whether or not the publisher answers."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

import attrs
from psycopg.sql import SQL, Composed, Identifier

from pgreplkit._async.logical.publisher import missing_publications, publisher_of, read_conninfo
from pgreplkit._async.server.identity import read_database
from pgreplkit._async.server.server import AsyncServer, insist_on_servers
from pgreplkit._async.server.slot import AsyncSlot, read_slot
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.features import has
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
from pgreplkit.catalog.server.identity import IDENTITY, unsigned_system_id
from pgreplkit.driver import statements as parts
from pgreplkit.driver.conninfo import address, is_same_address_on, server_conninfo
from pgreplkit.driver.failures import (
    DUPLICATE_OBJECT,
    READ_ONLY_TRANSACTION,
    UNDEFINED_OBJECT,
    UNDEFINED_TABLE,
    source_function,
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
from pgreplkit.errors.server import PROTOCOL_VIOLATION
from pgreplkit.plans.logical.subscription import (
    DroppedSubscription,
    SubscriptionOptions,
    leftovers,
)
from pgreplkit.plans.server.identity import insist_on_another_publisher, is_one_server
from pgreplkit.values.seconds import Timeout, checked_seconds
from pgreplkit.values.slotname import checked_slot_name

MEANING = {
    DUPLICATE_OBJECT: AlreadyExists,
    UNDEFINED_OBJECT: SubscriptionNotFound,
    UNDEFINED_TABLE: TableNotFound,
    READ_ONLY_TRANSACTION: NotAPrimary,
}
"""The errors of statements about subscriptions, by SQLSTATE."""
_NOT_ANSWERED = {"08006": PublisherUnreachable, "08001": PublisherUnreachable}
"""SQLSTATEs of an unreachable publisher (14 on); before, it is an internal error (XX000)."""
_DROP_FAILED = {*_NOT_ANSWERED, "XX000"}
"""SQLSTATEs of DROP SUBSCRIPTION if the publisher does not answer, or cannot drop the slot."""
_CONNECTING = {"CreateSubscription", "AlterSubscription_refresh", "DropSubscription"}
"""Functions of servers before 14 that raise XX000 if the publisher does not answer."""
_CREATING_SLOT = "libpqrcv_create_slot"
"""The server's function that reports that the publisher could not create a slot."""
_CONNECT_TIMEOUT = 5
"""Seconds for this program to connect to the publisher, and for a query there: it may not be
reachable from here although the subscriber reaches it."""
_NOWHERE = "host=/nowhere password=none"
"""A connection string with which a connection fails at once; some owners need a password in it."""


async def read_subscription(link: AsyncLink, name: str) -> SubscriptionState:
    """Return the subscription of that name in this database.

    Raises: SubscriptionNotFound.
    """
    operation = f"read the subscription {name!r}"
    sql = ONE_SUBSCRIPTION.sql(link.version.major)
    for record in await link.all(operation, sql, [name], grant="SELECT ON pg_subscription"):
        return ONE_SUBSCRIPTION.read(record)
    raise SubscriptionNotFound(operation, "the database has no subscription of that name")


async def ask_publisher(
    link: AsyncLink, operation: str, statement: Composed, *, timeout: Timeout, grant: str
) -> None:
    """Execute a statement for which the server connects to a publisher.

    Raises: PublisherUnreachable.
    """
    # From 16 on, a publisher that refuses is reported as a protocol violation.
    meaning = {**MEANING, **_NOT_ANSWERED, PROTOCOL_VIOLATION: ServerError}
    try:
        await link.run_alone(operation, statement, timeout=timeout, grant=grant, meaning=meaning)
    except ServerError as error:
        is_internal = error.sqlstate == "XX000" and not has(
            "subscription.sqlstate", link.version.major
        )
        if not is_internal or source_function(error) not in _CONNECTING:
            raise
        raise PublisherUnreachable(operation, error.found, error.sqlstate) from None


async def make_subscription(
    link: AsyncLink,
    name: str,
    publisher: str | AsyncServer,
    publications: Sequence[str],
    options: SubscriptionOptions,
    *,
    timeout: Timeout,
) -> SubscriptionState:
    """Create a subscription; create its slot before, where the server would wait for itself."""
    operation = f"create the subscription {name!r}"
    if not publications:
        raise ValueError("publications is empty; a subscription needs at least one")
    # An option that the server lacks is refused before a slot is created for nothing.
    parts.subscription_options(link.require, options)
    theirs = publisher if isinstance(publisher, AsyncServer) else None
    conninfo = publisher
    if not isinstance(conninfo, str):
        insist_on_servers(publisher=conninfo)
        conninfo = server_conninfo(
            conninfo.connection, conninfo._link.conninfo, major=link.version.major
        )
    connection = parts.connection(conninfo)
    slot_name, answers = await _slot_on_own_server(
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
    if has("subscription.creator", link.version.major):
        grant = f"pg_create_subscription; CREATE ON DATABASE {link.connection.info.dbname}"
    try:
        await ask_publisher(link, operation, statement, timeout=timeout, grant=grant)
    except BaseException as error:
        # Without its subscription, the slot would retain WAL until someone finds it.
        if slot_name is not None:
            await AsyncSlot(link, await read_slot(link, slot_name)).drop()
        elif isinstance(error, StatementTimeout):
            raise await _why_late(error, conninfo, timeout, answers=answers) from None
        elif isinstance(error, ServerError) and await _is_taken(
            error, theirs or conninfo, options.slot_name or name
        ):
            raise AlreadyExists(operation, error.found, error.sqlstate) from None
        raise
    return await read_subscription(link, name)


async def _why_late(
    error: StatementTimeout, conninfo: str, timeout: Timeout, *, answers: bool
) -> ServerError:
    """Return the error of a CREATE SUBSCRIPTION that did not end in time, with the reason.

    ``answers`` says whether the publisher answered this program before.
    """
    if not answers:
        seconds = checked_seconds(timeout, "timeout")
        return PublisherUnreachable(error.operation, f"no answer in {seconds:g} s", error.sqlstate)
    transactions = await _open_on(conninfo)
    if not transactions:
        return error
    found = f"{error.found}; the slot waits for the publisher's transactions: {transactions}"
    return StatementTimeout(error.operation, found, error.sqlstate)


async def _is_taken(error: ServerError, publisher: str | AsyncServer, slot_name: str) -> bool:
    """Return whether CREATE SUBSCRIPTION failed because the publisher has a slot of that name.

    The subscriber reports each failure of the publisher with one SQLSTATE, and a text in the
    publisher's language.
    """
    if source_function(error) != _CREATING_SLOT:
        return False
    opened = publisher
    try:
        if isinstance(opened, str):
            opened = await AsyncServer.connect(opened, connect_timeout=_CONNECT_TIMEOUT)
        await read_slot(opened._link, slot_name)
    except ServerError:
        return False
    finally:
        if opened is not publisher and isinstance(opened, AsyncServer):
            await opened.close()
    return True


async def _slot_on_own_server(
    link: AsyncLink,
    name: str,
    conninfo: str,
    publisher: AsyncServer | None,
    publications: Sequence[str],
    options: SubscriptionOptions,
    *,
    timeout: Timeout,
) -> tuple[str | None, bool]:
    """Create the slot before, if publisher and subscriber are the same server.

    Return its name, or None, and whether the publisher answers from here. CREATE SUBSCRIPTION would
    wait for the end of its own transaction to create the slot on the same server.

    Raises: PublicationNotFound; ServerError if the subscriber would get its own changes.
    """
    if options.connect is False:
        return None, False
    try:
        opened = publisher or await AsyncServer.connect(conninfo, connect_timeout=_CONNECT_TIMEOUT)
    except ConnectionFailed:
        # The server may reach the publisher although this program does not.
        return None, False
    try:
        missing = await missing_publications(opened, publications)
        if missing:
            raise PublicationNotFound(
                f"create the subscription {name!r}",
                f"the publisher has no publication {', '.join(missing)} in its database",
            )
        source, own = await read_database(opened._link), await read_database(link)
        insist_on_another_publisher(f"create the subscription {name!r}", source, own)
        if not is_one_server(source, own) or options.create_slot is False:
            return None, True
        slot_name = checked_slot_name(options.slot_name or name)
        slot = await opened.create_logical_slot(
            slot_name,
            two_phase=bool(options.two_phase),
            failover=bool(options.failover),
            timeout=timeout,
        )
        return slot.name, True
    finally:
        if opened is not publisher:
            await opened.close()


async def insist_on_slot_at(link: AsyncLink, state: SubscriptionState, conninfo: str) -> None:
    """Refuse a connection string that leads to a publisher without the subscription's slot.

    Raises: ConnectionFailed for a malformed one; SlotNotFound; ServerError if the subscriber would
    get its own changes.
    """
    parts.connection(conninfo)
    operation = f"connect the subscription {state.subname!r} to another publisher"
    if not is_same_address_on(conninfo, link.connection):
        return
    with suppress(ConnectionFailed):
        # The subscriber may reach a publisher that this program does not reach.
        async with await AsyncServer.connect(conninfo, connect_timeout=_CONNECT_TIMEOUT) as there:
            source = await read_database(there._link)
            insist_on_another_publisher(operation, source, await read_database(link))
            if state.subslotname is not None:
                await _insist_on_slot(operation, there, state.subslotname, source.database)


async def _insist_on_slot(operation: str, there: AsyncServer, slot: str, database: str) -> None:
    slots = {one.name: one.state.database for one in await there.slots()}
    if slots.get(slot) != database:
        where = f"belongs to the database {slots[slot]!r}" if slot in slots else "does not exist"
        raise SlotNotFound(
            operation,
            f"on that server, the slot {slot!r} {where}, and the string leads to {database!r}",
            remedy="create the slot there, or detach_slot() first",
        )


async def _open_on(conninfo: str) -> str:
    """Describe the publisher's oldest open transactions; empty if it cannot be asked."""
    try:
        async with await AsyncServer.connect(
            conninfo, connect_timeout=_CONNECT_TIMEOUT
        ) as publisher:
            link = publisher._link
            sql = OLD_TRANSACTIONS.sql(link.version.major)
            records = await link.all("read the transactions", sql, timeout=_CONNECT_TIMEOUT)
    except ServerError:
        return ""
    # The oldest ones: the slot waits for these first, and the error stays short.
    return "; ".join(str(OLD_TRANSACTIONS.read(record)) for record in records[:3])


async def _system_id(link: AsyncLink) -> int:
    record = await link.one("read the system identifier", IDENTITY)
    return unsigned_system_id(record["system_id"])


async def drop_both(
    link: AsyncLink,
    state: SubscriptionState,
    tables: Sequence[SubscribedTable],
    *,
    timeout: Timeout,
) -> DroppedSubscription:
    """Drop a subscription, and let the server drop its slots on the publisher.

    Raises: PublisherUnreachable; nothing is changed then.
    """
    operation = f"drop the subscription {state.subname!r}"
    statement = SQL(DROP_SUBSCRIPTION).format(Identifier(state.subname))
    try:
        await ask_publisher(link, operation, statement, timeout=timeout, grant=state.subowner)
    except StatementTimeout as error:
        found = f"no answer in {checked_seconds(timeout, 'timeout'):g} s{_THEN}"
        raise PublisherUnreachable(operation, found, error.sqlstate) from None
    except ServerError as error:
        if error.sqlstate not in _DROP_FAILED:
            raise
        # The server does not drop a subscription whose slot no longer exists.
        if await _has_slot(link, state) is not False:
            raise PublisherUnreachable(operation, f"{error.found}{_THEN}", error.sqlstate) from None
        dropped = await drop_here(link, state, tables, timeout=timeout)
        left = tuple(one for one in dropped.leftovers if one.name != state.subslotname)
        return attrs.evolve(dropped, leftovers=left, slot_was_missing=True)
    return DroppedSubscription(name=state.subname)


_THEN = "; drop(publisher_gone=True) drops it without the publisher, and returns the leftovers"


async def _has_slot(link: AsyncLink, state: SubscriptionState) -> bool | None:
    """Return whether the publisher has the slot; None if this program cannot find out."""
    try:
        async with publisher_of(link, state.oid, None) as publisher:
            await read_slot(publisher._link, str(state.subslotname))
    except SlotNotFound:
        return False
    except (ConnectionFailed, InsufficientPrivilege):
        return None
    return True


async def drop_here(
    link: AsyncLink,
    state: SubscriptionState,
    tables: Sequence[SubscribedTable],
    *,
    timeout: Timeout,
) -> DroppedSubscription:
    """Drop a subscription without connecting to the publisher."""
    name = Identifier(state.subname)
    where = "the publisher"
    with suppress(InsufficientPrivilege):
        where = address(await read_conninfo(link, state.oid))
    # Read before the DROP, which removes the rows of the catalog.
    left = leftovers(
        state.oid,
        state.subslotname,
        tables,
        system_id=await _system_id(link),
        major=link.version.major,
        where=where,
    )
    operation = f"drop the subscription {state.subname!r}"
    async with link.transaction(operation, timeout=timeout) as within:
        # If tables are not ready, the server connects to the publisher even without a slot. Another
        # connection string lets that fail at once.
        await within.run(
            operation,
            SQL(DISABLE_SUBSCRIPTION).format(name),
            SQL(ALTER_SUBSCRIPTION).format(name, parts.connection(_NOWHERE)),
            SQL(DETACH_SUBSCRIPTION).format(name),
            SQL(DROP_SUBSCRIPTION).format(name),
            grant=state.subowner,
            meaning=MEANING,
        )
    return DroppedSubscription(name=state.subname, leftovers=left)


async def read_subscriptions(subscriber: AsyncLink) -> list[SubscriptionState]:
    """Return the subscriptions of the database, by name."""
    sql = SUBSCRIPTIONS.sql(subscriber.version.major)
    grant = "SELECT ON pg_subscription"
    records = await subscriber.all("read pg_subscription", sql, grant=grant)
    return [SUBSCRIPTIONS.read(record) for record in records]
