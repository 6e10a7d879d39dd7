# Generated from pgreplkit/_async/logical/applytarget.py by `nox -s sync`. Do not edit.
"""ApplyTarget: the subscriber's session in which an applier works, and its position."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import TypeAlias

import attrs
from psycopg import Connection
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus
from psycopg.pq.abc import PGresult
from psycopg.sql import SQL, Composed
from psycopg.types.json import Jsonb

from pgreplkit._sync._io import sleep
from pgreplkit._sync.logical.applyorigin import RELEASED_WITHIN, ApplyOrigin, call_wrapped
from pgreplkit._sync.wire.cancelling import OwnConnection
from pgreplkit._sync.wire.closing import Closing
from pgreplkit._sync.wire.cutoff import end_session
from pgreplkit._sync.wire.link import Link
from pgreplkit._sync.wire.opening import opening
from pgreplkit._sync.wire.pipeline import Pipeline
from pgreplkit._sync.wire.pooling import insist_on_session
from pgreplkit._sync.wire.rawvalues import execute
from pgreplkit._sync.wire.session import use_own_settings
from pgreplkit.apply.planner import Planner
from pgreplkit.apply.settings import COPY_AGAIN
from pgreplkit.apply.statements import Statement
from pgreplkit.apply.tableplans import Step
from pgreplkit.catalog.logical import applying as sql
from pgreplkit.catalog.logical.tombstones import KEY_SETTINGS
from pgreplkit.catalog.view import table_in
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.conninfo import address
from pgreplkit.driver.failures import translate_errors
from pgreplkit.driver.watchdog import Watch, watched, watched_at_times
from pgreplkit.errors import ApplierActive, ApplyError, ClockSkewTooLarge
from pgreplkit.plans.logical.applyloops import Direction, flow_names
from pgreplkit.protocol.pgoutput.rows import Row
from pgreplkit.protocol.pgoutput.tuples import BINARY, TEXT, Octets
from pgreplkit.protocol.rawtransactions import RawTransaction
from pgreplkit.values.lsn import LSN
from pgreplkit.values.tablename import TableName

Group: TypeAlias = Sequence[RawTransaction[Row]] | LSN
"""Transactions that are applied as one; or a position up to which the WAL is flushed."""

_TIME = struct.Struct(">q").pack
_POSITION_FORMATS, _NAMED_FORMATS = (BINARY, BINARY), (BINARY, BINARY, TEXT)
"""Those of a position with its commit time, and of both with the applier's name."""
_STREAMING = "streaming"
_CREATED_WITHIN = 60.0
"""Seconds for the lock of the schema: another applier that creates the tables needs less."""
_CLOCK_EVERY = 0.1
"""Seconds after which a clock that was set right is noticed."""
STORED = "stored"
_END, _FLUSH = b"pgreplkit_end", b"pgreplkit_flush"
_CHECK, _NOTED = b"pgreplkit_check", b"pgreplkit_noted"


@attrs.frozen
class SlotMark:
    """The positions of a slot that no one has streamed yet; a later slot has others."""

    restart: LSN | None
    """None if the server has removed the WAL that the slot needs."""
    confirmed: LSN | None
    """None for a physical slot."""

    @classmethod
    def of(cls, restart: object, confirmed: object) -> SlotMark:
        """Return the mark of a record."""
        return cls(*(None if lsn is None else LSN(str(lsn)) for lsn in (restart, confirmed)))

    def is_of(self, slot: SlotMark) -> bool:
        """Return whether a slot is the one that was created with these positions."""
        return slot.confirmed == self.confirmed and slot.restart in (self.restart, None)


@attrs.frozen
class ApplierState:
    """The state of an applier that the subscriber has stored."""

    state: str
    system_id: str
    position: LSN
    slot: SlotMark | None
    """Its slot as it was created; None before."""
    is_end: bool = True
    """Whether a transaction ends at the position; otherwise the stream must begin before it."""


