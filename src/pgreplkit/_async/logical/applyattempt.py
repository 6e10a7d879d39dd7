"""AsyncApplyAttempt: the sessions of an applier, from their start to their end."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial

import attrs
from psycopg import AsyncConnection
from psycopg.conninfo import make_conninfo

from pgreplkit._async._io import sleep
from pgreplkit._async.logical.applyconflicts import AsyncConflictLog
from pgreplkit._async.logical.applyconstants import insist_on_constants
from pgreplkit._async.logical.applycopy import AsyncApplyCopy, Limited
from pgreplkit._async.logical.applyfit import find_mismatch
from pgreplkit._async.logical.applyleaves import insist_on_found_rows
from pgreplkit._async.logical.applyloops import (
    direction_of,
    insist_on_no_loop,
    read_opposing,
)
from pgreplkit._async.logical.applymark import AsyncStoredMark
from pgreplkit._async.logical.applyopening import opened
from pgreplkit._async.logical.applyorigin import RELEASED_WITHIN
from pgreplkit._async.logical.applyrun import AsyncApplyRun
from pgreplkit._async.logical.applyshapes import AsyncTargetShapes
from pgreplkit._async.logical.applysource import AsyncApplySource
from pgreplkit._async.logical.applystream import AsyncQualifiedPgoutput, AsyncRawStream
from pgreplkit._async.logical.applytarget import ApplierState, AsyncApplyTarget
from pgreplkit._async.logical.snapshot import published_in, table_copies
from pgreplkit._async.logical.tombstones import (
    ensure_functions,
    ensure_tombstones,
    insist_on_keys,
)
from pgreplkit._async.server.identity import read_database
from pgreplkit._async.streams.changes import AsyncPgoutput
from pgreplkit._async.streams.slotstream import AsyncSlotStream
from pgreplkit._async.wire.cutoff import AsyncCutoff
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.apply.failures import is_of_cutoff
from pgreplkit.apply.goal import ApplyGoal, applied
from pgreplkit.apply.planner import Planner, is_portable
from pgreplkit.apply.settings import ApplySettings
from pgreplkit.apply.shape import Dump, insist_on_named
from pgreplkit.apply.tally import ApplyTally
from pgreplkit.catalog.logical import applying as sql
from pgreplkit.catalog.server.identity import RunningDatabase
from pgreplkit.catalog.server.slot import END_PROCESS
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.valuetext import text_of
from pgreplkit.errors import (
    AheadOfServer,
    ApplyError,
    ApplyFailed,
    PublicationGap,
    ServerError,
    SlotLost,
    SlotNotFound,
    TableNotFound,
)
from pgreplkit.plans.logical.applyloops import Direction
from pgreplkit.plans.logical.snapshot import TableCopy
from pgreplkit.plans.server.identity import feeds_itself
from pgreplkit.plans.streams.options import ChangeSettings
from pgreplkit.protocol.pgoutput.rows import Row
from pgreplkit.protocol.pgoutput.tables import Table
from pgreplkit.values.lsn import LSN
from pgreplkit.values.tablename import TableName

_WAITS = 0.2
"""Seconds for which a stream waits for a transaction: then stop() and the deadline are checked."""
_MEMORY = 2 << 20
"""Bytes of one transaction that stay in memory; the rest is in a temporary file."""
_LARGE = 256 << 10
"""Bytes from which a transaction is applied while it comes: smaller ones share round trips."""
_BINARY_SINCE = 14
"""The first major version of a publisher that sends values in binary."""


@attrs.frozen
class _Prepared:
    """The facts about both servers with which an attempt begins."""

    system_id: int
    state: ApplierState | None
    planner: Planner
    plugin: AsyncPgoutput[Row]
    here: RunningDatabase
    """The subscriber's database."""
    own: Direction
    """The applier as those of the other direction see it."""
    copy: AsyncApplyCopy | None
    """The copy of the rows, unless all are copied."""


@attrs.define
class LastSessions:
    """The servers' processes of the last attempt, which may not have noticed that it has ended."""

    walsender: int | None = None
    target: int | None = None


