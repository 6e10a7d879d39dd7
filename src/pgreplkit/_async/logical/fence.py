"""AsyncWriteFence: triggers that refuse all writes to tables, except those of apply workers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import cycle

from psycopg.sql import SQL, Composed, Identifier, Literal

from pgreplkit._async._io import sleep
from pgreplkit._async.logical.coverage import insist_on_all
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit._text import LONGEST_NAME, counted
from pgreplkit.catalog.logical import fence as sql
from pgreplkit.catalog.logical.fence import (
    AT_ONCE,
    FENCES,
    FUNCTION,
    GATE,
    PATIENCE,
    FenceBlocker,
    FenceFunction,
    FenceState,
    UnfencedSession,
    unfenced,
)
from pgreplkit.catalog.logical.writers import WITH_PARTITIONS
from pgreplkit.catalog.view import table_in
from pgreplkit.driver import statements as parts
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.failures import (
    DEADLOCK_DETECTED,
    DUPLICATE_SCHEMA,
    READ_ONLY_TRANSACTION,
    UNDEFINED_TABLE,
)
from pgreplkit.errors import (
    AlreadyExists,
    Error,
    InsufficientPrivilege,
    NotAPrimary,
    ServerError,
    StatementTimeout,
    TableNotFound,
    WaitTimeout,
)
from pgreplkit.values.madeby import made_by
from pgreplkit.values.record import Stateful
from pgreplkit.values.rows import Rows
from pgreplkit.values.seconds import Timeout
from pgreplkit.values.tablename import TableName, quoted, schemas_and_names

_GRANT = "the tables' owner; CREATE ON DATABASE …"
_REMOVED_WITHIN = 1.0
"""Seconds for removing a fence after an error. It permits writes at once, but its triggers are
removed only when the transactions that use the tables have ended; most are short."""
_LIFT = "lift() the one that write_fences() returns"
_MEANING = {
    READ_ONLY_TRANSACTION: NotAPrimary,
    UNDEFINED_TABLE: TableNotFound,
    DUPLICATE_SCHEMA: AlreadyExists,
}


@made_by("primary.fence_writes() or primary.write_fences()", AsyncLink)
class AsyncWriteFence(Stateful):
    """Triggers that refuse all writes to tables, except those of apply workers.

    ``fence_writes`` of a primary returns it, and ``write_fences`` finds it again in another
    process. It stays until ``lift``, also if the program ends.
    """

    def __init__(self, link: AsyncLink, state: FenceState, waited: timedelta | None) -> None:
        self._link = link
        self.state: FenceState = state
        self.waited: timedelta | None = waited
        """Time until the last transaction that had written to the tables ended; None for a fence
        that was found again."""

    @property
    def name(self) -> str:
        """The fence's name."""
        return self.state.name

    @property
    def tables(self) -> tuple[TableName, ...]:
        """The fenced tables, partitions and parents included."""
        return self.state.tables

    async def unfenced(self) -> Rows[UnfencedSession]:
        """Return the sessions that could change what the fence does not cover.

        It does not refuse nextval(), changes of large objects, DDL, and writes of sessions that set
        session_replication_role to replica. A session is listed for each of these that its role
        permits, if the database has such objects.

        Needs: pg_monitor, to see other roles' sessions.
        Source: pg_stat_activity, and the roles' privileges.
        """
        names = [*schemas_and_names(self.tables)]
        records = await self._link.all(
            "find the sessions that a fence does not cover",
            unfenced(self._link.version.major),
            names,
        )
        return Rows(UnfencedSession(**record) for record in records)

    async def lift(self, *, timeout: Timeout = 10.0) -> None:
        """Permit writes again at once, and remove the triggers.

        Removing them waits for transactions that read the tables.

        Raises: WaitTimeout if the triggers could not be removed within ``timeout`` seconds; writes
        are permitted already, and another call removes the rest.
        Needs: the tables' owner.  Source: CREATE FUNCTION, DROP TRIGGER.
        """
        await lift(self._link, self.name, timeout)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, {counted(len(self.tables), 'table')}>"


async def read_fences(link: AsyncLink) -> list[FenceState]:
    """Return the fences of the database, by name."""
    return [
        FenceState(
            name=record["name"],
            tables=tuple(TableName(*each) for each in record["tables"]),
            disabled=tuple(TableName(*each) for each in record["disabled"]),
            is_lifted=record["is_lifted"],
            is_gated=record["is_gated"],
            since=sql.since_in(record["comment"]),
            identity=record["identity"],
        )
        for record in await link.all("read the write fences", FENCES)
    ]


