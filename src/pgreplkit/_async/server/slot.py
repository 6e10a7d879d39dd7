"""AsyncSlot: a replication slot, its state and its operations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn, TypeVar, Unpack, cast, overload

from psycopg.rows import DictRow

from pgreplkit._async._io import sleep
from pgreplkit._async.streams.changes import AsyncChangeStream, change_stream
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.server import slot as sql
from pgreplkit.catalog.server.slot import (
    CONSUME,
    ONE_SLOT,
    PEEK,
    SlotChange,
    SlotState,
    SlotType,
)
from pgreplkit.catalog.view import View
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.failures import (
    DUPLICATE_OBJECT,
    FEATURE_NOT_SUPPORTED,
    NOT_IN_PREREQUISITE_STATE,
    OBJECT_IN_USE,
    UNDEFINED_OBJECT,
)
from pgreplkit.errors import (
    AlreadyExists,
    ServerError,
    SlotActive,
    SlotLost,
    SlotNotFound,
    WaitTimeout,
)
from pgreplkit.plans.streams.options import ChangeOptions
from pgreplkit.plans.streams.slot import not_created
from pgreplkit.protocol.pgoutput.rows import Row, RowFactory, named_rows
from pgreplkit.values.flags import checked_flags, optional_flags
from pgreplkit.values.lsn import LSN
from pgreplkit.values.madeby import made_by
from pgreplkit.values.record import Stateful
from pgreplkit.values.rows import Rows
from pgreplkit.values.seconds import Timeout
from pgreplkit.values.several import by_name
from pgreplkit.values.slotname import checked_slot_name

R = TypeVar("R")

# The SQLSTATEs of a slot that is lost, of another database, or of the other type: what happened is
# in the slot's state, not in the code.
_WRONG_SLOT = {NOT_IN_PREREQUISITE_STATE, FEATURE_NOT_SUPPORTED, "58P01"}
_GRANT = "REPLICATION"
_MISSING = {UNDEFINED_OBJECT: SlotNotFound}


@made_by("server.slot(name) or server.create_logical_slot(name)", AsyncLink)
class AsyncSlot(Stateful):
    """A replication slot, with its ``state`` when it was last read.

    Servers return slots from ``slot``, ``slots``, ``create_physical_slot`` and
    ``create_logical_slot``.
    """

    def __init__(self, link: AsyncLink, state: SlotState) -> None:
        self._link = link
        self.state: SlotState = state

    @property
    def name(self) -> str:
        """The slot's name."""
        return self.state.slot_name

    async def refresh(self) -> AsyncSlot:
        """Read the state again, and return the slot.

        Raises: SlotNotFound.  Source: pg_replication_slots.
        """
        self.state = await read_slot(self._link, self.name)
        return self

    async def drop(self, *, force: bool = False, timeout: Timeout = 10.0) -> None:
        """Drop the slot. The next checkpoint removes the WAL that it retained.

        With ``force`` the process that uses the slot is terminated first, which breaks the
        connection of its client; this may take up to ``timeout`` seconds.

        Raises: SlotActive if a process uses the slot; SlotNotFound; InsufficientPrivilege.
        Needs: REPLICATION; with ``force`` also pg_signal_backend.
        Source: pg_drop_replication_slot(), pg_terminate_backend().
        """
        checked_flags(force=force)
        backoff, was_ended = Backoff(timeout), False
        while True:
            try:
                await self._run(f"drop slot {self.name!r}", sql.DROP, [self.name])
            except SlotActive as error:
                if not force or backoff.is_over:
                    raise
                # The client may reconnect at once, before the slot is dropped.
                await self._link.all(
                    f"terminate process {error.pid}, which uses slot {self.name!r}",
                    sql.END_PROCESS,
                    [self.name, error.pid],
                    grant="pg_signal_backend",
                )
                was_ended = True
                await sleep(backoff.next_pause())
            except SlotNotFound:
                # A temporary slot is dropped with the terminated process.
                if not was_ended:
                    raise
                return
            else:
                return

    async def advance(self, lsn: LSN) -> LSN:
        """Advance the slot to ``lsn``, at most to the server's position; return the new position.

        Earlier WAL is no longer retained for the client, and a logical slot never decodes it.

        Raises: UnsupportedByServer before 11; SlotActive; SlotNotFound; ServerError if ``lsn`` is
        behind the slot, or for a physical slot that reserved no WAL.
        Needs: REPLICATION.  Source: pg_replication_slot_advance().
        """
        self._link.require("slot.advance")
        if not isinstance(lsn, LSN):
            raise TypeError(f"lsn must be an LSN, not {type(lsn).__name__}")
        operation = f"advance slot {self.name!r} to {lsn}"
        # The server moves the slot at most to its own position, and returns where that is.
        [record] = await self._run(operation, sql.ADVANCE, [self.name, lsn])
        await self.refresh()
        reached: LSN = record["end_lsn"]
        return reached

    async def copy(
        self, name: str, *, temporary: bool | None = None, plugin: str | None = None
    ) -> AsyncSlot:
        """Create a slot that starts at this slot's position, and return it.

        By default ``temporary``, and the ``plugin`` of a logical slot, are those of this slot.

        Raises: UnsupportedByServer before 12; AlreadyExists; InvalidSlotName; SlotNotFound;
        ServerError if this slot reserves no WAL, or all slots are in use.
        Needs: REPLICATION.
        Source: pg_copy_physical_replication_slot(), pg_copy_logical_replication_slot().
        """
        optional_flags(temporary=temporary)
        self._link.require("slot.copy")
        is_logical = self.state.slot_type is SlotType.LOGICAL
        if plugin is not None and not is_logical:
            raise TypeError("a physical slot has no plugin")
        temporary = self.state.temporary if temporary is None else temporary
        params: list[object] = [self.name, checked_slot_name(name), temporary]
        # Only the function for logical slots has a parameter for the plugin.
        params += [plugin or self.state.plugin] if is_logical else []
        statement = sql.COPY_LOGICAL if is_logical else sql.COPY_PHYSICAL
        await self._run(f"copy slot {self.name!r} to {name!r}", statement, params)
        return AsyncSlot(self._link, await read_slot(self._link, name))

    async def wait_for_catchup(self, lsn: LSN, *, timeout: Timeout = 60.0) -> None:
        """Wait until the slot's client has flushed, or confirmed, all WAL up to ``lsn``.

        The slot is polled after 10 ms at first, then less often.

        Raises: WaitTimeout after ``timeout`` seconds; SlotLost; SlotNotFound.
        Source: pg_replication_slots.
        """
        if not isinstance(lsn, LSN):
            raise TypeError(f"lsn must be an LSN, not {type(lsn).__name__}")
        backoff = Backoff(timeout)
        # A lost slot never reaches the position, so it ends the wait at once.
        while True:
            reached = (await self.refresh()).state.reached_lsn
            if self.state.is_lost:
                why = self.state.invalidation_reason or self.state.wal_status
                raise SlotLost(f"wait for slot {self.name!r}", f"it is lost ({why})")
            if reached is not None and reached >= lsn:
                return
            # An unused slot may catch up as well: its client can come back in time.
            if backoff.is_over:
                user = f"used by process {self.state.active_pid}" if self.state.active else "unused"
                raise WaitTimeout(
                    f"timed out after {backoff.limit:g} s waiting for slot {self.name!r} to reach"
                    f" {lsn}: it is at {reached}, {user}"
                )
            await sleep(backoff.next_pause())

    async def peek(
        self,
        limit: int | None = None,
        *,
        stop_at: LSN | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Rows[SlotChange]:
        """Return the changes in a logical slot, as its plugin writes them, without consuming them.

        Transactions are not cut: the result ends with the first commit after ``limit`` changes, or
        after ``stop_at``. ``options`` are those of the plugin; pgoutput requires
        ``proto_version`` and ``publication_names``.

        Raises: SlotActive; SlotLost; SlotNotFound; ServerError for a physical slot, for a slot of
        another database, or if the plugin refuses.
        Needs: REPLICATION.  Source: pg_logical_slot_peek_binary_changes().
        """
        return await self._changes("peek at", PEEK, limit, stop_at, options)

    async def consume(
        self,
        limit: int | None = None,
        *,
        stop_at: LSN | None = None,
        options: Mapping[str, str] | None = None,
    ) -> Rows[SlotChange]:
        """Return the changes in a logical slot and consume them: they are not returned again.

        ``refresh`` then reads the slot's new position.

        Raises: the errors of ``peek``.
        Needs: REPLICATION.  Source: pg_logical_slot_get_binary_changes().
        """
        # No further statement follows that could fail and lose the consumed changes.
        return await self._changes("consume", CONSUME, limit, stop_at, options)

    @overload
    def changes(
        self,
        *,
        publications: Iterable[str],
        start: LSN | None = None,
        **options: Unpack[ChangeOptions],
    ) -> AsyncChangeStream[Row]: ...
    @overload
    def changes(
        self,
        *,
        publications: Iterable[str],
        row_factory: RowFactory[R],
        start: LSN | None = None,
        **options: Unpack[ChangeOptions],
    ) -> AsyncChangeStream[R]: ...
    def changes(
        self,
        *,
        publications: Iterable[str],
        row_factory: RowFactory[R] | None = None,
        start: LSN | None = None,
        **options: Unpack[ChangeOptions],
    ) -> AsyncChangeStream[R] | AsyncChangeStream[Row]:
        """Stream the typed changes of this slot; see ``changes`` of a server."""
        return change_stream(
            self._link.conninfo_for_another(),
            self.name,
            publications,
            cast(RowFactory[R], row_factory or named_rows),
            start=start,
            adapters=self._link.connection.adapters,
            options=options,
        )

    async def _changes(
        self,
        verb: str,
        view: View[SlotChange],
        limit: int | None,
        stop_at: LSN | None,
        options: Mapping[str, str] | None,
    ) -> Rows[SlotChange]:
        """Return the decoded changes of a view; ``verb`` is for the text of errors."""
        if limit is not None and (type(limit) is not int or limit < 1):
            raise ValueError(f"limit must be an int >= 1, not {limit!r}")
        listed = [text for option in by_name(options, "options").items() for text in option]
        records = await self._run(
            f"{verb} the changes of slot {self.name!r}",
            view.sql(self._link.version.major),
            [self.name, stop_at, limit, listed],
        )
        return Rows(view.read(record) for record in records)

    async def _run(self, operation: str, statement: str, params: Sequence[object]) -> list[DictRow]:
        meaning = {**_MISSING, DUPLICATE_OBJECT: AlreadyExists}
        try:
            return await self._link.all(operation, statement, params, grant=_GRANT, meaning=meaning)
        except ServerError as error:
            # Only the process's number is in the server's text; the error names the client too.
            if error.sqlstate == OBJECT_IN_USE:
                await self._raise_active(operation)
            await self._explain(error)
            raise

    async def _raise_active(self, operation: str) -> NoReturn:
        # The process may have released the slot since the error.
        users = await self._link.all(operation, sql.USED_BY, [self.name])
        user = users[0] if users else {}
        raise SlotActive(
            operation,
            self.name,
            user.get("pid"),
            user.get("client_addr"),
            user.get("application_name"),
        ) from None

    async def _explain(self, error: ServerError) -> None:
        """Raise an error with the reason, if the slot's state shows it."""
        if error.sqlstate not in _WRONG_SLOT:
            return
        here = self._link.connection.info.dbname
        if self.state.database not in {None, here}:
            raise ServerError(
                error.operation,
                f"it belongs to database {self.state.database!r}, this is {here!r}",
                error.sqlstate,
                remedy=f"connect to database {self.state.database!r}",
            ) from error
        if (await self.refresh()).state.is_lost:
            raise SlotLost(error.operation, f"it is lost: {error.found}", error.sqlstate) from error

    def __repr__(self) -> str:
        state = self.state
        doing = "lost" if self.state.is_lost else "active" if state.active else "inactive"
        return (
            f"<{type(self).__name__} {self.name!r}, {state.slot_type.value}, {doing},"
            f" retains {state.retained_bytes} bytes>"
        )


async def read_slot(link: AsyncLink, name: str) -> SlotState:
    """Return the state of a slot.

    Raises: SlotNotFound; InvalidSlotName.
    """
    operation = f"read slot {checked_slot_name(name)!r}"
    for record in await link.all(operation, ONE_SLOT.sql(link.version.major), [name]):
        return ONE_SLOT.read(record)
    raise SlotNotFound(operation, "the slot does not exist")


async def make_physical_slot(
    link: AsyncLink, name: str, *, reserve_wal: bool, temporary: bool
) -> AsyncSlot:
    """Create a physical slot, and return it."""
    params = [checked_slot_name(name), bool(reserve_wal), bool(temporary)]
    return await _create(link, name, sql.CREATE_PHYSICAL, params, f"create slot {name!r}", None)


async def make_logical_slot(
    link: AsyncLink,
    name: str,
    *,
    plugin: str,
    two_phase: bool,
    failover: bool,
    temporary: bool,
    timeout: Timeout,
) -> AsyncSlot:
    """Create a logical slot, and return it."""
    checked_slot_name(name)
    if not isinstance(plugin, str):
        raise TypeError(f"plugin must be a str, not {type(plugin).__name__}")
    if two_phase:
        link.require("slot.two_phase")
    if failover:
        link.require("slot.failover")
    # Newer versions of the function have more parameters, in this order.
    flags = [
        temporary,
        *([two_phase] if link.has("slot.two_phase") else []),
        *([failover] if link.has("slot.failover") else []),
    ]
    params = [name, plugin, *flags]
    operation = f"create logical slot {name!r}, which waits for the end of open transactions"
    statement = sql.create_logical(len(flags))
    try:
        return await _create(link, name, statement, params, operation, timeout)
    except ServerError as error:
        # A subclass says already what happened.
        if type(error) is not ServerError:
            raise
        raise not_created(error) from error.__cause__


async def _create(
    link: AsyncLink,
    name: str,
    statement: str,
    params: Sequence[object],
    operation: str,
    timeout: Timeout | None,
) -> AsyncSlot:
    meaning = {DUPLICATE_OBJECT: AlreadyExists}
    await link.all(operation, statement, params, grant=_GRANT, meaning=meaning, timeout=timeout)
    return AsyncSlot(link, await read_slot(link, name))
