"""AsyncApplier: applies the changes of one server's publications to another server."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from psycopg.conninfo import make_conninfo
from psycopg.rows import DictRow

from pgreplkit._async._io import sleep
from pgreplkit._async.logical.applychecks import check_apply, insist_on_role, setup_statements
from pgreplkit._async.logical.applycopy import AsyncApplyCopy
from pgreplkit._async.logical.applyfit import find_mismatch
from pgreplkit._async.logical.applyloops import direction_of, insist_on_no_loop
from pgreplkit._async.logical.applyrun import AsyncApplyRun, Tally
from pgreplkit._async.logical.applyshapes import AsyncTargetShapes
from pgreplkit._async.logical.applysource import AsyncApplySource
from pgreplkit._async.logical.applystream import AsyncQualifiedPgoutput, AsyncRawStream
from pgreplkit._async.logical.applytarget import ApplierState, AsyncApplyTarget
from pgreplkit._async.logical.parked import apply_parked, forget_parked
from pgreplkit._async.logical.snapshot import published_in, table_copies
from pgreplkit._async.logical.tombstones import (
    ensure_functions,
    ensure_tombstones,
    insist_on_keys,
)
from pgreplkit._async.server.identity import read_database
from pgreplkit._async.server.server import AsyncServer
from pgreplkit._async.streams.changes import AsyncPgoutput
from pgreplkit._async.streams.replication import AsyncReplicationConnection
from pgreplkit._async.streams.slotstream import AsyncSlotStream
from pgreplkit._async.wire.closing import AsyncClosing
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit._text import one_line
from pgreplkit.apply.membership import Membership
from pgreplkit.apply.onerror import OnError
from pgreplkit.apply.planner import NotPortable, Planner, is_portable
from pgreplkit.apply.policies import Policy
from pgreplkit.apply.settings import ApplySettings, Rules
from pgreplkit.apply.shape import Dump
from pgreplkit.catalog.logical import applying as sql
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.conninfo import complete
from pgreplkit.driver.given import server_error
from pgreplkit.driver.valuetext import text_of
from pgreplkit.errors import (
    ApplyError,
    ApplyFailed,
    ConnectionFailed,
    PublicationGap,
    ServerError,
    SlotActive,
    SlotLost,
    SlotNotFound,
    TableNotFound,
)
from pgreplkit.plans.logical.applying import (
    ApplierStatus,
    ApplyConflict,
    ApplyReport,
    ConflictKind,
    ParkedTransaction,
    SetupStatements,
)
from pgreplkit.plans.logical.applyloops import Direction
from pgreplkit.plans.logical.snapshot import TableCopy
from pgreplkit.plans.server.identity import feeds_itself
from pgreplkit.plans.server.readiness import Readiness
from pgreplkit.plans.streams.options import ChangeSettings
from pgreplkit.protocol.pgoutput.rows import Row, named_rows
from pgreplkit.values.lsn import LSN
from pgreplkit.values.moments import checked_moment
from pgreplkit.values.rolename import checked_role_name
from pgreplkit.values.rows import Rows
from pgreplkit.values.seconds import Timeout, checked_seconds
from pgreplkit.values.tablename import TableName

_log = logging.getLogger("pgreplkit.apply")

AnyServer: TypeAlias = AsyncServer | str
"""A server, or a connection string."""

_WAITS = 0.2
"""Seconds for which a stream waits for a transaction: then stop() and the deadline are checked."""
_MEMORY = 2 << 20
"""Bytes of one transaction that stay in memory; the rest is in a temporary file."""
_LARGE = 256 << 10
"""Bytes from which a transaction is applied while it comes: smaller ones share round trips."""
_KEPT = timedelta(days=30)
"""The time for which conflicts are kept."""
_BINARY_SINCE = 14
"""The first major version of a publisher that sends values in binary."""
_DROPPED_WITHIN = 10.0
"""Seconds for the walsender of a connection that was just closed to let go of its slot."""


class AsyncApplier(AsyncClosing):
    """Applies the changes of one server's publications to another server.

    Each transaction of the publisher becomes one transaction of the subscriber, in the same order.
    The position is recorded in the same transaction, and acknowledged once it is flushed: whichever
    of the three processes is killed, no change is lost or applied twice.

    One statement may change several rows of a transaction. With a larger ``group`` up to that many
    transactions become one: nothing is lost or applied twice, but queries on the subscriber see the
    effect of all of them at once, with the commit time of the last one.

    ``publisher`` and ``subscriber`` are servers or connection strings; the applier opens
    connections of its own. ``name`` identifies the applier on both servers: the slot is called
    ``pgreplkit_NAME``. ``publications`` are names on the publisher, and ``tables`` maps published
    tables to a TableRule; tables without a rule have the same names on both servers.

    ``conflicts`` is the policy, by default ApplyRemote(); ``membership`` names the nodes where
    several write. ``on_error`` says what becomes of a transaction of which the subscriber refuses a
    change: "stop" before it, "park" it, or a function of a RefusedChange that decides. After a
    deadlock, a serialization failure or a lock timeout it is first tried again, ``retries`` times.

    With ``copy`` the first run copies the existing rows, of ``copy_workers`` tables at the same
    time. ``existing`` says what becomes of rows that the subscriber has then: "refuse" to run,
    "merge", which replaces those with the same key, or "truncate". ``truncate=False`` leaves out
    the publisher's TRUNCATE. ``origin="none"`` leaves out changes that the publisher itself got by
    replication. ``on_publication_gap="skip"`` continues after a PublicationGap, from 18 on.

    The position is stored by a replication origin, or with ``resume="table"`` in a table of the
    subscriber. ``reconnect`` is the time, in seconds or as a timedelta, for which a connection that
    cannot be opened or was lost is tried again; by default this is an error at once.
    """

    def __init__(
        self,
        publisher: AnyServer,
        subscriber: AnyServer,
        name: str,
        *,
        publications: Iterable[str],
        tables: Rules | None = None,
        conflicts: Policy | None = None,
        membership: Membership | None = None,
        on_error: OnError = "stop",
        copy: bool = True,
        copy_workers: int = 2,
        existing: Literal["refuse", "merge", "truncate"] = "refuse",
        truncate: bool = True,
        resume: Literal["origin", "table"] = "origin",
        origin: Literal["any", "none"] = "any",
        on_publication_gap: Literal["raise", "skip"] = "raise",
        group: int = 1,
        retries: int = 10,
        reconnect: Timeout | None = None,
    ) -> None:
        self._settings: ApplySettings = ApplySettings(
            name=name,
            publications=publications,
            tables=tables,
            conflicts=conflicts,
            membership=membership,
            on_error=on_error,
            copy=copy,
            copy_workers=copy_workers,
            existing=existing,
            truncate=truncate,
            resume=resume,
            origin=origin,
            on_publication_gap=on_publication_gap,
            group=group,
            retries=retries,
            reconnect=reconnect,
        )
        self._publisher, self._subscriber = conninfo_of(publisher), conninfo_of(subscriber)
        self._tally = Tally()
        self._is_running = self._is_stopping = False
        self._clocked: AsyncApplyTarget | None = None
        """The session that waits for the subscriber's clock, if the policy needs it."""

    @property
    def name(self) -> str:
        """The applier's name."""
        return self._settings.name

    @property
    def slot(self) -> str:
        """The name of its slot on the publisher."""
        return sql.PREFIX + self.name

    @property
    def position(self) -> LSN:
        """The end of the last transaction that this object has applied and flushed.

        ``LSN.INVALID`` before; ``status()`` asks the subscriber.
        """
        return self._tally.position

    @property
    def lag(self) -> timedelta | None:
        """The age of the last applied commit when it was applied; None if none was."""
        return self._tally.lag

    @property
    def counters(self) -> Mapping[ConflictKind, int]:
        """The number of conflicts that this object has met, by kind."""
        return dict(self._tally.conflicts)

    @property
    def waits_for_clock(self) -> timedelta:
        """The time until the subscriber's clock has passed the commit time of the next change.

        It is 0 if no change waits for the clock, and except with LastUpdateWins.
        """
        return timedelta(0) if self._clocked is None else self._clocked.waits_for_clock

    @property
    def _operation(self) -> str:
        return f"run the applier {self.name!r}"

    # Running

    async def run(
        self, *, stop_at: LSN | None = None, timeout: Timeout | None = None
    ) -> ApplyReport:
        """Apply changes until everything committed before ``stop_at`` is applied, or until stopped.

        The first run creates the slot, the replication origin and the tables of the schema
        ``pgreplkit``, and copies the existing rows. Without ``stop_at`` it ends with ``stop()``
        only.

        Raises: ApplyFailed for a change that the subscriber refuses; SchemaMismatch; ApplierActive;
        OriginLoop; SlotNotFound; SlotLost; PublicationNotFound; PublicationGap;
        KeyMissing for a table whose deletions ``LastUpdateWins`` could not remember;
        InsufficientPrivilege; ConnectionFailed; UnsupportedByServer for
        ``on_publication_gap="skip"`` before 18, and for a policy that needs the origins of commits
        before 14; WaitTimeout after ``timeout`` seconds. What was applied before stays.
        Needs: REPLICATION and SELECT on the publisher; on the subscriber what ``setup_sql`` grants.
        """
        if stop_at is not None and not isinstance(stop_at, LSN):
            raise TypeError(f"stop_at must be an LSN, not {type(stop_at).__name__}")
        deadline = None
        if timeout is not None:
            deadline = time.monotonic() + checked_seconds(timeout, "timeout")
        if self._is_running:
            raise ServerError(self._operation, "it runs already", remedy="call stop() first")
        self._is_running = True
        before = self._report()
        try:
            await self._run(stop_at, deadline)
        finally:
            self._is_running = self._is_stopping = False
        return self._report(before)

    def stop(self) -> None:
        """Let ``run`` end after the current transaction; may be called from a signal handler.

        If it does not run, the next call ends at once.
        """
        self._is_stopping = True

    async def close(self) -> None:
        """Let ``run`` end, if another task or thread runs it."""
        # Without a run there is nothing to end, and a later run must not end at once.
        self._is_stopping = self._is_running

    def _report(self, before: ApplyReport | None = None) -> ApplyReport:
        tally = self._tally
        conflicts = dict(tally.conflicts)
        if before is not None:
            # Only what this run has met: the counts of the object continue.
            conflicts = {
                kind: number - before.conflicts.get(kind, 0)
                for kind, number in conflicts.items()
                if number > before.conflicts.get(kind, 0)
            }
        return ApplyReport(
            transactions=tally.transactions - (before.transactions if before else 0),
            changes=tally.changes - (before.changes if before else 0),
            conflicts=conflicts,
            parked=tally.parked - (before.parked if before else 0),
            skipped=tally.skipped - (before.skipped if before else 0),
            copied_rows=tally.copied_rows - (before.copied_rows if before else 0),
            position=self._tally.position,
            lag=tally.lag,
        )

    async def _run(self, until: LSN | None, deadline: float | None) -> None:
        is_text = False
        patience: Backoff | None = None
        done = self._tally.transactions
        while not self._is_stopping:
            try:
                await self._run_once(until, deadline, is_text=is_text)
                return
            except NotPortable:
                # A table was altered, or published, during the stream: the format is for all.
                is_text = True
            except (ConnectionFailed, SlotActive) as error:
                if self._settings.reconnect is None:
                    raise
                # Progress makes a new loss out of it, with all of the time to reconnect.
                if patience is None or self._tally.transactions > done:
                    patience, done = Backoff(self._settings.reconnect), self._tally.transactions
                if patience.is_over:
                    raise
                _log.info("applier %s will connect again: %s", self.name, one_line(error))
                await sleep(patience.next_pause())

    async def _run_once(self, until: LSN | None, deadline: float | None, *, is_text: bool) -> None:
        settings = self._settings
        async with (
            # Three sessions: the one that applies takes no query between its statements.
            await self._publisher_link() as publisher,
            await AsyncTargetShapes.connect(self._subscriber) as shapes,
            await AsyncApplyTarget.connect(
                self._subscriber, self.name, uses_origin=settings.uses_origin
            ) as target,
        ):
            # First of all: two appliers of one name would apply each change twice.
            await target.lock()
            state = await target.read_state() if await target.has_schema() else None
            source = await read_database(publisher.link)
            self._check_source(state, system_id := int(source.system_id))
            is_first = state is None or state.state != "streaming"
            copies = await self._published(publisher.link, insists=is_first)
            tables = [copy.table for copy in copies]
            # A subscriber that is also the publisher must not write the published tables.
            if feeds_itself(source, await read_database(shapes.link)):
                settings.insist_on_other_tables([table.table_name for table in tables])
            own = direction_of(copies, settings)
            await insist_on_no_loop(self._operation, publisher.link, shapes.link, own)
            targets = [settings.target_of(table.table_name) for table in tables]
            await shapes.read(targets)
            await self._insist_on_versions(shapes)
            dump = text_of(target.connection)
            is_text = is_text or settings.merges or publisher.link.version.major < _BINARY_SINCE
            is_binary = not is_text and is_portable(tables, shapes.tables, settings.rules, dump)
            plugin = self._plugin(publisher.link, is_binary=is_binary, until=until)
            planner = self._planner(shapes, dump, is_binary=is_binary)
            # A table that does not fit is found before rows are copied, or versions compared.
            if is_first or settings.stamps is not None:
                for table in tables:
                    planner.plan_of(table)
            copy = self._copy(publisher.link, target, planner, plugin) if is_first else None
            if copy is not None:
                await copy.check(copies, state)
            # Only here: what is refused above leaves nothing behind.
            await target.ensure_schema()
            await shapes.link.all(self._operation, sql.PRUNE_CONFLICTS, [self.name, _KEPT])
            await self._use_versions(target, shapes.link, targets)
            if copy is None:
                await target.note_flow(own)
            elif not await self._copied(copy, system_id, state, own):
                return
            else:
                state = await target.read_state()
            await target.take_origin()
            try:
                await self._stream(target, shapes, planner, plugin, state, until, deadline)
            except ApplyFailed as failure:
                mismatch = await find_mismatch(publisher.link, shapes.link, settings, failure)
                if mismatch is None:
                    raise
                raise mismatch from failure

    def _planner(self, shapes: AsyncTargetShapes, dump: Dump, *, is_binary: bool) -> Planner:
        settings = self._settings
        return Planner(
            shapes.tables,
            settings.rules,
            dump,
            truncate=settings.truncate,
            is_binary=is_binary,
            stamps=settings.stamps,
            merges=settings.merges,
        )

    def _copy(
        self,
        publisher: AsyncLink,
        target: AsyncApplyTarget,
        planner: Planner,
        plugin: AsyncPgoutput[Row],
    ) -> AsyncApplyCopy:
        return AsyncApplyCopy(
            self._publisher,
            self._subscriber,
            publisher,
            target,
            planner,
            plugin,
            self._settings,
            lambda: self._is_stopping,
        )

    async def _copied(
        self,
        copy: AsyncApplyCopy,
        system_id: int,
        state: ApplierState | None,
        own: Direction,
    ) -> bool:
        """Copy the tables; return whether all of them are copied."""
        try:
            return await copy.create(system_id, state, own)
        finally:
            # A copy that fails or is stopped keeps the tables that it has completed.
            self._tally.copied_rows += copy.rows

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
            self._clocked = target

    async def _stream(
        self,
        target: AsyncApplyTarget,
        shapes: AsyncTargetShapes,
        planner: Planner,
        plugin: AsyncPgoutput[Row],
        state: ApplierState | None,
        until: LSN | None,
        deadline: float | None,
    ) -> None:
        self._tally.position = LSN.INVALID if state is None else state.position
        # The run leaves out the transactions between the acknowledged position and this one.
        start = None if state is None or not state.is_end else state.position
        await target.use_sets()
        # It writes only the log of conflicts from here on, for which no change has to wait.
        await shapes.link.all(self._operation, sql.SET, ["synchronous_commit", "off"])
        slot_stream = AsyncSlotStream(
            make_conninfo(self._publisher, client_encoding="UTF8"),
            self.slot,
            plugin,
            start=None if start == LSN.INVALID else start,
            settings=plugin.settings,
        )
        try:
            async with AsyncRawStream(
                slot_stream, plugin, memory_limit=_MEMORY, parts_from=_LARGE
            ) as stream:
                run = AsyncApplyRun(
                    stream,
                    target,
                    shapes,
                    planner,
                    self._settings,
                    self._tally,
                    self._tally.position,
                    await target.read_copied(),
                )
                await run.run(lambda: self._is_stopping, until, deadline)
        except (SlotLost, SlotNotFound) as error:
            error.remedy = self._settings.lost_slot_remedy
            raise
        except PublicationGap as error:
            error.remedy = self._settings.gap_remedy
            raise

    def _plugin(
        self, publisher: AsyncLink, *, is_binary: bool, until: LSN | None
    ) -> AsyncPgoutput[Row]:
        if self._settings.on_publication_gap == "skip":
            # An older server itself ends the stream there; the rows would have been copied in vain.
            publisher.require("publication.gaps")
        # Older servers send everything, and the run leaves it out.
        is_filtered = self._settings.takes_own_only and publisher.has("changes.origin")
        settings = ChangeSettings(
            binary=is_binary,
            messages=False,
            stop_at=until,
            timeout=_WAITS,
            origin="none" if is_filtered else "any",
            on_publication_gap=self._settings.on_publication_gap,
        )
        return AsyncQualifiedPgoutput(self._settings.publications, settings, named_rows, None)

    async def _publisher_link(self) -> AsyncApplySource:
        return await AsyncApplySource.connect(self._publisher)

    def _check_source(self, state: ApplierState | None, system_id: int) -> None:
        if state is not None and state.system_id != str(system_id):
            raise ApplyError(
                self._operation,
                f"its position is of the cluster {state.system_id}, and the publisher is"
                f" {system_id}",
                remedy="choose another name for another publisher, or drop() the applier first",
            )

    async def _published(self, link: AsyncLink, *, insists: bool = False) -> list[TableCopy]:
        """Return the published tables; with ``insists`` there must be one."""
        operation = self._operation
        published = await published_in(link, operation, self._settings.publications)
        names = [one.table for one in published]
        if not names and insists:
            listed = ", ".join(self._settings.publications)
            raise TableNotFound(
                operation,
                f"no table is published by {listed}",
                remedy="ALTER PUBLICATION … ADD TABLE",
            )
        if unknown := {*self._settings.rules} - {*names}:
            listed = ", ".join(map(str, sorted(unknown)))
            known = ", ".join(map(str, names)) or "no table"
            raise TableNotFound(
                operation,
                f"there are rules for {listed}; the publications have {known}",
                remedy="correct the names; a partitioned table is published as its partitions,"
                " unless the publication has via_partition_root=True",
            )
        return await table_copies(link, operation, published)

    # Looking

    async def check(self) -> Readiness:
        """Check the rights, settings and tables of both servers.

        Raises: ConnectionFailed; PublicationNotFound; TableNotFound.
        """
        async with (
            await self._publisher_link() as publisher,
            await AsyncTargetShapes.connect(self._subscriber) as shapes,
        ):
            copies = await self._published(publisher.link)
            return await check_apply(publisher.link, shapes, copies, self._settings)

    async def setup_sql(self, role: str) -> SetupStatements:
        """Return the statements by which an administrator prepares ``role`` on both servers.

        The role must exist. Nothing needs a superuser afterwards.

        Raises: InvalidRoleName; RoleNotFound; TableNotFound; PublicationNotFound; ConnectionFailed.
        """
        checked_role_name(role)
        async with (
            await self._publisher_link() as publisher,
            await AsyncTargetShapes.connect(self._subscriber) as shapes,
        ):
            copies = await self._published(publisher.link)
            tables = [copy.table.table_name for copy in copies]
            for link, place in ((publisher.link, "publisher"), (shapes.link, "subscriber")):
                await insist_on_role(link, role, f"the {place}")
            return await setup_statements(shapes.link, role, tables, self._settings)

    async def status(self) -> ApplierStatus:
        """Return the position that the subscriber has, and how far it is behind.

        Raises: ConnectionFailed; ApplyError if the applier was never run.
        """
        async with (
            await self._publisher_link() as publisher,
            await AsyncApplyTarget.connect(
                self._subscriber, self.name, uses_origin=self._settings.uses_origin
            ) as target,
        ):
            state = await target.read_state() if await target.has_schema() else None
            if state is None:
                raise ApplyError(
                    f"read the status of the applier {self.name!r}", "it was never run"
                )
            slots = await publisher.link.all("read the slot", sql.SLOT_BEHIND, [self.slot])
            slot = slots[0] if slots else None
            return ApplierStatus(
                state=state.state,
                position=state.position,
                is_active=bool(slot and slot["active"]),
                confirmed=None if slot is None else slot["confirmed"],
                behind_bytes=None if slot is None else slot["behind"],
            )

    async def conflicts(self, *, since: datetime | None = None) -> Rows[ApplyConflict]:
        """Return the recorded conflicts, oldest first.

        Raises: TypeError if ``since`` has no time zone.
        """
        since = checked_moment(since, "since")
        records = await self._asked(sql.CONFLICTS, [self.name, since])
        return Rows(ApplyConflict(**record) for record in records)

    async def parked(self) -> Rows[ParkedTransaction]:
        """Return the transactions that were put aside, oldest first."""
        records = await self._asked(sql.PARKED, [self.name])
        return Rows(ParkedTransaction(**record) for record in records)

    async def _asked(self, statement: str, params: Sequence[object]) -> list[DictRow]:
        async with await AsyncTargetShapes.connect(self._subscriber) as shapes:
            # Before the first run no table exists, and nothing was recorded.
            exists = await shapes.link.one(self._operation, sql.HAS_TABLES, grant=sql.STATE_GRANT)
            if not exists["has_tables"]:
                return []
            return await shapes.link.all(self._operation, statement, params, grant=sql.STATE_GRANT)

    # Parked transactions

    async def apply_parked(self, parked: ParkedTransaction) -> None:
        """Apply a transaction that was put aside, and forget it.

        It has the applier's origin and the commit time of the publisher, so that servers which
        take only the subscriber's own changes do not get it. Stop the applier before; with
        ``resume="table"`` there is no origin, and the applier may run.

        Raises: ApplyFailed, after which it is kept; ApplierActive; ApplyError if it is parked no
        longer, or by another applier.
        """
        _insist_on_parked(parked)
        ranks, uses_origin = self._settings.ranks_of_origins, self._settings.uses_origin
        async with await AsyncApplyTarget.connect(
            self._subscriber, self.name, uses_origin=uses_origin
        ) as target:
            if uses_origin:
                await target.lock()
                await target.take_origin()
            if ranks is not None:
                await target.use_ranks(ranks)
            await apply_parked(target, parked)

    async def drop_parked(self, parked: ParkedTransaction) -> None:
        """Forget a transaction that was put aside.

        Raises: ApplyError if it is parked no longer, or by another applier.
        """
        _insist_on_parked(parked)
        async with await AsyncTargetShapes.connect(self._subscriber) as shapes:
            operation = f"drop the parked transaction {parked.xid}"
            await forget_parked(shapes.link, operation, self.name, parked)

    # Removal

    async def drop(self) -> None:
        """Drop the slot, the origin, and everything that is recorded of the applier.

        The subscriber's rows stay.

        Raises: ApplierActive; SlotActive.
        """
        async with await AsyncApplyTarget.connect(
            self._subscriber, self.name, uses_origin=self._settings.uses_origin
        ) as target:
            await target.lock()
            async with await self._publisher_link() as publisher:
                # A connection string may leave the database out, to which the slot belongs.
                database = publisher.link.connection.info.dbname
            async with await AsyncReplicationConnection.connect(
                self._publisher, database=database
            ) as walsender:
                # It may have been dropped before, or never created.
                with suppress(SlotNotFound):
                    await walsender.drop_slot(self.slot, wait=True, timeout=_DROPPED_WITHIN)
            if await target.has_schema():
                await target.drop()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} at {self._tally.position}>"


def _insist_on_parked(parked: object) -> None:
    if not isinstance(parked, ParkedTransaction):
        raise TypeError(f"parked must be a ParkedTransaction, not {type(parked).__name__}")


def conninfo_of(server: AnyServer) -> str:
    if isinstance(server, str):
        return complete(server, {})
    if not isinstance(server, AsyncServer):
        raise server_error(server, AsyncServer.__name__, "server")
    return server._link.conninfo_for_another()
