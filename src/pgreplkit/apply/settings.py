"""ApplySettings: how an applier works, checked."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, TypeAlias

import attrs

from pgreplkit.apply.membership import Membership
from pgreplkit.apply.onerror import OnError
from pgreplkit.apply.policies import (
    ApplyRemote,
    DeltaColumns,
    LastUpdateWins,
    MergeWith,
    NodePriority,
    Policy,
    checked_policy,
    deltas_of,
)
from pgreplkit.apply.rules import TableRule
from pgreplkit.apply.stamped import Stamps
from pgreplkit.catalog.logical.applying import PREFIX
from pgreplkit.errors import ApplyError, TableNotFound
from pgreplkit.protocol.pgoutput.options import names_of
from pgreplkit.values.flags import checked_flags
from pgreplkit.values.functions import insist_on_function
from pgreplkit.values.seconds import reconnect_seconds
from pgreplkit.values.tablename import AnyTable, TableName, table_of

COPY_AGAIN = "drop() the applier, and copy the tables again"
"""What to do where the position of an applier is worth nothing."""
_NAME = re.compile(r"[a-z0-9_]{1,50}", re.ASCII)
"""The slot's name is longer by a prefix, and has at most 63 characters."""

Rules: TypeAlias = Mapping[AnyTable, TableRule]


def _checked_name(name: str) -> str:
    if not isinstance(name, str):
        raise TypeError(f"an applier's name must be a str, not {type(name).__name__}")
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"an applier's name has 1 to 50 letters a-z, digits and underscores, got {name!r}"
        )
    return name


def _rules(tables: Rules | None) -> dict[TableName, TableRule]:
    tables = {} if tables is None else tables
    if not isinstance(tables, Mapping):
        raise TypeError(f"tables must be a mapping of tables to rules, not {type(tables).__name__}")
    rules: dict[TableName, TableRule] = {}
    for table, rule in tables.items():
        if not isinstance(rule, TableRule):
            raise TypeError(f"the rule of {table} must be a TableRule, not {type(rule).__name__}")
        name = table_of(table)
        if name in rules:
            raise ValueError(f"{name} has two rules")
        rules[name] = rule
    return rules


def _policy(conflicts: Policy | None) -> Policy:
    return ApplyRemote() if conflicts is None else checked_policy(conflicts, "conflicts")


def _membership(membership: Membership | None) -> Membership | None:
    if not isinstance(membership, Membership | None):
        raise TypeError(f"membership must be a Membership, not {type(membership).__name__}")
    return membership


def _one_of(*known: str) -> Callable[[object, attrs.Attribute[str], str], None]:
    def check(_settings: object, argument: attrs.Attribute[str], given: str) -> None:
        if given not in known:
            raise ValueError(f"{argument.name} must be one of {', '.join(known)}, got {given!r}")

    return check


def _flag(_settings: object, argument: attrs.Attribute[bool], given: bool) -> None:
    checked_flags(**{argument.name: given})


def _at_least(least: int) -> Callable[[object, attrs.Attribute[int], int], None]:
    def check(_settings: object, argument: attrs.Attribute[int], given: int) -> None:
        # A bool is an int, and True is not a number of attempts.
        if type(given) is not int:
            raise TypeError(f"{argument.name} must be an int, not {type(given).__name__}")
        if given < least:
            raise ValueError(f"{argument.name} must be >= {least}, got {given}")

    return check


def _on_error(_settings: object, argument: attrs.Attribute[OnError], given: OnError) -> None:
    if not callable(given) and given not in ("stop", "park"):
        raise ValueError(f"on_error must be stop, park or a function, got {given!r}")
    if callable(given):
        insist_on_function(given, "on_error", takes=1)


