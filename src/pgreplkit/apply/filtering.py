"""Rows that callables of a rule filter or change, as Python objects."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from traceback import extract_tb

from pgreplkit.apply.tableplans import Step, TablePlan, merged
from pgreplkit.errors import ValueNotLoadable
from pgreplkit.protocol.pgoutput.rows import UNCHANGED, Row
from pgreplkit.protocol.pgoutput.tuples import TEXT, UNSENT, RawValues, TableReader


class RuleFailed(Exception):
    """A callable of a rule that failed."""

    def __init__(self, found: str, table: object = None) -> None:
        super().__init__(found)
        self.table: str | None = None if table is None else str(table)
        """The publisher's table, as SQL, if it is known."""


def filtered(
    plan: TablePlan,
    reader: TableReader[Row],
    old: RawValues | None,
    new: RawValues | None,
    *,
    is_new: bool,
) -> Iterator[Step]:
    """Yield the steps of a change of a table whose rule has callables."""
    if old is not None and plan.match.is_full:
        if new is not None:
            new = merged(old, new)
        if not all(plan.finds_by_key(row) for row in (old, new) if row is not None):
            yield from _exactly(plan, reader, old, new)
            return
    if new is None:
        if old is not None:
            yield plan.delete(old, needs_row=plan.rule.where is None)
        return
    kept = _kept(plan, reader, new)
    # An insert that is left out is not a deletion: the row never was on the subscriber.
    if is_new:
        if kept is not None:
            yield plan.insert(*kept)
        return
    is_moved = old is not None and any(old[0][at] != new[0][at] for at in plan.key_places)
    if old is not None and is_moved and kept is not None and UNSENT in kept[1]:
        # Only the subscriber's row has the large values that were not sent.
        yield from plan.update(old, kept)
        return
    if old is not None and (kept is None or is_moved):
        yield plan.delete(old, needs_row=False)
    # Without an old row the key is the same, and identifies the row that no longer fits.
    elif kept is None:
        yield plan.delete(new, needs_row=False)
    # The row before may have been left out, so that an UPDATE might find none.
    if kept is not None:
        yield from plan.upsert(kept)


def _exactly(
    plan: TablePlan, reader: TableReader[Row], old: RawValues, new: RawValues | None
) -> Iterator[Step]:
    """Yield the steps of a change of one row, which others may be equal to.

    The functions say whether the subscriber has the old row, and with which values.
    """
    before = _kept(plan, reader, old)
    after = None if new is None else _kept(plan, reader, new)
    if before is None:
        if after is not None:
            yield plan.insert(*after)
    elif after is None:
        yield plan.delete(before)
    else:
        yield from plan.update(before, after)


def copied(
    plan: TablePlan, reader: TableReader[Row], row: RawValues, *, replaces: bool
) -> Iterable[Step]:
    """Return the steps that write a copied row of a table whose rule has callables.

    With ``replaces``, the row replaces one with the same key.
    """
    kept = _kept(plan, reader, row)
    if kept is None:
        return ()
    # Without a unique key there is no such row: equal ones are rows of their own.
    if replaces and plan.finds_by_key(kept):
        return plan.upsert(kept)
    return (plan.insert(*kept),)


def _kept(plan: TablePlan, reader: TableReader[Row], new: RawValues) -> RawValues | None:
    """Return the values to write; None if the rule leaves the row out.

    Raises: RuleFailed, with the table.
    """
    try:
        return _ruled(plan, reader, new)
    except RuleFailed as error:
        error.table = str(reader.table)
        raise


