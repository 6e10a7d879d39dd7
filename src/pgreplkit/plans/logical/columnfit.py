"""Whether a subscriber's column takes every value of the publisher's."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping

import attrs

from pgreplkit.catalog.logical.drift import TableColumn, TableShape
from pgreplkit.catalog.logical.types import Types
from pgreplkit.plans.logical.typedrift import type_differences
from pgreplkit.values.finding import Severity
from pgreplkit.values.tablename import quoted

NOT_NULL_VIOLATION = "23502"
_DIGITS = {"smallint": 5, "integer": 10, "bigint": 19}
_WIDTHS = {"smallint": 15, "integer": 31, "bigint": 63, "real": 24, "double precision": 53}
"""Bits of the whole numbers that a type holds exactly."""
_UNSIGNED_DIGITS = {"oid": 10, "xid": 10, "cid": 10, "xid8": 20}
_UNSIGNED = {"oid": 32, "xid": 32, "cid": 32, "xid8": 64}
_TEXTS = ("text", "character varying", "bpchar", "citext")
"""Types that keep the text of any value."""
_LENGTHS = {"smallint": 6, "integer": 11, "bigint": 20, "oid": 10, "uuid": 36, "boolean": 5}
"""Characters of the longest text of a type. A boolean is sent as one, and converted to a word."""
_TIMES = (
    "time without time zone",
    "time with time zone",
    "timestamp without time zone",
    "timestamp with time zone",
)
_FINEST = 6
"""Digits of a second, by default and at most."""
_FIELDS = ("year", "month", "day", "hour", "minute", "second")
"""The last fields of intervals: all before it are kept, also if the type names only one."""
_CAST = {
    "inet": ("cidr",),
    "interval": ("time without time zone",),
    "json": ("jsonb",),
    "macaddr8": ("macaddr",),
    "path": ("polygon",),
    "polygon": ("box",),
}
"""Other types whose values a type keeps, and to which ALTER TABLE converts them."""
_READ = {
    "int8multirange": ("int4multirange",),
    "int8range": ("int4range",),
    "nummultirange": ("int4multirange", "int8multirange"),
    "numrange": ("int4range", "int8range"),
    "path": ("box", "lseg"),
    "pg_snapshot": ("txid_snapshot",),
    "txid_snapshot": ("pg_snapshot",),
}
"""Other types whose texts a type reads as the same values, but without a cast."""
_FIRST_OWN_OID = 16384
"""The first OID of a type that is not built in."""
_MODIFIED = re.compile(r"(.+?)\((.+?)\)(.*)")
_INTERVAL = re.compile(r"interval(?: (?:\w+ to )?(\w+))?")


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
        (own_type, own_oid), (their_type, oid) = _base(here, ours), _base(there, theirs)
        is_renamed = _is_renamed(oid, theirs.types, own_oid, ours.types)
        if not is_renamed and not takes(own_type, their_type):
            found = f"the column {own!r} is {here.type}, and {there.type} on the publisher"
            # A type of the same name may not exist here.
            if oid < _FIRST_OWN_OID and is_widening(own_type, their_type):
                yield Misfit(found, (f"{alter} TYPE {their_type}",))
            else:
                yield Misfit(found)
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
            found = f"the column {own!r} is NOT NULL, which it is not on the publisher"
            if reason := _needs_not_null(here):
                alter = f"ALTER TABLE {theirs.table} ALTER COLUMN {quoted(name)} SET NOT NULL"
                yield Misfit(f"{found}; {reason}: run {alter} on the publisher")
            else:
                alter = f"ALTER TABLE {ours.table} ALTER COLUMN {quoted(own)} DROP NOT NULL"
                yield Misfit(found, (alter,))


def unset_identities(
    theirs: TableShape, ours: TableShape, names: Mapping[str, str], identifying: Container[str]
) -> Iterator[Misfit]:
    """Yield the columns whose new values an UPDATE does not set here.

    A row of which a column in ``identifying`` changes is deleted and inserted.
    """
    for name, own in names.items():
        there, here = theirs.columns.get(name), ours.columns.get(own)
        if there is None or here is None or here.identity != "a" or name in identifying:
            continue
        # The publisher's UPDATE cannot set it either.
        if there.identity != "a":
            alter = f"ALTER TABLE {ours.table} ALTER COLUMN {quoted(own)} SET GENERATED BY DEFAULT"
            yield Misfit(
                f"the column {own!r} is GENERATED ALWAYS AS IDENTITY, which no UPDATE can set, and"
                f" {name!r} is not on the publisher: run {alter}",
                (alter,),
            )


def _needs_not_null(column: TableColumn) -> str:
    """Return why the server refuses to drop the NOT NULL of a column; empty if it does not."""
    if column.is_key:
        return "the primary key or the replica identity needs it"
    if column.identity:
        return "an identity column needs it"
    return "its parent table has it" if column.inherits_not_null else ""


def _refuses_null(there: TableColumn, here: TableColumn) -> bool:
    # The subscriber computes a generated column itself.
    return here.not_null and not there.not_null and not here.generated


def _base(column: TableColumn, table: TableShape) -> tuple[str, int]:
    """Return the type of a column, or the type that its domain is over, with its OID."""
    name, oid = column.type, column.type_oid
    # A domain may be over another domain.
    while (shape := table.types.get(oid)) and shape.kind == "d" and shape.element is not None:
        name, oid = shape.definition, shape.element
    return name, oid


def is_widening(here: str, there: str) -> bool:
    """Return whether ALTER TABLE can turn a column of the type ``here`` into the type ``there``,
    which keeps each of its values.
    """
    while here.endswith("[]") and there.endswith("[]"):
        here, there = here[:-2], there[:-2]
    (kind, *_), (their_kind, *_) = _parts(here), _parts(there)
    # Before 12 a session converts such a number to fewer digits than it has.
    is_cut = kind in ("real", "double precision") and their_kind not in _WIDTHS
    has_cast = kind not in _READ.get(their_kind, ()) and (
        kind not in _UNSIGNED
        or (kind, their_kind) == ("oid", "bigint")
        or _is_text(their_kind)
        or kind == their_kind
    )
    return takes(there, here) and has_cast and not is_cut


def _is_text(kind: str) -> bool:
    return kind.rpartition(".")[2] in _TEXTS or kind == "character"


def takes(here: str, there: str) -> bool:
    """Return whether a column of the type ``here`` keeps every value of the type ``there``.

    Values are sent as texts. A type that would read them in another way, as a time zone does to a
    time without one, does not keep them.
    """
    # An extension may be installed in any schema.
    if here == there or here.rpartition(".")[2] in _TEXTS:
        return True
    if here.endswith("[]") and there.endswith("[]"):
        return takes(here[:-2], there[:-2])
    (kind, *limits), (their_kind, *their_limits) = _parts(here), _parts(there)
    if kind in _UNSIGNED or (their_kind in _UNSIGNED and kind in _WIDTHS):
        return their_kind in _UNSIGNED and _UNSIGNED[their_kind] <= (_UNSIGNED | _WIDTHS)[kind]
    if kind in _WIDTHS and their_kind in _WIDTHS:
        # A fraction does not fit a whole number, however wide it is.
        is_whole = kind in _DIGITS
        has_room = _WIDTHS[their_kind] <= _WIDTHS[kind]
        return has_room and (their_kind in _DIGITS or not is_whole)
    if kind == "numeric":
        return _takes_number(limits, their_kind, their_limits)
    if kind in ("character", "character varying"):
        return _takes_text(kind, limits[0], their_kind, their_limits)
    if kind == "bit varying":
        fits = not limits or (bool(their_limits) and their_limits[0] <= limits[0])
        return fits and their_kind in ("bit", "bit varying")
    if _INTERVAL.fullmatch(kind):
        return _takes_interval(kind, limits, their_kind, their_limits)
    if kind in _TIMES:
        return kind == their_kind and _digits(their_limits) <= _digits(limits)
    if kind == their_kind:
        # The length of a bit string is exact, and other modifiers are those of an extension.
        return not limits
    return their_kind in (*_CAST.get(kind, ()), *_READ.get(kind, ()))


def _takes_number(limits: list[int], their_kind: str, their_limits: list[int]) -> bool:
    if digits_of_kind := (_DIGITS | _UNSIGNED_DIGITS).get(their_kind):
        their_limits = [digits_of_kind, 0]
    # Before 14 it has no infinity, and a cast keeps only 15 digits.
    elif their_kind != "numeric":
        return False
    if not limits or not their_limits:
        return not limits
    (digits, scale), (their_digits, their_scale) = limits, their_limits
    return their_scale <= scale and their_digits - their_scale <= digits - scale


def _takes_text(kind: str, length: int, their_kind: str, their_limits: list[int]) -> bool:
    # Blanks at the end of a text are lost in a column of the type character.
    if their_kind == "character" or their_kind == kind:
        return bool(their_limits) and their_limits[0] <= length
    return their_kind in _LENGTHS and _LENGTHS[their_kind] <= length


def _takes_interval(kind: str, limits: list[int], their_kind: str, their_limits: list[int]) -> bool:
    last = _last_field(kind)
    if their_kind in _CAST["interval"]:
        their_last = "second"
    elif _INTERVAL.fullmatch(their_kind):
        their_last = _last_field(their_kind)
    else:
        return False
    if their_last != "second":
        return _FIELDS.index(their_last) <= _FIELDS.index(last)
    return last == "second" and _digits(their_limits) <= _digits(limits)


def _last_field(kind: str) -> str:
    return kind.split()[-1].replace("interval", "second")


def _digits(limits: list[int]) -> int:
    return limits[0] if limits else _FINEST


def _is_renamed(there: int, theirs: Types, here: int, ours: Types) -> bool:
    """Return whether two types may differ in their names only.

    True for two enums, whose labels ``type_differences`` compares, for composite types with the
    same attributes, and for arrays of these.
    """
    own, other = theirs.get(there), ours.get(here)
    if own is None or other is None or own.kind != other.kind:
        return False
    if own.kind == "a" and own.element is not None and other.element is not None:
        return _is_renamed(own.element, theirs, other.element, ours)
    attributes = [[(a.name, a.type) for a in shape.attributes] for shape in (own, other)]
    return own.kind == "e" or (own.kind == "c" and attributes[0] == attributes[1])


def _parts(name: str) -> tuple[str, *tuple[int, ...]]:
    """Return the name of a type without its modifier, and the numbers of that.

    A modifier that is a word, as an extension may have, counts as 0.
    """
    found = _MODIFIED.fullmatch(name)
    if found is None:
        return (name,)
    before, modifier, after = found.groups()
    limits = [one if one.lstrip("-").isdigit() else "0" for one in modifier.split(",")]
    return (before + after, *map(int, limits))
