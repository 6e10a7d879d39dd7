"""Checks of configuration files in TOML: each error names the key."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def parse_toml(text: str) -> dict[str, Any]:
    """Return the content of a TOML text.

    Raises: ValueError.
    """
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"could not read the configuration: it is not TOML: {error}") from None
    except RecursionError:
        raise refused("its arrays or tables are nested too deeply") from None
    except ValueError:
        # Python converts a limited number of digits.
        raise refused("a number in it is too long") from None


def refused(found: str) -> ValueError:
    """Return the error of a wrong configuration."""
    return ValueError(f"could not read the configuration: {found}")


def shown(value: object) -> str:
    """Return a value for an error; of texts, arrays and tables only the kind.

    They may hold a password, as a connection string does under a wrong key.
    """
    for kind, name in ((str, "a string"), (list, "an array"), (dict, "a table")):
        if isinstance(value, kind):
            return name
    return repr(value)


def insist_on_keys(
    given: Mapping[str, object], known: Iterable[str], needed: Iterable[str], within: str = ""
) -> None:
    """Refuse unknown keys and missing ones; ``within`` is the key of the table.

    Raises: ValueError.
    """
    where = f" in {within!r}" if within else ""
    # A misspelt key would leave its default in force.
    if unknown := sorted(given.keys() - {*known}):
        names = ", ".join(sorted(known))
        raise refused(f"unknown key {unknown[0]!r}{where}; known are {names}")
    if missing := [key for key in needed if key not in given]:
        raise refused(f"{missing[0]!r} is missing{where}")


def insist_on_type(value: object, key: str, kind: Any, what: str) -> None:
    """Refuse a value of another type.

    Raises: ValueError.
    """
    # In Python a bool is an int too.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise refused(f"{key!r} must be {what}, got {shown(value)}")


def insist_on_strings(value: object, key: str) -> None:
    """Refuse a value that is not a list of strings.

    Raises: ValueError.
    """
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise refused(f"{key!r} must be a list of strings")


def called(make: Callable[..., T], key: str, arguments: object) -> T:
    """Call ``make`` with the arguments in a table.

    Raises: ValueError.
    """
    if not isinstance(arguments, dict):
        raise refused(f"{key!r} must be a table, got {shown(arguments)}")
    try:
        return make(**arguments)
    except (TypeError, ValueError) as error:
        raise refused(f"{key!r}: {error}") from None
