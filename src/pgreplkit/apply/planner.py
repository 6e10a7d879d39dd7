"""Planner: turns the changes of a transaction into statements with their parameters."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import count
from types import MappingProxyType

import attrs

from pgreplkit.apply.deltas import DeltaStatements
from pgreplkit.apply.filtering import RuleFailed, filtered
from pgreplkit.apply.rules import TableRule
from pgreplkit.apply.shape import Dump, Match, insist_on_no_rules, match
from pgreplkit.apply.stamped import StampedStatements, Stamps
from pgreplkit.apply.statements import Statement, truncation
from pgreplkit.apply.tableplans import DeltaPlan, MergedPlan, StampedPlan, Step, TablePlan
from pgreplkit.catalog.logical.applytables import TargetTable
from pgreplkit.errors import SchemaMismatch
from pgreplkit.protocol.pgoutput.rows import Row
from pgreplkit.protocol.pgoutput.tables import Table
from pgreplkit.protocol.pgoutput.tuples import Octets, TableReader
from pgreplkit.protocol.rawtransactions import RawChange
from pgreplkit.values.tablename import TableName

_INSERT, _UPDATE, _DELETE, _TRUNCATE = b"IUDT"
_DEFAULT = TableRule()
_READERS = 1000
"""Descriptions of tables that are remembered: the server may send one again at any time."""


class UnknownTable(Exception):
    """A table whose counterpart the subscriber must be asked about first."""

    def __init__(self, table: TableName) -> None:
        super().__init__(f"unknown table: {table}")
        self.table = table


class NotPortable(Exception):
    """A table whose values must be sent as text."""


class Planner:
    """Plans the statements of transactions; prepared statements keep their names.

    ``targets`` are the known tables of the subscriber, and ``others`` the kinds of its relations
    that are no tables; the caller may add some later. ``roots`` are the published tables that are
    partitioned.
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
        merges_copied: bool = False,
        others: Mapping[TableName, str] = MappingProxyType({}),
        roots: Collection[TableName] = (),
    ) -> None:
        self._others, self._roots = others, roots
        self._stamps, self._merges, self._merges_copied = stamps, merges, merges_copied
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

    def forget(self) -> None:
        """Forget the plans: the subscriber's tables were altered."""
        self._plans.clear()
        self._by_table.clear()
        self._truncations.clear()

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
        if not plan.is_plain:
            if isinstance(plan, DeltaPlan):
                if kind == _UPDATE and old is None:
                    raise plan.lacks_old_values()
                return plan.changes(old, new)
            # Only here are values loaded: the statements take the publisher's texts or bytes as
            # they are.
            return filtered(plan, reader, old, new, is_new=kind == _INSERT)
        if new is not None:
            return (plan.insert(*new),) if kind == _INSERT else plan.update(old, new)
        if old is None:
            raise RuleFailed("the publisher sent no old row", reader.table)
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
        other, own = self._others.get(name, ""), self._targets[name]
        matched = match(table, own, rule, self._dump, other)
        replaces = self._merges_copied or self._stamps is not None or rule.needs_rows
        insist_on_no_rules(matched, replaces=replaces)
        # The format is an option of the stream, which begins again as text.
        if self._is_binary and not matched.is_portable:
            raise NotPortable
        is_root = table.table_name in self._roots
        matched = attrs.evolve(matched, is_binary=self._is_binary, is_root=is_root)
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
                " DELETE, or truncate=False to leave it out",
                ", ".join(str(reader.table) for reader in readers),
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
