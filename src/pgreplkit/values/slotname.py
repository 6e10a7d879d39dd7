"""Validation of replication slot names."""

from __future__ import annotations

import re

from pgreplkit._text import LONGEST_NAME
from pgreplkit.errors import InvalidSlotName

_NAME = re.compile("[a-z0-9_]+", re.ASCII)


def checked_slot_name(name: str) -> str:
    """Return ``name`` if it is a valid replication slot name.

    Raises:
        InvalidSlotName: If no slot can have this name.
        TypeError: If it is not a str.
    """
    if not isinstance(name, str):
        raise TypeError(f"a slot name must be a str, not {type(name).__name__}")
    if not name:
        raise InvalidSlotName(name, "it is empty")
    if len(name) > LONGEST_NAME:
        raise InvalidSlotName(name, f"it is longer than {LONGEST_NAME} bytes")
    if not _NAME.fullmatch(name):
        raise InvalidSlotName(name, "it contains other characters")
    return name
