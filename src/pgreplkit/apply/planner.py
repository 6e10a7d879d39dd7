"""Planner: turns the changes of a transaction into statements with their parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from typing import TypeAlias

import attrs

from pgreplkit.apply.deltas import DeltaStatements
from pgreplkit.apply.merging import INSISTING, Merging
from pgreplkit.apply.rules import TableRule
from pgreplkit.apply.shape import Dump, Match, match
from pgreplkit.apply.stamped import StampedStatements, Stamps
from pgreplkit.apply.statements import Statement, Statements, truncation
from pgreplkit.catalog.logical.applytables import TargetTable
from pgreplkit.errors import SchemaMismatch
from pgreplkit.protocol.pgoutput.rows import UNCHANGED, Row
from pgreplkit.protocol.pgoutput.tables import Table
from pgreplkit.protocol.pgoutput.tuples import BINARY, TEXT, UNSENT, Octets, RawValues, TableReader
from pgreplkit.protocol.rawtransactions import RawChange
from pgreplkit.values.tablename import TableName

Step: TypeAlias = tuple[Statement, Sequence[Octets], Sequence[int]]
"""A statement, its parameters, and their formats."""
_INSERT, _UPDATE, _DELETE, _TRUNCATE = b"IUDT"
_DEFAULT = TableRule()
_ALL_SENT = frozenset[int]()
_READERS = 1000
"""Descriptions of tables that are remembered: the server may send one again at any time."""


class UnknownTable(Exception):
    """A table whose counterpart the subscriber must be asked about first."""

    def __init__(self, table: TableName) -> None:
        super().__init__(f"unknown table: {table}")
        self.table = table


class NotPortable(Exception):
    """A table whose values must be sent as text."""


class RuleFailed(Exception):
    """A callable of a rule that failed."""


class TablePlan:
    """The statements for the changes of one table."""

    def __init__(
        self, matched: Match, rule: TableRule, dump: Dump, name: Callable[[], bytes]
    ) -> None:
        self.match: Match = matched
        self.rule: TableRule = rule
        self.dump: Dump = dump
        self.constants: list[Octets] = [*matched.constants]
        self.constant_formats: list[int] = [TEXT] * len(self.constants)
        self._statements = Statements(matched, name)
        # One statement for each shape of change, so that it is prepared once and used again.
        self._made: dict[object, Statement] = {}
        self._inserting: Statement | None = None
        self._upsert: Statement | None = None
        self.needs_rows: bool = rule.needs_rows
        self.has_constants: bool = bool(self.constants)
        self._always = [one.position for one in matched.identity_always]

    def _get(self, key: object, make: Callable[[], Statement]) -> Statement:
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = make()
        return made

    def insert(self, values: list[Octets], formats: list[int]) -> Step:
        """Return the step that inserts a row."""
        statement = self._inserting
        if statement is None:
            statement = self._inserting = self._statements.insert()
        if self.has_constants:
            return self._bound(statement, values, formats)
        return statement.bound(values, formats)

    def update(
        self, old: RawValues | None, new: RawValues, *, needs_row: bool = True
    ) -> list[Step]:
        """Return the steps that update a row."""
        values, formats = new
        # An UPDATE leaves out large values that did not change; the old row has them.
        if old is not None and self.match.is_full:
            values, formats = merged(old, new)
        if old is not None and any(old[0][at] != values[at] for at in self._always):
            # UPDATE cannot set a column GENERATED ALWAYS AS IDENTITY.
            return [self.delete(old), self.insert(values, formats)]
        unsent = _ALL_SENT
        if UNSENT in formats:
            unsent = frozenset(at for at, how in enumerate(formats) if how == UNSENT)
        has_old = old is not None
        statement = self._get(
            ("update", has_old, unsent, needs_row),
            lambda: self._statements.update(unsent, has_old=has_old, needs_row=needs_row),
        )
        if old is not None:
            values, formats = [*old[0], *values], [*old[1], *formats]
        return [self._bound(statement, values, formats)]

    def delete(self, old: RawValues, *, needs_row: bool = True) -> Step:
        """Return the step that deletes a row."""
        statement = self._get(
            ("delete", needs_row), lambda: self._statements.delete(needs_row=needs_row)
        )
        return self._bound(statement, *old)

    def upsert(self, new: RawValues) -> list[Step]:
        """Return the steps after which a row exists with these values."""
        values, formats = new
        # A large value was not sent, so an INSERT would lack it.
        if UNSENT in formats:
            return self.update(None, new)
        self._upsert = statement = self._upsert or self._statements.upsert()
        if statement is None:
            # Without a unique key there is nothing that a second row would conflict with.
            return [self.delete(new, needs_row=False), self.insert(values, formats)]
        return [self._bound(statement, values, formats)]

    def clear(self) -> Step:
        """Return the step that deletes the rows of this source only."""
        statement = self._get("clear", self._statements.delete_source)
        return statement.bound(self.constants, self.constant_formats)

    def _bound(self, statement: Statement, values: list[Octets], formats: list[int]) -> Step:
        if self.has_constants:
            values, formats = values + self.constants, formats + self.constant_formats
        return statement.bound(values, formats)


class StampedPlan(TablePlan):
    """The statements for the changes of one table, each with its commit time."""

    def __init__(
        self,
        matched: Match,
        rule: TableRule,
        dump: Dump,
        name: Callable[[], bytes],
        stamped: StampedStatements,
    ) -> None:
        super().__init__(matched, rule, dump, name)
        self._stamped = stamped
        self._insert, self._replace = stamped.upsert(is_new=True), stamped.upsert(is_new=False)
        self._remove = stamped.delete()
        self.sweep: Statement | None = stamped.sweep()
        self.stamp: list[Octets] = [None]
        """The commit time of the transaction."""
        self._key = [one.position for one in stamped.key]

    def insert(self, values: list[Octets], formats: list[int]) -> Step:
        """Return the step that writes a row if it is newer."""
        return self._bound(self._insert, values, formats)

    def update(
        self, old: RawValues | None, new: RawValues, *, needs_row: bool = True
    ) -> list[Step]:
        """Return the steps that write a row if it is newer, and delete it under its old key."""
        steps = []
        if old is not None:
            if self.match.is_full:
                new = merged(old, new)
            width = self.match.width
            # Constants of a key are behind the publisher's columns, and the same in both rows.
            if any(at < width and old[0][at] != new[0][at] for at in self._key):
                steps.append(self.delete(old))
        unsent = frozenset(at for at, how in enumerate(new[1]) if how == UNSENT)
        # Under a new key the row is not expected to exist.
        statement = self._insert if steps else self._replace
        # Only an update can leave values as they are: an insert would need all of them.
        if unsent:
            statement = self._get(("update", unsent), lambda: self._stamped.update(unsent))
        return [*steps, self._bound(statement, *new)]

    def delete(self, old: RawValues, *, needs_row: bool = True) -> Step:
        """Return the step that deletes a row if it is older, and remembers that."""
        return self._bound(self._remove, *old)

    def upsert(self, new: RawValues) -> list[Step]:
        """Return the steps after which a row exists, unless a newer one does."""
        return self.update(None, new)

    def _bound(self, statement: Statement, values: list[Octets], formats: list[int]) -> Step:
        return statement.bound(
            values + self.constants + self.stamp, formats + self.constant_formats + [BINARY]
        )


class DeltaPlan(StampedPlan):
    """The statements for the changes of one table with delta columns."""

    def __init__(
        self,
        matched: Match,
        rule: TableRule,
        dump: Dump,
        name: Callable[[], bytes],
        stamped: DeltaStatements,
    ) -> None:
        super().__init__(matched, rule, dump, name, stamped)
        self._before = (stamped.hold(), stamped.judge())

    def changes(self, old: RawValues | None, new: RawValues | None) -> list[Step]:
        """Return the steps of an INSERT, UPDATE or DELETE."""
        if old is None:
            return [] if new is None else self._added(new)
        if new is None:
            return [self.delete(old)]
        values, formats = new = merged(old, new)
        width = self.match.width
        if any(at < width and old[0][at] != values[at] for at in self._key):
            return [self.delete(old), *self._added(new)]
        both = self._bound(self._replace, [*old[0], *values], [*old[1], *formats])
        return [*(self._bound(one, *new) for one in self._before), both]

    def _added(self, new: RawValues) -> list[Step]:
        return [self._bound(one, *new) for one in (*self._before, self._insert)]


class MergedPlan(TablePlan):
    """The statements for the changes of one table whose conflicts a function decides."""

    def __init__(
        self, matched: Match, rule: TableRule, dump: Dump, name: Callable[[], bytes]
    ) -> None:
        super().__init__(matched, rule, dump, name)
        merging = Merging(matched)
        self._local, self._same = merging.local(name()), merging.same

    def update(
        self, old: RawValues | None, new: RawValues, *, needs_row: bool = True
    ) -> list[Step]:
        """Return the step that updates a row, and fails if it is not the publisher's old one."""
        if old is None:
            return super().update(old, new, needs_row=needs_row)
        values, formats = merged(old, new)
        statement = self._get("insisting", self._insisting)
        return [self._bound(statement, [*old[0], *values], [*old[1], *formats])]

    def _insisting(self) -> Statement:
        statement = self._statements.update(has_old=True, same=self._same)
        return attrs.evolve(statement, sql=INSISTING.format(statement.sql))

    def replace(self, old: RawValues | None, new: RawValues) -> list[Step]:
        """Return the steps that update a row, whatever its values are."""
        return super().update(old, new)

    def find(self, row: RawValues) -> Step:
        """Return the step that finds the row with the key of this one."""
        return self._bound(self._local, *row)


