"""AsyncFeedStart: compares the sink with the slot, and creates the slot with the first copy."""

from __future__ import annotations

import logging
from collections.abc import Callable

import attrs
from psycopg.rows import DictRow

from pgreplkit._async._io import Runner, sleep
from pgreplkit._async.feeds.copy import CREATED_WITHIN, AsyncFeedCopy
from pgreplkit._async.streams.replication import AsyncReplicationConnection
from pgreplkit._async.streams.slotchecks import slot_active
from pgreplkit.catalog.logical import feeds as sql
from pgreplkit.driver.backoff import Backoff
from pgreplkit.errors import FeedError, SlotActive, StatementTimeout
from pgreplkit.feeds.batches import FeedBatch
from pgreplkit.feeds.change import FeedSource
from pgreplkit.feeds.goal import RunGoal
from pgreplkit.feeds.position import FeedPosition, FeedStage
from pgreplkit.feeds.settings import FeedSettings
from pgreplkit.feeds.start import (
    Beginning,
    StartFacts,
    decide_start,
    invalidation,
    resumed,
    slot_refusal,
)
from pgreplkit.protocol.answers import CreatedSlot, Snapshot
from pgreplkit.values.lsn import LSN

_log = logging.getLogger("pgreplkit.feeds")

_LET_GO_WITHIN = 1.0
"""Seconds for the walsenders of a run that has just ended to let go of its slot and its lock."""
_ENDS_WITHIN = 10.0
"""Seconds for the walsender of a connection that was just closed to let go of its slot."""


