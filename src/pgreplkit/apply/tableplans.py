"""TablePlan: the statements for the changes of one table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TypeAlias

import attrs

from pgreplkit.apply.deltas import DeltaStatements
from pgreplkit.apply.keyvalues import is_one_value
from pgreplkit.apply.merging import INSISTING, Merging
from pgreplkit.apply.rules import TableRule
from pgreplkit.apply.shape import Dump, Match
from pgreplkit.apply.stamped import StampedStatements
from pgreplkit.apply.statements import Statement, Statements
from pgreplkit.errors import SchemaMismatch
from pgreplkit.protocol.pgoutput.tuples import BINARY, TEXT, UNSENT, Octets, RawValues

Step: TypeAlias = tuple[Statement, Sequence[Octets], Sequence[int]]
"""A statement, its parameters, and their formats."""
_ALL_SENT = frozenset[int]()


class TablePlan:
    """The statements for the changes of one table."""

    def __init__(
        self,
        matched: Match,
        rule: TableRule,
        dump: Dump,
        name: Callable[[], bytes],
        *,
        sets: bool = True,
    ) -> None:
        self.match: Match = matched
        self.rule: TableRule = rule
        self.last_change: tuple[RawValues, RawValues] | None = None
        """The last row that the rule's ``change`` was called with, and what it returned."""
        self.dump: Dump = dump
        self.constants: list[Octets] = [*matched.constants]
        self.constant_formats: list[int] = [TEXT] * len(self.constants)
        self._statements = Statements(matched, name, sets=sets)
        # One statement for each shape of change, so that it is prepared once and used again.
        self._made: dict[object, Statement] = {}
        self.is_plain: bool = not rule.needs_rows
        """Whether each change is one statement that takes the values as they were sent."""
        self.has_constants: bool = bool(self.constants)
        # The constants of a row stay as they are.
        places = (one.position for one in matched.identity_always)
        self._always = [at for at in places if at < matched.width]
        self._name, self._sets = name, sets
        keys = [one for one in matched.key if one.position < matched.width]
        self.key_places: list[int] = [one.position for one in keys]
        """The positions of the publisher's columns that identify a row."""
        # Only a whole old row can be found in another way.
        self._nullable: list[int] = [
            one.position for one in keys if matched.is_full and not one.column.not_null
        ]
        """The positions of key columns that may be NULL, which a unique index does not compare."""
        found_by = keys or [one for one in matched.written if one.position < matched.width]
        self._required: list[int] = [
            one.position
            for one in found_by
            if matched.is_root and (one.column.not_null or (keys and not matched.is_full))
        ]
        """The positions of values that find a row, and are never NULL in an old row that was sent
        as the identity of the root says."""
        self._needs_old: bool = matched.is_root and not matched.key
        """Whether a row can be found by a whole old row only."""

    @cached_property
    def computed(self) -> tuple[int, ...]:
        """The positions of the publisher's columns that the subscriber computes itself."""
        return self.match.computed

    @cached_property
    def _keyless(self) -> TablePlan:
        """The statements for rows whose key is NULL: all values together identify them."""
        matched = attrs.evolve(self.match, key=(), is_unique=False)
        return TablePlan(matched, self.rule, self.dump, self._name, sets=self._sets)

    def finds_by_key(self, row: RawValues) -> bool:
        """Return whether the key identifies a row, so that no other row is equal to it."""
        return self.match.is_unique and not self._lacks_key(row)

    def _lacks_key(self, row: RawValues) -> bool:
        return any(row[0][at] is None for at in self._nullable)

    @cached_property
    def _inserting(self) -> Statement:
        return self._statements.insert()

    @cached_property
    def _upserting(self) -> Statement | None:
        return self._statements.upsert()

    @cached_property
    def _updating(self) -> Statement:
        if self._needs_old:
            raise self.lacks_old_values()
        return self._statements.update(has_old=False)

    @cached_property
    def _deleting(self) -> Statement:
        return self._statements.delete()

    @cached_property
    def _removing(self) -> Statement:
        """The DELETE of a row that may be missing."""
        return self._statements.delete(needs_row=False)

    def _get(self, key: object, make: Callable[[], Statement]) -> Statement:
        made = self._made.get(key)
        if made is None:
            made = self._made[key] = make()
        return made

    def insert(self, values: list[Octets], formats: list[int]) -> Step:
        """Return the step that inserts a row."""
        statement = self._inserting
        if self.has_constants or statement.picks is not None:
            return self._bound(statement, values, formats)
        # Without other calls, which take most of the time.
        return statement, values, formats

    def update(
        self, old: RawValues | None, new: RawValues, *, needs_row: bool = True
    ) -> list[Step]:
        """Return the steps that update a row."""
        values, formats = new
        # Most updates.
        if old is None and needs_row and UNSENT not in formats:
            usual = self._updating
            if self.has_constants or usual.picks is not None:
                return [self._bound(usual, values, formats)]
            return [(usual, values, formats)]
        self._insist_on_key(old)
        # An UPDATE leaves out large values that did not change; the old row has them.
        if old is not None and self.match.is_full:
            values, formats = merged(old, new)
        if old is not None and self._nullable and self._lacks_key(old):
            return self._keyless.update(old, (values, formats), needs_row=needs_row)
        unsent = _unsent(formats)
        if old is not None and self._sets_identity(old, values):
            moving = self._get(("move", unsent), lambda: self._statements.move(unsent))
            return [self._bound(moving, [*old[0], *values], [*old[1], *formats])]
        has_old = old is not None
        # Without a closure, which would be made for each change.
        shape = "update", has_old, unsent, needs_row
        statement = self._made.get(shape)
        if statement is None:
            made = self._statements.update(unsent, has_old=has_old, needs_row=needs_row)
            statement = self._made[shape] = made
        if old is not None:
            values, formats = [*old[0], *values], [*old[1], *formats]
        return [self._bound(statement, values, formats)]

    def _sets_identity(self, old: RawValues, values: Sequence[Octets]) -> bool:
        """Return whether a column GENERATED ALWAYS AS IDENTITY changes, which UPDATE cannot set.

        These columns are NOT NULL, so that an old value of None was not sent.
        """
        return any(old[0][at] not in (None, values[at]) for at in self._always)

    def _insist_on_key(self, old: RawValues | None) -> None:
        """Refuse the change of a partition whose old row does not say which row is meant.

        Raises: SchemaMismatch.
        """
        is_lost = (
            self._needs_old if old is None else any(old[0][at] is None for at in self._required)
        )
        if is_lost:
            raise self.lacks_old_values()

    def delete(self, old: RawValues, *, needs_row: bool = True) -> Step:
        """Return the step that deletes a row."""
        if self._required:
            self._insist_on_key(old)
        if self._nullable and self._lacks_key(old):
            return self._keyless.delete(old, needs_row=needs_row)
        return self._bound(self._deleting if needs_row else self._removing, *old)

    def upsert(self, new: RawValues) -> list[Step]:
        """Return the steps after which a row with this key exists."""
        values, formats = new
        # A large value was not sent, so an INSERT would lack it.
        if UNSENT in formats:
            return self.update(None, new)
        statement = self._upserting
        if statement is None:
            # Without a unique key there is nothing that a second row would conflict with.
            return [self.delete(new, needs_row=False), self.insert(values, formats)]
        return [self._bound(statement, values, formats)]

    def clear(self) -> Step:
        """Return the step that deletes the rows of this source only."""
        statement = self._get("clear", self._statements.delete_source)
        return statement.bound(self.constants, self.constant_formats)

    def _whole(self, old: RawValues, new: RawValues) -> RawValues:
        """Return the new row with its unsent values taken from the old row.

        Raises: SchemaMismatch if the old row has no more than its key.
        """
        new = merged(old, new)
        if UNSENT in new[1]:
            raise self.lacks_old_values()
        return new

    def lacks_old_values(self) -> SchemaMismatch:
        """Return the error for a change without the old values that the root promises."""
        error = SchemaMismatch(
            str(self.match.source),
            (
                "the replica identity of the row's partition is not that of the partitioned table:"
                " old values were not sent",
            ),
        )
        error.remedy = (
            "on the publisher: ALTER TABLE … REPLICA IDENTITY FULL for the partition; then drop()"
            " the applier, and copy the rows again: the change itself stays as it was sent"
        )
        return error

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
        self._last: tuple[list[int], list[int]] = ([], [])
        """The formats of the last row, without and with those of the constants and the stamp."""
        self._key = [
            (one.position, one.column.base_oid or one.column.type_oid) for one in stamped.key
        ]

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
            if self._is_moved(old, new):
                if self.match.is_full and UNSENT in new[1]:
                    raise self.lacks_old_values()
                steps.append(self.delete(old))
        unsent = _unsent(new[1])
        # Under a new key the row is not expected to exist.
        statement = self._insert if steps else self._replace
        # Only an update can leave values as they are: an insert would need all of them.
        if unsent:
            statement = self._get(("update", unsent), lambda: self._stamped.update(unsent))
        return [*steps, self._bound(statement, *new)]

    def _is_moved(self, old: RawValues, new: RawValues) -> bool:
        """Return whether a row has another key than before."""
        width = self.match.width
        # Constants of a key are behind the publisher's columns, and the same in both rows. Most
        # keys stay as they are, so that bytes decide first.
        return any(
            at < width
            and old[0][at] != new[0][at]
            and not is_one_value(base, (old[0][at], old[1][at]), (new[0][at], new[1][at]))
            for at, base in self._key
        )

    def delete(self, old: RawValues, *, needs_row: bool = True) -> Step:
        """Return the step that deletes a row if it is older, and remembers that."""
        self._insist_on_key(old)
        return self._bound(self._remove, *old)

    def upsert(self, new: RawValues) -> list[Step]:
        """Return the steps after which a row exists, unless a newer one does."""
        return self.update(None, new)

    def _bound(self, statement: Statement, values: list[Octets], formats: list[int]) -> Step:
        last, stamped = self._last
        # Most rows have the same list.
        if formats is not last:
            stamped = [*formats, *self.constant_formats, BINARY]
            # In one assignment: threads that copy tables share the plan.
            self._last = formats, stamped
        return statement.bound([*values, *self.constants, *self.stamp], stamped)


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
        self.is_plain = False
        self._before = (stamped.hold(), stamped.judge())
        self._deltas = stamped.deltas

    def changes(self, old: RawValues | None, new: RawValues | None) -> list[Step]:
        """Return the steps of an INSERT, UPDATE or DELETE.

        Raises: SchemaMismatch if the old row has no more than its key.
        """
        if old is None:
            return [] if new is None else self._added(new)
        if new is None:
            return [self.delete(old)]
        values, formats = new = self._whole(old, new)
        # None of these columns can be NULL.
        if any(old[0][at] is None for at in self._deltas):
            raise self.lacks_old_values()
        if self._is_moved(old, new):
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
        # A set that fails does not say which of its rows is to be merged.
        super().__init__(matched, rule, dump, name, sets=False)
        merging = Merging(matched)
        self._local, self._same = merging.local(name()), merging.same

    def update(
        self, old: RawValues | None, new: RawValues, *, needs_row: bool = True
    ) -> list[Step]:
        """Return the step that updates a row, and fails if it is not the publisher's old one."""
        if old is None:
            return super().update(old, new, needs_row=needs_row)
        self._insist_on_key(old)
        values, formats = self._whole(old, new)
        moves = self._sets_identity(old, values)
        statement = self._get(("insisting", moves), lambda: self._insisting(moves=moves))
        return [self._bound(statement, [*old[0], *values], [*old[1], *formats])]

    def _insisting(self, *, moves: bool) -> Statement:
        if moves:
            return self._statements.move(same=self._same)
        statement = self._statements.update(has_old=True, same=self._same)
        return attrs.evolve(statement, sql=INSISTING.format(statement.sql))

    def replace(self, old: RawValues | None, new: RawValues) -> list[Step]:
        """Return the steps that update a row, whatever its values are."""
        return super().update(old, new)

    def find(self, row: RawValues) -> Step:
        """Return the step that finds the row with the key of this one."""
        return self._bound(self._local, *row)


def _unsent(formats: Sequence[int]) -> frozenset[int]:
    """Return the positions of values that were not sent; mostly none."""
    if UNSENT not in formats:
        return _ALL_SENT
    return frozenset(at for at, how in enumerate(formats) if how == UNSENT)


def merged(old: RawValues, new: RawValues) -> RawValues:
    """Return the new row with its unsent values taken from the whole old row.

    An old row of a partition may have no more than its key, although the identity of the root is
    FULL. Its other values are NULL, which a value that was not sent is not.
    """
    values, formats = [*new[0]], [*new[1]]
    for at, how in enumerate(formats):
        if how == UNSENT and old[0][at] is not None:
            values[at], formats[at] = old[0][at], old[1][at]
    return values, formats
