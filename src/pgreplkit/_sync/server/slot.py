# Generated from pgreplkit/_async/server/slot.py by `nox -s sync`. Do not edit.
"""Slot: one replication slot, as it was when it was read, and what can be done to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NoReturn, TypeVar, Unpack, cast, overload

from psycopg.rows import DictRow

from pgreplkit._sync._io import sleep
from pgreplkit._sync.streams.changes import ChangeStream, change_stream
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.server import slot as sql
from pgreplkit.catalog.server.slot import (
    CONSUME,
    ONE_SLOT,
    PEEK,
    SlotChange,
    SlotColumns,
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
from pgreplkit.protocol.pgoutput.rows import Row, RowFactory, named_rows
from pgreplkit.values.lsn import LSN
from pgreplkit.values.slotname import checked_slot_name

R = TypeVar("R")

_OF_THE_WRONG_SLOT = {NOT_IN_PREREQUISITE_STATE, FEATURE_NOT_SUPPORTED, "58P01"}
_GRANT = "REPLICATION"
_GONE = {UNDEFINED_OBJECT: SlotNotFound}


class Slot(SlotColumns):
    """A replication slot: its ``state`` when it was last read, and what can be done to it.

    Every column of the state is an attribute of the slot too. ``refresh`` reads it again. Made by
    ``slot``, ``slots``, ``create_physical_slot`` and ``create_logical_slot`` of a server.
    """

    def __init__(self, link: Link, state: SlotState) -> None:
        self._link = link
        self.state: SlotState = state

    @property
    def name(self) -> str:
        """Its name."""
        return self.state.slot_name

    def refresh(self) -> Slot:
        """Read its state again; gives the slot itself.

        Raises: SlotNotFound.  Source: pg_replication_slots.
        """
        self.state = read_slot(self._link, self.name)
        return self

    def drop(self, *, force: bool = False, timeout: float = 10.0) -> None:
        """Drop it. The WAL that it kept is removed by the next checkpoint, not at once.

        With ``force`` the process that uses it is ended first, which breaks the connection of its
        client; that may take up to ``timeout`` seconds.

        Raises: SlotActive when a process uses it; SlotNotFound; InsufficientPrivilege.
        Needs: REPLICATION; with ``force`` pg_signal_backend too.
        Source: pg_drop_replication_slot(), pg_terminate_backend().
        """
        backoff, was_ended = Backoff(timeout), False
        while True:
            try:
                self._do(f"drop the slot {self.name!r}", sql.DROP, [self.name])
            except SlotActive as error:
                if not force or backoff.is_over:
                    raise
                # A client that connects again at once may need to be ended more than once.
                self._link.all(
                    f"end process {error.pid}, which uses the slot {self.name!r}",
                    sql.END_PROCESS,
                    [self.name, error.pid],
                    grant="pg_signal_backend",
                )
                was_ended = True
                sleep(backoff.next_pause())
            except SlotNotFound:
                # A temporary slot goes with the process that was ended.
                if not was_ended:
                    raise
                return
            else:
                return

    def advance(self, lsn: LSN) -> LSN:
        """Move it forward to ``lsn``, at most to the server's position; gives what it reached.

        What lies before is not kept for its client any more, and a logical slot never decodes it.

        Raises: UnsupportedByServer before 11; SlotActive; SlotNotFound; ServerError when ``lsn``
        is behind it, or when it is a physical slot that reserved no WAL.
        Needs: REPLICATION.  Source: pg_replication_slot_advance().
        """
        self._link.require("slot.advance")
        if not isinstance(lsn, LSN):
            raise TypeError(f"a slot is advanced to an LSN, not to a {type(lsn).__name__}")
        tried = f"advance the slot {self.name!r} to {lsn}"
        [record] = self._do(tried, sql.ADVANCE, [self.name, lsn])
        self.refresh()
        reached: LSN = record["end_lsn"]
        return reached

    def copy(self, name: str, *, temporary: bool | None = None, plugin: str | None = None) -> Slot:
        """A new slot that begins where this one is; it may be used beside it.

        ``temporary`` and the ``plugin`` of a logical slot are this one's unless told.

        Raises: UnsupportedByServer before 12; AlreadyExists; InvalidSlotName; SlotNotFound;
        ServerError when it reserves no WAL, or when all slots are in use.
        Needs: REPLICATION.
        Source: pg_copy_physical_replication_slot(), pg_copy_logical_replication_slot().
        """
        self._link.require("slot.copy")
        is_logical = self.slot_type is SlotType.LOGICAL
        if plugin is not None and not is_logical:
            raise TypeError("a physical slot has no plugin")
        temporary = self.temporary if temporary is None else temporary
        params: list[object] = [self.name, checked_slot_name(name), temporary]
        params += [plugin or self.plugin] if is_logical else []
        statement = sql.COPY_LOGICAL if is_logical else sql.COPY_PHYSICAL
        self._do(f"copy the slot {self.name!r} to {name!r}", statement, params)
        return Slot(self._link, read_slot(self._link, name))

    def wait_caught_up(self, lsn: LSN, *, timeout: float = 60.0) -> None:
        """Wait until its client has everything up to ``lsn``: flushed, or for a logical slot
        confirmed. Looks again after 10 ms at first, then less often.

        Raises: WaitTimeout after ``timeout`` seconds; SlotLost; SlotNotFound.
        Source: pg_replication_slots.
        """
        if not isinstance(lsn, LSN):
            raise TypeError(f"a slot is awaited up to an LSN, not a {type(lsn).__name__}")
        backoff = Backoff(timeout)
        while True:
            reached = (self.refresh()).state.reached_lsn
            if self.is_lost:
                why = self.invalidation_reason or self.wal_status
                raise SlotLost(f"wait for the slot {self.name!r}", f"it is lost ({why})")
            if reached is not None and reached >= lsn:
                return
            if backoff.is_over:
                user = f"process {self.active_pid} uses it" if self.active else "nobody uses it"
                raise WaitTimeout(
                    f"the slot {self.name!r} did not reach {lsn} in {timeout:g} s:"
                    f" it is at {reached}, and {user}"
                )
            sleep(backoff.next_pause())

    def peek(
        self,
        limit: int | None = None,
        *,
        upto_lsn: LSN | None = None,
        options: Mapping[str, str] | None = None,
    ) -> list[SlotChange]:
        """The changes that wait in a logical slot, as its plugin writes them; they stay in it.

        Whole transactions: it ends after the first commit by which there are ``limit`` changes, or
        that is past ``upto_lsn``. ``options`` are the plugin's; pgoutput insists on
        ``proto_version`` and ``publication_names``.

        Raises: SlotActive; SlotLost; SlotNotFound; ServerError for a physical slot, in another
        database than the slot's, or when the plugin refuses.
        Needs: REPLICATION.  Source: pg_logical_slot_peek_binary_changes().
        """
        return self._changes("peek into", PEEK, limit, upto_lsn, options)

    def consume(
        self,
        limit: int | None = None,
        *,
        upto_lsn: LSN | None = None,
        options: Mapping[str, str] | None = None,
    ) -> list[SlotChange]:
        """Like ``peek``, and the changes are gone from the slot: nobody gets them again.

        ``refresh`` tells how far the slot is then.

        Raises and needs: as ``peek``.  Source: pg_logical_slot_get_binary_changes().
        """
        # Nothing comes after it that could fail, and lose what was taken.
        return self._changes("consume", CONSUME, limit, upto_lsn, options)

    @overload
    def changes(
        self,
        *,
        publications: Iterable[str],
        start: LSN | None = None,
        **options: Unpack[ChangeOptions],
    ) -> ChangeStream[Row]: ...
    @overload
    def changes(
        self,
        *,
        publications: Iterable[str],
        row_factory: RowFactory[R],
        start: LSN | None = None,
        **options: Unpack[ChangeOptions],
    ) -> ChangeStream[R]: ...
    def changes(
        self,
        *,
        publications: Iterable[str],
        row_factory: RowFactory[R] | None = None,
        start: LSN | None = None,
        **options: Unpack[ChangeOptions],
    ) -> ChangeStream[R] | ChangeStream[Row]:
        """The changes of this slot, streamed and typed; see ``changes`` of a server."""
        return change_stream(
            self._link.another(),
            self.name,
            publications,
            cast(RowFactory[R], row_factory or named_rows),
            start=start,
            adapters=self._link.connection.adapters,
            options=options,
        )

    def _changes(
        self,
        verb: str,
        view: View[SlotChange],
        limit: int | None,
        upto_lsn: LSN | None,
        options: Mapping[str, str] | None,
    ) -> list[SlotChange]:
        if limit is not None and (type(limit) is not int or limit < 1):
            raise ValueError(f"a limit of changes is an int of at least 1, not {limit!r}")
        listed = [text for option in (options or {}).items() for text in option]
        records = self._do(
            f"{verb} the slot {self.name!r}",
            view.sql(self._link.version.major),
            [self.name, upto_lsn, limit, listed],
        )
        return [view.read(record) for record in records]

    def _do(self, tried: str, statement: str, params: Sequence[object]) -> list[DictRow]:
        meaning = {**_GONE, DUPLICATE_OBJECT: AlreadyExists}
        try:
            return self._link.all(tried, statement, params, grant=_GRANT, meaning=meaning)
        except ServerError as error:
            if error.sqlstate == OBJECT_IN_USE:
                self._raise_active(tried)
            self._explain(error)
            raise

    def _raise_active(self, tried: str) -> NoReturn:
        users = self._link.all(tried, sql.USED_BY, [self.name])
        user = users[0] if users else {}
        raise SlotActive(
            tried,
            self.name,
            user.get("pid"),
            user.get("client_addr"),
            user.get("application_name"),
        ) from None

    def _explain(self, error: ServerError) -> None:
        """Raise a better error where the state tells more than the server did."""
        if error.sqlstate not in _OF_THE_WRONG_SLOT:
            return
        here = self._link.connection.info.dbname
        if self.database not in {None, here}:
            found = f"it belongs to the database {self.database!r}, this is {here!r}"
            advice = "connect to that one"
            raise ServerError(error.operation, f"{found}: {advice}", error.sqlstate) from error
        if (self.refresh()).is_lost:
            raise SlotLost(error.operation, f"it is lost: {error.found}", error.sqlstate) from error

    def __repr__(self) -> str:
        state = self.state
        doing = "lost" if self.is_lost else "active" if state.active else "inactive"
        return (
            f"<{type(self).__name__} {self.name!r}, {state.slot_type.value}, {doing},"
            f" retains {state.retained_bytes} bytes>"
        )


def read_slot(link: Link, name: str) -> SlotState:
    """The state of the slot of that name.

    Raises: SlotNotFound; InvalidSlotName.
    """
    tried = f"read the slot {checked_slot_name(name)!r}"
    for record in link.all(tried, ONE_SLOT.sql(link.version.major), [name]):
        return ONE_SLOT.read(record)
    raise SlotNotFound(tried, "there is no slot of that name")


def make_physical_slot(link: Link, name: str, *, reserve_wal: bool, temporary: bool) -> Slot:
    """Create a physical slot and read it."""
    params = [checked_slot_name(name), bool(reserve_wal), bool(temporary)]
    return _made(link, name, sql.CREATE_PHYSICAL, params, f"create the slot {name!r}", None)


def make_logical_slot(
    link: Link,
    name: str,
    *,
    plugin: str,
    two_phase: bool,
    failover: bool,
    temporary: bool,
    timeout: float,
) -> Slot:
    """Create a logical slot and read it."""
    checked_slot_name(name)
    if not isinstance(plugin, str):
        raise TypeError(f"a plugin's name is a str, not {type(plugin).__name__}")
    if two_phase:
        link.require("slot.two_phase")
    if failover:
        link.require("slot.failover")
    major = link.version.major
    flags = [temporary, *[two_phase] * (major >= 14), *[failover] * (major >= 17)]
    params = [name, plugin, *flags]
    tried = f"create the logical slot {name!r}, which waits for open transactions to end"
    return _made(link, name, sql.create_logical(major), params, tried, timeout)


def _made(
    link: Link,
    name: str,
    statement: str,
    params: Sequence[object],
    tried: str,
    timeout: float | None,
) -> Slot:
    meaning = {DUPLICATE_OBJECT: AlreadyExists}
    link.all(tried, statement, params, grant=_GRANT, meaning=meaning, timeout=timeout)
    return Slot(link, read_slot(link, name))