def _ruled(plan: TablePlan, reader: TableReader[Row], new: RawValues) -> RawValues | None:
    rule = plan.rule
    plan.last_change = None
    row = row_of(reader, new)
    if rule.where is not None and not _is_true(_called(rule.where, "where", row)):
        return None
    if rule.change is None:
        return new
    changed = _called(rule.change, "change", row)
    if changed is None:
        return None
    kept = replaced(plan, reader, new, row, changed, "change")
    plan.last_change = new, kept
    for at in {*plan.key_places, *plan.computed}:
        if kept[0][at] != new[0][at]:
            name = reader.table.columns[at].name
            if at in plan.key_places:
                raise RuleFailed(f"change altered the key column {name!r}")
            raise RuleFailed(f"change returned a value for {name!r}, which the subscriber computes")
    return kept


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
    for name, value in _items(changed, by):
        if name not in columns:
            raise RuleFailed(f"{by} returned the column {name!r}, which is not published")
        at, column = columns[name]
        # Values that stay keep the form in which they were sent, without a loss on the way.
        if not _differs(value, row[name], f"{by} returned for {name!r}"):
            continue
        # Later changes of the row arrive with the publisher's key, and would not find it.
        if column.is_key and not plan.match.is_full:
            raise RuleFailed(f"{by} altered the key column {name!r}")
        # As the value of another column, which was not sent: the caller does not know it.
        if value is UNCHANGED:
            raise RuleFailed(f"{by} returned UNCHANGED for {name!r}, whose value was sent")
        try:
            values[at], formats[at] = plan.dump(value), TEXT
        except ValueError as error:
            raise RuleFailed(f"{by} returned for {name!r} {error}") from None
    return values, formats


def _items(changed: Mapping[object, object], by: str) -> list[tuple[object, object]]:
    # The mapping may be of the caller's own class, and compute its values.
    try:
        return [*changed.items()]
    except Exception as error:
        raise RuleFailed(f"{by} returned a mapping that raised {raised(error)}") from None


def _differs(value: object, sent: object, what: str) -> bool:
    # Some values, such as arrays of numpy, do not say whether they are equal.
    try:
        return value is not sent and bool(value != sent)
    except Exception:
        kind = type(value).__name__
        raise RuleFailed(f"{what} a value that cannot be compared, of type {kind}") from None


def replaced_columns(plan: TablePlan, reader: TableReader[Row]) -> list[str]:
    """Return the columns of the last row whose values the rule's ``change`` has replaced.

    The function is not called again: the caller may count its calls, or act in them.
    """
    if plan.last_change is None:
        return []
    (before, _), (after, _) = plan.last_change
    columns = enumerate(reader.table.columns)
    return [column.name for at, column in columns if before[at] != after[at]]


def refusal(found: str, replaced: Sequence[str]) -> str:
    """Return why the server refused a row of which ``change`` has replaced values."""
    return f"{found}; change replaced the values of {', '.join(replaced)}" if replaced else found


def _is_true(answer: object) -> bool:
    try:
        return bool(answer)
    except Exception:
        kind = type(answer).__name__
        raise RuleFailed(f"where returned a {kind}, which is neither true nor false") from None


def _called(call: Callable[[Row], object], name: str, row: Row) -> object:
    try:
        return call(row)
    except Exception as error:
        raise RuleFailed(f"{name} raised {raised(error)}") from None


def raised(error: Exception) -> str:
    """Return the type of an error and the line of the function that was called.

    The error's own text may contain values of the row, which must not reach a log.
    """
    kind = type(error).__name__
    # The first frame is the one that called the function.
    frames = extract_tb(error.__traceback__)[1:]
    return f"{kind} in line {frames[0].lineno} of {frames[0].filename}" if frames else kind


def row_of(reader: TableReader[Row], new: RawValues) -> Row:
    """Return the values of a row as Python objects.

    Raises: RuleFailed.
    """
    values = [*loaded(reader, new)]
    for at, how in enumerate(new[1]):
        if how == UNSENT:
            values[at] = UNCHANGED
    return reader.make(tuple(values))


def loaded(reader: TableReader[Row], row: RawValues) -> Sequence[object]:
    """Return the values of a row as Python objects, also for those that were not sent.

    Raises: RuleFailed.
    """
    try:
        return reader.load(row[0])
    except ValueNotLoadable as error:
        # Its own text has the value.
        raise RuleFailed(
            f"the value of {error.column!r} does not exist in Python; register a loader for its"
            " type on psycopg.adapters, or leave the function out"
        ) from None
