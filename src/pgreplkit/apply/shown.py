"""shown_key: the key of a row as texts, for the log of conflicts."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

from pgreplkit.apply.statements import Statement
from pgreplkit.protocol.pgoutput.tuples import BINARY, Octets

_INTEGERS = {20, 21, 23, 26}
_TEXTS = {18, 19, 25, 1042, 1043}
_UUID = 2950


def shown_key(
    statement: Statement, values: Sequence[Octets], formats: Sequence[int]
) -> dict[str, str | None]:
    """Return the columns that identify the row of a step, as texts."""
    return {
        name: _shown(values[place], formats[place], type_oid)
        for name, place, type_oid in statement.key
    }


def _shown(value: Octets, how: int, type_oid: int) -> str | None:
    if value is None:
        return None
    if how != BINARY or type_oid in _TEXTS:
        return value.decode("utf-8", "backslashreplace")
    if type_oid in _INTEGERS:
        return str(int.from_bytes(value, "big", signed=type_oid != 26))
    if type_oid == _UUID:
        return str(uuid.UUID(bytes=value))
    return "\\x" + value.hex()
