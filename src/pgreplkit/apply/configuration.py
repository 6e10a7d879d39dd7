"""ApplierConfiguration: an applier described in a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import attrs

from pgreplkit.apply.membership import Membership
from pgreplkit.apply.policies import (
    ApplyRemote,
    KeepLocal,
    LastUpdateWins,
    NodePriority,
    Policy,
)
from pgreplkit.apply.rules import TableRule

_POLICIES: Mapping[str, Callable[..., Policy]] = {
    "apply_remote": ApplyRemote,
    "keep_local": KeepLocal,
    "last_update_wins": LastUpdateWins,
    "node_priority": NodePriority,
}
"""MergeWith takes a function, which a file cannot hold."""
T = TypeVar("T")

_TEXTS = ("publisher", "subscriber", "name", "on_error", "existing", "resume", "origin")
_SWITCHES = ("copy", "truncate")
_NUMBERS = {"retries": int, "copy_workers": int, "reconnect": (int, float)}
_KNOWN = {*_TEXTS, *_SWITCHES, *_NUMBERS, "publications", "conflicts", "membership", "tables"}
_NEEDED = ("publisher", "subscriber", "name", "publications")


@attrs.frozen(repr=False)
class ApplierConfiguration:
    """The arguments of an applier."""

    publisher: str
    subscriber: str
    name: str
    options: Mapping[str, Any]
    """The keyword arguments."""

    def __repr__(self) -> str:
        # The connection strings may hold passwords.
        return f"<ApplierConfiguration {self.name!r}>"


def parse_configuration(text: str) -> ApplierConfiguration:
    """Return the configuration of a TOML text.

    Raises: ValueError.
    """
    try:
        given = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"could not read the configuration: it is not TOML: {error}") from None
    # A misspelt key would leave its default in force.
    if unknown := sorted(given.keys() - _KNOWN):
        raise _refused(f"unknown key {unknown[0]!r}; known are {', '.join(sorted(_KNOWN))}")
    if missing := [key for key in _NEEDED if key not in given]:
        raise _refused(f"{missing[0]!r} is missing")
    for key in given.keys() & {*_TEXTS}:
        _insist(given, key, str, "a string")
    for key in given.keys() & {*_SWITCHES}:
        _insist(given, key, bool, "true or false")
    for key in given.keys() & _NUMBERS.keys():
        _insist(given, key, _NUMBERS[key], "a number")
    publications = given["publications"]
    if not isinstance(publications, list) or not all(isinstance(p, str) for p in publications):
        raise _refused("'publications' must be a list of strings")
    options = {key: given[key] for key in given if key not in ("publisher", "subscriber", "name")}
    if "conflicts" in given:
        options["conflicts"] = _policy(given["conflicts"])
    if "membership" in given:
        options["membership"] = _called(Membership, "membership", given["membership"])
    if "tables" in given:
        options["tables"] = _rules(given["tables"])
    return ApplierConfiguration(given["publisher"], given["subscriber"], given["name"], options)


def _refused(found: str) -> ValueError:
    return ValueError(f"could not read the configuration: {found}")


def _insist(given: Mapping[str, object], key: str, kind: Any, what: str) -> None:
    value = given[key]
    # In Python a bool is an int too.
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise _refused(f"{key!r} must be {what}, got {value!r}")


def _policy(given: object) -> Policy:
    """Return the policy of a name, or of a table with its ``policy`` and its arguments."""
    arguments = {"policy": given} if isinstance(given, str) else given
    if not isinstance(arguments, dict):
        raise _refused(f"'conflicts' must be a string or a table, got {given!r}")
    name = arguments.pop("policy", None)
    if name not in _POLICIES:
        raise _refused(f"'conflicts' must be one of {', '.join(_POLICIES)}, got {name!r}")
    return _called(_POLICIES[name], "conflicts", arguments)


def _called(make: Callable[..., T], key: str, arguments: object) -> T:
    if not isinstance(arguments, dict):
        raise _refused(f"{key!r} must be a table, got {arguments!r}")
    try:
        return make(**arguments)
    except (TypeError, ValueError) as error:
        raise _refused(f"{key!r}: {error}") from None


def _rules(tables: object) -> dict[str, TableRule]:
    if not isinstance(tables, dict):
        raise _refused("'tables' must be a table of tables, such as [tables.\"public.users\"]")
    rules = {}
    for table, rule in tables.items():
        if not isinstance(rule, dict):
            raise _refused(f"'tables.{table}' must be a table")
        if unknown := sorted(rule.keys() - {"to", "columns", "constants", "key"}):
            raise _refused(f"'tables.{table}' has the unknown key {unknown[0]!r}")
        columns = rule.get("columns", {})
        if not isinstance(columns, dict):
            raise _refused(f"'tables.{table}.columns' must be a table")
        for name, own in columns.items():
            if own is not False and not isinstance(own, str):
                raise _refused(
                    f"'tables.{table}.columns.{name}' must be the subscriber's column, or false to"
                    f" drop it, got {own!r}"
                )
        # TOML has no NULL: false drops a column.
        rule["columns"] = {name: None if own is False else own for name, own in columns.items()}
        rules[table] = _called(TableRule, f"tables.{table}", rule)
    return rules
