"""Loops of changes between an applier and another one, or a subscription, in the other direction.

Only what both servers show counts: the caller passes the tables of which every row is sent and
applied, since a row filter or a function may be what ends a loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import attrs

from pgreplkit.errors import OriginLoop
from pgreplkit.plans.server.readiness import checked
from pgreplkit.values.finding import Finding, Severity
from pgreplkit.values.tablename import TableName

CHECK = "changes of both directions"
Flow: TypeAlias = Mapping[TableName, TableName]
"""The table to which each published table is applied."""


def flow_names(flow: Flow) -> list[list[str]]:
    """Return a flow for JSON, whose keys could not be names of two parts."""
    return [[one.schema, one.name, to.schema, to.name] for one, to in sorted(flow.items())]


def flow_in(names: Iterable[Sequence[str]]) -> dict[TableName, TableName]:
    """Return the flow of the names that ``flow_names`` returned."""
    return {TableName(*one[:2]): TableName(*one[2:]) for one in names}


@attrs.frozen(kw_only=True)
class Direction:
    """An applier or a subscription, as far as others can send its changes back."""

    name: str
    """What it is and its name, such as "the applier 'shop'"."""
    flow: Flow
    takes_all: bool
    """Whether it also applies changes that its publisher got by replication."""
    origin: str | None
    """The replication origin of the transactions that it applies; None without one."""
    is_certain: bool = True
    """Whether it is certain that it connects the same two databases."""


@attrs.frozen
class Loop:
    """A table whose changes come back to the server on which they were made."""

    table: TableName
    other: Direction
    origin: str | None
    """The replication origin with which they come back; None if they have none."""
    found: str


def find_loops(own: Direction, others: Iterable[Direction]) -> Iterator[Loop]:
    """Yield a loop for each of the others that has one with the applier."""
    for other in others:
        if table := _returning(other, own):
            found = f"this applier would send back changes that {other.name} has brought from there"
            yield Loop(table, other, other.origin, f"{found}, such as changes of {table}")
        elif table := _returning(own, other):
            found = f"{other.name} would send back changes that this applier applies"
            yield Loop(table, other, own.origin, f"{found}, such as changes of {table}")


def _returning(there: Direction, back: Direction) -> TableName | None:
    """Return a table whose own changes come back to it, after they have gone there first."""
    for first in sorted(there.flow):
        table, passed = first, set[TableName]()
        # Each table has one target, so that the way either ends or comes to a table again.
        while table not in passed and table in there.flow:
            passed.add(table)
            reached = there.flow[table]
            if reached not in back.flow or not _sends_on(back, there):
                break
            table = back.flow[reached]
            if table == first:
                return first
            if not _sends_on(there, back):
                break
    return None


def _sends_on(one: Direction, other: Direction) -> bool:
    """Return whether one applies the changes that the other has brought to its publisher."""
    return one.takes_all or other.origin is None


def loop_finding(loops: Iterable[Loop], *, unread: str) -> Finding:
    """Return the finding on loops; ``unread`` says what could not be read, or is empty."""
    found = sorted(loops, key=lambda loop: not loop.other.is_certain)
    if not found:
        return checked(
            CHECK,
            ok=not unread,
            observed=unread or "no applier or subscription sends these changes back",
            needed="no applier of the other direction that sends changes back to where they come"
            " from",
            otherwise=Severity.INFO,
        )
    return checked(
        CHECK,
        ok=False,
        observed="; ".join(loop.found for loop in found),
        needed="that each direction sends only its own server's changes: others would go round"
        " without an end, and replace newer ones",
        remedy=OriginLoop.remedy,
        otherwise=Severity.CRITICAL if found[0].other.is_certain else Severity.WARNING,
    )
