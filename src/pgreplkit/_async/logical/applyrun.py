"""AsyncApplyRun: applies the transactions of a stream, many at once on their way."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from psycopg import Error as PsycopgError

from pgreplkit._async._io import Call, sleep, wait_sockets, yield_to_others
from pgreplkit._async.logical.applyconflicts import AsyncConflictLog
from pgreplkit._async.logical.applymark import AsyncStoredMark
from pgreplkit._async.logical.applyshapes import AsyncTargetShapes
from pgreplkit._async.logical.applyslow import AsyncSlowPath
from pgreplkit._async.logical.applystream import AsyncRawStream
from pgreplkit._async.logical.applytarget import STORED, AsyncApplyTarget, Group
from pgreplkit._async.wire.pipeline import IN_A_BATCH, Outcome
from pgreplkit._text import one_line
from pgreplkit.apply.batches import Batch
from pgreplkit.apply.conflicts import Conflicts
from pgreplkit.apply.failures import is_lost, is_of_a_definition, is_of_a_set, is_transient
from pgreplkit.apply.filtering import RuleFailed
from pgreplkit.apply.goal import ApplyGoal, RunStopped, applied
from pgreplkit.apply.onerror import FailureDecision, OnErrorFailed, RefusedChange, decided
from pgreplkit.apply.planner import NotPortable, Planner, UnknownTable
from pgreplkit.apply.settings import ApplySettings
from pgreplkit.apply.statements import Statement
from pgreplkit.apply.tableplans import Step
from pgreplkit.apply.tally import ApplyTally
from pgreplkit.driver.failures import translate_errors
from pgreplkit.errors import ApplyFailed, OriginLoop, SchemaMismatch, WaitTimeout
from pgreplkit.errors.apply import is_of_a_change
from pgreplkit.protocol.pgoutput.rows import Row
from pgreplkit.protocol.rawtransactions import RawChange, RawTransaction
from pgreplkit.values.lsn import LSN
from pgreplkit.values.tablename import TableName

_MOST_GROUPS = 256
"""Transactions in flight: enough to hide every wait, few to send again after a failure."""
_MOST_BYTES = 4 << 20
"""Bytes of transactions in flight, which stay in memory until their outcome is known."""
_PARAMETERS = 10
"""Parameters of a statement that count as one statement more."""
_LARGE = 8 << 10
"""Bytes of a change that count as one statement more: libpq keeps what the socket does not take."""
_ACKNOWLEDGED_EVERY = 0.2
"""Seconds between flushes, as often as the server's WAL writer flushes."""
_GATHERS = 0.0003
"""Seconds to wait for more of a transaction that is arriving: each of its changes comes by itself,
and would wake this process."""
_YIELDS_EVERY = 128
"""Transactions after which other tasks of the event loop get their turn."""
_CAREFUL = 1000
"""Transactions that are applied change by change after one that met a conflict: others follow."""
_BACK = 1_000_000
"""Microseconds by which commit times may decrease: a server takes them before it writes WAL."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.01, 2.0
"""Seconds before a transaction is tried again; they double."""
_MOST_DOUBLINGS = 8
"""After these, a pause has reached its longest."""

_GRANT = (
    "SELECT, INSERT, UPDATE, DELETE ON the subscriber's tables; EXECUTE ON the functions of"
    " replication origins"
)

_log = logging.getLogger("pgreplkit.apply")


class AsyncApplyRun:
    """One stream, applied in one session of the subscriber."""

    def __init__(
        self,
        stream: AsyncRawStream,
        target: AsyncApplyTarget,
        shapes: AsyncTargetShapes,
        planner: Planner,
        settings: ApplySettings,
        tally: ApplyTally,
        position: LSN,
        copied: Mapping[TableName, LSN],
        goal: ApplyGoal,
        insist_on_no_loop: Call[None],
        mark: AsyncStoredMark,
    ) -> None:
        self._goal, self._insist_on_no_loop = goal, insist_on_no_loop
        self._mark, self._stored = mark, LSN.INVALID
        self._newest = 0
        """The commit time of the last transaction, in microseconds; earlier ones may follow."""
        self._origins = set[str]()
        """The origins of the publisher from which transactions have come."""
        self._stream, self._target, self._shapes = stream, target, shapes
        self._planner, self._settings, self._tally = planner, settings, tally
        self._pending: deque[RawTransaction[Row]] = deque()
        """The transactions in flight."""
        self._batch = Batch()
        """The rows, of the group that is being sent, that one statement can change."""
        self._group: list[RawTransaction[Row]] = []
        """The transactions that are being sent, to be applied as one."""
        self._singly = 0
        """The number of transactions that are sent alone, and change by change."""
        self._repeated = LSN.INVALID
        """The end of the last transaction that was sent again change by change."""
        self._number = 0
        """The number of changes that were planned of the transaction that is being sent."""
        self._is_in_progress = self._is_partly_sent = False
        """Whether a part of a large transaction has come, and whether it was sent."""
        self._bytes = 0
        """The size of the transactions in flight."""
        self._taken = self._flushing = tally.position = position
        """The end of the last transaction that was taken, and of the last one to be flushed."""
        self._start = position
        self._copied = copied
        """The tables with rows that are later than the stream, and the positions of the rows."""
        self._unswept = {**planner.sweeps}
        """The tables in which rows may be older than their deletion."""
        self._flushed_at = self._settled_at = 0.0
        self._attempts = 0
        self._has_ended = False
        """Whether everything before the position to stop at was delivered."""
        self._conflicts = AsyncConflictLog(shapes.link, settings.name, tally.conflicts)

    async def run(self) -> None:
        """Apply transactions until the stream ends, or the run is stopped.

        Raises: ApplyFailed; SchemaMismatch; NotPortable; ConnectionFailed; WaitTimeout.
        """
        target = self._target
        with (
            # The transaction that waited comes again with the next run.
            suppress(RunStopped),
            translate_errors(
                target.operation,
                connection=target.connection,
                grant=_GRANT,
                hides_values=True,
            ),
            target.watched_at_times() as self._watch,
        ):
            await target.enter_pipeline()
            turns = 0
            while not self._goal.is_stopping:
                transaction = await self._stream.received()
                if transaction is None:
                    transaction = await self._awaited()
                if transaction is not None:
                    await self._take(transaction)
                elif self._has_ended:
                    break
                turns += 1
                if turns % _YIELDS_EVERY == 0:
                    await yield_to_others()
                    self._check_time()
            await self._finish()

    async def _finish(self) -> None:
        """Wait until everything that was taken is flushed, and acknowledge it."""
        await self._give_up()
        # A failure found here sends transactions again, so that one flush may not be enough.
        await self._drain(0)
        while self._tally.position < self._taken:
            await self._flush()
            await self._drain(0)

    async def _awaited(self) -> RawTransaction[Row] | None:
        """Wait for a transaction or an outcome."""
        if self._stream.has_part:
            await sleep(_GATHERS)
        if self._is_partly_sent:
            # To end anything here would commit a part of it.
            return await self._next()
        pipeline = self._target.pipeline
        # Nothing else has come: the server may as well commit the batch, and send its results.
        await self._end_group()
        await pipeline.request_results()
        is_blocked = pipeline.flush()
        await self._settle(pipeline.outcomes())
        if pipeline.in_flight:
            sockets = [pipeline.socket]
            # Nothing more is read from one that is complete, so that it could always be readable.
            if self._stream.socket is not None and not self._stream.is_complete:
                sockets.append(self._stream.socket)
            # Only if libpq has more to send: otherwise the socket is always ready to be written.
            writers = [pipeline.socket] if is_blocked else []
            await wait_sockets(sockets, writers, _ACKNOWLEDGED_EVERY)
            # The publisher may send all the time.
            if time.monotonic() - self._settled_at >= _ACKNOWLEDGED_EVERY:
                self._watch.begin()
            # A transaction can wait for long, as for a lock of a client.
            self._check_time()
            return None
        socket = self._stream.socket
        left = self._flushed_at + _ACKNOWLEDGED_EVERY - time.monotonic()
        if self._flushing < self._taken and socket is not None:
            # The stream ends with the next item, and confirms only positions flushed by then.
            if self._stream.is_complete or left <= 0 or not await wait_sockets([socket], [], left):
                await self._flush()
            return None
        # Transactions that ran during a late deletion may end after the last change has come.
        if self._unswept and left <= 0:
            await self._flush()
            return None
        await self._mark.note(self._stored)
        return await self._next()

    async def _next(self) -> RawTransaction[Row] | None:
        """Wait for a transaction."""
        try:
            return await self._stream.__anext__()
        except StopAsyncIteration:
            self._has_ended = True
        except WaitTimeout:
            self._check_time()
        return None

    def _check(self) -> None:
        """Raise if the run ends while a transaction waits, which can take long."""
        self._goal.check(applied(self._tally.position))

    def _check_time(self) -> None:
        self._goal.check_time(applied(self._tally.position))

    # Sending

    async def _take(self, transaction: RawTransaction[Row]) -> None:
        """Send a transaction, unless it is filtered; make room for the next one."""
        if not transaction.is_complete:
            await self._take_part(transaction)
            return
        is_partly_sent = self._is_partly_sent
        self._is_in_progress = self._is_partly_sent = False
        if is_partly_sent:
            await self._send_rest(transaction, transaction.part())
        # The slot may be behind, and sends again what was applied before this run.
        elif transaction.end_lsn <= self._taken:
            return
        else:
            if self._copied:
                self._omit_copied(transaction)
            if await self._is_wanted(transaction.origin):
                self._look_at_clock(transaction.microseconds)
                await self._send(transaction)
        self._taken = transaction.end_lsn
        pipeline = self._target.pipeline
        # As soon as they are read: transactions that are kept for longer cost the collector of
        # garbage more time than their changes take, and are acknowledged later.
        if pipeline.has_outcomes:
            await self._settle(pipeline.outcomes())
        if pipeline.in_flight >= _MOST_GROUPS:
            # Only the oldest batch, so that the subscriber has work while the next ones are sent.
            await self._drain(_MOST_GROUPS - IN_A_BATCH)
        elif self._bytes > _MOST_BYTES:
            await self._drain(max(pipeline.in_flight - 1, 0))
        if time.monotonic() - self._flushed_at >= _ACKNOWLEDGED_EVERY:
            await self._flush()

    def _look_at_clock(self, committed: int) -> None:
        """Warn if the publisher's clock has gone back, where commit times decide conflicts."""
        if committed < self._newest - _BACK and self._target.max_clock_skew is not None:
            _log.warning(
                "applier %s: the publisher's clock went back by %.3f s: a row that it has written"
                " before and after that may differ now; compare the nodes, and update the rows that"
                " differ once its clock has passed the time before",
                self._settings.name,
                (self._newest - committed) / 1_000_000,
            )
        elif committed < self._newest:
            return
        self._newest = committed

    def _omit_copied(self, transaction: RawTransaction[Row]) -> None:
        """Leave out the changes that are in the copied rows of a table."""
        end = transaction.end_lsn
        # Positions only grow, so a table that the stream has passed is never looked at again.
        self._copied = {table: lsn for table, lsn in self._copied.items() if end <= lsn}
        transaction.omitted = frozenset(self._copied)

    async def _is_wanted(self, origin: str | None) -> bool:
        if origin is None:
            return True
        if origin not in self._origins:
            # An applier or a subscription of the other direction may be newer than this run.
            await self._insist_on_no_loop()
            self._origins.add(origin)
        # Before 16, servers send everything.
        if self._settings.takes_own_only:
            return False
        # The publisher got it from this subscriber: applying it would send it round again.
        if origin == self._target.origin.name and self._target.origin_returns:
            raise OriginLoop(self._target.operation, origin)
        return True

    async def _take_part(self, transaction: RawTransaction[Row]) -> None:
        """Send what has come of a large transaction, so that it is applied while the rest comes."""
        if not self._is_in_progress:
            # The transactions before it must not fail with it, nor wait for its end.
            await self._finish()
            self._is_in_progress = True
            done = self._taken, *self._copied.values()
            self._is_partly_sent = (
                all(transaction.commit_at >= int(lsn) for lsn in done)
                and not self._singly
                and await self._is_wanted(transaction.origin)
            )
            if self._is_partly_sent:
                self._begin(transaction)
        if not self._is_partly_sent:
            return
        try:
            await self._send_changes(transaction, transaction.part())
        except RuleFailed:
            # It is met again, and reported, once the transaction is complete.
            await self._give_up()

    async def _give_up(self) -> None:
        """Roll back the parts that were sent of a transaction that is not complete."""
        if not self._is_partly_sent:
            return
        self._is_partly_sent = False
        self._group, self._batch = [], Batch()
        self._pending.clear()
        target = self._target
        await target.pipeline.cancel([])
        await target.leave_pipeline()
        target.pipeline.outcomes()
        await target.enter_pipeline()

    async def _send(self, transaction: RawTransaction[Row]) -> None:
        self._begin(transaction)
        await self._send_rest(transaction, transaction.changes())

    def _begin(self, transaction: RawTransaction[Row]) -> None:
        self._pending.append(transaction)
        self._group.append(transaction)
        self._target.pipeline.begin()
        self._target.begin(self._planner, transaction)
        self._number = 0

    async def _send_rest(
        self, transaction: RawTransaction[Row], changes: Iterator[RawChange[Row]]
    ) -> None:
        self._bytes += transaction.size
        try:
            await self._send_changes(transaction, changes)
        except (SchemaMismatch, RuleFailed, NotPortable) as error:
            self._batch = Batch()
            await self._abandon(self._number, error)
            return
        if self._singly or len(self._group) >= self._settings.group:
            self._singly = max(self._singly - 1, 0)
            await self._end_group()

    async def _end_group(self) -> None:
        """Send the end of the group, if one was begun."""
        if self._batch:
            await self._send_batch()
        if self._group:
            group, self._group = self._group, []
            await self._target.end(group, checks=self._shapes.has_deferred)

    async def _send_changes(
        self, transaction: RawTransaction[Row], changes: Iterator[RawChange[Row]]
    ) -> None:
        planner, send, batch = self._planner, self._target.pipeline.send, self._batch
        weight = 1 + transaction.total // transaction.rows // _LARGE
        is_grouped = self._settings.group > 1
        is_batched = weight == 1 and (is_grouped or transaction.rows > 1) and not self._singly
        for change in changes:
            self._number += 1
            try:
                steps = planner.steps(change)
            except (UnknownTable, SchemaMismatch):
                steps = await self._plan(change)
            for step in steps:
                if is_batched and (batch.takes(step) or await self._takes_next(step)):
                    continue
                if batch:
                    await self._send_batch()
                statement, values, formats = step
                # Without a note the outcome needs no look: most changes meet no conflict.
                note = step if statement.needs_row else None
                sql, types = statement.sql, statement.types
                await send(statement.name, sql, values, formats, note, weight, types)
        # Others follow in the next part of a transaction that still comes.
        if batch and not is_grouped and transaction.is_complete:
            await self._send_batch()

    async def _takes_next(self, step: Step) -> bool:
        """Send the rows of the batch; return whether the step begins another one."""
        if not self._batch:
            return False
        await self._send_batch()
        return self._batch.takes(step)

    async def _send_batch(self) -> None:
        for statement, values, formats in self._batch.steps():
            weight = len(values) // _PARAMETERS + 1
            await self._target.pipeline.send(
                statement.name, statement.sql, values, formats, None, weight, statement.types
            )

    async def _plan(self, change: RawChange[Row]) -> Iterable[Step]:
        """Return the steps of a change; read the subscriber's tables where that is needed."""
        is_fresh = False
        while True:
            try:
                return self._planner.steps(change)
            except UnknownTable as unknown:
                await self._shapes.read([unknown.table])
            except SchemaMismatch:
                # The subscriber's table may have been altered since it was read.
                if is_fresh:
                    raise
                is_fresh = True
                tables = [reader.table.table_name for reader in change[1]]
                await self._shapes.read([self._settings.target_of(table) for table in tables])

    async def _abandon(self, number: int, error: Exception) -> None:
        """Roll the group back, and raise the reason why its last transaction cannot be applied."""
        group, self._group = self._group, []
        await self._target.pipeline.cancel(group)
        await self._target.pipeline.drain()
        outcomes = self._target.pipeline.outcomes()
        failed = next((o for o in outcomes if o.error is not None), None)
        # Others of its group come first, each alone, and then this one again.
        if failed is not None and failed.group is group and len(group) == 1:
            [transaction] = group
            await self._settle(outcomes[: outcomes.index(failed)])
            if isinstance(error, RuleFailed):
                end = str(transaction.end_lsn)
                raise ApplyFailed(transaction.xid, end, error.table, number, str(error)) from error
            raise error
        # Another transaction has failed before: it comes first, and then this one again.
        await self._settle(outcomes)

    # Results

    async def _drain(self, down_to: int) -> None:
        pipeline = self._target.pipeline
        await self._end_group()
        while True:
            # Also those that arrived while the last batch was sent.
            await self._settle(pipeline.outcomes())
            if pipeline.in_flight <= down_to:
                return
            await pipeline.drain(down_to=down_to)

    async def _settle(self, outcomes: Sequence[Outcome[Group]]) -> None:
        if outcomes:
            self._watch.end()
            self._settled_at = time.monotonic()
        failed = None
        for outcome in outcomes:
            if outcome.error is not None:
                failed = outcome
                break
            self._settle_one(outcome)
        await self._conflicts.write()
        await self._mark.note(self._stored)
        if failed is not None and failed.error is not None:
            # The transactions behind it were refused for that reason.
            number = 0 if isinstance(failed.group, LSN) else len(failed.group)
            await self._recover(failed.error, number)

    def _settle_one(self, outcome: Outcome[Group]) -> None:
        group = outcome.group
        if isinstance(group, LSN):
            self._acknowledge(group)
            self._end_flush(outcome, group)
            return
        for transaction in group:
            self._pending.popleft()
            self._bytes -= transaction.size
            self._count(transaction)
        if outcome.notes is not None:
            conflicts = Conflicts.of(outcome.notes)
            self._sweep_later(conflicts)
            self._conflicts.add(group[-1], conflicts)

    def _end_flush(self, outcome: Outcome[Group], position: LSN) -> None:
        """Take the stored position; forget a table once no transaction of a late deletion runs."""
        for note, answer in outcome.notes.kept if outcome.notes else ():
            if isinstance(note, Statement):
                self._unswept.pop(note.table, None)
            elif note == STORED and self._settings.uses_origin and answer is not None:
                # It is earlier where a transaction has changed nothing.
                self._stored = min(LSN.from_bytes(answer), position)

    def _sweep_later(self, conflicts: Conflicts) -> None:
        """Note the tables in which a deletion found no row: one may just be inserted."""
        sweeps = self._planner.sweeps
        for table in conflicts.tables_of_missing:
            if table in sweeps:
                self._unswept[table] = sweeps[table]

    def _count(self, transaction: RawTransaction[Row]) -> None:
        self._attempts = 0
        tally = self._tally
        tally.transactions += 1
        tally.changes += transaction.rows
        tally.last = transaction, time.monotonic()

    async def _flush(self) -> None:
        """Let the subscriber flush what was taken."""
        await self._end_group()
        self._flushed_at = time.monotonic()
        if self._flushing < self._taken:
            self._flushing = self._taken
            await self._target.flush(self._taken, [*self._unswept.values()])
        elif self._unswept:
            await self._target.flush(self._flushing, [*self._unswept.values()])

    def _acknowledge(self, position: LSN) -> None:
        self._attempts = 0
        self._tally.position = position
        # Old deletions are flushed before anything has come: the stream has not delivered that
        # position, and the slot may be before it.
        if position > self._start and not self._stream.is_closed:
            self._stream.acknowledge(position)

    # Failures

    async def _recover(self, error: PsycopgError, failed: int) -> None:
        """Apply the first pending transaction in another way, and send the others again.

        ``failed`` is the number of transactions that failed as one; 0 for a flush.
        """
        target = self._target
        if is_lost(error.sqlstate):
            raise error
        await target.leave_pipeline()
        target.pipeline.outcomes()
        self._group, self._batch = [], Batch()
        if failed > 1:
            # Then the one at fault is known, and no other shares its fate.
            self._singly = failed
        elif is_transient(error.sqlstate) and self._attempts < self._settings.retries:
            pause = _pause_after(self._attempts)
            self._attempts += 1
            _log.info(
                "applier %s tries %s again: SQLSTATE %s",
                self._settings.name,
                f"transaction {self._pending[0].xid}" if failed else "a flush",
                error.sqlstate,
            )
            await self._pause(pause)
        elif failed and self._may_pass_singly(error, self._pending[0]):
            # Statements for several rows fail at a conflict, and do not decide it.
            self._repeated, self._singly = self._pending[0].end_lsn, _CAREFUL
        elif not failed:
            # A flush has no change that could be applied in another way.
            raise error
        else:
            await self._apply_slowly(self._pending[0])
            self._pending.popleft()
        # The server has refused all that followed the failure in the pipeline.
        again = [*self._pending]
        self._pending.clear()
        self._bytes = 0
        self._flushing = self._tally.position
        await target.enter_pipeline()
        for transaction in again:
            await self._send(transaction)

    async def _pause(self, seconds: float) -> None:
        """Wait before the next attempt, unless the run ends."""
        self._check()
        await sleep(self._goal.within(seconds))
        self._check()

    def _may_pass_singly(self, error: PsycopgError, transaction: RawTransaction[Row]) -> bool:
        """Return whether a transaction may pass if it is sent change by change."""
        # Where rows are merged, statements for one row fail at a conflict, too.
        is_careful = self._settings.merges or self._repeated >= transaction.end_lsn
        return is_of_a_set(error.sqlstate) and not is_careful

    async def _apply_slowly(self, transaction: RawTransaction[Row]) -> None:
        policy = self._settings.conflicts
        slow = AsyncSlowPath(
            self._target, self._planner, self._plan, policy, self._check, self._conflicts
        )
        try:
            try:
                conflicts = await self._tried_slowly(slow, transaction)
            except ApplyFailed as failure:
                if not is_of_a_definition(failure.sqlstate) or not await self._have_changed():
                    raise
                # The same changes, or the reason why they no longer fit.
                conflicts = await self._tried_slowly(slow, transaction)
        except ApplyFailed as failure:
            if slow.refused is not None:
                self._tally.conflicts[slow.refused] += 1
            await self._go_past(slow, transaction, failure)
            return
        self._count(transaction)
        self._sweep_later(conflicts)
        self._conflicts.count(conflicts)

    async def _have_changed(self) -> bool:
        """Read the subscriber's tables again; return whether one was altered meanwhile."""
        known = {**self._shapes.tables}
        await self._shapes.read([*known])
        if self._shapes.tables == known:
            return False
        self._planner.forget()
        return True

    async def _go_past(
        self, slow: AsyncSlowPath, transaction: RawTransaction[Row], failure: ApplyFailed
    ) -> None:
        """Park or skip a transaction, if that is the decision; otherwise raise its failure."""
        decision: FailureDecision = "stop"
        # A full disk would put aside every transaction that follows.
        if is_of_a_change(failure.sqlstate):
            decision = self._decided(transaction, failure)
        if decision == "stop":
            raise failure
        if decision == "park":
            await slow.park(transaction, failure)
            self._tally.parked += 1
            failure.remedy = "remove the cause and call apply_parked()"
        else:
            await slow.skip(transaction)
            self._tally.skipped += 1
            failure.remedy = ""
        name = self._settings.name
        _log.warning(
            "applier %s decided to %s a transaction: %s", name, decision, one_line(failure)
        )
        self._attempts = 0

    def _decided(self, transaction: RawTransaction[Row], failure: ApplyFailed) -> FailureDecision:
        failed = RefusedChange(
            xid=transaction.xid,
            lsn=transaction.end_lsn,
            commit_time=transaction.commit_time,
            table=failure.table,
            change_number=failure.change_number,
            sqlstate=failure.sqlstate,
            found=failure.found,
        )
        try:
            return decided(self._settings.on_error, failed)
        except OnErrorFailed as error:
            raise ApplyFailed(
                failure.xid,
                failure.lsn,
                failure.table,
                failure.change_number,
                f"{failure.found}; {error}",
                failure.sqlstate,
            ) from error

    async def _tried_slowly(
        self, slow: AsyncSlowPath, transaction: RawTransaction[Row]
    ) -> Conflicts:
        attempt = 0
        while True:
            try:
                return await slow.apply(transaction)
            except ApplyFailed as failure:
                if not is_transient(failure.sqlstate) or attempt >= self._settings.retries:
                    raise
            await self._pause(_pause_after(attempt))
            attempt += 1


def _pause_after(attempts: int) -> float:
    """Return the seconds before another attempt."""
    # Without the limit, the power of a large number of attempts would not fit into a float.
    return min(_FIRST_PAUSE * float(2 ** min(attempts, _MOST_DOUBLINGS)), _LONGEST_PAUSE)
