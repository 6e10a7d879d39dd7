"""AsyncApplyRows: the rows of tables, copied from one server to the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Self

from psycopg import AsyncConnection, errors
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pgreplkit._async.logical.applytarget import AsyncApplyTarget
from pgreplkit._async.logical.rowcopy import copied_rows, has_rows, open_qualified, relay
from pgreplkit._async.streams.changes import AsyncPgoutput
from pgreplkit._async.wire.closing import AsyncClosing
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit._text import quote_identifier
from pgreplkit.apply.filtering import RuleFailed, copied, refusal, replaced_columns
from pgreplkit.apply.planner import Planner
from pgreplkit.apply.settings import ApplySettings
from pgreplkit.apply.shape import Match
from pgreplkit.apply.tableplans import TablePlan
from pgreplkit.catalog.logical import applying as sql
from pgreplkit.catalog.logical.snapshot import ONLY
from pgreplkit.driver import statements as parts
from pgreplkit.driver.failures import read_grant, schema_grant, translate_errors
from pgreplkit.errors import ApplyError, ServerError
from pgreplkit.errors.apply import is_of_a_change
from pgreplkit.plans.logical.snapshot import TableCopy
from pgreplkit.protocol.copytext import copied_values
from pgreplkit.protocol.pgoutput.rows import Row
from pgreplkit.protocol.pgoutput.tuples import TEXT, RawValues, TableReader, UnknownTypes
from pgreplkit.values.lsn import LSN

_STAGING = Identifier("pg_temp", "pgreplkit_copied")
"""Takes the copied rows of a table that may have rows already."""


class CopyEnded(Exception):
    """A copy that is no longer wanted, since another one has failed."""


class AsyncApplyRows(AsyncClosing):
    """A session on the publisher that sees a snapshot, and one on the subscriber that writes."""

    def __init__(
        self,
        reader: AsyncConnection[object],
        target: AsyncApplyTarget,
        planner: Planner,
        plugin: AsyncPgoutput[Row],
        settings: ApplySettings,
        is_wanted: Callable[[], bool],
    ) -> None:
        self._reader, self._target, self._planner = reader, target, planner
        self._plugin, self._settings, self._is_wanted = plugin, settings, is_wanted

    @classmethod
    async def connect(
        cls,
        conninfo: str,
        snapshot: str,
        target: AsyncApplyTarget,
        planner: Planner,
        plugin: AsyncPgoutput[Row],
        settings: ApplySettings,
        is_wanted: Callable[[], bool],
    ) -> Self:
        """Open the session on the publisher.

        Raises: ConnectionFailed.
        """
        whole = make_conninfo(conninfo, client_encoding="UTF8")
        reader = await open_qualified(whole, snapshot)
        return cls(reader, target, planner, plugin, settings, is_wanted)

    @property
    def connections(self) -> tuple[AsyncConnection[object], AsyncConnection[object]]:
        """Both sessions."""
        return self._reader, self._target.connection

    async def copy(self, copy: TableCopy, lsn: LSN, *, keeps: bool) -> int:
        """Copy a table, and note in the same transaction that it is as of ``lsn``.

        With ``keeps``, the subscriber's table may have the rows of another table. Return the
        number of rows.

        Raises: ApplyError for a table with rows; CopyEnded; ServerError.
        """
        with self._writing(copy):
            async with self._target.link.in_transaction():
                name = copy.table.table_name
                noted = await self._target.link.all(
                    self._target.operation,
                    sql.ADD_COPIED,
                    [self._target.name, name.schema, name.name, lsn],
                )
                # The server was still committing the copy of an applier that was killed.
                return await self._copied(copy, keeps=keeps) if noted else 0

    async def _copied(self, copy: TableCopy, *, keeps: bool) -> int:
        match = self._planner.plan_of(copy.table).match
        run, existing = self._target.run, self._settings.existing
        table = parts.table(match.target.table)
        # In the transaction of the copy: if it fails, the old rows are back.
        if existing == "truncate" and not keeps:
            # Tables that inherit from it have copied rows of their own.
            await self._empty(SQL("" if match.target.is_partitioned else ONLY) + table)
        elif existing == "refuse" and not keeps:
            await insist_on_empty(self._target.link, copy, self._settings)
        rule = self._settings.rules.get(copy.table.table_name)
        if rule is not None and rule.needs_rows:
            try:
                with self._reading(copy):
                    return await self._copy_by_rows(copy)
            except RuleFailed as error:
                raise _failed(copy, str(error)) from error
        columns = parts.names(one.column.name for one in match.written)
        if existing != "merge":
            return await self._copy_into(table, columns, match, copy)
        # COPY has no ON CONFLICT, so the rows go through a temporary table.
        await run(SQL(sql.STAGE).format(_STAGING, columns, table))
        count = await self._copy_into(_STAGING, columns, match, copy)
        for statement in _merged(match, columns):
            await run(statement)
        return count

    async def _empty(self, table: Composable) -> None:
        try:
            async with self._target.link.in_transaction():
                await self._target.run(SQL(sql.TRUNCATE).format(table))
        except errors.FeatureNotSupported:
            # Others refer to it, even if these are empty; no foreign key is checked here.
            await self._target.run(SQL(sql.DELETE_ROWS).format(table))

    async def _copy_into(
        self, into: Composable, columns: Composed, match: Match, copy: TableCopy
    ) -> int:
        # A constant is selected as text, which the binary format does not convert.
        is_binary = match.is_portable and not match.constants
        how = SQL(sql.BINARY_FORMAT if is_binary else "")
        cursor = self._target.connection.cursor()
        with self._target.watched_at_times() as writing:
            writing.begin()
            to_columns = SQL(sql.COPY_IN).format(into, columns, how)
            to_none = SQL(sql.COPY_EMPTY_IN).format(into, how)
            async with cursor.copy(to_columns if match.written else to_none) as sink:
                rows = SQL(sql.COPY_ROWS).format(_selected(match, copy), how)
                with self._reading(copy):
                    await relay(self._reader, rows, sink, writing, self._check_wanted)
        return cursor.rowcount

    def _writing(self, copy: TableCopy) -> AbstractContextManager[None]:
        """Translate the errors of the subscriber."""
        target = self._settings.target_of(copy.table.table_name)
        grant = f"{schema_grant([target])}; SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON {target}"
        connection = self._target.connection
        return _translated(copy, connection, grant)

    def _reading(self, copy: TableCopy) -> AbstractContextManager[None]:
        """Translate the errors of the publisher."""
        grant = read_grant(copy.table.table_name)
        return _translated(copy, self._reader, grant)

    def _check_wanted(self) -> None:
        if not self._is_wanted():
            raise CopyEnded

    async def _copy_by_rows(self, copy: TableCopy) -> int:
        """Copy rows that a callable of the rule filters or changes."""
        table_reader, plan = await self._table_reader(copy), self._planner.plan_of(copy.table)
        count, written = len(copy.table.columns), 0
        out = SQL(sql.COPY_ROWS).format(_published(copy), SQL(""))
        async for data in copied_rows(self._reader, out, self._check_wanted):
            self._check_wanted()
            new = (copied_values(data, count), [TEXT] * count)
            written += await self._write(copy, plan, table_reader, new)
        return written

    async def _write(
        self, copy: TableCopy, plan: TablePlan, reader: TableReader[Row], new: RawValues
    ) -> int:
        steps = copied(plan, reader, new, replaces=self._settings.existing == "merge")
        try:
            with self._writing(copy):
                return sum([await self._target.step(step) for step in steps])
        except ServerError as error:
            changed = replaced_columns(plan, reader)
            if not changed or not is_of_a_change(error.sqlstate):
                raise
            raise _failed(copy, refusal(error.found, changed), error.sqlstate) from error

    async def _table_reader(self, copy: TableCopy) -> TableReader[Row]:
        reading = self._plugin.reading(self._reader)
        try:
            return TableReader(copy.table, reading)
        except UnknownTypes as unknown:
            await self._plugin.learn(AsyncLink(self._reader), unknown.oids)
            return TableReader(copy.table, reading)

    async def close(self) -> None:
        """Close the session on the publisher."""
        await self._reader.close()


async def insist_on_empty(link: AsyncLink, copy: TableCopy, settings: ApplySettings) -> None:
    """Raise if the subscriber's table has rows.

    Raises: ApplyError.
    """
    table = settings.target_of(copy.table.table_name)
    if await has_rows(link, f"copy {copy.table}", table):
        raise ApplyError(
            f"copy {copy.table}",
            f"the subscriber's table {table} has rows",
            remedy="use existing='truncate' to remove them first, existing='merge' to replace those"
            " with the same key, or copy=False",
        )


def _failed(copy: TableCopy, found: str, sqlstate: str | None = None) -> ApplyError:
    remedy = "correct the rule, and run the applier again"
    return ApplyError(f"copy {copy.table}", found, sqlstate, remedy=remedy)


def _published(copy: TableCopy) -> Composed:
    """Return the query for the published rows and columns of a table."""
    return _rows_of(copy, parts.names(column.name for column in copy.table.columns))


def _selected(match: Match, copy: TableCopy) -> Composed:
    """Return the query for the rows as they are written."""
    values: list[Composable] = []
    for one in match.written:
        if one.position < match.width:
            values.append(parts.names([copy.table.columns[one.position].name]))
        else:
            constant = match.constants[one.position - match.width]
            text = None if constant is None else constant.decode()
            values.append(SQL("{}::text").format(Literal(text)))
    return _rows_of(copy, SQL(", ").join(values))


def _rows_of(copy: TableCopy, values: Composed) -> Composed:
    # Tables that inherit from this one are published, and copied, on their own.
    only = SQL("") if copy.is_partitioned else SQL(ONLY)
    where = SQL("") if copy.where is None else SQL(" WHERE ") + SQL(copy.where)
    return SQL(sql.SELECT_ROWS).format(values, only, parts.table(copy.table.table_name), where)


def _merged(match: Match, columns: Composed) -> Iterator[Composed]:
    """Yield the statements that move copied rows into a table that may have them."""
    names = {one.column.name for one in match.key}
    key = next((key for key in match.target.keys if {*key} <= names), ())
    fixed = [one.column.name for one in match.identity_always if one.column.name not in key]
    into = parts.table(match.target.table)
    # No UPDATE can set these columns: a row with other values in them is inserted again.
    if key and fixed:
        same = [one.column for one in match.key if one.column.name in key]
        equal = (each.is_equal(*_both(each.name)) for each in same)
        ours, copied = zip(*map(_both, fixed), strict=True)
        others = f"({', '.join(ours)}) IS DISTINCT FROM ({', '.join(copied)})"
        yield SQL(sql.DELETE_OTHERS).format(into, _STAGING, SQL(" AND ".join([*equal, others])))
    changed = [one.column.name for one in match.written if one.column.name not in {*key, *fixed}]
    sets = SQL(", ").join(
        SQL("{} = EXCLUDED.{}").format(*2 * [parts.names([name])]) for name in changed
    )
    action: Composable = SQL("DO NOTHING")
    if key and changed:
        action = SQL("({}) DO UPDATE SET {}").format(parts.names(key), sets)
    # An identity column GENERATED ALWAYS refuses values otherwise.
    overriding = SQL("OVERRIDING SYSTEM VALUE ") if match.identity_always else SQL("")
    yield SQL(sql.MERGE).format(into, columns, overriding, columns, _STAGING, action)


def _both(name: str) -> tuple[str, str]:
    column = quote_identifier(name)
    return f"t.{column}", f"c.{column}"


def _translated(
    copy: TableCopy, connection: AsyncConnection[object], grant: str
) -> AbstractContextManager[None]:
    return translate_errors(
        f"copy {copy.table}", connection=connection, grant=grant, hides_values=True
    )
