"""AsyncSubscriptionReader: what a subscription and its server tell."""

from __future__ import annotations

from typing import Self

from pgreplkit._async.logical import subscribing
from pgreplkit._async.logical.logs import read_log
from pgreplkit._async.server.server import AsyncServer
from pgreplkit._async.server.slot import read_slot
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.logical.subscription import (
    STATS,
    WORKERS,
    SubscribedTable,
    SubscriptionState,
    SubscriptionStats,
    SubscriptionWorker,
    subscribed_table_in,
    subscribed_tables,
)
from pgreplkit.plans.logical.conflictlog import ConflictRecord, logged_conflicts
from pgreplkit.plans.logical.subscription import SubscriptionStatus


class AsyncSubscriptionReader:
    """What can be read of a subscription."""

    def __init__(self, link: AsyncLink, state: SubscriptionState) -> None:
        self._link = link
        self.state: SubscriptionState = state

    @property
    def name(self) -> str:
        """Its name."""
        return self.state.subname

    async def refresh(self) -> Self:
        """Read its state again; gives the subscription itself.

        Raises: SubscriptionNotFound.  Source: pg_subscription.
        """
        await self._read(self.name)
        return self

    async def _read(self, name: str) -> None:
        self.state = await subscribing.read_subscription(self._link, name)

    async def tables(self) -> list[SubscribedTable]:
        """Its tables, by name, with how far it is with each.

        Source: pg_subscription_rel, pg_stat_subscription, from 14 on pg_stat_progress_copy.
        """
        sql = subscribed_tables(self._link.version.major)
        records = await self._link.all(f"read the tables of {self.name!r}", sql, [self.state.oid])
        return [subscribed_table_in(record) for record in records]

    async def workers(self) -> list[SubscriptionWorker]:
        """Its workers that run now.

        Source: pg_stat_subscription.
        """
        sql = WORKERS.sql(self._link.version.major)
        records = await self._link.all(f"read the workers of {self.name!r}", sql, [self.state.oid])
        return [WORKERS.read(record) for record in records]

    async def stats(self) -> SubscriptionStats:
        """How often its workers failed, and from 18 on what conflicts they met.

        Counted late: the workers tell their counts a second or so after what they count, when
        ``wait_caught_up`` may be over already. Ask again before you rely on a count of none.

        Raises: UnsupportedByServer before 15.  Source: pg_stat_subscription_stats.
        """
        self._link.require("subscription.stats")
        sql = STATS.sql(self._link.version.major)
        tried = f"read the counters of {self.name!r}"
        return STATS.read(await self._link.one(tried, sql, [self.state.oid]))

    async def conflicts(self) -> list[ConflictRecord]:
        """The conflicts that the end of the server's log tells of, the last 1 MB of it.

        ``stats`` counts them all; the log says which rows. It is written a moment later than the
        change that is logged is applied.

        Raises: UnsupportedByServer before 18; LogUnavailable; InsufficientPrivilege.
        Needs: superuser, or pg_monitor and pg_read_server_files; logging_collector.
        Source: pg_current_logfile().
        """
        self._link.require("subscription.conflicts")
        return logged_conflicts(await read_log(self._link), self.state.oid)

    async def status(self, publisher: AsyncServer | None = None) -> SubscriptionStatus:
        """All of it at once: state, workers, tables, counters; with a ``publisher`` its lag too.

        Raises: SubscriptionNotFound.  Source: as of ``tables``, ``workers`` and ``stats``.
        """
        await self.refresh()
        has_stats = self._link.version.major >= 15
        slot = None
        if publisher is not None and self.state.subslotname is not None:
            slot = await read_slot(publisher._link, self.state.subslotname)
        return SubscriptionStatus(
            state=self.state,
            workers=tuple(await self.workers()),
            tables=tuple(await self.tables()),
            stats=await self.stats() if has_stats else None,
            slot=slot,
        )

    def __repr__(self) -> str:
        enabled = "enabled" if self.state.subenabled else "disabled"
        publications = ", ".join(self.state.subpublications)
        return f"<{type(self).__name__} {self.name!r}, {enabled}, to {publications}>"
