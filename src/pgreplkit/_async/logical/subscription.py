"""AsyncSubscription: a subscription of a database, and the operations on it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Self

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pgreplkit._async._io import sleep
from pgreplkit._async.logical import subscribing
from pgreplkit._async.logical.catchup import wait_for_applied
from pgreplkit._async.logical.conflictlog import read_log
from pgreplkit._async.logical.failing import find_failed
from pgreplkit._async.logical.publisher import publisher_of
from pgreplkit._async.logical.stuck import find_reasons
from pgreplkit._async.server.positions import write_marker
from pgreplkit._async.server.server import AsyncServer
from pgreplkit._async.server.slot import AsyncSlot, read_slot
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit._text import counted
from pgreplkit.catalog.features import has
from pgreplkit.catalog.logical.subscription import (
    ADVANCE_ORIGIN,
    ALTER_SUBSCRIPTION,
    ARE_READY,
    CHANGE_OWNER,
    COPY_DATA,
    DETACH_SLOT,
    DISABLE,
    DO_NOT_COPY_DATA,
    ENABLE,
    IS_COPYING,
    REFRESH_PUBLICATION,
    REFRESH_SEQUENCES,
    RENAME,
    SET_OPTIONS,
    SET_PUBLICATION,
    SKIP_TRANSACTION,
    STATS,
    WITH_OPTION,
    WITHOUT_REFRESH,
    WORKERS,
    SubscribedTable,
    SubscriptionState,
    SubscriptionStats,
    SubscriptionWorker,
    subscribed_table_in,
    subscribed_tables,
)
from pgreplkit.driver import statements as parts
from pgreplkit.driver.backoff import Backoff
from pgreplkit.errors import (
    PublicationNotFound,
    ServerError,
    SlotNotFound,
    SubscriptionNotFound,
    SubscriptionStuck,
    WaitTimeout,
)
from pgreplkit.plans.logical.conflictlog import ConflictRecord, logged_conflicts
from pgreplkit.plans.logical.failing import FailedTransaction
from pgreplkit.plans.logical.stuck import SubscriptionProblem
from pgreplkit.plans.logical.subscription import (
    ONLY_WHEN_CREATED,
    DroppedSubscription,
    SubscriptionOptions,
    SubscriptionStatus,
)
from pgreplkit.values.flags import checked_flags
from pgreplkit.values.lsn import LSN
from pgreplkit.values.madeby import made_by
from pgreplkit.values.record import Stateful
from pgreplkit.values.rows import Rows
from pgreplkit.values.seconds import Timeout
from pgreplkit.values.slotname import checked_slot_name


@made_by("primary.subscription(name) or primary.create_subscription(name)", AsyncLink)
class AsyncSubscription(Stateful):
    """A subscription, with its ``state`` when it was last read.

    ``subscription``, ``subscriptions`` and ``create_subscription`` of the subscriber return it.
    Each change needs the subscription's owner, and may take ``timeout`` seconds.

    Some methods ask the publisher too: the given ``publisher=``, or the server to which the
    subscription connects. The latter needs a superuser on the subscriber, and a publisher that is
    reachable from here.
    """

    def __init__(self, link: AsyncLink, state: SubscriptionState) -> None:
        self._link = link
        self.state: SubscriptionState = state

    @property
    def name(self) -> str:
        """The subscription's name."""
        return self.state.subname

    async def refresh(self) -> Self:
        """Read the state again, and return the subscription.

        Raises: SubscriptionNotFound.  Source: pg_subscription.
        """
        await self._read(self.name)
        return self

    async def _read(self, name: str) -> None:
        self.state = await subscribing.read_subscription(self._link, name)

    async def tables(self) -> Rows[SubscribedTable]:
        """Return the tables with their synchronization state, by name.

        Source: pg_subscription_rel, pg_stat_subscription, from 14 on pg_stat_progress_copy.
        """
        sql = subscribed_tables(self._link.version.major)
        records = await self._link.all(f"read the tables of {self.name!r}", sql, [self.state.oid])
        return Rows(subscribed_table_in(record) for record in records)

    async def workers(self) -> Rows[SubscriptionWorker]:
        """Return the running workers.

        Source: pg_stat_subscription.
        """
        sql = WORKERS.sql(self._link.version.major)
        records = await self._link.all(f"read the workers of {self.name!r}", sql, [self.state.oid])
        return Rows(WORKERS.read(record) for record in records)

    async def stats(self) -> SubscriptionStats:
        """Return the numbers of its workers' errors, and of conflicts (18 on).

        Workers report their counts about a second late, perhaps after ``wait_for_catchup`` has
        returned. Read again before you rely on a count of 0.

        Raises: UnsupportedByServer before 15; SubscriptionNotFound.
        Source: pg_stat_subscription_stats.
        """
        self._link.require("subscription.stats")
        sql = STATS.sql(self._link.version.major)
        operation = f"read the counters of {self.name!r}"
        for record in await self._link.all(operation, sql, [self.state.oid]):
            return STATS.read(record)
        raise SubscriptionNotFound(operation, "the database has no subscription of that name")

    async def conflicts(self) -> Rows[ConflictRecord]:
        """Return the conflicts in the last 1 MB of the subscriber's log.

        ``stats`` counts all conflicts; the log names their rows. An entry may appear shortly after
        its change is applied.

        Raises: UnsupportedByServer before 18; LogUnavailable; InsufficientPrivilege.
        Needs: superuser, or pg_monitor and pg_read_server_files; logging_collector.
        Source: pg_current_logfile().
        """
        self._link.require("subscription.conflicts")
        return Rows(logged_conflicts(await read_log(self._link), self.state.oid))

    async def status(self, publisher: AsyncServer | None = None) -> SubscriptionStatus:
        """Return the state, workers, tables and counters; with a ``publisher``, the lag too.

        Raises: SubscriptionNotFound.  Source: as of ``tables``, ``workers`` and ``stats``.
        """
        await self.refresh()
        # The counters do not exist before 15, and all else does.
        has_stats = has("subscription.stats", self._link.version.major)
        slot = None
        if publisher is not None and self.state.subslotname is not None:
            # All else is worth knowing without it: an interrupted DROP SUBSCRIPTION can leave that.
            with suppress(SlotNotFound):
                slot = await read_slot(publisher._link, self.state.subslotname)
        return SubscriptionStatus(
            state=self.state,
            workers=tuple(await self.workers()),
            tables=tuple(await self.tables()),
            stats=await self.stats() if has_stats else None,
            slot=slot,
        )

    async def enable(self, *, timeout: Timeout = 10.0) -> None:
        """Enable it, so that its workers start.

        Raises: ServerError without a slot; StatementTimeout.
        Source: ALTER SUBSCRIPTION … ENABLE.
        """
        await self._alter(SQL(ENABLE), timeout)

    async def disable(self, *, timeout: Timeout = 10.0) -> None:
        """Disable it, and wait until its workers have ended. Its slot still retains WAL.

        In a transaction of yours, the workers end after the commit, which is not awaited.

        Raises: WaitTimeout; StatementTimeout.  Source: ALTER SUBSCRIPTION … DISABLE.
        """
        backoff = Backoff(timeout)
        await self._alter(SQL(DISABLE), timeout)
        # In a transaction of the caller, the workers end after its commit only.
        while self._link.is_autocommit and (workers := await self.workers()):
            if backoff.is_over:
                pids = ", ".join(str(worker.pid) for worker in workers)
                raise WaitTimeout(
                    f"timed out after {backoff.limit:g} s waiting for the workers of {self.name!r}"
                    f" to end: it is disabled, and process {pids} is still running"
                )
            await sleep(backoff.next_pause())

    async def refresh_publications(
        self, *, copy_data: bool = True, timeout: Timeout = 60.0
    ) -> None:
        """Add tables that were added to its publications, and remove the others.

        Raises: ServerError if it is disabled, or in a transaction; StatementTimeout.
        Source: ALTER SUBSCRIPTION … REFRESH PUBLICATION.
        """
        checked_flags(copy_data=copy_data)
        await self._alter_by_publisher(SQL(REFRESH_PUBLICATION), _copying(copy_data), timeout)

    async def refresh_sequences(self, *, timeout: Timeout = 60.0) -> None:
        """Set its sequences to the publisher's positions (19 on, on both sides).

        ``SequencePlan`` does that for every major version.

        Raises: UnsupportedByServer before 19; ServerError in a transaction; StatementTimeout.
        Source: ALTER SUBSCRIPTION … REFRESH SEQUENCES.
        """
        self._link.require("subscription.refresh_sequences")
        await self._alter_by_publisher(SQL(REFRESH_SEQUENCES), None, timeout)

    async def set_publications(
        self, *names: str, copy_data: bool = True, timeout: Timeout = 60.0
    ) -> None:
        """Subscribe to these publications and no others, and add their tables.

        If it is disabled, their tables are added by ``refresh_publications``.

        Raises: ServerError in a transaction; StatementTimeout.
        Source: ALTER SUBSCRIPTION … SET PUBLICATION.
        """
        checked_flags(copy_data=copy_data)
        if not names:
            raise ValueError("names is empty; a subscription needs at least one publication")
        # The server refuses to refresh a disabled subscription.
        refresh = SQL(WITHOUT_REFRESH) if not self.state.subenabled else _copying(copy_data)
        await self._alter_by_publisher(
            SQL(SET_PUBLICATION).format(parts.names(names)), refresh, timeout
        )

    async def add_publications(
        self, *names: str, copy_data: bool = True, timeout: Timeout = 60.0
    ) -> None:
        """Subscribe to further publications.

        Raises and source: as ``set_publications``.
        """
        checked_flags(copy_data=copy_data)
        await self.refresh()
        # ADD PUBLICATION exists since 14; SET PUBLICATION with all names works in every version.
        kept = [name for name in self.state.subpublications if name not in names]
        await self.set_publications(*kept, *names, copy_data=copy_data, timeout=timeout)

    async def drop_publications(self, *names: str, timeout: Timeout = 60.0) -> None:
        """Unsubscribe from publications. Replicated rows stay.

        Raises and source: as ``set_publications``; PublicationNotFound for one to which it does not
        subscribe; ValueError if none would be left.
        """
        await self.refresh()
        if unknown := {*names} - {*self.state.subpublications}:
            raise PublicationNotFound(
                f"alter the subscription {self.name!r}",
                f"it does not subscribe to {', '.join(sorted(unknown))}, only to"
                f" {', '.join(self.state.subpublications)}",
            )
        kept = [name for name in self.state.subpublications if name not in names]
        await self.set_publications(*kept, timeout=timeout)

    async def set_options(self, options: SubscriptionOptions, *, timeout: Timeout = 10.0) -> None:
        """Change the options that are not None.

        ``failover`` and ``two_phase`` can be changed only while it is disabled, and not in a
        transaction.

        Raises: UnsupportedByServer; TypeError for one that only a new subscription has.
        Source: ALTER SUBSCRIPTION … SET.
        """
        given = {name for name, _, _ in options.given()}
        if given & ONLY_WHEN_CREATED:
            which = ", ".join(sorted(given & ONLY_WHEN_CREATED))
            raise TypeError(f"only a new subscription has {which}")
        if not given:
            raise ValueError("no option is given to set")
        if "two_phase" in given:
            self._link.require("subscription.alter_two_phase")
        listed = SQL(", ").join(parts.subscription_options(self._link.require, options))
        what = SQL(SET_OPTIONS).format(listed)
        # The server changes both in the publisher's slot too.
        if given & {"failover", "two_phase"}:
            await self._alter_by_publisher(what, None, timeout)
        else:
            await self._alter(what, timeout)

    async def set_connection(self, conninfo: str, *, timeout: Timeout = 10.0) -> None:
        """Change the connection string. Its slot must exist in that database.

        This is verified before, if the server is reachable from here.

        Raises: SlotNotFound; ServerError if it leads to the subscriber's own database, or to a
        standby of it.  Source: ALTER SUBSCRIPTION … CONNECTION.
        """
        await self.refresh()
        await subscribing.insist_on_slot_at(self._link, self.state, conninfo)
        await self._alter(parts.connection(conninfo), timeout)

    async def detach_slot(self, *, timeout: Timeout = 10.0) -> None:
        """Disable the subscription and remove its slot name: a drop needs no publisher then.

        The slot stays on the publisher, and retains WAL until it is dropped.

        Source: ALTER SUBSCRIPTION … SET (slot_name = NONE).
        """
        # The server refuses to remove the slot of an enabled subscription.
        await self.disable(timeout=timeout)
        await self._alter(SQL(DETACH_SLOT), timeout)

    async def attach_slot(self, name: str, *, timeout: Timeout = 10.0) -> None:
        """Use this slot of the publisher. Changes before the slot's position are missing.

        Source: ALTER SUBSCRIPTION … SET (slot_name).
        """
        options = SubscriptionOptions(slot_name=checked_slot_name(name))
        await self.set_options(options, timeout=timeout)

    async def failure(
        self, *, publisher: AsyncServer | None = None, timeout: Timeout = 10.0
    ) -> FailedTransaction | None:
        """Return the transaction at which the apply worker fails; None if it does not fail.

        It is the first transaction in the slot that is not applied. A worker without an error uses
        the slot all the time; after ``timeout`` seconds the result is None.

        Raises: SlotNotFound, SlotLost; PublicationNotFound, before 18 also if the slot is older
        than a publication; ConnectionFailed; InsufficientPrivilege.
        Needs: superuser, or EXECUTE on pg_replication_origin_progress() from 14 on; REPLICATION on
        the publisher.
        Source: pg_replication_origin_progress(); the slot's changes; the subscriber's log, if
        it is collected and readable.
        """
        await self.refresh()
        async with publisher_of(self._link, self.state.oid, publisher) as server:
            return await find_failed(self._link, self.state, server, timeout=timeout)

    async def skip(self, finish_lsn: LSN, *, timeout: Timeout = 10.0) -> None:
        """Skip the transaction that finishes at a position, with all of its changes.

        ``finish_lsn`` is the start of its commit record: ``failure`` returns it, and the server's
        log calls it "finished at". From 15 on, the server checks that the next transaction is that
        one. Before, the subscription is disabled for a moment, and continues after that position:
        earlier transactions that are not applied are skipped too.

        Raises: StatementTimeout; WaitTimeout.
        Needs: superuser.  Source: ALTER SUBSCRIPTION … SKIP, before 15
        pg_replication_origin_advance().
        """
        if not isinstance(finish_lsn, LSN):
            raise TypeError(f"finish_lsn must be an LSN, not {type(finish_lsn).__name__}")
        if has("subscription.skip", self._link.version.major):
            await self._alter(SQL(SKIP_TRANSACTION).format(Literal(str(finish_lsn))), timeout)
            return
        await self.refresh()
        was_enabled = self.state.subenabled
        # The worker must not apply while its origin moves.
        await self.disable(timeout=timeout)
        operation = f"skip a transaction of {self.name!r}"
        origin = f"pg_{self.state.oid}"
        try:
            await self._link.one(
                # The worker continues after the commit record that begins at this position.
                operation,
                ADVANCE_ORIGIN,
                [origin, finish_lsn + 1],
                grant="SUPERUSER",
            )
        finally:
            # Also after an error: a disabled subscription retains WAL, and no one would look for
            # it.
            if was_enabled:
                await self.enable(timeout=timeout)

    async def rename(self, name: str, *, timeout: Timeout = 10.0) -> None:
        """Rename it. Its slot keeps its name.

        Raises: AlreadyExists.  Source: ALTER SUBSCRIPTION … RENAME TO.
        """
        what = SQL(RENAME).format(Identifier(name))
        await self._alter(what, timeout, name=name)

    async def set_owner(self, role: str, *, timeout: Timeout = 10.0) -> None:
        """Change its owner; it then runs with the privileges of that role.

        Source: ALTER SUBSCRIPTION … OWNER TO.
        """
        await self._alter(SQL(CHANGE_OWNER).format(Identifier(role)), timeout)

    async def wait_for_sync(
        self,
        *,
        timeout: Timeout = 600.0,
        publisher: AsyncServer | None = None,
        on_progress: Callable[[SubscriptionStatus], object] | None = None,
    ) -> SubscriptionStatus:
        """Wait until every table is READY: copied, and maintained by the apply worker.

        ``on_progress`` is called with each status.

        Raises: SubscriptionStuck after ``timeout`` seconds, or at once if it is disabled or has
        no table, with every reason that was found.
        Source: as ``status``; and as ``diagnose``.
        """
        backoff = Backoff(timeout)
        while True:
            if on_progress is None:
                await self._wait_while_copying(backoff)
            status = await self.status()
            if on_progress is not None:
                on_progress(status)
            if status.is_synced:
                return status
            # Only a refresh adds tables, so that waiting would not help.
            if not status.tables:
                raise SubscriptionStuck(
                    f"{self.name!r} is not synchronized: it has no table",
                    await self.diagnose(publisher),
                )
            if backoff.is_over or not self.state.subenabled:
                waiting = [str(t.table) for t in status.tables if t not in status.ready_tables]
                total = counted(len(status.tables), "table")
                of = f"{len(waiting)} of {total} ({', '.join(waiting[:3])}"
                raise SubscriptionStuck(
                    f"{self.name!r} is not synchronized: {of}{', …' * (len(waiting) > 3)}) are not"
                    " ready",
                    await self.diagnose(publisher),
                )
            await sleep(backoff.next_pause())

    async def _wait_while_copying(self, backoff: Backoff) -> None:
        """Wait with little work for the server, which the copies need."""
        operation, oid = f"read the tables of {self.name!r}", self.state.oid
        while (await self._link.one(operation, IS_COPYING, [oid, oid]))["is_so"]:
            if backoff.is_over:
                return
            await sleep(backoff.next_pause())

    async def wait_for_catchup(
        self,
        lsn: LSN | None = None,
        *,
        timeout: Timeout = 60.0,
        publisher: AsyncServer | None = None,
    ) -> LSN:
        """Wait until the publisher's commits before ``lsn`` are applied and flushed.

        Without ``lsn``, wait for every commit until now; the publisher then writes a marker message
        (``write_marker``). Tables that are being copied are awaited too. Return the awaited
        position.

        Raises: SubscriptionStuck after ``timeout`` seconds, or at once if it is disabled;
        SlotNotFound, SlotLost; ConnectionFailed.
        Source: pg_stat_subscription and pg_replication_origin_progress(), if the role may execute
        it; otherwise the slot's confirmed_flush_lsn, which follows 0.2 seconds later;
        pg_subscription_rel.
        """
        await self.refresh()
        backoff = Backoff(timeout)
        async with publisher_of(self._link, self.state.oid, publisher) as server:
            # After all commits until now, those included that change no published table.
            target = await write_marker(server._link) if lsn is None else lsn
            if self.state.subslotname is None:
                raise ServerError(
                    f"wait for {self.name!r}",
                    "the subscription has no slot; attach_slot() sets one",
                )
            slot = AsyncSlot(server._link, await read_slot(server._link, self.state.subslotname))
            limit = backoff.left if self.state.subenabled else 0
            try:
                await wait_for_applied(self._link, self.state, slot, target, timeout=limit)
            except WaitTimeout as error:
                raise SubscriptionStuck(str(error), await self.diagnose(server)) from None
            # The slot's position passes changes of tables that are not copied yet.
            operation = f"read the tables of {self.name!r}"
            if not (await self._link.one(operation, ARE_READY, [self.state.oid]))["is_so"]:
                await self.wait_for_sync(timeout=backoff.left, publisher=server)
        return target

    async def diagnose(self, publisher: AsyncServer | None = None) -> Rows[SubscriptionProblem]:
        """Return every reason why it makes no progress; UNKNOWN if none is found.

        Call it for a subscription that makes no progress: a healthy one is UNKNOWN, too.

        Source: pg_subscription, pg_stat_subscription, pg_stat_subscription_stats and the tables
        here; the publications, pg_replication_slots and pg_stat_activity there.
        """
        return Rows(await find_reasons(self._link, await self.status(), publisher))

    async def drop(
        self, *, publisher_gone: bool = False, timeout: Timeout = 60.0
    ) -> DroppedSubscription:
        """Drop it, and return what may be left on the publisher. Its tables keep their rows.

        The server drops the slots on the publisher too. If the publisher no longer has the slot,
        the subscription is still dropped, and ``slot_was_missing`` is set. With
        ``publisher_gone``, the server does not connect to it; the leftovers come with the SQL that
        removes them, should the publisher return.

        Raises: PublisherUnreachable if it does not answer within ``timeout`` seconds, and nothing
        is changed; SubscriptionNotFound; InsufficientPrivilege.
        Source: DROP SUBSCRIPTION.
        """
        checked_flags(publisher_gone=publisher_gone)
        await self.refresh()
        # Which slots of copies may be left is known only before the DROP.
        tables = await self.tables()
        if publisher_gone:
            return await subscribing.drop_here(self._link, self.state, tables, timeout=timeout)
        return await subscribing.drop_both(self._link, self.state, tables, timeout=timeout)

    async def _alter(self, what: Composable, timeout: Timeout, *, name: str | None = None) -> None:
        statement = self._altering(what)
        operation = f"alter the subscription {self.name!r}"
        async with self._link.transaction(operation, timeout=timeout) as link:
            await link.run(
                operation, statement, grant=self.state.subowner, meaning=subscribing.MEANING
            )
        await self._read(name or self.name)

    async def _alter_by_publisher(
        self, what: Composable, option: Composable | None, timeout: Timeout
    ) -> None:
        """Alter it in a way that connects to the publisher, and cannot run in a transaction."""
        if option is not None:
            what = SQL(WITH_OPTION).format(what, option)
        await subscribing.ask_publisher(
            self._link,
            f"alter the subscription {self.name!r}",
            self._altering(what),
            timeout=timeout,
            grant=self.state.subowner,
        )
        await self.refresh()

    def _altering(self, what: Composable) -> Composed:
        return SQL(ALTER_SUBSCRIPTION).format(Identifier(self.name), what)

    def __repr__(self) -> str:
        enabled = "enabled" if self.state.subenabled else "disabled"
        publications = ", ".join(self.state.subpublications)
        return f"<{type(self).__name__} {self.name!r}, {enabled}, to {publications}>"


def _copying(copy_data: bool) -> Composable:
    return SQL(COPY_DATA) if copy_data else SQL(DO_NOT_COPY_DATA)
