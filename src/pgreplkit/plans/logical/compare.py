"""CompareProgress and RowDiff: the results of comparing two databases, and when rows differ."""

from collections.abc import Mapping, Sequence
from os.path import commonprefix

import attrs

from pgreplkit._text import counted
from pgreplkit.errors.values import shorten
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record
from pgreplkit.values.tablename import TableName
from pgreplkit.values.text import items_text, wrapped

Key = tuple[str, ...]
"""The values of a key's columns, as text."""
Hashes = Mapping[Key, object]
"""The hash of each row."""


@attrs.frozen
class KeyRange:
    """A range of keys: after ``low``, up to and including ``high``; None is an open end."""

    low: Key | None
    high: Key | None


@attrs.frozen
class Digest:
    """The number of rows of a range on one side, and the sum of their hashes."""

    rows: int
    hash: object


class DiffKind(OpenEnum):
    """How a row differs."""

    MISSING = "missing"
    """The subscriber does not have it."""
    EXTRA = "extra"
    """Only the subscriber has it."""
    DIFFERENT = "different"
    """Both have it, with different values."""
    REPEATED = "repeated"
    """The subscriber has it more than once, because no unique key prevents that."""


def key_text(key: Mapping[str, str]) -> str:
    """Return a key for a printed line; long values are shortened."""
    return ", ".join(f"{name}={_short(value)}" for name, value in key.items())


def row_text(row: Mapping[str, str | None]) -> str:
    """Return a row for a printed line; long values are shortened."""
    return f"{{{', '.join(f'{name!r}: {_shown(value)}' for name, value in row.items())}}}"


def _short(value: str) -> str:
    short = shorten(value)
    return value if short == repr(value) else short


def _shown(value: str | None) -> str:
    return "None" if value is None else shorten(value)


def _both(one: str | None, other: str | None) -> str:
    """Return two values that differ, for a printed line."""
    texts = _shown(one), _shown(other)
    where = ""
    # They differ in the part that is not shown.
    if texts[0] == texts[1]:
        same = len(commonprefix([one or "", other or ""]))
        where = f", which differ from character {same + 1} on"
    return f"{texts[0]} and {texts[1]}{where}"


@attrs.frozen(kw_only=True)
class RowDiff(Record):
    """A row that differs after the subscriber has applied all that was written before."""

    table: TableName
    kind: DiffKind
    key: dict[str, str]
    """The values of the key's columns, as text."""
    publisher: dict[str, str | None] | None
    """The compared values on the publisher as text, by column; None if it lacks the row."""
    subscriber: dict[str, str | None] | None
    """The same on the subscriber."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns whose values differ; empty if only one side has the row."""
        if self.publisher is None or self.subscriber is None:
            return ()
        return tuple(c for c, v in self.publisher.items() if self.subscriber.get(c) != v)

    def __str__(self) -> str:
        publisher, subscriber = self.publisher or {}, self.subscriber or {}
        differing = [
            f"{name}: {_both(publisher.get(name), subscriber.get(name))}" for name in self.columns
        ]
        text = "; ".join([f"{self.table}: {self.kind}: {key_text(self.key)}", *differing])
        return "\n".join(wrapped(text, then="    "))


@attrs.frozen(kw_only=True)
class CompareProgress(Record):
    """The result for one range of keys, and the progress of the comparison."""

    table: TableName
    rows: int
    """The publisher's rows in the range."""
    rows_done: int
    """The publisher's rows that were compared, over all tables."""
    rows_estimated: int
    """The expected number of rows, from the planner's statistics."""
    tables_done: int
    tables: int
    diffs: tuple[RowDiff, ...] = ()
    undecided: tuple[dict[str, str], ...] = ()
    """Keys of rows that changed at each look, so that nothing is known of them."""

    @property
    def share(self) -> float:
        """The compared share of all rows, from 0 to 1; an estimate."""
        return min(1.0, self.rows_done / max(1, self.rows_estimated))

    def __str__(self) -> str:
        rows = counted(self.rows_estimated, "row")
        text = (
            f"{self.table}: {self.share:.0%} of about {rows} compared,"
            f" {self.tables_done} of {counted(self.tables, 'table')};"
            f" {counted(len(self.diffs), 'row differs', 'rows differ')}"
        )
        if self.undecided:
            text += f", {len(self.undecided)} changed at each look"
        return "\n".join([*wrapped(text), *items_text(self.diffs, indent=2)])


