"""The types of keys, of which the deletions of rows are remembered."""

from __future__ import annotations

from collections.abc import Iterator

from pgreplkit.catalog.logical.applytables import TargetColumn, TargetTable

FLOAT4, FLOAT8, NUMERIC = 700, 701, 1700
_NUMBERS = {FLOAT4, FLOAT8, NUMERIC}
_BPCHAR = 1042
_ONE_TEXT = {
    # bool, bytea, "char", name, int8, int2, int4, text, oid, xid8, varchar, uuid, pg_lsn
    *(16, 17, 18, 19, 20, 21, 23, 25, 26, 5069, 1043, 2950, 3220),
    # cidr, macaddr8, macaddr, inet, bit, varbit
    *(650, 774, 829, 869, 1560, 1562),
    # date, time, timestamp, timestamptz, timetz
    *(1082, 1083, 1114, 1184, 1266),
    # int4range, tsrange, tstzrange, daterange, int8range
    *(3904, 3908, 3910, 3912, 3926),
}
_WITH_LENGTH = {_BPCHAR: "bpchar", 1043: "varchar", 1560: 'pg_catalog."bit"', 1562: "varbit"}
"""The names of types that can have a length, which stand for any length."""
_ONE_TEXT_NAMES = {"ltree"}
"""Types of extensions, whose OIDs are not fixed."""


def has_spellings(column: TargetColumn) -> bool:
    """Return whether equal values of a key can have several texts that are one number in JSON."""
    return (column.base_oid or column.type_oid) in _NUMBERS


def whole_type(column: TargetColumn) -> str:
    """Return the type of a key's values, without a length.

    A cast to a length cuts off a value that is too long, which then is the key of another row.
    """
    return _WITH_LENGTH.get(column.base_oid or column.type_oid, column.type)


def as_stored(column: TargetColumn, value: str) -> str:
    """Return the expression for a key's value as the column stores it; a longer one stays whole."""
    whole = whole_type(column)
    if whole != "bpchar":
        return f"{value}::{whole}"
    padded = f"{value}::{column.base_type or column.type}"
    return f"CASE WHEN {value}::bpchar = {padded} THEN {padded} ELSE {value}::bpchar END"


def ambiguous_key_columns(table: TargetTable) -> Iterator[str]:
    """Yield the columns of the key whose deleted values could not be found again.

    A deletion is found by the key as JSON, which must be one for all values that the key takes for
    equal. JSON compares numbers, and the texts of other values.
    """
    for name in table.primary_key:
        column = table.column(name)
        if column is None:
            continue
        if not column.is_deterministic:
            yield f"{name}, whose collation takes different texts for equal"
        elif not (has_spellings(column) or _has_one_text(column)):
            yield f"{name} of the type {column.type}"


def _has_one_text(column: TargetColumn) -> bool:
    oid = column.base_oid or column.type_oid
    kind = column.base_type or column.type
    # With a length, all values are padded to it.
    if oid == _BPCHAR:
        return kind.startswith("character(")
    is_named = kind.rpartition(".")[2] in _ONE_TEXT_NAMES
    return column.is_enum or oid in _ONE_TEXT or is_named