async def read_fence(link: AsyncLink, name: str) -> FenceState | None:
    """Return the fence of that name; None if there is none."""
    return next((state for state in await read_fences(link) if state.name == name), None)


async def make_fence(
    link: AsyncLink,
    tables: Sequence[TableName],
    *,
    name: str,
    hint: str,
    timeout: Timeout,
    identity: str = "",
) -> AsyncWriteFence:
    """Fence the tables with their partitions and parents, and wait for open writers.

    ``identity`` is kept with the fence; by default it keeps the one that it has.
    """
    operation = "fence writes"
    # Within a transaction of the caller's, the fence would refuse no one before the commit.
    link.insist_on_autocommit(operation)
    covered = await _read_covered(link, operation, tables)
    insist_on_all(operation, "this database", tables, covered)
    before = await read_fence(link, name)
    state = before or FenceState(name=name, tables=(), is_gated=True)
    refuses, backoff = not (state.is_lifted or state.is_gated), Backoff(timeout)
    # While clients can still write.
    await _cancel_vacuums(link, operation, await read_blockers(link, covered))
    began, since = time.monotonic(), state.since if refuses else None
    creating = [] if before else [SQL(sql.CREATE_SCHEMA).format(Identifier(name))]
    refusal = _function(name, sql.refusal(hint))
    creating += [refusal] if refuses else _gating(name, hint)
    if identity:
        function = Identifier(name, FUNCTION)
        creating.append(SQL(sql.IDENTIFY).format(function, Literal(identity)))
    await link.run(operation, SQL(";\n").join(creating), grant=_GRANT, meaning=_MEANING)
    fencing = partial(_fencing, state)
    try:
        await _in_turn(link, operation, covered, fencing, backoff)
        if not refuses:
            gate = Identifier(name, GATE)
            closing = [refusal, SQL(sql.DROP_GATE).format(gate)]
            locking = [SQL(sql.LOCK_GATE).format(gate)]
            since = await _patiently(
                link, operation, locking, closing, covered, backoff, stamped=name
            )
        # Partitions that were attached since then have no trigger.
        while late := {*await _read_covered(link, operation, tables)}.difference(covered):
            covered += sorted(late)
            await _in_turn(link, operation, sorted(late), fencing, backoff)
    except BaseException as error:
        try:
            limit = min(backoff.limit, _REMOVED_WITHIN)
            await _take_back(link, name, before, covered, limit, refuses=refuses)
        except Error as left:
            error.add_note(f"could not remove the fence {name!r} either: {left}; {_LIFT}")
        raise
    fenced = FenceState(
        name=name,
        tables=tuple(sorted({*covered, *state.tables})),
        disabled=tuple(sorted({*state.disabled}.difference(covered))),
        since=since,
        identity=identity or state.identity,
    )
    return AsyncWriteFence(link, fenced, timedelta(seconds=time.monotonic() - began))


async def _read_covered(
    link: AsyncLink, operation: str, tables: Sequence[TableName]
) -> list[TableName]:
    """Return the tables with their partitions and parents."""
    given = [*schemas_and_names(tables)]
    return [_table(record) for record in await link.all(operation, WITH_PARTITIONS, given)]


async def _take_back(
    link: AsyncLink,
    name: str,
    before: FenceState | None,
    covered: Sequence[TableName],
    timeout: Timeout,
    *,
    refuses: bool,
) -> None:
    """Restore the fence as it was: half a one would refuse writes that no one waits to stop."""
    if before is None:
        await lift(link, name, timeout)
    elif not refuses:
        await permit(link, name)
    else:
        added = [table for table in covered if table not in before.tables]
        await _drop_triggers(link, "fence writes", name, added, Backoff(timeout))


async def read_fence_function(link: AsyncLink, name: str) -> FenceFunction:
    """Return whether the fence of that name refuses writes, and its identity."""
    operation, function = f"read the write fence {name!r}", f"{quoted(name)}.{FUNCTION}()"
    return FenceFunction(**await link.one(operation, sql.FENCE_FUNCTION, [function]))


