"""The rule for the names of roles."""

from __future__ import annotations

from pgreplkit.errors import InvalidRoleName

_LONGEST = 63


def checked_role_name(name: str) -> str:
    """The name itself, when the server keeps it as it is.

    The server cuts a name that is too long, with no more than a notice.

    Raises: InvalidRoleName; TypeError when it is not a str.
    """
    if not isinstance(name, str):
        raise TypeError(f"a role's name is a str, not {type(name).__name__}")
    if not name or "\0" in name:
        raise InvalidRoleName(name, "it is empty or has a NUL in it")
    if not name.isascii() and any("\ud800" <= letter <= "\udfff" for letter in name):
        raise InvalidRoleName(name, "it has half of a surrogate pair in it")
    if len(name.encode()) > _LONGEST:
        raise InvalidRoleName(name, f"it is longer than {_LONGEST} bytes")
    if name.startswith("pg_"):
        raise InvalidRoleName(name, "names that begin with pg_ are the server's own")
    return name
