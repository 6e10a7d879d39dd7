"""The first rows of an applier: its slot, and a copy of the tables at the slot's snapshot."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg import AsyncConnection, AsyncCopy
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from pgreplkit._async.logical.applyshapes import AsyncTargetShapes
from pgreplkit._async.logical.applytarget import AsyncApplyTarget
from pgreplkit._async.logical.coverage import insist_on_all_rows
from pgreplkit._async.streams.changes import AsyncPgoutput
from pgreplkit._async.streams.replication import AsyncReplicationConnection
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit._async.wire.session import read_exactly
from pgreplkit.apply.planner import Planner
from pgreplkit.apply.settings import ApplySettings
from pgreplkit.apply.shape import Match
from pgreplkit.catalog.logical import applying as sql
from pgreplkit.catalog.logical.snapshot import (
    BEGIN_READING,
    IMPORT_SNAPSHOT,
    ONLY,
    ROW_SECURITY_OFF,
)
from pgreplkit.catalog.server.session import without_timeouts
from pgreplkit.driver import statements as parts
from pgreplkit.driver.failures import translate_errors
from pgreplkit.errors import AlreadyExists, ApplyError
from pgreplkit.plans.logical.snapshot import TableCopy
from pgreplkit.protocol.answers import Snapshot
from pgreplkit.protocol.copytext import copied_values
from pgreplkit.protocol.pgoutput.rows import Row
from pgreplkit.protocol.pgoutput.tuples import TEXT, TableReader, UnknownTypes

_STAGING = Identifier("pg_temp", "pgreplkit_copied")
"""Takes the copied rows of a table that may have rows already."""
_BLOCK = 1 << 16
"""Bytes that are sent at once: the server sends each row for itself."""


class AsyncApplyCopy:
    """Creates the slot of an applier, and copies the existing rows if that was asked for."""

    def __init__(
        self,
        conninfo: str,
        publisher: AsyncLink,
        target: AsyncApplyTarget,
        shapes: AsyncTargetShapes,
        planner: Planner,
        plugin: AsyncPgoutput[Row],
        settings: ApplySettings,
    ) -> None:
        self._conninfo, self._publisher, self._plugin = conninfo, publisher, plugin
        self._target, self._shapes, self._planner = target, shapes, planner
        self._settings = settings
        self._slot = sql.PREFIX + settings.name

    async def create(self, copies: Sequence[TableCopy], system_id: int, state: str | None) -> None:
        """Create the slot, and copy; a copy that was interrupted begins again.

        Raises: AlreadyExists; ApplyError for a table with rows; StatementTimeout.
        """
        settings, target = self._settings, self._target
        has_slot = bool(await self._publisher.all("read the slots", sql.SLOT_EXISTS, [self._slot]))
        if state is None and has_slot:
            raise AlreadyExists(
                target.operation,
                f"the publisher has a slot {self._slot!r}, but the subscriber has no applier"
                f" {settings.name!r}",
                remedy="drop the slot, or choose another name",
            )
        if settings.copy:
            tables = [copy.table.table_name for copy in copies]
            await insist_on_all_rows(self._publisher, target.operation, tables)
            if settings.existing == "refuse" and state != "copying":
                await self._insist_on_empty(copies)
        if state is None:
            await target.create(system_id)
        database = self._publisher.connection.info.dbname
        async with await AsyncReplicationConnection.connect(
            self._conninfo, database=database
        ) as walsender:
            if has_slot:
                await walsender.drop_slot(self._slot, wait=True)
            with translate_errors(target.operation):
                unlimited = without_timeouts(walsender.version.major)
                await walsender.connection.execute(unlimited.encode(), prepare=False)
            created = await walsender.create_slot(
                self._slot,
                plugin="pgoutput",
                snapshot=Snapshot.EXPORT if settings.copy else Snapshot.NOTHING,
            )
            if settings.copy:
                await target.set_state("copying")
                await self._copy(copies, created.snapshot_name or "", is_again=state == "copying")
        await target.set_state("streaming")

    async def _insist_on_empty(self, copies: Sequence[TableCopy]) -> None:
        for copy in copies:
            table = self._settings.target_of(copy.table.table_name)
            statement = SQL(sql.HAS_ROWS).format(parts.table(table))
            text = statement.as_string(self._shapes.link.connection)
            record = await self._shapes.link.one(self._target.operation, text)
            if record["has_rows"]:
                raise ApplyError(
                    f"copy {copy.table}",
                    f"the subscriber's table {table} has rows",
                    remedy="use existing='truncate' to remove them first, existing='merge' to"
                    " replace those with the same key, or copy=False",
                )

    async def _copy(self, copies: Sequence[TableCopy], snapshot: str, *, is_again: bool) -> None:
        """Copy all tables, each in a transaction of its own."""
        with translate_errors(self._target.operation):
            reader = await AsyncConnection[object].connect(self._conninfo, autocommit=True)
        try:
            with translate_errors("take over the snapshot of the slot"):
                await read_exactly(reader, self._conninfo)
                major = self._publisher.version.major
                await reader.execute(without_timeouts(major).encode())
                await reader.execute(ROW_SECURITY_OFF)
                await reader.execute(BEGIN_READING)
                await reader.execute(SQL(IMPORT_SNAPSHOT).format(snapshot))
            for copy in copies:
                grant = f"SELECT ON {copy.table}"
                with translate_errors(f"copy {copy.table}", connection=reader, grant=grant):
                    await self._copy_table(reader, copy, is_again=is_again)
        finally:
            await reader.close()

    async def _copy_table(
        self, reader: AsyncConnection[object], copy: TableCopy, *, is_again: bool
    ) -> None:
        match = self._planner.plan_of(copy.table).match
        connection, existing = self._target.connection, self._settings.existing
        is_emptied = existing == "truncate" or (is_again and existing == "refuse")
        async with connection.transaction():
            if is_emptied:
                await connection.execute(SQL(sql.TRUNCATE).format(parts.table(match.target.table)))
            rule = self._settings.rules.get(copy.table.table_name)
            if rule is not None and rule.needs_rows:
                await self._copy_by_rows(reader, copy)
                return
            into: Composable = parts.table(match.target.table)
            columns = parts.names(one.column.name for one in match.written)
            if existing == "merge":
                into = _STAGING
                await connection.execute(
                    SQL(sql.STAGE).format(into, columns, parts.table(match.target.table))
                )
            is_binary = match.is_portable and not match.constants
            how = SQL(sql.BINARY_FORMAT if is_binary else "")
            out = SQL(sql.COPY_ROWS).format(_selected(match, copy), how)
            async with (
                reader.cursor().copy(out) as rows,
                connection.cursor().copy(SQL(sql.COPY_IN).format(into, columns, how)) as sink,
            ):
                await _relay(rows, sink)
            if existing == "merge":
                await connection.execute(_merged(match, columns))

    async def _copy_by_rows(self, reader: AsyncConnection[object], copy: TableCopy) -> None:
        """Copy rows that a callable of the rule filters or changes."""
        table_reader = await self._table_reader(reader, copy)
        count = len(copy.table.columns)
        out = SQL(sql.COPY_ROWS).format(_published(copy), SQL(""))
        async with reader.cursor().copy(out) as rows:
            async for data in rows:
                new = (copied_values(bytes(data), count), [TEXT] * count)
                change = (ord("I"), (table_reader,), False, None, new)
                for step in self._planner.steps(change):
                    await self._target.step(step)

    async def _table_reader(
        self, reader: AsyncConnection[object], copy: TableCopy
    ) -> TableReader[Row]:
        reading = self._plugin.reading(reader)
        try:
            return TableReader(copy.table, reading)
        except UnknownTypes as unknown:
            await self._plugin.learn(self._publisher, unknown.oids)
            return TableReader(copy.table, reading)


async def _relay(rows: AsyncCopy, sink: AsyncCopy) -> None:
    """Pass rows on in blocks: a write for each row would take longer than reading it."""
    block = bytearray()
    async for data in rows:
        block += data
        if len(block) >= _BLOCK:
            await sink.write(bytes(block))
            block.clear()
    await sink.write(bytes(block))


def _published(copy: TableCopy) -> Composed:
    """Return the query for the published rows and columns of a table."""
    only = SQL("") if copy.is_partitioned else SQL(ONLY)
    where = SQL("") if copy.where is None else SQL(" WHERE ") + SQL(copy.where)
    columns = parts.names(column.name for column in copy.table.columns)
    return SQL(sql.SELECT_ROWS).format(columns, only, parts.table(copy.table.table_name), where)


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
    only = SQL("") if copy.is_partitioned else SQL(ONLY)
    where = SQL("") if copy.where is None else SQL(" WHERE ") + SQL(copy.where)
    table = parts.table(copy.table.table_name)
    return SQL(sql.SELECT_ROWS).format(SQL(", ").join(values), only, table, where)


def _merged(match: Match, columns: Composed) -> Composed:
    """Return the statement that moves copied rows into a table that may have them."""
    names = {one.column.name for one in match.key}
    key = next((key for key in match.target.keys if {*key} <= names), ())
    changed = [one.column.name for one in match.written if one.column.name not in key]
    sets = SQL(", ").join(
        SQL("{} = EXCLUDED.{}").format(*2 * [parts.names([name])]) for name in changed
    )
    action: Composable = SQL("DO NOTHING")
    if key and changed:
        action = SQL("({}) DO UPDATE SET {}").format(parts.names(key), sets)
    overriding = SQL("OVERRIDING SYSTEM VALUE ") if match.identity_always else SQL("")
    into = parts.table(match.target.table)
    return SQL(sql.MERGE).format(into, columns, overriding, columns, _STAGING, action)
