"""Notes: the values that statements of a pipeline returned, kept in bounded memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

MOST_NOTES = 100
"""Notes of one statement and answer that are kept: a group can have one for each of its rows."""


class Notes:
    """The notes of statements that changed no row or returned a value, with that value."""

    def __init__(self) -> None:
        self.kept: list[tuple[object, bytes | None]] = []
        self._numbers: Counter[tuple[object, bytes | None]] = Counter()

    def add(self, note: object, answer: bytes | None) -> None:
        """Count a note, and keep it if it is one of the first of its statement and answer."""
        place = note[0] if isinstance(note, tuple) else note, answer
        self._numbers[place] += 1
        if self._numbers[place] <= MOST_NOTES:
            self.kept.append((note, answer))

    def unkept(self) -> Iterator[tuple[tuple[object, bytes | None], int]]:
        """Yield the numbers of notes that were not kept, by statement and answer."""
        for place, number in self._numbers.items():
            if number > MOST_NOTES:
                yield place, number - MOST_NOTES
