"""shown_key: the key of a row as texts, for the log of conflicts."""

from __future__ import annotations

from collections.abc import Sequence

from pgreplkit.apply.binarytexts import binary_text
from pgreplkit.apply.statements import Statement
from pgreplkit.protocol.pgoutput.tuples import BINARY, Octets

_LOSSY = ("utf-8", "backslashreplace")
_BOOL, _CHARACTER = 16, 1042
_WORDS = {"t": "true", "f": "false"}


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
    is_binary = how == BINARY
    text = binary_text(type_oid, bytes(value)) if is_binary else value.decode(*_LOSSY)
    # As a cast to text changes it, by which a comparison reads keys.
    if type_oid == _BOOL:
        return _WORDS.get(text, text)
    return text.rstrip(" ") if type_oid == _CHARACTER else text
