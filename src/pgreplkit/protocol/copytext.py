"""Rows of COPY TO in text format, split into values."""

from __future__ import annotations

import re

from pgreplkit._text import counted
from pgreplkit.errors import InvalidChangeMessage

_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_SPECIAL = {b"b": b"\b", b"f": b"\f", b"n": b"\n", b"r": b"\r", b"t": b"\t", b"v": b"\v"}


def copied_values(row: bytes, count: int) -> list[bytes | None]:
    """Return the values of one row of ``count`` columns, as texts; None for NULL.

    Raises: InvalidChangeMessage for a row with another number of columns.
    """
    line = row[:-1] if row.endswith(b"\n") else row
    fields = line.split(b"\t") if count else []
    if len(fields) != count or (not count and line):
        raise InvalidChangeMessage(row, f"the copied row has not {counted(count, 'column')}")
    # Most rows have nothing to unescape.
    if b"\\" not in line:
        return [*fields]
    return [None if field == b"\\N" else _ESCAPED.sub(_unescaped, field) for field in fields]


def _unescaped(match: re.Match[bytes]) -> bytes:
    letter = match[1]
    return _SPECIAL.get(letter, letter)
