"""plain: any value of ours as what JSON knows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TypeAlias, cast

import attrs

from pgreplkit.values.segment import SegmentSize

Plain: TypeAlias = "bool | int | float | str | list[Plain] | dict[str, Plain] | None"
"""What JSON can say."""


def plain(value: object) -> Plain:
    """LSNs and names as text, sizes in bytes, times in ISO form, durations in seconds.

    Rows become dicts, of their fields and of what they say in ``_also_plain``.
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
    # Values have a text of their own, rows have none.
    if attrs.has(type(value)) and type(value).__str__ is object.__str__:
        names = [field.name for field in attrs.fields(cast(type[attrs.AttrsInstance], type(value)))]
        names += getattr(value, "_also_plain", ())
        return {name: plain(getattr(value, name)) for name in names}
    return str(value)


def plain_row(row: attrs.AttrsInstance) -> dict[str, Plain]:
    """One row; see ``plain``."""
    return cast("dict[str, Plain]", plain(row))