class Planner:
    """Plans the statements of transactions; prepared statements keep their names.

    ``targets`` are the known tables of the subscriber; the caller may add others later.
    """

    def __init__(
        self,
        targets: Mapping[TableName, TargetTable | None],
        rules: Mapping[TableName, TableRule],
        dump: Dump,
        *,
        truncate: bool,
        is_binary: bool,
        stamps: Stamps | None = None,
        merges: bool = False,
    ) -> None:
        self._stamps, self._merges = stamps, merges
        self._stamp: list[Octets] = [None]
        self._targets, self._rules, self._dump = targets, rules, dump
        self._truncates, self._is_binary = truncate, is_binary
        self._plans: dict[TableReader[Row], TablePlan] = {}
        self._by_table: dict[Table, TablePlan] = {}
        self._truncations: dict[tuple[tuple[TablePlan, ...], bool], Statement] = {}
        # Threads that copy tables share them, which a generator would not bear.
        self._names = map(b"pgreplkit_%d".__mod__, count(1))

    @property
    def sweeps(self) -> dict[str, Statement]:
        """The statements that look again for rows of late deletions, by published table."""
        plans = self._by_table.values()
        sweeps = [plan.sweep for plan in plans if isinstance(plan, StampedPlan)]
        return {sweep.table: sweep for sweep in sweeps if sweep is not None}

    def begin(self, commit_time: bytes) -> None:
        """Set the commit time of the transaction whose changes follow."""
        self._stamp[0] = commit_time

    def steps(self, change: RawChange[Row]) -> Iterable[Step]:
        """Return the steps of a change.

        Raises: UnknownTable; NotPortable; SchemaMismatch; RuleFailed.
        """
        kind, readers, flag, old, new = change
        if kind == _TRUNCATE:
            return self._truncation(readers, restarts=flag)
        reader = readers[0]
        plan = self._plans.get(reader) or self.plan(reader)
        if isinstance(plan, DeltaPlan):
            return plan.changes(old, new)
        # Only here are values loaded: the statements take the publisher's texts or bytes as they
        # are.
        if plan.needs_rows:
            return _filtered(plan, reader, old, new, is_new=kind == _INSERT)
        if kind == _INSERT and new is not None:
            return (plan.insert(*new),)
        if kind == _UPDATE and new is not None:
            return plan.update(old, new)
        if old is None:
            raise RuleFailed("the publisher sent no old row")
        return (plan.delete(old),)

    def plan(self, reader: TableReader[Row]) -> TablePlan:
        """Return the plan of a table, as a stream describes it."""
        plan = self.plan_of(reader.table)
        # Plans stay in the second table, so nothing is prepared again.
        if len(self._plans) > _READERS:
            self._plans.clear()
        self._plans[reader] = plan
        return plan

    def plan_of(self, table: Table) -> TablePlan:
        """Return the plan of a table.

        Raises: UnknownTable; NotPortable; SchemaMismatch.
        """
        # The server sends an unaltered table again, as after ANALYZE.
        plan = self._by_table.get(table)
        if plan is None:
            plan = self._by_table[table] = self._planned(table)
        return plan

    def _planned(self, table: Table) -> TablePlan:
        rule = self._rules.get(table.table_name, _DEFAULT)
        name = rule.to or table.table_name
        if name not in self._targets:
            raise UnknownTable(name)
        matched = match(table, self._targets[name], rule, self._dump)
        # The format is an option of the stream, which begins again as text.
        if self._is_binary and not matched.is_portable:
            raise NotPortable
        if self._merges:
            return MergedPlan(matched, rule, self._dump, lambda: next(self._names))
        if self._stamps is None:
            return TablePlan(matched, rule, self._dump, lambda: next(self._names))
        plan = self._stamped(matched, rule, self._stamps)
        plan.stamp = self._stamp
        return plan

    def _stamped(self, matched: Match, rule: TableRule, stamps: Stamps) -> StampedPlan:
        def name() -> bytes:
            return next(self._names)

        if deltas := stamps.deltas.get(matched.target.table):
            statements = DeltaStatements(matched, stamps, deltas, name)
            return DeltaPlan(matched, rule, self._dump, name, statements)
        composed = StampedStatements(matched, stamps, name)
        return StampedPlan(matched, rule, self._dump, name, composed)

    def _truncation(self, readers: Sequence[TableReader[Row]], *, restarts: bool) -> list[Step]:
        if not self._truncates:
            return []
        if self._stamps is not None:
            raise RuleFailed(
                "TRUNCATE cannot be applied where several nodes write: it has no version; use"
                " DELETE, or truncate=False to leave it out"
            )
        plans = [self.plan(reader) for reader in readers]
        # Other publishers have rows in a table with constants: only those of this one go.
        steps = [plan.clear() for plan in plans if plan.has_constants]
        whole = tuple(plan for plan in plans if not plan.has_constants)
        if whole:
            if (whole, restarts) not in self._truncations:
                matches = [plan.match for plan in whole]
                statement = truncation(matches, next(self._names), restarts=restarts)
                self._truncations[whole, restarts] = statement
            steps.append(self._truncations[whole, restarts].bound([], []))
        return steps


