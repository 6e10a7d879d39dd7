"""Whether a subscriber's column takes every value of the publisher's."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import attrs

from pgreplkit.catalog.logical.drift import TableColumn, TableShape
from pgreplkit.plans.logical.typedrift import type_differences
from pgreplkit.values.finding import Severity
from pgreplkit.values.tablename import quoted

NOT_NULL_VIOLATION = "23502"
_DIGITS = {"smallint": 5, "integer": 10, "bigint": 19}
_WIDTHS = {"smallint": 15, "integer": 31, "bigint": 63, "real": 24, "double precision": 53}
"""Bits of the whole numbers that a type holds exactly."""
_TEXTS = ("text", "character varying")
_FIRST_OWN_OID = 16384
"""The first OID of a type that is not built in."""
_MODIFIED = re.compile(r"(.+?)\((-?\d+)(?:,(-?\d+))?\)(.*)")


@attrs.frozen
class Misfit:
    """A column that does not take every value of the publisher's."""

    found: str
    ddl: tuple[str, ...] = ()
    """The DDL that aligns the subscriber; empty if the decision is yours."""


def misfits(theirs: TableShape, ours: TableShape, names: Mapping[str, str]) -> Iterator[Misfit]:
    """Yield the columns whose values may not fit, or may be changed without an error.

    ``names`` has the subscriber's column for each column that is written.
    """
    for name, own in names.items():
        there, here = theirs.columns.get(name), ours.columns.get(own)
        # The subscriber computes a generated column itself.
        if there is None or here is None or here.generated:
            continue
        alter = f"ALTER TABLE {ours.table} ALTER COLUMN {quoted(own)}"
        if not takes(_base(here, ours), _base(there, theirs)):
            found = f"the column {own!r} is {here.type}, and {there.type} on the publisher"
            # A type of the same name may not exist here.
            is_built_in = there.type_oid < _FIRST_OWN_OID
            yield Misfit(found, (f"{alter} TYPE {there.type}",) if is_built_in else ())
        for one in type_differences(there.type_oid, theirs.types, here.type_oid, ours.types):
            if one.severity is Severity.CRITICAL:
                yield Misfit(one.found, one.ddl)


def missing_nulls(
    theirs: TableShape, ours: TableShape, names: Mapping[str, str]
) -> Iterator[Misfit]:
    """Yield the columns that are NOT NULL here only."""
    for name, own in names.items():
        there, here = theirs.columns.get(name), ours.columns.get(own)
        if there is not None and here is not None and _refuses_null(there, here):
            alter = f"ALTER TABLE {ours.table} ALTER COLUMN {quoted(own)} DROP NOT NULL"
            found = f"the column {own!r} is NOT NULL, which it is not on the publisher"
            yield Misfit(found, (alter,))


def _refuses_null(there: TableColumn, here: TableColumn) -> bool:
    return here.not_null and not there.not_null


def _base(column: TableColumn, table: TableShape) -> str:
    """Return the type of a column, or the type that its domain is over."""
    shape = table.types.get(column.type_oid)
    return shape.definition if shape is not None and shape.kind == "d" else column.type


def takes(here: str, there: str) -> bool:
    """Return whether a column of the type ``here`` keeps every value of the type ``there``."""
    if here in (there, *_TEXTS):
        return True
    if here.endswith("[]") and there.endswith("[]"):
        return takes(here[:-2], there[:-2])
    (kind, *limits), (their_kind, *their_limits) = _parts(here), _parts(there)
    if kind in _WIDTHS and their_kind in _WIDTHS:
        # A fraction does not fit a whole number, however wide it is.
        is_whole = kind in _DIGITS
        has_room = _WIDTHS[their_kind] <= _WIDTHS[kind]
        return has_room and (their_kind in _DIGITS or not is_whole)
    if kind == "numeric":
        return _takes_number(limits, their_kind, their_limits)
    # The length of a bit string is exact.
    if kind != their_kind or kind == "bit":
        return False
    # Of characters, bits, or digits of a second.
    return not limits or (bool(their_limits) and their_limits[0] <= limits[0])


def _takes_number(limits: list[int], their_kind: str, their_limits: list[int]) -> bool:
    if their_kind in _DIGITS:
        their_limits = [_DIGITS[their_kind], 0]
    elif their_kind != "numeric":
        return False
    if not limits or not their_limits:
        return not limits
    (digits, scale), (their_digits, their_scale) = limits, their_limits
    return their_scale <= scale and their_digits - their_scale <= digits - scale


def _parts(name: str) -> tuple[str, *tuple[int, ...]]:
    """Return the name of a type without its modifier, and the numbers of that."""
    found = _MODIFIED.fullmatch(name)
    if found is None:
        return (name,)
    before, *numbers, after = found.groups()
    return (before + after, *(int(number) for number in numbers if number is not None))
