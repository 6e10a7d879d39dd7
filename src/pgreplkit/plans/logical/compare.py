"""What a comparison of two databases finds, and when a difference is one."""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.tablename import TableName

Key = tuple[str, ...]
"""The values of a key's columns, as text."""
Hashes = Mapping[Key, object]
"""The hash of each row."""


class DiffKind(OpenEnum):
    """How a row differs."""

    MISSING = "missing"
    """The subscriber does not have it."""
    EXTRA = "extra"
    """Only the subscriber has it."""
    DIFFERENT = "different"
    """Both have it, with other values."""
    REPEATED = "repeated"
    """The subscriber has it more than once: no unique key keeps it from that."""


@attrs.frozen(kw_only=True)
class RowDiff:
    """A row that is not the same on both sides, after all that had been written was applied."""

    table: TableName
    kind: DiffKind
    key: dict[str, str]
    """The values of its key's columns, as text."""
    publisher: dict[str, str | None] | None
    """The values of the compared columns there as text, by column; None when it is not there."""
    subscriber: dict[str, str | None] | None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns whose values differ; none when the row is on one side only."""
        if self.publisher is None or self.subscriber is None:
            return ()
        return tuple(c for c, v in self.publisher.items() if self.subscriber[c] != v)


@attrs.frozen(kw_only=True)
class CompareProgress:
    """One range of keys that was compared, and how far the comparison is."""

    table: TableName
    rows: int
    """The publisher's rows in the range."""
    rows_done: int
    """The publisher's rows that are compared, of all tables."""
    rows_estimated: int
    """How many there may be, as the planner knows it."""
    tables_done: int
    tables: int
    diffs: tuple[RowDiff, ...] = ()
    undecided: tuple[dict[str, str], ...] = ()
    """Keys of rows that changed whenever they were looked at: nothing is known of them."""


@attrs.frozen
class Seen:
    """The publisher's rows at one look."""

    hashes: Hashes
    versions: Mapping[Key, str]
    """Which write made each: a row that was changed and changed back has another."""


def judged(before: Seen, replica: Hashes, after: Seen) -> tuple[dict[Key, DiffKind], set[Key]]:
    """The rows that differ, and those about which nothing can be said yet.

    ``replica`` was read after it had applied all that was written when ``before`` was read, and
    before ``after`` was. A row that the publisher did not change meanwhile must be the same there.
    """
    diffs: dict[Key, DiffKind] = {}
    changing: set[Key] = set()
    for key in before.hashes.keys() | replica.keys() | after.hashes.keys():
        here, there = before.hashes.get(key), replica.get(key)
        if here == there:
            continue
        if before.versions.get(key) != after.versions.get(key):
            changing.add(key)
        elif there is None:
            diffs[key] = DiffKind.MISSING
        elif here is None:
            diffs[key] = DiffKind.EXTRA
        else:
            diffs[key] = DiffKind.DIFFERENT
    return diffs, changing
