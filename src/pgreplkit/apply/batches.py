"""Batch: rows that are changed one after the other, and can be changed by one statement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import itemgetter
from typing import TypeVar

from pgreplkit.apply.statements import Kind, Statement
from pgreplkit.apply.tableplans import Step
from pgreplkit.protocol.pgoutput.tuples import Octets

T = TypeVar("T")

_MOST_PARAMETERS = 600
"""Of one statement: with more, planning and sending it takes longer than it saves."""
_OFTEN, _MOST_USUAL = 8, 4
"""The batches of one number of rows after which it is usual, and gets a statement of its own; the
most such numbers for one kind of change, because the subscriber keeps a plan for each."""


class Batch:
    """Rows for one INSERT, or for one UPDATE or DELETE of rows with different keys."""

    def __init__(self) -> None:
        self._statement: Statement | None = None
        self._values: list[Sequence[Octets]] = []
        self._formats: list[Sequence[int]] = []
        self._most = 0
        self._keys: set[object] | None = None
        """The keys of the rows that are updated or deleted."""
        self._usual: dict[bytes, set[int]] = {}
        """The usual numbers of rows, by the statement for one."""
        self._met: Counter[tuple[bytes, int]] = Counter()
        """The batches of the others."""

    def __bool__(self) -> bool:
        return self._statement is not None

    def takes(self, step: Step) -> bool:
        """Add the row of a step; return False if it does not fit the rows before it."""
        statement, values, formats = step
        # The planner has one statement for each kind of change: identity is enough.
        if statement is not self._statement:
            # Without parameters, as for DEFAULT VALUES, there is nothing to repeat.
            if self._statement is not None or statement.several is None or not values:
                return False
            self._statement = statement
            self._most = max(_MOST_PARAMETERS // len(values), 1)
            if statement.kind is Kind.INSERT:
                self._keys = None
            else:
                self._keys = set()
                self._key_of = itemgetter(*(at for _, at, _ in statement.key))
        elif len(self._values) >= self._most:
            return False
        if self._keys is not None:
            key = self._key_of(values)
            # One statement changes a row once only.
            if key in self._keys:
                return False
            self._keys.add(key)
        self._values.append(values)
        self._formats.append(formats)
        return True

    def steps(self) -> Iterator[Step]:
        """Yield the fewest steps that change the rows, and forget them."""
        one, values, formats = self._statement, self._values, self._formats
        # A set fails if a row is missing, or newer; a statement for one row does not.
        is_set = self._keys is not None or (one is not None and one.is_timed)
        self._statement, self._values, self._formats = None, [], []
        if one is None or one.several is None:
            return
        at = 0
        for rows in self._parts(one.name, len(values)):
            statement = one if rows == 1 and not is_set else one.several(rows)
            part = slice(at, at + rows)
            yield (
                statement,
                _joined(values[part], one.is_timed, statement.is_timed),
                _joined(formats[part], one.is_timed, statement.is_timed),
            )
            if one.follows is not None:
                places = [place for _, place, _ in one.key]
                # The key and the time.
                keys = [[each[place] for place in (*places, -1)] for each in values[part]]
                hows = [[each[place] for place in (*places, -1)] for each in formats[part]]
                yield one.follows(rows), _joined(keys, True, True), _joined(hows, True, True)
            at += rows

    def _parts(self, name: bytes, number: int) -> Iterator[int]:
        """Yield the numbers of rows of the statements for a batch.

        Unless the whole number is usual, they are powers of two, so that few are prepared.
        """
        usual = self._usual.setdefault(name, set())
        if number in usual:
            yield number
            return
        if len(usual) < _MOST_USUAL:
            self._met[name, number] += 1
            if self._met[name, number] == _OFTEN:
                usual.add(number)
        while number:
            yield (rows := 1 << (number.bit_length() - 1))
            number -= rows


def _joined(rows: Sequence[Sequence[T]], has_time: bool, takes_time: bool) -> list[T]:
    """Return the parameters of several rows, with one time for all of them at the end."""
    if not has_time:
        return [*chain.from_iterable(rows)]
    joined = [*chain.from_iterable([each[:-1] for each in rows])]
    return [*joined, rows[-1][-1]] if takes_time else joined
