"""ApplySettings: how an applier works, checked."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TypeAlias

import attrs

from pgreplkit.apply.membership import Membership
from pgreplkit.apply.policies import LastUpdateWins, Policy
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
    membership: Membership | None
    on_error: str
    copy: bool
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

    @property
    def last_update_wins(self) -> LastUpdateWins | None:
        """The policy, if it decides by the times of commits."""
        return self.conflicts if isinstance(self.conflicts, LastUpdateWins) else None

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
    membership: Membership | None = None,
    on_error: str,
    copy: bool,
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
    _insist_on_stamps(conflicts, membership, resume)
    if type(retries) is not int:
        raise TypeError(f"retries is an int, not {type(retries).__name__}")
    if retries < 0:
        raise ValueError(f"retries must be >= 0, got {retries}")
    return ApplySettings(
        name=name,
        publications=names_of(publications),
        rules=_rules({} if tables is None else tables),
        conflicts=conflicts,
        membership=membership,
        on_error=on_error,
        copy=copy,
        existing=existing,
        truncate=truncate,
        resume=resume,
        # With stamps each node sends its own changes only: others would come twice, and go round.
        origin="none" if isinstance(conflicts, LastUpdateWins) else origin,
        retries=retries,
        reconnect=reconnect,
    )


def _insist_on_stamps(conflicts: Policy, membership: object, resume: str) -> None:
    if not isinstance(membership, Membership | None):
        raise TypeError(f"membership is a Membership, not {type(membership).__name__}")
    if not isinstance(conflicts, LastUpdateWins):
        return
    if membership is None:
        raise ValueError("LastUpdateWins needs membership, the names and ranks of all nodes")
    if resume != "origin":
        raise ValueError("LastUpdateWins needs resume='origin', which keeps the commit times")


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
