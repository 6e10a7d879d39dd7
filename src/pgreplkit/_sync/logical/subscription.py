# Generated from pgreplkit/_async/logical/subscription.py by `nox -s sync`. Do not edit.
"""Subscription: what a database takes from a publisher, and how that is changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal as OneOf, Self

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pgreplkit._sync._io import sleep
from pgreplkit._sync.logical import subscribing
from pgreplkit._sync.logical.conflictlog import read_log
from pgreplkit._sync.logical.failing import find_failed
from pgreplkit._sync.logical.publisher import asking
from pgreplkit._sync.logical.stuck import find_reasons
from pgreplkit._sync.server.positions import write_marker
from pgreplkit._sync.server.server import Server
from pgreplkit._sync.server.slot import Slot, read_slot
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.logical.subscription import (
    ADVANCE_ORIGIN,
    ALTER_SUBSCRIPTION,
    CHANGE_OWNER,
    COPY_DATA,
    DETACH_SLOT,
    DISABLE,
    DO_NOT_COPY_DATA,
    ENABLE,
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
from pgreplkit.errors import ServerError, SubscriptionStuck, WaitTimeout
from pgreplkit.plans.logical.conflictlog import ConflictRecord, logged_conflicts
from pgreplkit.plans.logical.failing import FailedTransaction
from pgreplkit.plans.logical.stuck import Stuck
from pgreplkit.plans.logical.subscription import (
    ONLY_WHEN_CREATED,
    DroppedSubscription,
    SubscriptionOptions,
    SubscriptionStatus,
)
from pgreplkit.values.lsn import LSN
from pgreplkit.values.slotname import checked_slot_name


class Subscription:
    """A subscription: its ``state`` when it was last read, and what can be done to it.

    Made by ``subscription``, ``subscriptions`` and ``create_subscription`` of the subscriber. Each
    change needs its owner, and takes ``timeout`` seconds at most.

    Where something is asked of the publisher too, that is ``publisher=`` where it is given, and
    else a connection of its own to where the subscription connects, which needs a superuser on the
    subscriber, and a way there from here.
    """

    def __init__(self, link: Link, state: SubscriptionState) -> None:
        self._link = link
        self.state: SubscriptionState = state

    @property
    def name(self) -> str:
        """Its name."""
        return self.state.subname

    def refresh(self) -> Self:
        """Read its state again; gives the subscription itself.

        Raises: SubscriptionNotFound.  Source: pg_subscription.
        """
        self._read(self.name)
        return self

    def _read(self, name: str) -> None:
        self.state = subscribing.read_subscription(self._link, name)

    def tables(self) -> list[SubscribedTable]:
        """Its tables, by name, with how far it is with each.

        Source: pg_subscription_rel, pg_stat_subscription, from 14 on pg_stat_progress_copy.
        """
        sql = subscribed_tables(self._link.version.major)
        records = self._link.all(f"read the tables of {self.name!r}", sql, [self.state.oid])
        return [subscribed_table_in(record) for record in records]

    def workers(self) -> list[SubscriptionWorker]:
        """Its workers that run now.

        Source: pg_stat_subscription.
        """
        sql = WORKERS.sql(self._link.version.major)
        records = self._link.all(f"read the workers of {self.name!r}", sql, [self.state.oid])
        return [WORKERS.read(record) for record in records]

    def stats(self) -> SubscriptionStats:
        """How often its workers failed, and from 18 on what conflicts they met.

        Counted late: the workers tell their counts a second or so after what they count, when
        ``wait_caught_up`` may be over already. Ask again before you rely on a count of none.

        Raises: UnsupportedByServer before 15.  Source: pg_stat_subscription_stats.
        """
        self._link.require("subscription.stats")
        sql = STATS.sql(self._link.version.major)
        tried = f"read the counters of {self.name!r}"
        return STATS.read(self._link.one(tried, sql, [self.state.oid]))

    def conflicts(self) -> list[ConflictRecord]:
        """The conflicts that the end of the server's log tells of, the last 1 MB of it.

        ``stats`` counts them all; the log says which rows. It is written a moment later than the
        change that is logged is applied.

        Raises: UnsupportedByServer before 18; LogUnavailable; InsufficientPrivilege.
        Needs: superuser, or pg_monitor and pg_read_server_files; logging_collector.
        Source: pg_current_logfile().
        """
        self._link.require("subscription.conflicts")
        return logged_conflicts(read_log(self._link), self.state.oid)

    def status(self, publisher: Server | None = None) -> SubscriptionStatus:
        """All of it at once: state, workers, tables, counters; with a ``publisher`` its lag too.

        Raises: SubscriptionNotFound.  Source: as of ``tables``, ``workers`` and ``stats``.
        """
        self.refresh()
        has_stats = self._link.version.major >= 15
        slot = None
        if publisher is not None and self.state.subslotname is not None:
            slot = read_slot(publisher._link, self.state.subslotname)
        return SubscriptionStatus(
            state=self.state,
            workers=tuple(self.workers()),
            tables=tuple(self.tables()),
            stats=self.stats() if has_stats else None,
            slot=slot,
        )

    def enable(self, *, timeout: float = 10.0) -> None:
        """Let its workers run.

        Raises: ServerError without a slot; StatementTimeout.
        Source: ALTER SUBSCRIPTION … ENABLE.
        """
        self._alter(SQL(ENABLE), timeout)

    def disable(self, *, timeout: float = 10.0) -> None:
        """End its workers, and wait until they have. Its slot goes on keeping WAL.

        In a transaction of yours they end after that, and are not awaited.

        Raises: WaitTimeout; StatementTimeout.  Source: ALTER SUBSCRIPTION … DISABLE.
        """
        backoff = Backoff(timeout)
        self._alter(SQL(DISABLE), timeout)
        while self._link.is_autocommit and (workers := self.workers()):
            if backoff.is_over:
                pids = ", ".join(str(worker.pid) for worker in workers)
                raise WaitTimeout(
                    f"{self.name!r} is disabled, but its workers (process {pids}) did not end in"
                    f" {timeout:g} s"
                )
            sleep(backoff.next_pause())

    def refresh_publications(self, *, copy_data: bool = True, timeout: float = 60.0) -> None:
        """Take in the tables that were added to its publications, and let go of the others.

        Raises: ServerError when it is disabled, or in a transaction; StatementTimeout.
        Source: ALTER SUBSCRIPTION … REFRESH PUBLICATION.
        """
        self._asked(SQL(REFRESH_PUBLICATION), _copying(copy_data), timeout)

    def refresh_sequences(self, *, timeout: float = 60.0) -> None:
        """Let the server bring its sequences to where the publisher's are, from 19 on on both.

        ``SequencePlan`` does that for any major.

        Raises: UnsupportedByServer before 19; ServerError in a transaction; StatementTimeout.
        Source: ALTER SUBSCRIPTION … REFRESH SEQUENCES.
        """
        self._link.require("subscription.refresh_sequences")
        self._asked(SQL(REFRESH_SEQUENCES), None, timeout)

    def set_publications(self, *names: str, copy_data: bool = True, timeout: float = 60.0) -> None:
        """Subscribe to these publications and no others, and take in their tables.

        When it is disabled, that waits for ``refresh_publications``.

        Raises: ServerError in a transaction; StatementTimeout.
        Source: ALTER SUBSCRIPTION … SET PUBLICATION.
        """
        if not names:
            raise ValueError("a subscription is to one publication at least")
        refresh = SQL(WITHOUT_REFRESH) if not self.state.subenabled else _copying(copy_data)
        self._asked(SQL(SET_PUBLICATION).format(parts.names(names)), refresh, timeout)

    def add_publications(self, *names: str, copy_data: bool = True, timeout: float = 60.0) -> None:
        """Subscribe to these publications too.

        Raises and source: as ``set_publications``.
        """
        self.refresh()
        kept = [name for name in self.state.subpublications if name not in names]
        self.set_publications(*kept, *names, copy_data=copy_data, timeout=timeout)

    def drop_publications(self, *names: str, timeout: float = 60.0) -> None:
        """Do not subscribe to these publications any more; their rows stay.

        Raises and source: as ``set_publications``; ValueError when none would be left.
        """
        self.refresh()
        kept = [name for name in self.state.subpublications if name not in names]
        self.set_publications(*kept, timeout=timeout)

    def set_options(self, options: SubscriptionOptions, *, timeout: float = 10.0) -> None:
        """Change what is given of its options.

        ``failover`` and ``two_phase`` can be changed while it is disabled only, and not in a
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
        if given & {"failover", "two_phase"}:
            self._asked(what, None, timeout)
        else:
            self._alter(what, timeout)

    def set_connection(self, conninfo: str, *, timeout: float = 10.0) -> None:
        """Let it connect to elsewhere; its slot must be there, or be made there before.

        Source: ALTER SUBSCRIPTION … CONNECTION.
        """
        self._alter(parts.connection(conninfo), timeout)

    def detach_slot(self, *, timeout: float = 10.0) -> None:
        """Disable it, and let it have no slot: the publisher is not asked when it is dropped.

        The slot stays on the publisher, and keeps WAL there until it is dropped.

        Source: ALTER SUBSCRIPTION … SET (slot_name = NONE).
        """
        self.disable(timeout=timeout)
        self._alter(SQL(DETACH_SLOT), timeout)

    def attach_slot(self, name: str, *, timeout: float = 10.0) -> None:
        """Let it have this slot of the publisher. What the slot does not have is a gap.

        Source: ALTER SUBSCRIPTION … SET (slot_name).
        """
        options = SubscriptionOptions(slot_name=checked_slot_name(name))
        self.set_options(options, timeout=timeout)

    def failure(
        self, *, publisher: Server | None = None, timeout: float = 10.0
    ) -> FailedTransaction | None:
        """The transaction that its apply worker fails at; None when it does not fail.

        It is the first that waits in the slot and is not applied. A worker that applies what comes
        has the slot in use all the time: after ``timeout`` seconds of that the answer is None.

        Raises: SlotNotFound, SlotLost; PublicationNotFound, before 18 also when the slot is older
        than a publication; ConnectionFailed; InsufficientPrivilege.
        Needs: superuser, or EXECUTE on pg_replication_origin_progress() from 14 on; REPLICATION on
        the publisher.
        Source: pg_replication_origin_progress(); the slot's changes; the subscriber's log, where
        it is collected and may be read.
        """
        self.refresh()
        with asking(self._link, self.state.oid, publisher) as asked:
            return find_failed(self._link, self.state, asked, timeout=timeout)

    def skip(self, finish_lsn: LSN, *, timeout: float = 10.0) -> None:
        """Leave out the transaction that finishes there, all of it, also what could be applied.

        ``finish_lsn`` is where its commit record begins: what the server's log calls "finished
        at", and ``failure`` tells. From 15 on the server checks that the next transaction is that
        one. Before, the subscription is disabled meanwhile, and begins after that position: what
        lies before and is not applied is left out too.

        Raises: StatementTimeout; WaitTimeout.
        Needs: superuser.  Source: ALTER SUBSCRIPTION … SKIP, before 15
        pg_replication_origin_advance().
        """
        if not isinstance(finish_lsn, LSN):
            raise TypeError(f"a transaction finishes at an LSN, not {type(finish_lsn).__name__}")
        if self._link.version.major >= 15:
            self._alter(SQL(SKIP_TRANSACTION).format(Literal(str(finish_lsn))), timeout)
            return
        self.refresh()
        was_enabled = self.state.subenabled
        self.disable(timeout=timeout)
        tried = f"skip a transaction of {self.name!r}"
        origin = f"pg_{self.state.oid}"
        try:
            self._link.one(tried, ADVANCE_ORIGIN, [origin, finish_lsn + 1], grant="SUPERUSER")
        finally:
            if was_enabled:
                self.enable(timeout=timeout)

    def rename(self, name: str, *, timeout: float = 10.0) -> None:
        """Give it another name; its slot keeps its own.

        Raises: AlreadyExists.  Source: ALTER SUBSCRIPTION … RENAME TO.
        """
        what = SQL(RENAME).format(Identifier(name))
        self._alter(what, timeout, name=name)

    def set_owner(self, role: str, *, timeout: float = 10.0) -> None:
        """Give it to another role, with whose rights it then runs.

        Source: ALTER SUBSCRIPTION … OWNER TO.
        """
        self._alter(SQL(CHANGE_OWNER).format(Identifier(role)), timeout)

    def wait_synced(
        self,
        *,
        timeout: float = 600.0,
        publisher: Server | None = None,
        on_progress: Callable[[SubscriptionStatus], object] | None = None,
    ) -> SubscriptionStatus:
        """Wait until every table is READY: copied, and in the hands of the apply worker.

        ``on_progress`` is called with its status after each look.

        Raises: SubscriptionStuck after ``timeout`` seconds, or at once when it is disabled or has
        no table, with all reasons that are found.
        Source: as ``status``; and as ``diagnose``.
        """
        backoff = Backoff(timeout)
        while True:
            status = self.status()
            if on_progress is not None:
                on_progress(status)
            if status.is_synced:
                return status
            if not status.tables:
                raise SubscriptionStuck(
                    f"{self.name!r} has no table, so that nothing is replicated",
                    self.diagnose(publisher),
                )
            if backoff.is_over or not self.state.subenabled:
                waiting = [str(t.table) for t in status.tables if t not in status.ready_tables]
                of = f"{len(waiting)} of {len(status.tables)} tables ({', '.join(waiting[:3])}"
                raise SubscriptionStuck(
                    f"{self.name!r} is not synchronized: {of}{', …' * (len(waiting) > 3)}) are not"
                    " ready",
                    self.diagnose(publisher),
                )
            sleep(backoff.next_pause())

    def wait_caught_up(
        self,
        lsn: LSN | None = None,
        *,
        timeout: float = 60.0,
        publisher: Server | None = None,
    ) -> LSN:
        """Wait until all that the publisher committed before ``lsn`` is applied, and on disk here.

        Without ``lsn`` it is all that is committed there by now, for which a message is written
        there (``fence``). Tables that are still being copied are awaited too. Gives the position.

        Raises: SubscriptionStuck after ``timeout`` seconds, or at once when it is disabled;
        SlotNotFound, SlotLost; ConnectionFailed.
        Source: the slot's confirmed_flush_lsn on the publisher; pg_subscription_rel.
        """
        self.refresh()
        backoff = Backoff(timeout)
        with asking(self._link, self.state.oid, publisher) as asked:
            target = write_marker(asked._link) if lsn is None else lsn
            if self.state.subslotname is None:
                raise ServerError(f"wait for {self.name!r}", "it has no slot: attach_slot()")
            slot = Slot(asked._link, read_slot(asked._link, self.state.subslotname))
            try:
                slot.wait_caught_up(target, timeout=timeout if self.state.subenabled else 0)
            except WaitTimeout as error:
                raise SubscriptionStuck(str(error), self.diagnose(asked)) from None
            # The slot is the apply worker's: it passes what a table lacks that is not copied yet.
            self.wait_synced(timeout=backoff.left, publisher=asked)
        return target

    def diagnose(self, publisher: Server | None = None) -> tuple[Stuck, ...]:
        """All that keeps it from moving, as far as both servers tell; UNKNOWN when nothing does.

        A subscription that is well is asked for in vain too: ask when it does not move.

        Source: pg_subscription, pg_stat_subscription, pg_stat_subscription_stats and the tables
        here; the publications, pg_replication_slots and pg_stat_activity there.
        """
        return find_reasons(self._link, self.status(), publisher)

    def drop(
        self, *, publisher: OneOf["reachable", "gone"] = "reachable", timeout: float = 30.0
    ) -> DroppedSubscription:
        """Drop it, and tell what may be left of it elsewhere. Its tables stay as they are.

        With a ``reachable`` publisher the server drops the slots there too. When the publisher has
        no such slot any more, that is told, and the subscription is dropped. With one that is
        ``gone`` nothing is asked of it: what may stay there is told with the SQL to remove it,
        should it come back.

        Raises: PublisherUnreachable when it is to be reachable and is not, within ``timeout``
        seconds: nothing is changed then; SubscriptionNotFound; InsufficientPrivilege.
        Source: DROP SUBSCRIPTION.
        """
        if publisher not in {"reachable", "gone"}:
            raise ValueError(f"a publisher is reachable or gone, not {publisher!r}")
        self.refresh()
        tables = self.tables()
        if publisher == "gone":
            return subscribing.drop_here(self._link, self.state, tables, timeout=timeout)
        return subscribing.drop_both(self._link, self.state, tables, timeout=timeout)

    def _alter(self, what: Composable, timeout: float, *, name: str | None = None) -> None:
        statement = self._altering(what)
        tried = f"alter the subscription {self.name!r}"
        with self._link.transaction(tried, timeout=timeout) as link:
            link.run(tried, statement, grant=self.state.subowner, meaning=subscribing.MEANING)
        self._read(name or self.name)

    def _asked(self, what: Composable, option: Composable | None, timeout: float) -> None:
        """Alter it in a way that asks the publisher, and can be in no transaction."""
        if option is not None:
            what = SQL(WITH_OPTION).format(what, option)
        subscribing.ask_publisher(
            self._link,
            f"alter the subscription {self.name!r}",
            self._altering(what),
            timeout=timeout,
            grant=self.state.subowner,
        )
        self.refresh()

    def _altering(self, what: Composable) -> Composed:
        return SQL(ALTER_SUBSCRIPTION).format(Identifier(self.name), what)

    def __repr__(self) -> str:
        enabled = "enabled" if self.state.subenabled else "disabled"
        publications = ", ".join(self.state.subpublications)
        return f"<{type(self).__name__} {self.name!r}, {enabled}, to {publications}>"


def _copying(copy_data: bool) -> Composable:
    return SQL(COPY_DATA) if copy_data else SQL(DO_NOT_COPY_DATA)
