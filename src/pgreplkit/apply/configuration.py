"""ApplierConfiguration: an applier described in a TOML file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from pgreplkit.apply.membership import Membership
from pgreplkit.apply.policies import (
    ApplyRemote,
    DeltaColumns,
    KeepLocal,
    LastUpdateWins,
    NodePriority,
    Policy,
)
from pgreplkit.apply.rules import TableRule
from pgreplkit.values.configured import (
    called,
    insist_on_keys,
    insist_on_strings,
    insist_on_type,
    parse_toml,
    refused,
    shown,
)

_POLICIES: Mapping[str, Callable[..., Policy]] = {
    "apply_remote": ApplyRemote,
    "keep_local": KeepLocal,
    "last_update_wins": LastUpdateWins,
    "delta_columns": DeltaColumns,
    "node_priority": NodePriority,
}
"""MergeWith takes a function, which a file cannot hold."""

_TEXTS = (
    *("publisher", "subscriber", "name", "on_error", "existing", "resume", "origin"),
    "on_publication_gap",
)
_SWITCHES = ("copy", "truncate")
_NUMBERS = {"retries": int, "copy_workers": int, "group": int, "reconnect": (int, float)}
_KNOWN = {*_TEXTS, *_SWITCHES, *_NUMBERS, "publications", "conflicts", "membership", "tables"}
_OF_A_RULE = {"to", "columns", "constants", "key"}
"""``where`` and ``change`` take functions, too."""
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
    given = parse_toml(text)
    insist_on_keys(given, _KNOWN, _NEEDED)
    for key in given.keys() & {*_TEXTS}:
        insist_on_type(given[key], key, str, "a string")
    for key in given.keys() & {*_SWITCHES}:
        insist_on_type(given[key], key, bool, "true or false")
    for key in given.keys() & _NUMBERS.keys():
        kind = _NUMBERS[key]
        insist_on_type(given[key], key, kind, "a whole number" if kind is int else "a number")
    insist_on_strings(given["publications"], "publications")
    # An argument that the file leaves out has the applier's own default.
    options = {key: given[key] for key in given if key not in ("publisher", "subscriber", "name")}
    if "conflicts" in given:
        options["conflicts"] = _policy(given["conflicts"])
    if "membership" in given:
        options["membership"] = called(Membership, "membership", given["membership"])
    if "tables" in given:
        options["tables"] = _rules(given["tables"])
    return ApplierConfiguration(given["publisher"], given["subscriber"], given["name"], options)


def _policy(given: object) -> Policy:
    """Return the policy of a name, or of a table with its ``policy`` and its arguments."""
    arguments = {"policy": given} if isinstance(given, str) else given
    if not isinstance(arguments, dict):
        raise refused(f"'conflicts' must be a string or a table, got {shown(given)}")
    name = arguments.pop("policy", None)
    if name is None:
        raise refused(f"'conflicts.policy' is missing: one of {', '.join(_POLICIES)}")
    if not isinstance(name, str) or name not in _POLICIES:
        raise refused(f"'conflicts' must be one of {', '.join(_POLICIES)}, got {name!r}")
    return called(_POLICIES[name], "conflicts", arguments)


def _rules(tables: object) -> dict[str, TableRule]:
    if not isinstance(tables, dict):
        raise refused("'tables' must be a table of tables, such as [tables.\"public.users\"]")
    rules = {}
    for table, rule in tables.items():
        if not isinstance(rule, dict):
            raise refused(f"'tables.{table}' must be a table")
        insist_on_keys(rule, _OF_A_RULE, (), within=f"tables.{table}")
        columns = rule.get("columns", {})
        if not isinstance(columns, dict):
            raise refused(f"'tables.{table}.columns' must be a table")
        for name, own in columns.items():
            # true would be a bool too, and mean nothing.
            if own is not False and not isinstance(own, str):
                raise refused(
                    f"'tables.{table}.columns.{name}' must be the subscriber's column, or false to"
                    f" drop it, got {own!r}"
                )
        # TOML has no NULL: false drops a column.
        rule["columns"] = {name: None if own is False else own for name, own in columns.items()}
        rules[table] = called(TableRule, f"tables.{table}", rule)
    return rules