class AsyncFeedStart:
    """The start of one run: it ends with the position from which changes are streamed."""

    def __init__(
        self,
        walsender: AsyncReplicationConnection,
        settings: FeedSettings,
        runner: Runner,
        stops: Callable[[], bool],
        goal: RunGoal,
    ) -> None:
        self._walsender, self._settings, self._runner = walsender, settings, runner
        self._stops, self._goal = stops, goal
        self.copied_rows = self.parked = 0
        self._source: FeedSource | None = None

    @property
    def source(self) -> FeedSource:
        """The source, once the facts about it are known."""
        if self._source is None:
            raise FeedError(self._settings.operation, "it has not begun")
        return self._source

    async def begin(self, conninfo: str) -> FeedPosition | None:
        """Return the position of the sink from which the feed continues.

        Return None if the feed ends here: its rows are copied and no changes are wanted, or it was
        stopped while rows were copied, which begins again the next time.

        Raises: WrongSource; PositionLost; AheadOfServer; SlotActive; UnsupportedByServer;
        WaitTimeout; the errors of the sink.
        """
        for is_wanted, feature in (
            (self._settings.messages, "changes.messages"),
            (self._settings.failover, "slot.failover"),
        ):
            if is_wanted:
                self._walsender._walsender.require(feature)
        facts = await self._facts()
        beginning, position = decide_start(facts), facts.sink
        if beginning is Beginning.CONTINUE and position is not None:
            # The next changes are of this timeline, also after a failover that lost nothing.
            return attrs.evolve(position, timeline=facts.timeline, numbering=facts.numbering)
        if beginning is Beginning.NOTHING:
            return None
        generation = 1 if position is None else position.generation
        # Rows of the copy that was interrupted may be in the sink: the new ones need other names.
        if position is not None and position.stage is FeedStage.COPYING:
            generation += 1
        first = FeedPosition(
            *(LSN.INVALID, 0, False, FeedStage.CREATING),
            system_id=facts.system_id,
            timeline=facts.timeline,
            generation=generation,
            numbering=facts.numbering,
        )
        if beginning is Beginning.ADOPT and facts.confirmed is not None:
            if position is None or position.stage is FeedStage.STREAMING:
                self._warn_of_gap(position, facts.confirmed)
            return await self._store(_streaming(first, facts.confirmed))
        return await self._create(conninfo, facts, first)

    def _warn_of_gap(self, before: FeedPosition | None, after: LSN) -> None:
        _log.warning(
            "feed %s: changes between %s and %s are lost, and it continues without them",
            *(self._settings.slot, before and before.lsn, after),
        )

    async def _facts(self) -> StartFacts:
        settings, walsender = self._settings, self._walsender._walsender
        operation, slot = settings.operation, settings.slot
        await self._lock(operation, slot)
        # The slot before the sink: a position acknowledged by then is in the sink when it opens.
        record = await self._free_slot(operation, slot)
        position = resumed(await self._runner.run(settings.sink.open(slot)))
        identity = await walsender.identify()
        timeline = 0 if record["is_standby"] else identity.timeline
        self._source = FeedSource(
            slot, identity.system_id, record["database"], walsender.version.major
        )
        # A history is needed only to compare two timelines, and the first timeline has none.
        has_history = position is not None and position.timeline not in (0, identity.timeline)
        return StartFacts(
            operation=operation,
            system_id=identity.system_id,
            timeline=timeline,
            history=await self._walsender.timeline_history(identity.timeline)
            if has_history
            else None,
            reached=identity.position,
            has_slot=record["has_slot"],
            confirmed=None if record["confirmed"] is None else LSN(str(record["confirmed"])),
            invalidated=invalidation(record["wal_status"], record["invalidation_reason"]),
            sink=position,
            numbering=settings.numbering,
            copies=settings.copies,
            ends_after_copy=settings.ends_after_copy,
            accepts_gap=settings.accepts_gap,
        )

    async def _lock(self, operation: str, slot: str) -> None:
        """Take the lock of the feed; the session ends with the start, and the lock with it."""
        walsender, backoff = self._walsender._walsender, Backoff(_LET_GO_WITHIN)
        while not (await walsender.query(operation, sql.LOCK, [slot]))[0]["is_locked"]:
            if backoff.is_over:
                users = await walsender.query(operation, sql.LOCKED_BY, [slot])
                user = users[0] if users else {}
                names = ("pid", "client_addr", "application_name")
                raise SlotActive(operation, slot, *(user.get(name) for name in names))
            await sleep(backoff.next_pause())

    async def _free_slot(self, operation: str, slot: str) -> DictRow:
        """Return the state of the slot, which no other process uses.

        To open the sink would take it away from the feed that uses the slot.
        """
        walsender, backoff = self._walsender._walsender, Backoff(_LET_GO_WITHIN)
        while True:
            [record] = await walsender.query(operation, sql.START, [slot])
            if record["active_pid"] is None:
                break
            if backoff.is_over:
                raise await slot_active(walsender, operation, slot)
            await sleep(backoff.next_pause())
        refusal = slot_refusal(
            *(operation, slot, record["plugin"], record["slot_database"], record["database"]),
            is_two_phase=record["is_two_phase"],
        )
        if record["has_slot"] and refusal is not None:
            raise refusal
        return record

    async def _store(self, position: FeedPosition) -> FeedPosition:
        await self._runner.run(self._settings.sink.send(FeedBatch((), position, ())))
        return position

    async def _create(
        self, conninfo: str, facts: StartFacts, first: FeedPosition
    ) -> FeedPosition | None:
        settings, walsender, goal = self._settings, self._walsender, self._goal
        # A slot that exists after a crash can then be distinguished from one that others use.
        if facts.sink != first:
            await self._store(first)
        if facts.has_slot:
            # It was created by a start that did not end, or the server has invalidated it.
            wait = goal.within(_ENDS_WITHIN)
            await walsender.drop_slot(settings.slot, wait=True, timeout=wait)
        goal.check(None)
        try:
            created = await walsender.create_slot(
                settings.slot,
                plugin="pgoutput",
                snapshot=Snapshot.EXPORT if settings.copies else Snapshot.NOTHING,
                temporary=settings.ends_after_copy,
                failover=settings.failover,
                timeout=goal.within(CREATED_WITHIN),
            )
        except StatementTimeout:
            goal.check(None)
            raise
        if facts.sink is not None and facts.sink.stage is FeedStage.STREAMING:
            self._warn_of_gap(facts.sink, created.consistent_point)
        if settings.copies and not await self._copy(conninfo, created, first):
            return None
        stored = await self._store(_streaming(first, created.consistent_point))
        return None if settings.ends_after_copy else stored

    async def _copy(self, conninfo: str, created: CreatedSlot, first: FeedPosition) -> bool:
        """Send the rows as they are at the slot's first position; return False if stopped."""
        copy = AsyncFeedCopy(*(self._settings, self.source, self._runner, self._stops, self._goal))
        try:
            await copy.open(conninfo, created.snapshot_name or "")
            return await copy.send(first, created.consistent_point, FeedStage.COPYING)
        finally:
            self.copied_rows, self.parked = copy.copied_rows, copy.parked
            await copy.close()


def _streaming(first: FeedPosition, lsn: LSN) -> FeedPosition:
    """Return the position of a feed that has everything before the first change."""
    return attrs.evolve(first, lsn=lsn, is_whole=True, stage=FeedStage.STREAMING)