class AsyncApplyAttempt:
    """One attempt of a run, with sessions of its own: it ends with the first that is lost."""

    def __init__(
        self,
        publisher: str,
        subscriber: str,
        settings: ApplySettings,
        tally: ApplyTally,
        goal: ApplyGoal,
        last: LastSessions,
        *,
        is_text: bool,
    ) -> None:
        self._publisher, self._subscriber = publisher, subscriber
        self._settings, self._tally, self._goal = settings, tally, goal
        self._last, self._is_text = last, is_text
        """Whether values must be sent as texts."""
        self._operation = settings.operation

    async def run(self) -> None:
        """Begin or continue, until the goal is reached.

        Raises: the errors of ``Applier.run``; NotPortable; RunStopped.
        """
        goal = self._goal
        async with (
            # Three sessions: the one that applies takes no query between its statements.
            await opened(
                goal, self._publisher, partial(AsyncApplySource.connect, self._publisher)
            ) as publisher,
            await opened(
                goal, self._subscriber, partial(AsyncTargetShapes.connect, self._subscriber)
            ) as shapes,
            await opened(
                goal,
                self._subscriber,
                partial(
                    AsyncApplyTarget.connect,
                    self._subscriber,
                    self._settings.name,
                    uses_origin=self._settings.uses_origin,
                ),
            ) as target,
        ):
            connections = [one.connection for one in (publisher.link, shapes.link, target)]
            async with self._limited(connections):
                limited = partial(self._limited, connections)
                prepared = await self._prepare(publisher.link, shapes, target, limited)
            if prepared.copy is not None:
                await self._copied(prepared.copy, prepared)
            async with self._limited(connections):
                await self._continue(publisher.link, shapes, target, prepared)

    async def _prepare(
        self,
        publisher: AsyncLink,
        shapes: AsyncTargetShapes,
        target: AsyncApplyTarget,
        limited: Limited,
    ) -> _Prepared:
        """Check both servers, and create the applier's tables; ``limited`` is for the copy."""
        settings = self._settings
        # First of all: two appliers of one name would apply each change twice.
        await target.lock(last=self._last.target)
        self._last.target = target.connection.info.backend_pid
        state = await target.read_state() if await target.has_schema() else None
        source = await read_database(publisher)
        self._check_source(state, system_id := int(source.system_id))
        is_first = state is None or state.state != "streaming"
        copies = await published_tables(publisher, settings, insists=is_first)
        tables = [copy.table for copy in copies]
        # Later, a table may have been dropped.
        if is_first:
            settings.insist_on_deltas([table.table_name for table in tables])
        # A subscriber that is also the publisher must not write the published tables.
        here = await read_database(shapes.link)
        if feeds_itself(source, here):
            settings.insist_on_other_tables([table.table_name for table in tables])
        own = direction_of(copies, settings)
        opposing = await read_opposing(publisher, here)
        await insist_on_no_loop(self._operation, publisher, shapes.link, opposing, own)
        target.origin_returns = opposing.may_have(settings.name)
        targets = [settings.target_of(table.table_name) for table in tables]
        await shapes.read(targets)
        for source_table, rule in settings.rules.items():
            target_table = settings.target_of(source_table)
            other = shapes.others.get(target_table, "")
            insist_on_named(source_table, shapes.tables[target_table], rule, other)
        await insist_on_constants(target.link, copies, shapes.tables, settings)
        await self._insist_on_versions(shapes)
        dump = text_of(target.connection)
        is_text = self._is_text or settings.merges or publisher.version.major < _BINARY_SINCE
        is_binary = not is_text and is_portable(tables, shapes.tables, settings.rules, dump)
        plugin = self._plugin(publisher, tables, is_binary=is_binary)
        roots = {copy.table.table_name for copy in copies if copy.is_partitioned}
        planner = self._planner(shapes, dump, roots, is_binary=is_binary, is_first=is_first)
        # A table that does not fit is found before rows are copied, or versions compared.
        if is_first or settings.stamps is not None:
            for table in tables:
                planner.plan_of(table)
        await insist_on_found_rows(publisher, shapes, copies, settings)
        copy = None
        if is_first:
            copy = self._copy(publisher, target, planner, plugin, limited)
        if copy is not None:
            await copy.check(copies, state)
        # Only here: what is refused above leaves nothing behind.
        await target.ensure_schema()
        await AsyncConflictLog(shapes.link, settings.name, self._tally.conflicts).prune()
        await self._use_versions(target, shapes.link, targets)
        return _Prepared(system_id, state, planner, plugin, here, own, copy)

    async def _continue(
        self,
        publisher: AsyncLink,
        shapes: AsyncTargetShapes,
        target: AsyncApplyTarget,
        prepared: _Prepared,
    ) -> None:
        """Apply the changes from the applier's position on."""
        state = prepared.state if prepared.copy is None else await target.read_state()
        await target.note_flow(prepared.own)
        await target.take_origin()
        await self._wait_for_slot(publisher)
        clock = await publisher.one(self._operation, sql.CLOCK)
        self._tally.epoch = clock["now"] - timedelta(seconds=time.monotonic())
        mark = AsyncStoredMark(publisher, self._settings)
        if state is not None:
            await mark.check(state.position if state.is_end else state.position + 1)
        try:
            await self._stream(publisher, target, shapes, prepared, state, mark)
        except ApplyFailed as failure:
            mismatch = await find_mismatch(publisher, shapes.link, self._settings, failure)
            if mismatch is None:
                raise
            raise mismatch from failure

    @asynccontextmanager
    async def _limited(self, connections: Sequence[AsyncConnection[object]]) -> AsyncIterator[None]:
        """End the sessions when the run has to end, whatever the block waits for.

        Raises: RunStopped; WaitTimeout.
        """
        async with AsyncCutoff(lambda: self._goal.is_over, connections) as cutoff:
            try:
                yield
            except ServerError as error:
                if cutoff.has_cut and is_of_cutoff(error):
                    self._goal.check(applied(self._tally.position), error)
                raise

    async def _wait_for_slot(self, publisher: AsyncLink) -> None:
        """Wait until the walsender of an earlier session has let go of the slot.

        It may still decode changes for a client that was killed, or wait for one that was cut off.
        """
        slot = self._settings.slot
        backoff = Backoff(self._goal.within(RELEASED_WITHIN))
        # Then the stream reports what uses the slot.
        while not backoff.is_over and not self._goal.is_stopping:
            users = await publisher.all("read the slot", sql.SLOT_USER, [slot])
            if not users or users[0]["pid"] is None:
                return
            if users[0]["pid"] == self._last.walsender:
                await publisher.all("end the walsender", END_PROCESS, [slot, users[0]["pid"]])
            await sleep(backoff.next_pause())

    def _check_source(self, state: ApplierState | None, system_id: int) -> None:
        if state is not None and state.system_id != str(system_id):
            raise ApplyError(
                self._operation,
                f"its position is of the cluster {state.system_id}, and the publisher is"
                f" {system_id}",
                remedy="choose another name for another publisher, or drop() the applier first",
            )

    async def _insist_on_versions(self, shapes: AsyncTargetShapes) -> None:
        """Refuse a subscriber that does not know which commit wrote a row last, if that matters."""
        settings, link = self._settings, shapes.link
        if not settings.reads_commits:
            return
        if settings.last_update_wins is None:
            link.require("commit.origin")
        track = await link.one(self._operation, sql.TRACKS_COMMITS)
        if not track["is_on"]:
            raise ServerError(
                self._operation,
                f"{type(settings.conflicts).__name__} needs to know which commit wrote a row last",
                remedy="set track_commit_timestamp = on, which needs a restart",
            )
        if settings.last_update_wins is not None:
            # The planner refuses a table that does not exist.
            insist_on_keys(table for table in shapes.tables.values() if table is not None)

    async def _use_versions(
        self, target: AsyncApplyTarget, link: AsyncLink, tables: Sequence[TableName]
    ) -> None:
        """Let deletions leave tombstones, and the session compare versions, if a policy does."""
        settings = self._settings
        policy, ranks = settings.last_update_wins, settings.ranks_of_origins
        if ranks is None:
            return
        if policy is None:
            await ensure_functions(link, self._operation)
        else:
            await ensure_tombstones(link, tables, settings.deltas)
        await target.use_ranks(ranks)
        if policy is not None:
            target.guard_clock(policy.max_clock_skew)
            # A node that joins must get each difference once: it begins at a position that belongs
            # to the copied rows.
            target.notes_position = bool(settings.deltas)
            self._tally.waits_for_clock = lambda: target.waits_for_clock

    def _planner(
        self,
        shapes: AsyncTargetShapes,
        dump: Dump,
        roots: Collection[TableName],
        *,
        is_binary: bool,
        is_first: bool,
    ) -> Planner:
        settings = self._settings
        return Planner(
            shapes.tables,
            settings.rules,
            dump,
            others=shapes.others,
            roots=roots,
            truncate=settings.truncate,
            is_binary=is_binary,
            stamps=settings.stamps,
            merges=settings.merges,
            merges_copied=is_first and settings.merges_copied,
        )

    def _copy(
        self,
        publisher: AsyncLink,
        target: AsyncApplyTarget,
        planner: Planner,
        plugin: AsyncPgoutput[Row],
        limited: Limited,
    ) -> AsyncApplyCopy:
        return AsyncApplyCopy(
            self._publisher,
            self._subscriber,
            publisher,
            target,
            planner,
            plugin,
            self._settings,
            self._goal,
            limited,
        )

    async def _copied(self, copy: AsyncApplyCopy, prepared: _Prepared) -> None:
        try:
            await copy.create(prepared.system_id, prepared.state, prepared.own)
        finally:
            # A copy that fails or is stopped keeps the tables that it has completed.
            self._tally.copied_rows += copy.rows

    async def _stream(
        self,
        publisher: AsyncLink,
        target: AsyncApplyTarget,
        shapes: AsyncTargetShapes,
        prepared: _Prepared,
        state: ApplierState | None,
        mark: AsyncStoredMark,
    ) -> None:
        plugin = prepared.plugin
        self._tally.position = LSN.INVALID if state is None else state.position
        # The run leaves out the transactions between the acknowledged position and this one.
        start = None if state is None or not state.is_end else state.position
        await target.use_sets()
        # It writes only the log of conflicts from here on, for which no change has to wait.
        await shapes.link.all(self._operation, sql.SET, ["synchronous_commit", "off"])
        slot_stream = AsyncSlotStream(
            make_conninfo(self._publisher, client_encoding="UTF8"),
            self._settings.slot,
            plugin,
            start=None if start == LSN.INVALID else start,
            settings=plugin.settings,
        )
        try:
            raw_stream = AsyncRawStream(
                slot_stream, plugin, memory_limit=_MEMORY, parts_from=_LARGE
            )
            # Its connection is none of those that the deadline ends.
            async with await opened(self._goal, self._publisher, raw_stream.opened) as stream:
                if slot_stream.walsender is not None:
                    self._last.walsender = slot_stream.walsender.pid
                run = AsyncApplyRun(
                    stream,
                    target,
                    shapes,
                    prepared.planner,
                    self._settings,
                    self._tally,
                    self._tally.position,
                    await target.read_copied(),
                    self._goal,
                    partial(self._insist_on_no_loop, publisher, shapes.link, prepared),
                    mark,
                )
                await run.run()
        except SlotLost as error:
            error.remedy = self._settings.lost_slot_remedy
            raise
        except SlotNotFound as error:
            error.remedy = self._settings.missing_slot_remedy
            raise
        except AheadOfServer as error:
            error.remedy = self._settings.lost_source_remedy
            raise
        except PublicationGap as error:
            error.remedy = self._settings.gap_remedy
            raise

    async def _insist_on_no_loop(
        self, publisher: AsyncLink, subscriber: AsyncLink, prepared: _Prepared
    ) -> None:
        """Refuse an applier or a subscription of the other direction that is newer than the run.

        Raises: OriginLoop.
        """
        opposing = await read_opposing(publisher, prepared.here)
        await insist_on_no_loop(self._operation, publisher, subscriber, opposing, prepared.own)

    def _plugin(
        self, publisher: AsyncLink, tables: Iterable[Table], *, is_binary: bool
    ) -> AsyncPgoutput[Row]:
        if self._settings.on_publication_gap == "skip":
            # An older server itself ends the stream there; the rows would have been copied in vain.
            publisher.require("publication.gaps")
        # Older servers send everything, and the run leaves it out.
        is_filtered = self._settings.takes_own_only and publisher.has("changes.origin")
        settings = ChangeSettings(
            binary=is_binary,
            messages=False,
            stop_at=self._goal.stop_at,
            timeout=_WAITS,
            origin="none" if is_filtered else "any",
            on_publication_gap=self._settings.on_publication_gap,
        )
        types = {column.type_oid for table in tables for column in table.columns}
        return AsyncQualifiedPgoutput(self._settings.publications, settings, types)


async def published_tables(
    link: AsyncLink, settings: ApplySettings, *, insists: bool = False
) -> list[TableCopy]:
    """Return the published tables; with ``insists`` there must be one."""
    operation = settings.operation
    published = await published_in(link, operation, settings.publications)
    names = [one.table for one in published]
    if not names and insists:
        listed = ", ".join(settings.publications)
        raise TableNotFound(
            operation,
            f"no table is published by {listed}",
            remedy="ALTER PUBLICATION … ADD TABLE",
        )
    if unknown := {*settings.rules} - {*names}:
        listed = ", ".join(map(str, sorted(unknown)))
        known = ", ".join(map(str, names)) or "no table"
        raise TableNotFound(
            operation,
            f"there are rules for {listed}; the publications have {known}",
            remedy="correct the names; a partitioned table is published as its partitions,"
            " unless the publication has via_partition_root=True",
        )
    return await table_copies(link, operation, published)