class ApplyTarget(Closing):
    """The session of one applier on the subscriber.

    A pipeline carries whole transactions, each with the position that it ends at. One session at a
    time can have it.
    """

    def __init__(self, connection: Connection[object], name: str, *, uses_origin: bool) -> None:
        self.connection = connection
        self.name, self.uses_origin = name, uses_origin
        self.origin_returns = True
        """Whether the publisher's origin of the same name has this subscriber's changes."""
        self.link = Link(connection, hides_values=True)
        info = connection.info
        is_superuser = info.parameter_status("is_superuser") == "on"
        self.major: int = self.link.version.major
        self.origin = ApplyOrigin(self.link, name, self.operation)
        self._replica_role = sql.replica_role(self.major, is_superuser=is_superuser)
        self.pipeline: Pipeline[Group] = Pipeline(connection)
        self._name_bytes = name.encode()
        self.max_clock_skew: timedelta | None = None
        """The longest time to wait for the server's clock; None if it does not matter."""
        self.waits_for_clock = timedelta(0)
        self._resume = "origin" if uses_origin else "table"
        self.notes_position = not uses_origin
        """Whether the position is in a table, where a snapshot sees it with the rows."""
        self._ending = sql.ending(self.origin.functions) if uses_origin else sql.MOVE_POSITION
        self._guard = ""
        """The condition of the last statement of a transaction."""
        self._origin_id: int | None = None
        """The number of the origin, where its position can be that of a rolled back transaction."""
        self._flush = sql.FLUSH.format(self.origin.functions) if uses_origin else sql.FLUSH_TABLE

    @classmethod
    def connect(cls, conninfo: str, name: str, *, uses_origin: bool) -> ApplyTarget:
        """Open the session; it applies nothing yet.

        Raises: ConnectionFailed; InsufficientPrivilege; ServerError for the connection of a pooler.
        """
        whole = make_conninfo(conninfo, client_encoding="UTF8")
        operation = f"connect to {address(conninfo)}"
        with opening(whole, operation):
            connection = OwnConnection[object].connect(
                whole, autocommit=True, prepare_threshold=None
            )
        target = cls(connection, name, uses_origin=uses_origin)
        try:
            insist_on_session(target.link, operation, address(conninfo))
            target._prepare()
        except BaseException:
            connection.close()
            raise
        return target

    @property
    def operation(self) -> str:
        """The operation, for errors."""
        return f"run the applier {self.name!r}"

    def _prepare(self) -> None:
        operation = self.operation
        use_own_settings(self.connection)
        self.link.all(operation, sql.session_settings(self.major))
        # A role that has it by ALTER ROLE needs no privilege here.
        shown = self.link.one(operation, sql.SHOWN_ROLE)
        if shown["role"] != "replica":
            is_wrapped = "use_replica_role" in self._replica_role
            grant = "SET ON PARAMETER session_replication_role"
            if is_wrapped:
                grant = f"EXECUTE ON FUNCTION {sql.SCHEMA}.use_replica_role()"
            call_wrapped(self.link, operation, self._replica_role, [], grant)

    def lock(self, *, last: int | None = None) -> None:
        """Take the applier's name, so that no other session applies the same changes.

        ``last`` is the process of the caller's last session, which is ended if it still has it.

        Raises: ApplierActive.
        """
        backoff = Backoff(RELEASED_WITHIN)
        while not (self.link.one(self.operation, sql.LOCK, [self.name]))["is_locked"]:
            holders = self.link.all(self.operation, sql.LOCKED_BY, [self.name])
            pid = holders[0]["pid"] if holders else None
            if backoff.is_over:
                raise ApplierActive(self.name, pid)
            if pid is not None and pid == last:
                self.link.all(self.operation, sql.END_SESSION, [pid])
            sleep(backoff.next_pause())

    def has_schema(self) -> bool:
        """Return whether the applier's tables exist."""
        exists = self.link.one(self.operation, sql.HAS_TABLES, grant=sql.STATE_GRANT)
        return bool(exists["has_tables"])

    def ensure_schema(self) -> None:
        """Create the applier's tables, if they do not exist."""
        if self.has_schema():
            return
        # Another applier may create them at the same time.
        with self.link.transaction(self.operation, timeout=_CREATED_WITHIN) as within:
            within.all(self.operation, sql.LOCK_SCHEMA)
            schema = "CREATE ON DATABASE " + self.connection.info.dbname
            for statement in (sql.CREATE_SCHEMA, *sql.CREATE_TABLES):
                within.run(self.operation, SQL(statement).format(), grant=schema)

    def read_state(self) -> ApplierState | None:
        """Return the applier's state on the subscriber; None if it was never run."""
        records = self.link.all(
            self.operation, sql.READ_APPLIER, [self.name], grant=sql.STATE_GRANT
        )
        if not records:
            return None
        record = records[0]
        position, is_end = LSN(str(record["position"])), True
        self._insist_on_resume(record["resume"])
        if self.uses_origin:
            origin = self.origin.find()
            if origin is not None:
                position = self.origin.position()
                if self.origin.was_rolled_back(origin, position):
                    # The transaction that ends there is applied again; those before it are not.
                    position, is_end = position - 1, False
            elif record["state"] == _STREAMING:
                raise ApplyError(
                    self.operation,
                    f"its replication origin {self.origin.name!r} does not exist, as after a"
                    " restore of the subscriber: its position is unknown",
                    remedy=COPY_AGAIN,
                )
        restart, confirmed = record["slot_restart_lsn"], record["slot_confirmed_lsn"]
        slot = None if confirmed is None else SlotMark.of(restart, confirmed)
        return ApplierState(record["state"], record["system_id"], position, slot, is_end)

    def _insist_on_resume(self, stored: str) -> None:
        if stored != self._resume:
            raise ApplyError(
                self.operation,
                f"its position is kept by resume={stored!r}, not by {self._resume!r}",
                remedy=f"use resume={stored!r}",
            )

    def create(self, system_id: int) -> None:
        """Create the applier's origin, and note the applier: both or neither."""
        with translate_errors(self.operation, connection=self.connection):
            with self.link.in_transaction():
                if self.uses_origin:
                    self.origin.create()
                row = [self.name, str(system_id), self._resume]
                self.link.all(self.operation, sql.ADD_APPLIER, row)

    def note_flow(self, own: Direction) -> None:
        """Store the tables and the origin, for appliers of the other direction."""
        flow = Jsonb(flow_names(own.flow))
        self.link.all(self.operation, sql.NOTE_FLOW, [own.takes_all, flow, self.name])

    def note_slot(self, slot: SlotMark) -> None:
        """Note the applier's slot as it was created."""
        row = [slot.restart, slot.confirmed, self.name]
        self.link.all(self.operation, sql.NOTE_SLOT, row)

    def set_state(self, state: str) -> None:
        """Note how far the applier is."""
        self.link.all(self.operation, sql.SET_STATE, [state, self.name])

    def read_copied(self) -> dict[TableName, LSN]:
        """Return the copied tables, and the position as of which the rows of each are."""
        records = self.link.all(self.operation, sql.COPIED, [self.name])
        return {table_in(record): LSN(str(record["lsn"])) for record in records}

    def drop(self) -> None:
        """Remove everything that the subscriber stores about the applier."""
        # The applier itself last: after an interruption, drop() still finds it.
        for statement in (sql.DROP_COPIED, sql.DROP_PARKED, sql.DROP_CONFLICTS, sql.DROP_APPLIER):
            self.link.all(self.operation, statement, [self.name])
        self.origin.drop()

    def take_origin(self) -> None:
        """Bind the session to the origin.

        Raises: ApplierActive.
        """
        if self.uses_origin:
            self._origin_id = self.origin.take()
            self._ending = sql.ending(self.origin.functions, self._origin_id) + self._guard

    # Transactions

    def end(self, group: Sequence[RawTransaction[Row]], *, checks: bool) -> None:
        """Send the end of a transaction, with the position of the last one in its group.

        With ``checks`` its deferred constraints are checked before.
        """
        # Before the origin moves, which the server does not undo if the commit fails.
        if checks:
            self.pipeline.send(_CHECK, sql.CHECK_DEFERRED, (), ())
        values = _position_of(group[-1])
        named = [*values, self._name_bytes]
        if not self.uses_origin:
            self.pipeline.send(_END, self._ending, named, _NAMED_FORMATS)
        else:
            if self.notes_position:
                self.pipeline.send(_NOTED, sql.MOVE_POSITION, named, _NAMED_FORMATS)
            self.pipeline.send(_END, self._ending, values, _POSITION_FORMATS)
        self.pipeline.commit(group, sum([one.size for one in group]))

    def begin(self, planner: Planner, transaction: RawTransaction[Row]) -> None:
        """Let the planner use the transaction's commit time for the changes that follow."""
        planner.begin(_TIME(transaction.microseconds))

    def wait_for_clock(
        self, time: datetime, limit: timedelta, check: Callable[[], None] = lambda: None
    ) -> None:
        """Wait until the server's clock has passed the commit time of a change.

        An update that is made after it has then a later commit time. ``check`` is called meanwhile,
        and raises an error if the change is no longer to be applied.

        Raises: ClockSkewTooLarge.
        """
        while True:
            now = self.link.one(self.operation, sql.CLOCK)
            ahead: timedelta = time - now["now"]
            self.waits_for_clock = max(ahead, timedelta(0))
            if ahead < timedelta(0):
                return
            if ahead > limit:
                raise ClockSkewTooLarge(self.operation, ahead, limit)
            check()
            # A millisecond more, so that the next look finds the clock past that time.
            sleep(min(ahead.total_seconds() + 0.001, _CLOCK_EVERY))

    def use_ranks(self, ranks: Mapping[str, int]) -> None:
        """Let the session compare the versions of rows; ``ranks`` are those of its origins."""
        settings = {**KEY_SETTINGS, "pgreplkit.ranks": json.dumps(ranks)}
        for name, value in settings.items():
            self.link.all(self.operation, sql.SET, [name, value])

    def use_sets(self) -> None:
        """Let the session apply several rows by one statement."""
        self.link.all(self.operation, sql.USE_KEYS)

    def guard_clock(self, limit: timedelta) -> None:
        """Let each transaction wait until the clock has passed its commit time."""
        self.max_clock_skew = limit
        self._guard = sql.CLOCK_GUARD
        self._ending += self._guard

    def flush(self, position: LSN, sweeps: Sequence[Statement] = ()) -> None:
        """Flush everything up to a position; its outcome says when that is done.

        The outcome has a note ``STORED`` with the position that the subscriber has then.

        Before it, ``sweeps`` delete rows that were inserted while they were deleted.
        """
        self.pipeline.begin()
        for sweep in sweeps:
            self.pipeline.send(sweep.name, sweep.sql, (), (), sweep)
        values: list[Octets] = [] if self.uses_origin else [self._name_bytes]
        self.pipeline.send(_FLUSH, self._flush, values, [TEXT] * len(values), STORED)
        self.pipeline.commit(position)
        # The publisher waits for this.
        self.pipeline.sync()

    def leave_pipeline(self) -> None:
        """Wait for all outcomes, and return to single statements."""
        self.pipeline.close()
        with translate_errors(self.operation), self.watched():
            # A failure leaves its transaction open, so that nothing after it could be committed.
            if self.connection.info.transaction_status != TransactionStatus.IDLE:
                self.connection.execute("ROLLBACK", prepare=False)
            # psycopg must not prepare them: the first one would remove both.
            self.connection.execute("DEALLOCATE ALL", prepare=False)
            self.connection.execute(sql.WAIT_FOR_FLUSH, prepare=False)

    def enter_pipeline(self) -> None:
        """Begin to send transactions."""
        self.link.all(self.operation, sql.SET_MARK, [self.pipeline.mark.decode()])
        self.pipeline.open()

    def execute(
        self,
        text: str,
        values: Sequence[Octets] = (),
        formats: Sequence[int] = (),
        types: Sequence[int] = (),
    ) -> PGresult:
        """Execute one statement outside of the pipeline.

        Raises: psycopg's errors.
        """
        return execute(self.link, text, values, formats, types)

    def run(self, statement: SQL | Composed) -> None:
        """Execute one statement of psycopg's, outside of the pipeline.

        Raises: psycopg's errors; ConnectionTimeout if the path falls silent.
        """
        with self.watched():
            self.connection.execute(statement)

    def watched(self) -> AbstractContextManager[None]:
        """Cut the connection if the path falls silent during the statements of the block."""
        return watched(self.connection, self.link.conninfo_for_another)

    def watched_at_times(self) -> AbstractContextManager[Watch]:
        """Cut the connection if the path falls silent while the watch has begun."""
        return watched_at_times(self.connection, self.link.conninfo_for_another)

    def step(self, step: Step) -> int:
        """Execute one step outside of the pipeline; return the number of changed rows."""
        statement, values, formats = step
        result = self.execute(statement.sql, values, formats, statement.types)
        return result.command_tuples or 0

    def commit(self, transaction: RawTransaction[Row]) -> None:
        """Record the position in the open transaction, and commit it."""
        # The server moves an origin even if the transaction fails after that.
        self.execute(sql.CHECK_DEFERRED)
        values = _position_of(transaction)
        if self.notes_position:
            self.execute(sql.MOVE_POSITION, [*values, self._name_bytes], _NAMED_FORMATS)
        if self.uses_origin:
            ending = sql.ending(self.origin.functions, self._origin_id)
            self.execute(ending, values, _POSITION_FORMATS)
        self.execute("COMMIT")

    def name_origin(self, lsn: LSN, time: datetime) -> None:
        """Let the open transaction have the origin, with a position that may be passed already."""
        statement = sql.NAME_ORIGIN.format(self.origin.functions)
        self.link.all(self.operation, statement, [lsn, time])

    def close(self) -> None:
        """Close the connection; unfinished transactions are rolled back."""
        end_session(self.connection)


def _position_of(transaction: RawTransaction[Row]) -> list[Octets]:
    """Return the position and the commit time of a transaction as parameters."""
    return [transaction.end_lsn.to_bytes(), _TIME(transaction.microseconds)]