@attrs.frozen
class ComparedPart:
    """The result for one range of one table; ``rows`` are the publisher's."""

    rows: int
    is_last: bool
    """Whether the table is finished."""
    diffs: tuple[RowDiff, ...] = ()
    undecided: tuple[dict[str, str], ...] = ()


@attrs.define
class Tally:
    """The progress of a comparison, added up range by range."""

    tables: int
    estimated: int
    rows_done: int = 0
    tables_done: int = 0

    def add(self, table: TableName, part: ComparedPart) -> CompareProgress:
        """Count a range, and return the progress after it."""
        self.rows_done += part.rows
        self.tables_done += part.is_last
        return CompareProgress(
            table=table,
            rows=part.rows,
            rows_done=self.rows_done,
            # Statistics may be old: a progress beyond its end would look like an error.
            rows_estimated=max(self.estimated, self.rows_done),
            tables_done=self.tables_done,
            tables=self.tables,
            diffs=part.diffs,
            undecided=part.undecided,
        )


@attrs.frozen
class Observation:
    """The publisher's rows at one look."""

    hashes: Hashes
    versions: Mapping[Key, str]
    """The write that made each row: a row that was changed and changed back has another."""


SEVERAL = "several rows"
"""The hash of a key that the subscriber has more than once: no single row has it."""


def replica_hashes(records: Sequence[tuple[Key, object]]) -> tuple[dict[Key, object], set[Key]]:
    """Return the hash of each of the subscriber's rows, and the keys that occur repeatedly."""
    hashes: dict[Key, object] = {}
    repeated: set[Key] = set()
    for key, row_hash in records:
        if key in hashes:
            repeated.add(key)
        hashes[key] = SEVERAL if key in hashes else row_hash
    return hashes, repeated


def classify(
    before: Observation, replica: Hashes, after: Observation
) -> tuple[dict[Key, DiffKind], set[Key]]:
    """Return the rows that differ, and those of which nothing can be said yet.

    ``replica`` was read after the subscriber had applied all that was written when ``before`` was
    read, and before ``after`` was read. A row that the publisher did not change in between must be
    the same on both sides.
    """
    diffs: dict[Key, DiffKind] = {}
    changing: set[Key] = set()
    for key in before.hashes.keys() | replica.keys() | after.hashes.keys():
        here, there = before.hashes.get(key), replica.get(key)
        if here == there:
            continue
        # The publisher changed the row between its two reads: the subscriber may have either state.
        if before.versions.get(key) != after.versions.get(key):
            changing.add(key)
        else:
            diffs[key] = _kind(here, there)
    return diffs, changing


def _kind(here: object, there: object) -> DiffKind:
    """Return how two hashes differ; None stands for a row that a side does not have."""
    if there is None:
        return DiffKind.MISSING
    return DiffKind.EXTRA if here is None else DiffKind.DIFFERENT


@attrs.define
class Verdict:
    """The rows of a range that differ, after one or more looks.

    A difference counts when it is seen at two looks in a row: a row that is inserted and deleted
    between the two reads of the publisher may be seen by the read of the subscriber.
    """

    confirmed: dict[Key, DiffKind] = attrs.field(factory=dict)
    doubtful: list[Key] = attrs.field(factory=list)
    """Rows to look at again."""
    _seen: dict[Key, DiffKind] = attrs.field(factory=dict)

    def add(self, diffs: Mapping[Key, DiffKind], changing: set[Key]) -> None:
        """Take the outcome of one look into account."""
        again = {key: kind for key, kind in diffs.items() if self._seen.get(key) == kind}
        self.confirmed |= again
        # Two looks in a row: a difference that was missing in between is a new one.
        self._seen = {**diffs}
        self.doubtful = sorted({*changing, *diffs} - self.confirmed.keys())
