"""plain: convert values and rows to JSON types."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from enum import Enum
from math import isfinite
from typing import TypeAlias

import attrs

from pgreplkit.values.lsn import LSN
from pgreplkit.values.record import Record, names_of
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.unchanged import UNCHANGED

JSONValue: TypeAlias = "bool | int | float | str | list[JSONValue] | dict[str, JSONValue] | None"
"""A value that ``json.dumps`` accepts."""


def plain(value: object) -> JSONValue:
    """Convert a value to JSON types.

    LSNs, names and other values become text, sizes bytes, times ISO 8601 and durations seconds.
    Rows become dicts of their fields and computed properties; values that the server did not send
    are left out. Bytes are hex digits, and NaN and infinities words, as PostgreSQL writes them.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if isfinite(value) else _not_finite(value)
    if isinstance(value, SegmentSize):
        return value.bytes
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, LSN):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return f"\\x{value.hex()}"
    if hasattr(value, "as_dict"):
        value = value.as_dict()
    if isinstance(value, Mapping):
        return plain_dict(value)
    if isinstance(value, tuple | list | set | frozenset):
        return [plain(item) for item in value]
    return _plain_object(value)


def plain_dict(values: Mapping[str, object]) -> dict[str, JSONValue]:
    """Convert the values of a mapping to JSON types, without those that were not sent."""
    return {str(key): plain(value) for key, value in values.items() if value is not UNCHANGED}


def _plain_object(value: object) -> JSONValue:
    if isinstance(value, Record):
        return str(value) if value._is_named else value.to_dict()
    # Rows of the caller's own classes, as class_rows() makes them.
    kind = type(value)
    if is_dataclass(kind):
        return plain({field.name: getattr(value, field.name) for field in fields(kind)})
    if attrs.has(kind) and kind.__str__ is object.__str__:
        return plain({field.name: getattr(value, field.name) for field in attrs.fields(kind)})
    return str(value)


def _not_finite(value: float) -> str:
    if value != value:
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def plain_row(row: attrs.AttrsInstance) -> dict[str, JSONValue]:
    """Convert the fields and computed properties of a row to JSON types; see ``plain``."""
    kind: dict[str, JSONValue] = {}
    if isinstance(row, Record) and row._has_kind:
        kind["kind"] = type(row).__name__
    return kind | plain_dict({name: getattr(row, name) for name in names_of(type(row))})