def merged(old: RawValues, new: RawValues) -> RawValues:
    """Return the new row with its unsent values taken from the whole old row."""
    values, formats = [*new[0]], [*new[1]]
    for at, how in enumerate(formats):
        if how == UNSENT:
            values[at], formats[at] = old[0][at], old[1][at]
    return values, formats


def _filtered(
    plan: TablePlan,
    reader: TableReader[Row],
    old: RawValues | None,
    new: RawValues | None,
    *,
    is_new: bool,
) -> Iterator[Step]:
    """Yield the steps of a change of a table whose rule has callables."""
    if new is None:
        if old is not None:
            yield plan.delete(old, needs_row=plan.rule.where is None)
        return
    if old is not None and plan.match.is_full:
        new = merged(old, new)
    kept = _kept(plan, reader, new)
    # An insert that is left out is no deletion: the row never was on the subscriber.
    if is_new:
        if kept is not None:
            yield plan.insert(*kept)
        return
    keys = [column.is_key for column in reader.table.columns]
    is_moved = old is not None and any(
        is_key and old[0][at] != new[0][at] for at, is_key in enumerate(keys)
    )
    if old is not None and (kept is None or (is_moved and not plan.match.is_full)):
        yield plan.delete(old, needs_row=False)
    # Without an old row the key is the same, and identifies the row that no longer fits.
    elif kept is None:
        yield plan.delete(new, needs_row=False)
    elif old is not None and is_moved:
        # All columns are the key: the old row may or may not have been kept.
        yield plan.delete(old, needs_row=False)
    # The row before may have been left out, so that an UPDATE might find none.
    if kept is not None:
        yield from plan.upsert(kept)


