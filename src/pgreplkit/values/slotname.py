"""The rule for the names of replication slots."""

from __future__ import annotations

import re

from pgreplkit.errors import InvalidSlotName

_LONGEST = 63
_NAME = re.compile("[a-z0-9_]+", re.ASCII)


def checked_slot_name(name: str) -> str:
    """The name itself, when the server accepts it for a slot.

    Raises: InvalidSlotName; TypeError when it is not a str.
    """
    if not isinstance(name, str):
        raise TypeError(f"a slot's name is a str, not {type(name).__name__}")
    if not name:
        raise InvalidSlotName(name, "it is empty")
    if len(name) > _LONGEST:
        raise InvalidSlotName(name, f"it is longer than {_LONGEST} bytes")
    if not _NAME.fullmatch(name):
        raise InvalidSlotName(name, "it has other characters")
    return name
