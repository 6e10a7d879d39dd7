"""Validation of role names."""

from __future__ import annotations

from pgreplkit._text import LONGEST_NAME
from pgreplkit.errors import InvalidRoleName


def checked_role_name(name: str) -> str:
    """Return ``name`` if it is a valid role name.

    A name that is too long is an error here because the server truncates it with only a notice.

    Raises:
        InvalidRoleName: If no role can have this name.
        TypeError: If it is not a str.
    """
    if not isinstance(name, str):
        raise TypeError(f"a role name must be a str, not {type(name).__name__}")
    if not name or "\0" in name:
        raise InvalidRoleName(name, "it is empty or contains NUL")
    if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
        raise InvalidRoleName(name, "it contains a lone surrogate")
    if len(name.encode()) > LONGEST_NAME:
        raise InvalidRoleName(name, f"it is longer than {LONGEST_NAME} bytes")
    if name.startswith("pg_"):
        raise InvalidRoleName(name, "names that start with pg_ are reserved")
    return name
