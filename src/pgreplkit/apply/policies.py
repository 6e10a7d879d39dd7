"""Conflict policies: which of two versions of a row stays."""

from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from enum import Enum
from typing import Protocol, TypeAlias

import attrs

from pgreplkit.apply.versions import Version, is_superseded
from pgreplkit.protocol.pgoutput.rows import Row
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.functions import insist_on_function
from pgreplkit.values.seconds import Timeout, checked_seconds
from pgreplkit.values.several import several
from pgreplkit.values.tablename import AnyTable, TableName, table_of

Merge: TypeAlias = Callable[[Row, Row], Mapping[str, object]]
"""A function of the local and the remote row that returns the values to write."""


class Decision(Enum):
    """The fate of a remote change that conflicts with a local row."""

    APPLY = "apply"
    """The remote change replaces the local row."""
    SKIP = "skip"
    """The local row stays as it is."""
    MERGE = "merge"
    """The row becomes a combination of both: the function of MergeWith returns its values, or the
    differences of DeltaColumns are added to it."""


class Policy(Protocol):
    """Decides conflicts between a local row and a remote change."""

    def decide(self, local: Version | None, remote: Version) -> Decision:
        """Return the decision; ``local`` is None if there is no local row."""


def checked_policy(given: Policy, argument: str = "policy") -> Policy:
    """Return a policy.

    Raises: TypeError.
    """
    # A class instead of an object has the method too, and would fail at the first conflict.
    if isinstance(given, type) or not callable(getattr(given, "decide", None)):
        found = f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__
        raise TypeError(f"{argument} must be a policy such as LastUpdateWins(), not {found}")
    return given


@attrs.frozen
class ApplyRemote:
    """The publisher's change wins.

    An insert of an existing row replaces it. An update or delete of a missing row is skipped, as by
    a native subscription: there is nothing to change.
    """

    def decide(self, local: Version | None, remote: Version) -> Decision:
        """Apply the change if there is a row."""
        return Decision.SKIP if local is None else Decision.APPLY

    def converges(self, *, nodes: int) -> Finding:
        """Return whether the nodes have equal rows in the end if each of them writes."""
        return _found(
            self,
            nodes,
            "each node takes the change that arrives last, which is another one on each node",
        )


@attrs.frozen
class KeepLocal:
    """The subscriber's row wins: an insert of an existing row is skipped."""

    def decide(self, local: Version | None, remote: Version) -> Decision:
        """Skip the change."""
        return Decision.SKIP

    def converges(self, *, nodes: int) -> Finding:
        """Return whether the nodes have equal rows in the end if each of them writes."""
        return _found(self, nodes, "each node keeps its own row")


def _nodes(given: Iterable[str]) -> tuple[str, ...]:
    nodes = tuple(several(given, "nodes", at_least=2))
    for node in nodes:
        if not isinstance(node, str):
            raise TypeError(f"a node must be a str, not {type(node).__name__}")
    # The second place would never be used, and hide a mistake.
    if len({*nodes}) < len(nodes):
        raise ValueError(f"a node is named twice: {', '.join(nodes)}")
    return nodes


@attrs.frozen
class NodePriority:
    """A change does not replace a row that a node of higher priority wrote last.

    ``nodes`` are the names of the membership, the highest priority first. An update of a missing
    row inserts it. A deletion is not remembered.

    Needs PostgreSQL 14 and track_commit_timestamp on the subscriber.
    """

    nodes: tuple[str, ...] = attrs.field(converter=_nodes)

    def decide(self, local: Version | None, remote: Version) -> Decision:
        """Apply the change unless the local row is of a node before that of the change."""
        # Equal ranks are of one node, whose changes arrive in their order.
        if local is None or self.rank(local.origin) <= self.rank(remote.origin):
            return Decision.APPLY
        return Decision.SKIP

    def rank(self, node: str | None) -> int:
        """Return the rank of a node: higher for one that is named earlier, 0 for an unknown one."""
        return len(self.nodes) - self.nodes.index(node) if node in self.nodes else 0

    def converges(self, *, nodes: int) -> Finding:
        """Return whether the nodes have equal rows in the end if each of them writes."""
        return _found(
            self,
            nodes,
            "a node of lower priority keeps its own change of a row, which the others refuse",
        )


@attrs.frozen
class MergeWith:
    """A function decides the values of a row that both servers have changed.

    ``merge`` gets the local and the remote row, and returns a mapping of the columns to write;
    those that it leaves out stay. It is called for an insert of an existing row, and for an update
    of a row that is not as the publisher's was before. Deletions are applied; an update of a
    missing row inserts it.

    Needs REPLICA IDENTITY FULL on the publisher, and a unique key on the subscriber.
    """

    merge: Merge = attrs.field()

    @merge.validator
    def _takes_both(self, _: object, merge: Merge) -> None:
        insist_on_function(merge, "merge", takes=2)

    def decide(self, local: Version | None, remote: Version) -> Decision:
        """Merge, or apply the change if there is no row."""
        return Decision.APPLY if local is None else Decision.MERGE

    def converges(self, *, nodes: int) -> Finding:
        """Return whether the nodes have equal rows in the end if each of them writes."""
        return _found(
            self,
            nodes,
            "it depends on the function, whose results must only grow, as a maximum does, whatever"
            " the order and the number of its calls; and rows must not be deleted",
        )


