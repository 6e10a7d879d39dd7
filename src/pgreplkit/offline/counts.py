"""Counts: records that are only counted, because a sum needs nothing else of them."""

from __future__ import annotations

from collections import Counter

import attrs

LENGTH_BITS = 32
"""A record is counted as one number: its kind, and in the lower bits its length."""
_LENGTH = (1 << LENGTH_BITS) - 1
_KIND = 0xFFF0
"""The lower half of ``info`` is the server's own, and no part of the kind."""


@attrs.define
class Counts:
    """The number and the length of records without full page images, by kind.

    Counting takes half of the time that an object for each record takes.
    """

    major: int
    start: int = 0
    """Only records at or after this position are counted."""
    stop: int | None = None
    sums: dict[int, list[int]] = attrs.field(factory=dict)
    """Number and bytes of the records, by ``manager << 8 | info & F0``."""

    def covers(self, first: int, end: int) -> bool:
        """Return True if all records between two positions should be counted."""
        return self.start <= first and (self.stop is None or end <= self.stop)

    def add(self, numbers: list[int]) -> None:
        """Count records, each by its kind (``manager << 8 | info``) and length."""
        for number, records in Counter(numbers).items():
            row = self.sums.setdefault(number >> LENGTH_BITS & _KIND, [0, 0])
            row[0] += records
            row[1] += records * (number & _LENGTH)


def length_of(number: int) -> int:
    """Return the length of the record that a number stands for."""
    return number & _LENGTH
