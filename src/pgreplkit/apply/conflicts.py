"""Conflicts: those that a transaction met when it was applied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import TypeAlias

import attrs

from pgreplkit.apply.notes import MOST_NOTES, Notes
from pgreplkit.apply.stamped import conflict_of
from pgreplkit.apply.statements import Kind, Statement
from pgreplkit.apply.tableplans import Step
from pgreplkit.plans.logical.applying import ConflictKind

Place: TypeAlias = tuple[str, ConflictKind]
"""A published table, as SQL, and the kind of its conflicts."""

_MISSING = {Kind.UPDATE: ConflictKind.UPDATE_MISSING, Kind.DELETE: ConflictKind.DELETE_MISSING}
APPLIED, SKIPPED = "applied", "skipped"
"""How a conflict was resolved, in its record."""
RECORDED_PER_MINUTE = MOST_NOTES
"""Conflicts of one kind and table that are recorded; others are only counted."""


@attrs.frozen
class Conflict:
    """A conflict that was met, to be recorded."""

    kind: ConflictKind
    step: Step
    """The step that has the key of the row."""
    resolution: str

    @property
    def table(self) -> str:
        """The publisher's table, as SQL."""
        return self.step[0].table

    @property
    def place(self) -> Place:
        """The table and the kind, by which conflicts are counted."""
        return self.table, self.kind


def met(step: Step, answer: bytes | None) -> Conflict:
    """Return the conflict of a step that changed no row, or returned how it ended."""
    statement = step[0]
    if statement.is_stamped:
        kind, is_applied = conflict_of(statement.kind, answer)
        return Conflict(kind, step, APPLIED if is_applied else SKIPPED)
    return Conflict(_MISSING[statement.kind], step, SKIPPED)


class Conflicts:
    """The conflicts of a transaction: their numbers, and as many of them as may be recorded.

    A transaction can meet as many conflicts as it has rows, which must not all stay in memory.
    """

    def __init__(self) -> None:
        self.numbers: Counter[Place] = Counter()
        self.kept: list[Conflict] = []

    def add(self, conflict: Conflict) -> None:
        """Add a conflict."""
        self.numbers[conflict.place] += 1
        if self.numbers[conflict.place] <= RECORDED_PER_MINUTE:
            self.kept.append(conflict)

    @classmethod
    def of(cls, notes: Notes) -> Conflicts:
        """Return the conflicts that the notes of a group's statements show."""
        found = cls()
        for note, answer in notes.kept:
            if isinstance(note, tuple):
                found.add(met(note, answer))
        for (statement, answer), number in notes.unkept():
            if isinstance(statement, Statement):
                found.numbers[met((statement, (), ()), answer).place] += number
        return found

    @property
    def tables_of_missing(self) -> Iterator[str]:
        """The tables in which a deletion found no row."""
        return (table for table, kind in self.numbers if kind == ConflictKind.DELETE_MISSING)
