# Generated from pgreplkit/_async/logical/applycopy.py by `nox -s sync`. Do not edit.
"""The first rows of an applier: its slot, and a copy of the tables at snapshots of slots."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from socket import SHUT_RDWR
from typing import TypeAlias

from pgreplkit._sync._io import Job, TaskGroup, shielded
from pgreplkit._sync.logical.applyfit import find_mismatch
from pgreplkit._sync.logical.applyopening import opened
from pgreplkit._sync.logical.applyrows import ApplyRows, insist_on_empty
from pgreplkit._sync.logical.applytarget import ApplierState, ApplyTarget, SlotMark
from pgreplkit._sync.logical.coverage import insist_on_all_rows
from pgreplkit._sync.streams.changes import Pgoutput
from pgreplkit._sync.streams.replication import ReplicationConnection
from pgreplkit._sync.wire.cancelling import cancel
from pgreplkit._sync.wire.cutoff import Cutoff, end_session, shut
from pgreplkit._sync.wire.link import Link
from pgreplkit._text import counted
from pgreplkit.apply.goal import ApplyGoal
from pgreplkit.apply.planner import Planner
from pgreplkit.apply.settings import ApplySettings
from pgreplkit.catalog.logical import applying as sql
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.failures import DUPLICATE_OBJECT
from pgreplkit.errors import AlreadyExists, ApplyError, ServerError
from pgreplkit.plans.logical.applyloops import Direction
from pgreplkit.plans.logical.snapshot import TableCopy
from pgreplkit.protocol.answers import CreatedSlot, Snapshot
from pgreplkit.protocol.pgoutput.rows import Row
from pgreplkit.values.tablename import TableName

_LOOKS_EVERY = 0.2
"""Seconds between two looks whether a copy has failed."""
_CANCELLED_WITHIN = 5.0
"""Seconds for a server to cancel a copy: the request is a connection of its own."""
_FORGOTTEN_WITHIN = 5.0
"""Seconds for both servers to remove what a run leaves that did not get its slot."""
Limited: TypeAlias = Callable[[], AbstractContextManager[None]]
"""Returns a block whose statements, in the applier's own sessions, end when the run has to end."""


