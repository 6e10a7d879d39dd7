"""Errors of applying changes to another server."""

from __future__ import annotations

from datetime import timedelta

from pgreplkit.errors.server import INSUFFICIENT_PRIVILEGE, PROTOCOL_VIOLATION, ServerError

_OF_A_CHANGE = (
    PROTOCOL_VIOLATION,
    "0A",
    "21",
    "22",
    "23",
    "27",
    "2F",
    "38",
    "39",
    "42",
    "44",
    "54",
    "P0",
)
"""Errors, and classes of errors, that the data, a constraint or a trigger causes; the first one
also stands for a binary value that is too short for its type, 54 for one that is too large for an
index, and 0A for the TRUNCATE of a table to which others refer."""


def is_of_a_change(sqlstate: str | None) -> bool:
    """Return whether a change of the transaction is the cause.

    A full disk or a missing privilege would refuse every transaction that follows, too.
    """
    return (
        sqlstate is not None
        and sqlstate != INSUFFICIENT_PRIVILEGE
        and sqlstate.startswith(_OF_A_CHANGE)
    )


class ApplyError(ServerError):
    """Changes that could not be applied to the subscriber."""


class SchemaMismatch(ApplyError):
    """A table whose changes do not fit the subscriber's table.

    Nothing of the transaction is applied. Align the tables, and run the applier again.

    Attributes:
        table: the publisher's table, as SQL.
        problems: the differences, one text each.
        sql: statements that align the subscriber's table; empty if the decision is yours.
    """

    table: str
    problems: tuple[str, ...]
    sql: tuple[str, ...]

    def __init__(self, table: str, problems: tuple[str, ...], sql: tuple[str, ...] = ()) -> None:
        self.table, self.problems, self.sql = table, problems, sql
        remedy = "; ".join(sql) if sql else "align the tables, and run the applier again"
        super().__init__(f"apply changes of {table}", "; ".join(problems), remedy=remedy)

    def __reduce__(
        self,
    ) -> tuple[type[SchemaMismatch], tuple[str, tuple[str, ...], tuple[str, ...]]]:
        return SchemaMismatch, (self.table, self.problems, self.sql)


class ApplyFailed(ApplyError):
    """A transaction of which one change was refused; nothing of it is applied.

    Attributes:
        xid: the transaction's ID on the publisher.
        lsn: the end of the transaction on the publisher.
        table: the publisher's table, as SQL; None if no single change was refused, as by a
            constraint that is checked at the end.
        change_number: the number of the refused change in its transaction, from 1; None if no
            single change was refused.
    """

    xid: int
    lsn: str
    table: str | None
    change_number: int | None

    def __init__(
        self,
        xid: int,
        lsn: str,
        table: str | None,
        change_number: int | None,
        found: str,
        sqlstate: str | None = None,
    ) -> None:
        self.xid, self.lsn, self.table, self.change_number = xid, lsn, table, change_number
        where = "" if change_number is None else f", change {change_number}"
        where += "" if table is None else f" ({table})"
        remedy = "remove the cause and run the applier again"
        if is_of_a_change(sqlstate):
            remedy += ", or use on_error='park'"
        super().__init__(f"apply transaction {xid} at {lsn}{where}", found, sqlstate, remedy=remedy)

    def __reduce__(
        self,
    ) -> tuple[type[ApplyFailed], tuple[int, str, str | None, int | None, str, str | None]]:
        facts = (self.xid, self.lsn, self.table, self.change_number, self.found, self.sqlstate)
        return ApplyFailed, facts


class ApplierActive(ApplyError):
    """An applier whose name another session is using.

    Attributes:
        name: the applier's name.
        pid: the subscriber's process that uses it; None if it is unknown.
    """

    remedy = "stop it first; another applier needs another name"

    name: str
    pid: int | None

    def __init__(self, name: str, pid: int | None) -> None:
        self.name, self.pid = name, pid
        found = f"process {pid} of the subscriber applies it" if pid else "another session has it"
        super().__init__(f"run the applier {name!r}", found, "55006")

    def __reduce__(self) -> tuple[type[ApplierActive], tuple[str, int | None]]:
        return ApplierActive, (self.name, self.pid)


class OriginLoop(ApplyError):
    """Changes that come back to the server on which they were made, directly or by others.

    Attributes:
        origin: the replication origin with which they come back; None if they have none, as those
            of an applier with ``resume="table"``.
    """

    remedy = (
        "use origin='none' and resume='origin' for the appliers of both directions, origin = none"
        " for a subscription (from 16 on), or a Mesh; or publish other tables"
    )

    origin: str | None

    def __init__(self, operation: str, origin: str | None, found: str = "") -> None:
        self.origin = origin
        super().__init__(operation, found or f"the publisher got them from the origin {origin!r}")

    def __reduce__(self) -> tuple[type[OriginLoop], tuple[str, str | None, str]]:
        return OriginLoop, (self.operation, self.origin, self.found)


class ClockSkewTooLarge(ApplyError):
    """A change whose commit time is too far ahead of the subscriber's clock.

    It is not applied: later updates would have earlier times. Nothing is lost; the applier
    continues with it when it runs again.

    Attributes:
        ahead: the time by which the change is ahead.
        limit: the longest time that the policy waits.
    """

    remedy = (
        "correct the clock that is wrong, and run the applier again; before the publisher's is set"
        " back, stop those who write there, until it has passed the time of its last commit"
    )

    ahead: timedelta
    limit: timedelta

    def __init__(self, operation: str, ahead: timedelta, limit: timedelta) -> None:
        self.ahead, self.limit = ahead, limit
        super().__init__(
            operation,
            f"the publisher's next commit is {ahead.total_seconds():.3f} s ahead of the"
            f" subscriber's clock, and max_clock_skew is {limit.total_seconds():g} s",
        )

    def __reduce__(self) -> tuple[type[ClockSkewTooLarge], tuple[str, timedelta, timedelta]]:
        return ClockSkewTooLarge, (self.operation, self.ahead, self.limit)