@attrs.frozen(kw_only=True)
class ApplySettings:
    """The arguments of an applier, checked.

    Raises: TypeError; ValueError.
    """

    name: str = attrs.field(converter=_checked_name)
    publications: tuple[str, ...] = attrs.field(converter=names_of)
    rules: Mapping[TableName, TableRule] = attrs.field(alias="tables", converter=_rules)
    conflicts: Policy = attrs.field(converter=_policy)
    membership: Membership | None = attrs.field(converter=_membership, default=None)
    on_error: OnError = attrs.field(validator=_on_error)
    copy: bool = attrs.field(validator=_flag)
    copy_workers: int = attrs.field(validator=_at_least(1))
    existing: str = attrs.field(validator=_one_of("refuse", "merge", "truncate"))
    truncate: bool = attrs.field(validator=_flag)
    resume: str = attrs.field(validator=_one_of("origin", "table"))
    origin: str = attrs.field(validator=_one_of("any", "none"))
    on_publication_gap: Literal["raise", "skip"] = attrs.field(
        validator=_one_of("raise", "skip"), default="raise"
    )
    group: int = attrs.field(validator=_at_least(1), default=1)
    retries: int = attrs.field(validator=_at_least(0))
    reconnect: float | None = attrs.field(converter=reconnect_seconds)

    def __attrs_post_init__(self) -> None:
        policy = self.conflicts
        # Both need each commit by itself: its time, or its rows.
        if self.group > 1 and (self.membership is not None or self.reads_commits or self.merges):
            raise ValueError(
                f"{type(policy).__name__} needs group=1: transactions that are applied together"
                " have one commit time"
            )
        # Both would decide the values of one row, and in which order is not obvious.
        if isinstance(policy, MergeWith | DeltaColumns) and any(
            rule.needs_rows for rule in self.rules.values()
        ):
            raise ValueError(f"{type(policy).__name__} takes no rules with where= or change=")
        if not isinstance(policy, LastUpdateWins | NodePriority):
            return
        name = type(policy).__name__
        if self.resume != "origin":
            raise ValueError(f"{name} needs resume='origin', which records the writer of a row")
        if self.copy:
            raise ValueError(
                f"{name} needs copy=False: copied rows would be of the time of the copy, and of no"
                " publisher; a Mesh copies rows with the times and origins of their commits"
            )
        if self.membership is None:
            raise ValueError(f"{name} needs membership, the names and ranks of all nodes")
        if isinstance(policy, NodePriority):
            # A node without a place would have rank 0, as would another one: then neither row would
            # win.
            for node in self.membership.ranks:
                if node not in policy.nodes:
                    raise ValueError(f"NodePriority does not name the node {node!r}")

    @property
    def operation(self) -> str:
        """The operation of a run, for errors."""
        return f"run the applier {self.name!r}"

    @property
    def slot(self) -> str:
        """The name of the slot on the publisher, which is that of the origin, too."""
        return PREFIX + self.name

    @property
    def last_update_wins(self) -> LastUpdateWins | None:
        """The policy, if it decides by the times of commits."""
        return self.conflicts if isinstance(self.conflicts, LastUpdateWins) else None

    @property
    def reads_commits(self) -> bool:
        """Whether the policy depends on who wrote a row last, or when."""
        return isinstance(self.conflicts, LastUpdateWins | NodePriority)

    @property
    def ranks(self) -> Mapping[str, int] | None:
        """The rank of each node, if the policy compares ranks."""
        policy, members = self.conflicts, self.membership
        if members is None or not isinstance(policy, LastUpdateWins | NodePriority):
            return None
        # Its order of the nodes is the rank; that of the membership is for equal times.
        if isinstance(policy, NodePriority):
            return {node: policy.rank(node) for node in members.ranks}
        return members.ranks

    @property
    def ranks_of_origins(self) -> Mapping[str, int] | None:
        """The rank of each origin on the subscriber, empty for its own writers."""
        members, ranks = self.membership, self.ranks
        if members is None or ranks is None:
            return None
        return {"": ranks[members.node]} | {
            name: ranks[node] for name, node in members.origins.items()
        }

    @property
    def stamps(self) -> Stamps | None:
        """How statements compare versions; None if they do not."""
        members, ranks = self.membership, self.ranks
        if members is None or ranks is None:
            return None
        by_time = self.last_update_wins is not None
        # Without times, ranks are all that can be compared.
        by_rank = members.ties == "rank" or not by_time
        return Stamps(ranks[members.source] if by_rank else None, by_time, self.deltas)

    @property
    def deltas(self) -> Mapping[TableName, tuple[str, ...]]:
        """The columns of the subscriber's tables to which differences are added."""
        return deltas_of(self.conflicts)

    @property
    def merges(self) -> bool:
        """Whether a function decides conflicts, so that rows are read as Python objects."""
        return isinstance(self.conflicts, MergeWith)

    @property
    def merges_copied(self) -> bool:
        """Whether copied rows replace those that exist."""
        return self.copy and self.existing == "merge"

    @property
    def takes_own_only(self) -> bool:
        """Whether the publisher's own changes are applied, and none that it got from others.

        Nodes that all write send each their own changes: others would come twice, and go round.
        """
        return self.origin == "none" or self.last_update_wins is not None

    @property
    def uses_origin(self) -> bool:
        """Whether the position is that of a replication origin."""
        return self.resume == "origin"

    @property
    def lost_slot_remedy(self) -> str:
        """What to do if the slot is lost: changes are missing, which nothing can send again."""
        if self.membership is not None:
            return (
                "run the streams to the other nodes, each by node(…).run(); meanwhile let the"
                " subscriber leave the mesh, or forget it with plan_forget() if it was removed,"
                " empty its tables, and let it join again"
            )
        return COPY_AGAIN

    @property
    def missing_slot_remedy(self) -> str:
        """What to do if the slot does not exist."""
        if self.membership is not None:
            node, source = self.membership.node, self.membership.source
            return (
                f"if {node} was removed from the mesh, use plan_forget() there, empty its tables,"
                f" and let it join again; if {source} has lost the slot in a failover,"
                f" {self.lost_source_remedy}"
            )
        return self.lost_slot_remedy

    @property
    def slot_remedies(self) -> dict[str, str]:
        """What to do in the states of an applier that has no slot with its changes."""
        return {"lost": self.lost_slot_remedy, "missing": self.missing_slot_remedy}

    @property
    def lost_source_remedy(self) -> str:
        """What to do if the publisher has lost changes that the subscriber has."""
        if self.membership is not None:
            return (
                f"stop the server of {self.membership.source}, and let the others forget it with"
                " plan_remove(); start it, use plan_forget() there, empty its tables, and let it"
                " join again"
            )
        return COPY_AGAIN

    @property
    def gap_remedy(self) -> str:
        """What to do if changes were made while a publication did not exist."""
        if self.membership is not None:
            return self.lost_slot_remedy
        return (
            "drop() the applier, and run it again with existing='truncate', which copies the tables"
            " again; or, from 18 on, with on_publication_gap='skip' if no change is missing"
        )

    def target_of(self, table: TableName) -> TableName:
        """Return the subscriber's table to which a table's changes are applied."""
        rule = self.rules.get(table)
        return table if rule is None or rule.to is None else rule.to

    def reads_rows(self, table: TableName) -> bool:
        """Return whether a function of the table's rule reads its rows."""
        rule = self.rules.get(table)
        return rule is not None and rule.needs_rows

    def replaces_rows(self, table: TableName) -> bool:
        """Return whether INSERT … ON CONFLICT writes rows of a published table."""
        return self.merges_copied or self.reads_commits or self.reads_rows(table)

    def insist_on_deltas(self, tables: Sequence[TableName]) -> None:
        """Refuse delta columns of a table to which no changes are applied.

        Raises: TableNotFound.
        """
        targets = {self.target_of(table) for table in tables}
        if unknown := {*self.deltas} - targets:
            named, known = (", ".join(map(str, sorted(one))) for one in (unknown, targets))
            raise TableNotFound(
                self.operation,
                f"there are delta columns of {named}; changes are applied to {known}",
                remedy="name the subscriber's tables",
            )

    def insist_on_other_tables(self, tables: Iterable[TableName]) -> None:
        """Refuse tables whose changes would be applied to themselves.

        The copy would wait for its own lock, or remove the rows that it is to copy.

        Raises: ApplyError.
        """
        itself = next((table for table in tables if self.target_of(table) == table), None)
        if itself is not None:
            raise ApplyError(
                self.operation,
                "the publisher is the subscriber's own database or a standby of it, and changes of"
                f" {itself} would be applied to itself",
                remedy="use another database, or rules that map every table to another one",
            )