async def permit(link: AsyncLink, name: str) -> None:
    """Permit writes again at once, if the fence of that name exists; its triggers stay."""
    operation = "permit writes again"
    # Reading all fences takes longer, and until then no one can write.
    if (await link.one(operation, sql.EXISTS, [f"{quoted(name)}.{FUNCTION}()"]))["is_so"]:
        function = _function(name, sql.PERMIT)
        await link.run(operation, function, grant=_GRANT, meaning=_MEANING)


async def lift(link: AsyncLink, name: str, timeout: Timeout) -> None:
    """Permit writes again, and remove the fence of that name if it exists."""
    operation, backoff = f"lift the write fence {name!r}", Backoff(timeout)
    link.insist_on_autocommit(operation)
    # The triggers that exist now: an interrupted fence has fewer than it was asked for.
    state = await read_fence(link, name)
    if state is None:
        return
    await link.run(operation, _function(name, sql.PERMIT), grant=_GRANT, meaning=_MEANING)
    await _drop_triggers(link, operation, name, state.tables, backoff)
    # No one uses it without the triggers.
    await link.run(
        operation,
        SQL(sql.DROP_FUNCTION).format(Identifier(name, FUNCTION)),
        SQL(sql.DROP_GATE).format(Identifier(name, GATE)),
        SQL(sql.DROP_SCHEMA).format(Identifier(name)),
        grant=_GRANT,
    )


async def _drop_triggers(
    link: AsyncLink, operation: str, name: str, tables: Sequence[TableName], backoff: Backoff
) -> None:
    def dropping(some: Sequence[TableName]) -> tuple[list[Composed], list[Composed]]:
        trigger = Identifier(name)
        return [SQL(sql.DROP_TRIGGER).format(trigger, parts.table(each)) for each in some], []

    await _in_turn(link, operation, tables, dropping, backoff, waits_for_readers=True)


async def _in_turn(
    link: AsyncLink,
    operation: str,
    tables: Sequence[TableName],
    statements: Callable[[Sequence[TableName]], tuple[list[Composed], list[Composed]]],
    backoff: Backoff,
    *,
    waits_for_readers: bool = False,
) -> None:
    """Execute the statements that lock tables, and others, for all tables.

    Tables that cannot be locked at once are locked one after the other: clients that have locked
    one of them, and wait for another one, would keep an attempt to lock both from success.
    """
    for start in range(0, len(tables), AT_ONCE):
        batch = tables[start : start + AT_ONCE]
        if await _attempt(link, operation, PATIENCE[0], *statements(batch)) is None:
            continue
        await sleep(min(PATIENCE[0], backoff.left))
        for table in batch:
            await _patiently(
                link,
                operation,
                *statements([table]),
                [table],
                backoff,
                waits_for_readers=waits_for_readers,
            )


async def _patiently(
    link: AsyncLink,
    operation: str,
    locking: Sequence[Composed],
    others: Sequence[Composed],
    tables: Sequence[TableName],
    backoff: Backoff,
    *,
    waits_for_readers: bool = False,
    stamped: str = "",
) -> datetime:
    """Execute statements that lock tables, then others, in many short attempts.

    Return the start of the one that stood; the schema of the fence ``stamped`` keeps it.

    Raises: WaitTimeout with the sessions that hold locks.
    """
    turns = cycle(PATIENCE)
    patience = next(turns)
    while True:
        began, start = time.monotonic(), datetime.now(UTC)
        # The time is kept in the same transaction, for another process if this one ends.
        stamp = [_since(stamped, start)] if stamped else []
        limit = min(patience, backoff.left or patience)
        error = await _attempt(link, operation, limit, locking, [*others, *stamp])
        if error is None:
            return start
        attempt = time.monotonic() - began
        # At once: a moment later other sessions may hold the locks.
        blockers = await read_blockers(link, tables, readers=waits_for_readers)
        if backoff.is_over:
            held = "; ".join(map(str, blockers[:5])) or error.found
            raise WaitTimeout(
                f"could not {operation}: timed out after {backoff.limit:g} s waiting for"
                f" locks, which are held by: {held}; end these transactions, or repeat with a"
                " longer timeout"
            ) from error
        patience = next(turns)
        if not await _cancel_vacuums(link, operation, blockers):
            # They yield to a waiting lock only after deadlock_timeout.
            record = await link.one(operation, sql.DEADLOCK_TIMEOUT)
            patience = 1.5 * float(record["seconds"])
        # The writers that queued behind this attempt have as much time for themselves.
        await sleep(min(attempt, backoff.left))


