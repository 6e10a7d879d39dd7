"""ApplySettings: how an applier works, checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import attrs

from pgreplkit.apply.policies import Policy
from pgreplkit.apply.rules import TableRule
from pgreplkit.errors import ApplyError
from pgreplkit.protocol.pgoutput.options import names_of
from pgreplkit.values.tablename import AnyTable, TableName, table_of

_NAME = re.compile(r"[a-z0-9_]{1,50}", re.ASCII)
"""The slot's name is longer by a prefix, and has at most 63 characters."""

Rules: TypeAlias = Mapping[AnyTable, TableRule]


@attrs.frozen(kw_only=True)
class ApplySettings:
    """The arguments of an applier."""

    name: str
    publications: tuple[str, ...]
    rules: Mapping[TableName, TableRule]
    conflicts: Policy
    on_error: str
    copy: bool
    copy_workers: int
    existing: str
    truncate: bool
    resume: str
    origin: str
    retries: int
    reconnect: float | None

    @property
    def uses_origin(self) -> bool:
        """Whether the position is that of a replication origin."""
        return self.resume == "origin"

    def target_of(self, table: TableName) -> TableName:
        """Return the subscriber's table to which a table's changes are applied."""
        rule = self.rules.get(table)
        return table if rule is None or rule.to is None else rule.to

    def insist_on_other_tables(self, tables: Iterable[TableName]) -> None:
        """Refuse tables of one database whose changes would be applied to themselves.

        The copy would wait for its own lock, or remove the rows that it is to copy.

        Raises: ApplyError.
        """
        itself = next((table for table in tables if self.target_of(table) == table), None)
        if itself is not None:
            raise ApplyError(
                f"run the applier {self.name!r}",
                "publisher and subscriber are the same database, and changes of"
                f" {itself} would be applied to itself",
                remedy="give another database, or rules that map every table to another one",
            )


def apply_settings(
    name: str,
    publications: Iterable[str],
    tables: Rules | None,
    conflicts: Policy,
    *,
    on_error: str,
    copy: bool,
    copy_workers: int,
    existing: str,
    truncate: bool,
    resume: str,
    origin: str,
    retries: int,
    reconnect: float | None,
) -> ApplySettings:
    """Return the settings, checked.

    Raises: TypeError; ValueError.
    """
    if not isinstance(name, str):
        raise TypeError(f"an applier's name is a str, not {type(name).__name__}")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"an applier's name has 1 to 50 letters a-z, digits and underscores, got {name!r}"
        )
    choices = {
        "on_error": (on_error, ("stop", "park")),
        "existing": (existing, ("refuse", "merge", "truncate")),
        "resume": (resume, ("origin", "table")),
        "origin": (origin, ("any", "none")),
    }
    for argument, (given, known) in choices.items():
        if given not in known:
            raise ValueError(f"{argument} must be one of {', '.join(known)}, got {given!r}")
    if isinstance(conflicts, type) or not callable(getattr(conflicts, "decide", None)):
        raise TypeError("conflicts is a policy such as ApplyRemote()")
    for argument, number, least in (("retries", retries, 0), ("copy_workers", copy_workers, 1)):
        if type(number) is not int:
            raise TypeError(f"{argument} is an int, not {type(number).__name__}")
        if number < least:
            raise ValueError(f"{argument} must be >= {least}, got {number}")
    return ApplySettings(
        name=name,
        publications=names_of(publications),
        rules=_rules({} if tables is None else tables),
        conflicts=conflicts,
        on_error=on_error,
        copy=copy,
        copy_workers=copy_workers,
        existing=existing,
        truncate=truncate,
        resume=resume,
        origin=origin,
        retries=retries,
        reconnect=reconnect,
    )


def _rules(tables: Rules) -> dict[TableName, TableRule]:
    if not isinstance(tables, Mapping):
        raise TypeError(f"tables is a mapping of tables to rules, not a {type(tables).__name__}")
    rules: dict[TableName, TableRule] = {}
    for table, rule in tables.items():
        if not isinstance(rule, TableRule):
            raise TypeError(f"the rule of {table} is a TableRule, not {type(rule).__name__}")
        name = table_of(table)
        if name in rules:
            raise ValueError(f"{name} has two rules")
        rules[name] = rule
    return rules
