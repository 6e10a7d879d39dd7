# Generated from pgreplkit/_async/logical/applier.py by `nox -s sync`. Do not edit.
"""Applier: applies the changes of one server's publications to another server."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Literal, TypeAlias

from psycopg.rows import DictRow

from pgreplkit._sync._io import sleep
from pgreplkit._sync.logical.applyattempt import ApplyAttempt, LastSessions, published_tables
from pgreplkit._sync.logical.applychecks import check_apply, insist_on_role, setup_statements
from pgreplkit._sync.logical.applyshapes import TargetShapes
from pgreplkit._sync.logical.applysource import ApplySource
from pgreplkit._sync.logical.applytarget import ApplyTarget
from pgreplkit._sync.logical.parked import apply_parked, forget_parked, show_parked
from pgreplkit._sync.server.server import Server
from pgreplkit._sync.streams.replication import ReplicationConnection
from pgreplkit._sync.wire.closing import Closing
from pgreplkit._text import one_line
from pgreplkit.apply.goal import ApplyGoal, RunStopped, applied
from pgreplkit.apply.membership import Membership
from pgreplkit.apply.onerror import OnError
from pgreplkit.apply.planner import NotPortable
from pgreplkit.apply.policies import Policy
from pgreplkit.apply.settings import ApplySettings, Rules
from pgreplkit.apply.tally import ApplyTally
from pgreplkit.catalog.logical import applying as sql
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.conninfo import complete
from pgreplkit.driver.conninfochecks import insist_on_usable
from pgreplkit.driver.given import server_error
from pgreplkit.errors import (
    ApplyError,
    ConnectionFailed,
    ServerError,
    SlotActive,
    SlotNotFound,
)
from pgreplkit.plans.logical.applying import (
    ApplierStatus,
    ApplyConflict,
    ApplyReport,
    ConflictKind,
    ParkedStatement,
    ParkedTransaction,
    SetupStatements,
    state_of,
)
from pgreplkit.plans.server.readiness import Readiness
from pgreplkit.plans.streams.retries import may_succeed_later
from pgreplkit.values.lsn import LSN
from pgreplkit.values.moments import checked_moment
from pgreplkit.values.rolename import checked_role_name
from pgreplkit.values.rows import Rows
from pgreplkit.values.seconds import Timeout, checked_seconds

_log = logging.getLogger("pgreplkit.apply")

AnyServer: TypeAlias = Server | str
"""A server, or a connection string."""

_DROPPED_WITHIN = 10.0
"""Seconds for the walsender of a connection that was just closed to let go of its slot."""


class Applier(Closing):
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
    cannot be opened or was lost, or a slot that is in use, is tried again; by default this is an
    error at once, or 3 seconds later if an earlier session may still have the slot. A refused login
    is tried again only if this object has streamed before.
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
        self._tally = ApplyTally()
        self._last = LastSessions()
        self._is_running = False
        self._stopping_since: float | None = None
        """The time of time.monotonic() of the call of ``stop()``."""

    @property
    def name(self) -> str:
        """The applier's name."""
        return self._settings.name

    @property
    def slot(self) -> str:
        """The name of its slot on the publisher."""
        return self._settings.slot

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
        return self._tally.waits_for_clock()

    @property
    def _has_streamed(self) -> bool:
        """Whether both servers have accepted its logins before."""
        return self._last.walsender is not None

    # Running

    def run(self, *, stop_at: LSN | None = None, timeout: Timeout | None = None) -> ApplyReport:
        """Apply changes until everything committed before ``stop_at`` is applied, or until stopped.

        The first run creates the slot, the replication origin and the tables of the schema
        ``pgreplkit``, and copies the existing rows. Without ``stop_at`` it ends with ``stop()``
        only.

        Raises: ApplyFailed for a change that the subscriber refuses; SchemaMismatch; ApplierActive;
        SlotActive; OriginLoop; SlotNotFound; SlotLost; PublicationNotFound; PublicationGap;
        KeyMissing for a table whose deletions ``LastUpdateWins`` could not remember;
        InsufficientPrivilege; ConnectionFailed; UnsupportedByServer for
        ``on_publication_gap="skip"`` before 18, and for a policy that needs the origins of commits
        before 14; WaitTimeout after ``timeout`` seconds, whatever a server waits for then. What was
        applied before stays; the rest comes again with the next run.
        Needs: REPLICATION and SELECT on the publisher; on the subscriber what ``setup_sql`` grants.
        """
        if stop_at is not None and not isinstance(stop_at, LSN):
            raise TypeError(f"stop_at must be an LSN, not {type(stop_at).__name__}")
        deadline = None
        if timeout is not None:
            deadline = time.monotonic() + checked_seconds(timeout, "timeout")
        goal = ApplyGoal(self.name, stop_at, deadline, lambda: self._stopping_since)
        if self._is_running:
            raise ServerError(
                self._settings.operation, "it runs already", remedy="call stop() first"
            )
        self._is_running = True
        before = self._tally.copy()
        try:
            self._run(goal)
        finally:
            self._is_running, self._stopping_since = False, None
        return self._tally.report(before)

    def stop(self) -> None:
        """Let ``run`` end after the current transaction; may be called from a signal handler.

        A transaction, or the copy of a table, that takes more than 5 seconds longer is rolled back,
        and comes again with the next run. If it does not run, the next call ends at once.
        """
        if self._stopping_since is None:
            self._stopping_since = time.monotonic()

    def close(self) -> None:
        """Let ``run`` end, if another task or thread runs it."""
        # Without a run there is nothing to end, and a later run must not end at once.
        if self._is_running:
            self.stop()

    def _run(self, goal: ApplyGoal) -> None:
        is_text = False
        patience: Backoff | None = None
        done = self._tally.transactions
        while not goal.is_stopping:
            try:
                # What was not applied or copied before it was stopped comes with the next run.
                with suppress(RunStopped):
                    self._attempt(goal, is_text=is_text).run()
                return
            except NotPortable:
                # A table was altered, or published, during the stream: the format is for all.
                is_text = True
            except (ConnectionFailed, SlotActive) as error:
                is_passing = may_succeed_later(error, has_logged_in=self._has_streamed)
                if self._settings.reconnect is None or not is_passing:
                    raise
                # Progress makes a new loss out of it, with all of the time to reconnect.
                if patience is None or self._tally.transactions > done:
                    patience, done = Backoff(self._settings.reconnect), self._tally.transactions
                if patience.is_over:
                    raise
                _log.info("applier %s will connect again: %s", self.name, one_line(error))
                sleep(goal.within(patience.next_pause()))
                goal.check_time(applied(self.position), error)

    def _attempt(self, goal: ApplyGoal, *, is_text: bool) -> ApplyAttempt:
        settings, tally = self._settings, self._tally
        return ApplyAttempt(
            self._publisher, self._subscriber, settings, tally, goal, self._last, is_text=is_text
        )

    # Looking

    def check(self) -> Readiness:
        """Check the rights, settings and tables of both servers.

        Raises: ConnectionFailed; PublicationNotFound; TableNotFound.
        """
        with (
            ApplySource.connect(self._publisher) as publisher,
            TargetShapes.connect(self._subscriber) as shapes,
        ):
            copies = published_tables(publisher.link, self._settings)
            self._settings.insist_on_deltas([copy.table.table_name for copy in copies])
            return check_apply(publisher.link, shapes, copies, self._settings)

    def setup_sql(self, role: str) -> SetupStatements:
        """Return the statements by which an administrator prepares ``role`` on both servers.

        The role must exist. Nothing needs a superuser afterwards.

        Raises: InvalidRoleName; RoleNotFound; TableNotFound; PublicationNotFound; ConnectionFailed.
        """
        checked_role_name(role)
        with (
            ApplySource.connect(self._publisher) as publisher,
            TargetShapes.connect(self._subscriber) as shapes,
        ):
            copies = published_tables(publisher.link, self._settings)
            tables = [copy.table.table_name for copy in copies]
            for link, place in ((publisher.link, "publisher"), (shapes.link, "subscriber")):
                insist_on_role(link, role, f"the {place}")
            return setup_statements(shapes.link, role, tables, self._settings)

    def status(self) -> ApplierStatus:
        """Return the position that the subscriber has, and how far it is behind.

        Raises: ConnectionFailed; ApplyError if the applier was never run.
        """
        with (
            ApplySource.connect(self._publisher) as publisher,
            ApplyTarget.connect(
                self._subscriber, self.name, uses_origin=self._settings.uses_origin
            ) as target,
        ):
            state = target.read_state() if target.has_schema() else None
            if state is None:
                raise ApplyError(
                    f"read the status of the applier {self.name!r}",
                    "it was never run",
                    remedy="check its name, or call run() first",
                )
            slots = publisher.link.all("read the slot", sql.SLOT_BEHIND, [self.slot])
            slot = slots[0] if slots else None
            return ApplierStatus(
                state=state_of(state.state, slot),
                position=state.position,
                is_active=bool(slot and slot["active"]),
                confirmed=None if slot is None else slot["confirmed"],
                behind_bytes=None if slot is None else slot["behind"],
            )

    def conflicts(self, *, since: datetime | None = None) -> Rows[ApplyConflict]:
        """Return the recorded conflicts, oldest first.

        Raises: TypeError if ``since`` has no time zone; ConnectionFailed.
        """
        since = checked_moment(since, "since")
        records = self._asked(sql.CONFLICTS, [self.name, since])
        return Rows(ApplyConflict(**record) for record in records)

    def parked(self) -> Rows[ParkedTransaction]:
        """Return the transactions that were put aside, oldest first.

        Raises: ConnectionFailed.
        """
        records = self._asked(sql.PARKED, [self.name])
        return Rows(ParkedTransaction(**record) for record in records)

    def _asked(self, statement: str, params: Sequence[object]) -> list[DictRow]:
        with TargetShapes.connect(self._subscriber) as shapes:
            operation, grant = self._settings.operation, sql.STATE_GRANT
            # Before the first run no table exists, and nothing was recorded.
            exists = shapes.link.one(operation, sql.HAS_TABLES, grant=grant)
            if not exists["has_tables"]:
                return []
            return shapes.link.all(operation, statement, params, grant=grant)

    # Parked transactions

    def apply_parked(self, parked: ParkedTransaction) -> None:
        """Apply a transaction that was put aside, and forget it.

        It has the applier's origin and the commit time of the publisher, so that servers which
        take only the subscriber's own changes do not get it. Stop the applier before; with
        ``resume="table"`` there is no origin, and the applier may run.

        Raises: ApplyFailed, after which it is kept; ApplierActive; ApplyError if it is parked no
        longer, or by another applier.
        """
        _insist_on_parked(parked)
        ranks, uses_origin = self._settings.ranks_of_origins, self._settings.uses_origin
        with ApplyTarget.connect(self._subscriber, self.name, uses_origin=uses_origin) as target:
            if uses_origin:
                target.lock()
                target.take_origin()
            if ranks is not None:
                target.use_ranks(ranks)
            apply_parked(target, parked)

    def show_parked(self, parked: ParkedTransaction) -> Rows[ParkedStatement]:
        """Return the statements of a transaction that was put aside, with the values of its rows.

        A statement whose table was dropped or altered since is returned with its ``problem``.

        Raises: ApplyError if it is parked no longer, or by another applier.
        """
        _insist_on_parked(parked)
        with TargetShapes.connect(self._subscriber) as shapes:
            operation = f"show the parked transaction {parked.xid}"
            return Rows(show_parked(shapes.link, operation, self.name, parked))

    def drop_parked(self, parked: ParkedTransaction) -> None:
        """Forget a transaction that was put aside.

        Raises: ApplyError if it is parked no longer, or by another applier.
        """
        _insist_on_parked(parked)
        with TargetShapes.connect(self._subscriber) as shapes:
            operation = f"drop the parked transaction {parked.xid}"
            forget_parked(shapes.link, operation, self.name, parked)

    # Removal

    def drop(self) -> None:
        """Drop the slot, the origin, and everything that is recorded of the applier.

        The subscriber's rows stay.

        Raises: ApplierActive; SlotActive.
        """
        with ApplyTarget.connect(
            self._subscriber, self.name, uses_origin=self._settings.uses_origin
        ) as target:
            target.lock()
            with ApplySource.connect(self._publisher) as publisher:
                # A connection string may leave the database out, to which the slot belongs.
                database = publisher.link.connection.info.dbname
            with ReplicationConnection.connect(self._publisher, database=database) as walsender:
                # It may have been dropped before, or never created.
                with suppress(SlotNotFound):
                    walsender.drop_slot(self.slot, wait=True, timeout=_DROPPED_WITHIN)
            if target.has_schema():
                target.drop()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} at {self._tally.position}>"


def _insist_on_parked(parked: object) -> None:
    if not isinstance(parked, ParkedTransaction):
        raise TypeError(f"parked must be a ParkedTransaction, not {type(parked).__name__}")


def conninfo_of(server: AnyServer) -> str:
    if isinstance(server, str):
        whole = complete(server, {})
        insist_on_usable(whole)
        return whole
    if not isinstance(server, Server):
        raise server_error(server, Server.__name__, "server")
    return server._link.conninfo_for_another()