def _kept(plan: TablePlan, reader: TableReader[Row], new: RawValues) -> RawValues | None:
    """Return the values to write; None if the rule leaves the row out."""
    rule = plan.rule
    row = row_of(reader, new)
    if rule.where is not None and not _called(rule.where, "where", row):
        return None
    if rule.change is None:
        return new
    changed = _called(rule.change, "change", row)
    return None if changed is None else replaced(plan, reader, new, row, changed, "change")


def replaced(
    plan: TablePlan,
    reader: TableReader[Row],
    new: RawValues,
    row: Row,
    changed: object,
    by: str,
) -> RawValues:
    """Return values of which a function has changed some; ``by`` is its name.

    Raises: RuleFailed.
    """
    if not isinstance(changed, Mapping):
        raise RuleFailed(f"{by} returned a {type(changed).__name__}, not a mapping")
    values, formats = [*new[0]], [*new[1]]
    columns = {column.name: (at, column) for at, column in enumerate(reader.table.columns)}
    for name, value in changed.items():
        if name not in columns:
            raise RuleFailed(f"{by} returned the column {name!r}, which is not published")
        at, column = columns[name]
        # Later changes of the row arrive with the publisher's key, and would not find it.
        if column.is_key and not plan.match.is_full and value != row[name]:
            raise RuleFailed(f"{by} altered the key column {name!r}")
        # Other values stay in the form in which they were sent, without a loss on the way.
        if value is not row[name] and value != row[name]:
            try:
                values[at], formats[at] = plan.dump(value), TEXT
            except ValueError as error:
                raise RuleFailed(f"{by} returned for {name!r} {error}") from error
    return values, formats


def _called(call: Callable[[Row], object], name: str, row: Row) -> object:
    try:
        return call(row)
    except Exception as error:
        raise RuleFailed(f"{name} raised {type(error).__name__}: {error}, for {row!r}") from error


def row_of(reader: TableReader[Row], new: RawValues) -> Row:
    """Return the values of a row as Python objects."""
    values: list[object] = [*reader.load(new[0])]
    for at, how in enumerate(new[1]):
        if how == UNSENT:
            values[at] = UNCHANGED
    return reader.make(tuple(values))


def is_portable(
    tables: Iterable[Table],
    targets: Mapping[TableName, TargetTable | None],
    rules: Mapping[TableName, TableRule],
    dump: Dump,
) -> bool:
    """Return whether the values of all tables may be sent in binary."""
    for table in tables:
        rule = rules.get(table.table_name, _DEFAULT)
        # The values that a callable sees are loaded from texts.
        if rule.needs_rows:
            return False
        try:
            matched = match(table, targets.get(rule.to or table.table_name), rule, dump)
        # The applier reports it when the table is used; a wrong answer would hide it here.
        except SchemaMismatch:
            return False
        if not matched.is_portable:
            return False
    return True