async def _attempt(
    link: AsyncLink,
    operation: str,
    seconds: float,
    locking: Sequence[Composed],
    others: Sequence[Composed],
) -> ServerError | None:
    """Execute statements that lock tables, then others; return the error if locks are held."""
    limit = max(1, round(1000 * seconds))
    # One string, which is one transaction: with a round trip for each table, clients would wait for
    # longer.
    whole = SQL(";\n").join([_within(link, limit, locking), *others])
    try:
        await link.run(operation, whole, grant=_GRANT, meaning=_MEANING)
    except ServerError as error:
        # A deadlock rolls the attempt back as lock_timeout does.
        if error.sqlstate != DEADLOCK_DETECTED and not isinstance(error, StatementTimeout):
            raise
        return error
    return None


def _within(link: AsyncLink, limit: int, statements: Sequence[Composed]) -> Composed:
    """Return a statement that executes others, which wait for locks for ``limit`` ms in all."""
    listed = SQL(", ").join(Literal(each.as_string(link.connection)) for each in statements)
    body = SQL(sql.WITHIN).format(statements=SQL("ARRAY[{}]").format(listed), limit=Literal(limit))
    return SQL(sql.DO).format(Literal(body.as_string(link.connection)))


async def _cancel_vacuums(
    link: AsyncLink, operation: str, blockers: Sequence[FenceBlocker]
) -> bool:
    """Cancel autovacuums, which would begin again later; return False if one of them goes on.

    The server does so, too, but only once a lock has waited for deadlock_timeout, while writers
    queue behind it.
    """
    pids = {blocker.pid for blocker in blockers if blocker.is_autovacuum}
    if not pids:
        return True
    try:
        records = await link.all(operation, sql.CANCEL_VACUUMS, [[*pids]])
    except InsufficientPrivilege:
        return False
    return {record["pid"] for record in records if record["is_cancelled"]} == pids


async def read_blockers(
    link: AsyncLink, tables: Sequence[TableName], *, readers: bool = False
) -> list[FenceBlocker]:
    """Return the transactions whose locks a fence of the tables waits for."""
    asked = [*schemas_and_names(tables), readers]
    records = await link.all("find the sessions that hold locks", sql.LOCKED, asked)
    return [FenceBlocker(table=_table(record), **record) for record in records]


def _fencing(
    state: FenceState, batch: Sequence[TableName]
) -> tuple[list[Composed], list[Composed]]:
    """Return the statements that lock the tables, and those that fence them.

    Tables that are fenced already are locked, too.
    """
    name, already, disabled = state.name, {*state.tables}, {*state.disabled}
    # The list has the partitions, each of which is locked by itself.
    locking = [SQL(sql.LOCK).format(parts.table(table)) for table in batch]
    function = Identifier(name, FUNCTION)
    triggers = [
        SQL(sql.ADD_TRIGGER).format(Identifier(name), parts.table(table), function)
        for table in batch
        if table not in already
    ]
    enabling = [
        SQL(sql.ENABLE_TRIGGER).format(parts.table(table), Identifier(name))
        for table in batch
        if table in disabled
    ]
    return locking, [*triggers, *enabling]


def _gating(name: str, hint: str) -> list[Composed]:
    """Return the statements that let the function of a fence lock the gate."""
    gate, function = Identifier(name, GATE), Identifier(name, FUNCTION)
    body = Literal(sql.gate(f"{quoted(name)}.{GATE}", hint))
    return [
        SQL(sql.CREATE_GATE).format(gate),
        SQL(sql.REPLACE_BY_GATE).format(function, body),
    ]


def _since(name: str, since: datetime) -> Composed:
    return SQL(sql.SINCE).format(Identifier(name), Literal(sql.since_comment(since)))


def _function(name: str, body: str) -> Composed:
    return SQL(sql.REPLACE_FUNCTION).format(Identifier(name, FUNCTION), Literal(body))


def _table(record: dict[str, object]) -> TableName:
    return table_in(record, schema="nspname", name="relname")


def checked_fence_name(name: str) -> str:
    """Return the name of a fence.

    Raises: ValueError if users cannot give a schema that name.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a str, not {type(name).__name__}")
    # A longer name would be cut off by the server, and not be found again.
    if not name or "\0" in name or len(name.encode()) > LONGEST_NAME or name.startswith("pg_"):
        raise ValueError(
            f"name must have 1 to {LONGEST_NAME} bytes and not begin with pg_, got {name!r}"
        )
    return name
