"""plain: convert values and rows to JSON types."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypeAlias, cast

import attrs

from pgreplkit.values.segment import SegmentSize

JSONValue: TypeAlias = "bool | int | float | str | list[JSONValue] | dict[str, JSONValue] | None"
"""A value that ``json.dumps`` accepts."""


def plain(value: object) -> JSONValue:
    """Convert a value to JSON types.

    LSNs and names become text, sizes bytes, times ISO 8601 and durations seconds. Rows become
    dicts of their fields and of the properties listed in their ``_also_plain``.
    """
    if value is None or isinstance(value, bool | float):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, SegmentSize):
        return value.bytes
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    # Value types define __str__; row classes do not.
    if attrs.has(type(value)) and type(value).__str__ is object.__str__:
        names = [field.name for field in attrs.fields(cast(type[attrs.AttrsInstance], type(value)))]
        names += getattr(value, "_also_plain", ())
        return {name: plain(getattr(value, name)) for name in names}
    return str(value)


def plain_row(row: attrs.AttrsInstance) -> dict[str, JSONValue]:
    """Convert a row to a dict of JSON types; see ``plain``."""
    return cast("dict[str, JSONValue]", plain(row))