def _seconds(given: Timeout) -> timedelta:
    return timedelta(seconds=checked_seconds(given, "max_clock_skew"))


@attrs.frozen
class LastUpdateWins:
    """The change with the later commit time wins, for servers that all write.

    Of equal commit times the one of the node with the higher rank wins. Deletions are remembered in
    tombstones, and an update of a missing row inserts it. A change is not committed before the
    subscriber's clock has passed its commit time: an update that is made after it has a later one.

    Needs track_commit_timestamp on the subscriber.
    """

    max_clock_skew: timedelta = attrs.field(default=timedelta(seconds=5), converter=_seconds)
    """The longest time to wait for the subscriber's clock; a number of seconds or a timedelta."""

    def decide(self, local: Version | None, remote: Version) -> Decision:
        """Apply the change unless the local version, or deletion, is newer."""
        return Decision.APPLY if is_superseded(local, remote) else Decision.SKIP

    def converges(self, *, nodes: int) -> Finding:
        """Return whether the nodes have equal rows in the end if each of them writes."""
        return _found(self, nodes, None)


def _delta_columns(
    given: Mapping[AnyTable, Iterable[str]],
) -> dict[TableName, tuple[str, ...]]:
    if not isinstance(given, Mapping):
        raise TypeError(f"columns must be a mapping of tables to names, not {type(given).__name__}")
    columns: dict[TableName, tuple[str, ...]] = {}
    for table, names in given.items():
        name = table_of(table)
        if name in columns:
            raise ValueError(f"{name} is named twice")
        columns[name] = tuple(several(names, f"columns of {name}", at_least=1))
        for column in columns[name]:
            if not isinstance(column, str):
                raise TypeError(f"a column of {name} must be a str, not {type(column).__name__}")
            if not column or "\0" in column:
                raise ValueError(f"a column of {name} is empty or contains NUL: {column!r}")
        # Its differences would be added twice.
        if len({*columns[name]}) < len(columns[name]):
            raise ValueError(f"a column of {name} is named twice: {', '.join(columns[name])}")
    if not columns:
        raise ValueError("columns names no table")
    return columns


@attrs.frozen
class DeltaColumns(LastUpdateWins):
    """The differences of some columns are added up, such as those of a balance.

    ``columns`` maps tables of the subscriber to the names of columns. An update adds the difference
    of the new and the old value, and an insert the value itself: on each node a column is the sum
    of what all nodes have added. As for other columns, and other tables, the later commit wins.

    A deletion wins over every change, and its key cannot be used again.

    Needs track_commit_timestamp on the subscriber, REPLICA IDENTITY FULL, and columns of the type
    smallint, integer, bigint or numeric(p, s) that are NOT NULL.
    """

    columns: Mapping[TableName, tuple[str, ...]] = attrs.field(converter=_delta_columns)
    max_clock_skew: timedelta = attrs.field(
        default=timedelta(seconds=5), converter=_seconds, kw_only=True
    )
    """The longest time to wait for the subscriber's clock; a number of seconds or a timedelta."""

    def decide(self, local: Version | None, remote: Version) -> Decision:
        """Apply the change; if the local version is newer, only add its differences."""
        return Decision.APPLY if is_superseded(local, remote) else Decision.MERGE


def deltas_of(policy: Policy) -> Mapping[TableName, tuple[str, ...]]:
    """Return the columns of the subscriber's tables to which a policy adds differences."""
    return policy.columns if isinstance(policy, DeltaColumns) else {}


def clock_limit(policy: Policy) -> timedelta:
    """Return the longest time for which a node waits until its clock has passed a commit time."""
    return (policy if isinstance(policy, LastUpdateWins) else LastUpdateWins()).max_clock_skew


def policy_text(policy: Policy) -> str:
    """Return the text by which a mesh records its policy: policies that decide alike have the same.

    Only the names of a function and of a user's own class are known.
    """
    # Not max_clock_skew, which decides no conflict.
    name, details = type(policy).__qualname__, ""
    if isinstance(policy, DeltaColumns):
        tables = sorted((str(table), sorted(names)) for table, names in policy.columns.items())
        details = "; ".join(f"{table}: {', '.join(names)}" for table, names in tables)
    elif isinstance(policy, NodePriority):
        details = ", ".join(policy.nodes)
    elif isinstance(policy, MergeWith):
        # An object with __call__ has no name of its own. The module is left out: that of a function
        # in a program's main file has another name where it is imported.
        merge = policy.merge
        details = getattr(merge, "__qualname__", type(merge).__qualname__)
    return f"{name}({details})"


def _found(policy: object, nodes: int, reason: str | None) -> Finding:
    """Return the finding on a policy; ``reason`` says why the rows can differ, if they can."""
    if type(nodes) is not int:
        raise TypeError(f"nodes must be an int, not {type(nodes).__name__}")
    # One node has no conflict, which would say nothing about the policy.
    if nodes < 2:
        raise ValueError(f"nodes must be >= 2, got {nodes}")
    name = type(policy).__name__
    return Finding(
        check="policy",
        severity=Severity.OK if reason is None else Severity.CRITICAL,
        found=f"with {name}, {nodes} nodes that all write "
        + ("have equal rows in the end" if reason is None else f"can differ permanently: {reason}"),
        needed="a policy that decides the same on every node, in any order of arrival",
        remedy="" if reason is None else "use LastUpdateWins(), or let one node write each table",
    )