class ApplyCopy:
    """Creates the slot of an applier, and copies the existing rows if that was asked for.

    Each table is copied in one transaction, which also notes the position as of which its rows
    are. A copy that was interrupted continues with the other tables, at the snapshot of another
    slot: their changes before its position are in the copied rows, and are left out later.
    """

    def __init__(
        self,
        conninfo: str,
        subscriber: str,
        publisher: Link,
        target: ApplyTarget,
        planner: Planner,
        plugin: Pgoutput[Row],
        settings: ApplySettings,
        goal: ApplyGoal,
        limited: Limited,
    ) -> None:
        self._conninfo, self._subscriber = conninfo, subscriber
        self._publisher, self._target = publisher, target
        self._planner, self._plugin, self._settings = planner, plugin, settings
        self._goal, self._limited = goal, limited
        self._slot = settings.slot
        self._mark: SlotMark | None = None
        """The slot as it was created, if it was."""
        self._left: deque[list[TableCopy]] = deque()
        """The tables whose copy has not begun, those of one table of the subscriber together."""
        self._filled: set[TableName] = set()
        """The subscriber's tables that have copied rows of this applier."""
        self._failure: Exception | None = None
        self._failed: TableName | None = None
        """The table whose copy failed."""
        self._is_wanted = True
        self.rows = 0
        """The number of copied rows."""

    def check(self, copies: Sequence[TableCopy], state: ApplierState | None) -> None:
        """Check everything that can be checked before anything is created.

        Raises: AlreadyExists; ApplyError for a table with rows.
        """
        settings, target = self._settings, self._target
        self._mark = None if state is None else state.slot
        self._insist_on_slot(state)
        if state is None and target.uses_origin:
            target.origin.insist_on_none()
        if settings.copy:
            # Without a state, the table that it is read from may not exist yet.
            copied = {} if state is None else target.read_copied()
            self._filled.update(map(settings.target_of, copied))
            left = [copy for copy in copies if copy.table.table_name not in copied]
            tables = [copy.table.table_name for copy in left]
            insist_on_all_rows(self._publisher, target.operation, tables)
            self._left.extend(self._by_target(left))
            # Each copy checks its table again.
            for first, *_ in self._left:
                into = settings.target_of(first.table.table_name)
                if settings.existing == "refuse" and into not in self._filled:
                    insist_on_empty(target.link, first, settings)

    def _by_target(self, copies: Sequence[TableCopy]) -> Iterable[list[TableCopy]]:
        sharing: dict[TableName, list[TableCopy]] = {}
        for copy in copies:
            into = self._settings.target_of(copy.table.table_name)
            sharing.setdefault(into, []).append(copy)
        return sharing.values()

    def create(self, system_id: int, state: ApplierState | None, own: Direction) -> None:
        """Create the slot, and copy the tables that are not copied yet.

        Raises: ApplyError for a table with rows; SchemaMismatch; StatementTimeout; WaitTimeout and
        RunStopped, after which the next run continues with the tables that are left; AlreadyExists
        for a slot that the applier of another subscriber has just created.
        """
        target = self._target
        with self._limited():
            has_slot = self._insist_on_slot(state)
            if state is None:
                target.create(system_id)
            target.note_flow(own)
        is_copying = state is not None and state.state == "copying"
        # Without a copy, a slot that exists has the changes that were made since its creation.
        is_first = not has_slot or (self._settings.copy and not is_copying)
        if is_first or self._left:
            self._copy_at_snapshot(has_slot=has_slot, is_first=is_first)
        with self._limited():
            target.set_state("streaming")

    def _is_own_slot(self) -> bool | None:
        """Return whether the slot of that name is the applier's own; None if none has the name."""
        found = self._publisher.all("read the slots", sql.SLOT_MARK, [self._slot])
        if not found:
            return None
        slot = SlotMark.of(found[0]["restart"], found[0]["confirmed"])
        return self._mark is not None and self._mark.is_of(slot)

    def _insist_on_slot(self, state: ApplierState | None) -> bool:
        """Return whether the applier has its slot.

        Refuse a slot that may be another applier's, and an interrupted copy without its slot.
        """
        operation, name = self._target.operation, self._settings.name
        is_own = self._is_own_slot()
        if state is None and is_own is not None:
            raise AlreadyExists(
                operation,
                f"the publisher has a slot {self._slot!r}, but the subscriber has no applier"
                f" {name!r}",
                remedy="drop the slot, or choose another name",
            )
        if is_own is False:
            # It was killed before it had noted its slot, and the applier of another subscriber may
            # have created one since.
            raise AlreadyExists(
                operation,
                f"the publisher has a slot {self._slot!r}, and nothing shows that this applier has"
                " created it",
                remedy="choose another name; or drop the slot with pg_drop_replication_slot(), if"
                f" no other subscriber has an applier {name!r}, and run the applier again",
            )
        if is_own is None and state is not None and self._target.read_copied():
            raise ApplyError(
                operation,
                f"its copy was interrupted, and the slot {self._slot!r} of the tables that were"
                " copied does not exist",
                remedy="drop() the applier, empty the tables, and copy them again",
            )
        return bool(is_own)

    def _copy_at_snapshot(self, *, has_slot: bool, is_first: bool) -> None:
        conninfo, database = self._conninfo, self._publisher.connection.info.dbname
        connect = partial(ReplicationConnection.connect, conninfo, database=database)
        with opened(self._goal, conninfo, connect) as walsender:
            created = self._created(walsender, has_slot=has_slot, is_first=is_first)
            if self._settings.copy:
                with self._limited():
                    self._target.set_state("copying")
                # It ends the sessions that it waits for by itself, and needs the others then.
                self._copy(created)

    def _created(
        self, walsender: ReplicationConnection, *, has_slot: bool, is_first: bool
    ) -> CreatedSlot:
        """Create the slot, or a temporary one for the tables that are left.

        Raises: StatementTimeout; WaitTimeout; RunStopped.
        """
        goal, settings = self._goal, self._settings

        def is_over() -> bool:
            # Nothing is in flight that could be completed.
            return goal.is_stopping or goal.is_over

        try:
            with Cutoff(is_over, [walsender.connection]):
                if has_slot and is_first:
                    # Nothing was copied at its snapshot, which no longer exists.
                    walsender.drop_slot(self._slot, wait=True)
                # Another slot is unnamed: that of an applier that was killed may still be waiting.
                is_named = is_first and not self._notes_before
                created = walsender.create_slot(
                    self._slot if is_named else f"{sql.PREFIX}copy_{secrets.token_hex(8)}",
                    plugin="pgoutput",
                    temporary=not is_named,
                    snapshot=Snapshot.EXPORT if settings.copy else Snapshot.NOTHING,
                )
            if is_first:
                with self._limited():
                    self._take_slot(created.name)
            return created
        except BaseException as error:
            if is_first:
                is_other = self._notes_before or isinstance(error, AlreadyExists)
                shielded(partial(self._forget, walsender, is_other=is_other))
            if isinstance(error, ServerError):
                goal.check("its slot waits for the transactions that are open on the publisher")
            raise

    @property
    def _notes_before(self) -> bool:
        """Whether the applier can note its slot before it exists, as the copy of another one.

        On other servers, one that is killed in between does not know its slot.
        """
        return self._publisher.has("slot.copy")

    def _take_slot(self, created: str) -> None:
        """Note the slot that was created; if it is not the applier's own, copy it."""
        operation = self._target.operation
        slot = self._publisher.one(operation, sql.SLOT_MARK, [created])
        self._mark = SlotMark.of(slot["restart"], slot["confirmed"])
        self._target.note_slot(self._mark)
        if created != self._slot:
            meaning = {DUPLICATE_OBJECT: AlreadyExists}
            names = [created, self._slot]
            try:
                self._publisher.all(operation, sql.COPY_SLOT, names, meaning=meaning)
            except AlreadyExists:
                # Slots that are created in the same moment may have the same positions.
                self._mark = None
                raise

    def _forget(self, walsender: ReplicationConnection, *, is_other: bool) -> None:
        """Remove the slot and the applier of a first run that did not get its slot.

        ``is_other`` says that a slot which is not known to be its own is another applier's.
        """
        # Its command may just have succeeded, although its answer was not read.
        end_session(walsender.connection)
        patience = Backoff(_FORGOTTEN_WITHIN)
        connections = [self._publisher.connection, self._target.connection]
        # What another failure leaves behind, the next run continues.
        with suppress(ServerError):
            with Cutoff(lambda: patience.is_over, connections):
                is_own = self._is_own_slot()
                if is_own:
                    self._publisher.all("drop the slot", sql.DROP_SLOT, [self._slot])
                if is_own is not False or is_other:
                    self._target.drop()

    def _copy(self, created: CreatedSlot) -> None:
        """Copy tables, several at once.

        Raises: RunStopped; WaitTimeout.
        """
        workers, targets, jobs = list[ApplyRows](), [self._target], list[Job[None]]()
        group, is_over = TaskGroup(self._settings.copy_workers), False
        try:
            for number in range(min(self._settings.copy_workers, len(self._left))):
                # The first worker uses the applier's own session.
                if number:
                    targets.append(self._opened_target())
                workers.append(self._opened_rows(created, targets[-1]))
            jobs += [group.start(partial(self._work, worker, created)) for worker in workers]
            while self._failure is None and not all(job.done() for job in jobs):
                if is_over := self._goal.is_over:
                    break
                group.wait(jobs, _LOOKS_EVERY)
        finally:
            self._is_wanted = False
            shielded(partial(_end, group, jobs, workers, targets[1:]))
        # The copies that were cancelled then have failed for that reason.
        if self._failure is not None and not is_over:
            with self._limited():
                self._raise_mismatch(self._failure)
            raise self._failure
        for job in jobs:
            # Not a failure of the copy, such as SystemExit: its table is not copied.
            job.result()
        if self._left:
            number = sum(map(len, self._left))
            self._goal.check(f"the rows of {counted(number, 'table')} are not copied yet")

    def _opened_target(self) -> ApplyTarget:
        name, uses_origin = self._settings.name, self._settings.uses_origin
        connect = partial(ApplyTarget.connect, self._subscriber, name, uses_origin=uses_origin)
        return opened(self._goal, self._subscriber, connect)

    def _opened_rows(self, created: CreatedSlot, target: ApplyTarget) -> ApplyRows:
        connect = partial(
            ApplyRows.connect,
            self._conninfo,
            created.snapshot_name or "",
            target,
            self._planner,
            self._plugin,
            self._settings,
            lambda: self._is_wanted,
        )
        return opened(self._goal, self._conninfo, connect)

    def _raise_mismatch(self, failure: Exception) -> None:
        """Raise SchemaMismatch if the types of columns have refused a row."""
        if isinstance(failure, ServerError):
            link, settings = self._target.link, self._settings
            mismatch = find_mismatch(self._publisher, link, settings, failure, self._failed)
            if mismatch is not None:
                raise mismatch from failure

    def _work(self, worker: ApplyRows, created: CreatedSlot) -> None:
        sharing: list[TableCopy] = []
        try:
            while self._is_wanted and self._left and not self._goal.is_stopping:
                try:
                    sharing = self._left.popleft()
                except IndexError:
                    # Another thread has just taken the last one.
                    break
                copy, *others = sharing
                into = self._settings.target_of(copy.table.table_name)
                # Only the first of several tables may empty the table that they are copied to.
                keeps = into in self._filled
                count = worker.copy(copy, created.consistent_point, keeps=keeps)
                self._filled.add(into)
                # Not in one statement: the sum would be read before the copy, and another lost.
                self.rows += count
                if others:
                    self._left.appendleft(others)
        except Exception as error:
            if sharing:
                self._left.append(sharing)
            # The first failure is the cause of those that follow.
            if self._failure is None:
                self._failed = sharing[0].table.table_name if sharing else None
                self._failure = error


def _end(
    group: TaskGroup,
    jobs: Sequence[Job[None]],
    workers: Sequence[ApplyRows],
    targets: Sequence[ApplyTarget],
) -> None:
    """End the copies, and close their sessions."""
    connections = [connection for worker in workers for connection in worker.connections]
    patience = Backoff(_CANCELLED_WITHIN)
    # Again and again: a request to cancel is lost between two statements.
    while not all(job.done() for job in jobs):
        # They may wait for a lock.
        for connection in connections:
            if patience.is_over:
                # The path is silent, or the server is.
                shut(connection, SHUT_RDWR)
            else:
                cancel(connection, timeout=_CANCELLED_WITHIN)
        group.wait(jobs, _LOOKS_EVERY)
    group.close()
    for worker in workers:
        worker.close()
    for target in targets:
        target.close()
