# Generated from pgreplkit/_async/feeds/run.py by `nox -s sync`. Do not edit.
"""FeedRun: sends the changes of one stream to the sink."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

from pgreplkit._sync._io import Job, Runner, yield_to_others
from pgreplkit._sync.logical.applystream import RawStream
from pgreplkit.errors import WaitTimeout
from pgreplkit.feeds.batches import Batching, FeedBatch
from pgreplkit.feeds.change import FeedSource, changes_of
from pgreplkit.feeds.goal import RunGoal
from pgreplkit.feeds.holding import Holding
from pgreplkit.feeds.position import FeedPosition
from pgreplkit.feeds.settings import FeedSettings
from pgreplkit.protocol.pgoutput.rows import Row
from pgreplkit.protocol.rawtransactions import RawTransaction, time_of

Stops: TypeAlias = Callable[[], bool]

_YIELDS_EVERY = 64
"""Transactions after which other tasks of the event loop get their turn."""
_TURNS = 6
"""Turns of the event loop in which the client of an engine writes a batch to its socket: that of
NATS takes 3, from the call to the task that flushes."""
_KEPT_WITHIN = 0.5
"""Share of the time in which the engine discards a position after which it is stored again."""


class FeedTally:
    """The work of a feed, counted."""

    def __init__(self) -> None:
        self.transactions = self.messages = self.copied_rows = self.parked = 0
        self.position: FeedPosition | None = None
        """The position that the sink has stored."""
        self.lag: timedelta | None = None
        """The age of the last commit when it was stored."""


class FeedRun:
    """One stream, sent to one open sink.

    One batch at a time is on its way, while the next transactions are encoded.
    """

    def __init__(
        self,
        stream: RawStream,
        settings: FeedSettings,
        source: FeedSource,
        runner: Runner,
        tally: FeedTally,
        position: FeedPosition,
    ) -> None:
        limits = settings.sink.limits()
        self._stream, self._settings, self._source = stream, settings, source
        self._runner, self._tally = runner, tally
        self._batching = Batching(settings.encoder, limits, position, parked=settings.parked)
        self._holding = Holding(settings.held)
        self._stored = tally.position = position
        self._sent: tuple[FeedBatch, Job[None], int] | None = None
        """The batch on its way, and the commit time of its last transaction."""
        self._parked_before = tally.parked
        self._committed = 0
        """The commit time of the last transaction that was taken."""
        self._positioned_at = time.monotonic()
        if position.is_whole:
            self._holding.answered(position.lsn, self._positioned_at)
        self._beats = settings.heartbeat
        if limits.position_every is not None:
            every = limits.position_every * _KEPT_WITHIN
            self._beats = every if self._beats is None else min(every, self._beats)
        self._must_repeat = limits.position_every is not None

    def run(self, stops: Stops, goal: RunGoal) -> None:
        """Send changes until the stream ends, or ``stops`` returns True."""
        turns = 0
        while not stops():
            transaction = self._stream.received()
            if transaction is None:
                if self._work(goal):
                    continue
                transaction = self._awaited(goal)
                if transaction is None and self._stream.is_closed:
                    break
            if transaction is not None and not self._take(transaction, stops, goal):
                break
            turns += 1
            if turns % _YIELDS_EVERY == 0:
                yield_to_others()
                goal.check(self._stored.lsn)
                self._acknowledge()
        self._finish()

    def _work(self, goal: RunGoal) -> bool:
        """Send what waits, or wait for an answer; return False if there is nothing to do."""
        if self._sent is not None:
            # Meanwhile more transactions arrive, which share the next batch.
            self._settle()
        elif self._batching.has_messages:
            self._send(self._batching.batch())
        else:
            self._acknowledge()
            return self._beat(goal)
        return True

    def _awaited(self, goal: RunGoal) -> RawTransaction[Row] | None:
        """Wait for a transaction, at most until something else may have to be done."""
        try:
            # The stream ends with the next item, and confirms what is acknowledged by then.
            if self._stream.is_complete:
                self._finish()
            return self._stream.__next__()
        except StopIteration:
            return None
        except WaitTimeout:
            goal.check(self._stored.lsn)
        return None

    def _take(self, transaction: RawTransaction[Row], stops: Stops, goal: RunGoal) -> bool:
        """Add a transaction, and send full batches; return False if the run ends with it."""
        if not goal.allows(transaction.end_lsn):
            return False
        self._tally.transactions += 1
        self._committed = transaction.microseconds or self._committed
        changes = changes_of(transaction, self._source)
        for batch in self._batching.take(changes, transaction.end_lsn):
            self._send(batch)
            # A large transaction may have many batches; the position within it is stored.
            goal.check(self._stored.lsn)
            if stops():
                return False
        return True

    def _send(self, batch: FeedBatch) -> None:
        self._settle()
        job = self._runner.start(self._settings.sink.send(batch))
        # A batch without messages stores a position only, long after the last commit.
        self._sent = batch, job, self._committed if batch.messages else 0
        # In an event loop the batch is sent while this task waits. Without these turns the engine
        # would get it only after the next batch is encoded, and the two would not overlap.
        for _ in range(_TURNS):
            if job.done():
                break
            yield_to_others()

    def _settle(self) -> None:
        """Wait until the sink has the batch that is on its way."""
        if self._sent is None:
            return
        batch, job, committed = self._sent
        self._runner.result(job)
        self._sent = None
        tally = self._tally
        tally.messages += len(batch.messages)
        tally.parked = self._parked_before + self._batching.parked
        if committed:
            age = datetime.now(UTC) - time_of(committed)
            tally.lag = max(age, timedelta(0))
        self._note(batch.position)

    def _note(self, position: FeedPosition) -> None:
        """Note a position that the sink has, and acknowledge what is safe."""
        now = time.monotonic()
        self._stored = self._tally.position = position
        self._positioned_at = now
        if position.is_whole:
            self._holding.answered(position.lsn, now)
        self._acknowledge()

    def _acknowledge(self) -> None:
        lsn = self._holding.due(time.monotonic())
        if lsn is not None and lsn > self._stream.acknowledged and not self._stream.is_closed:
            self._stream.pass_idle(lsn)
            self._stream.acknowledge(lsn)

    def _beat(self, goal: RunGoal) -> bool:
        """Store the position of an idle source now and then, so that its slot can follow."""
        # Without a change the sink stores no position, and the slot would keep all WAL.
        is_due = self._beats is not None and (time.monotonic() - self._positioned_at >= self._beats)
        if not is_due:
            return False
        reached = self._stream.reached
        if reached > self._batching.position.lsn and goal.allows(reached):
            self._batching.reach(reached)
        elif not self._must_repeat and self._batching.position == self._stored:
            self._positioned_at = time.monotonic()
            return False
        self._send(self._batching.batch())
        return True

    def _finish(self) -> None:
        """Send what was taken, and acknowledge what is safe."""
        if self._batching.has_messages:
            self._send(self._batching.batch())
        self._settle()
        self._acknowledge()
