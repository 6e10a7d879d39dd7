"""ConflictRecord: the conflicts of a subscription in the subscriber's log."""

from __future__ import annotations

import re

import attrs

from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.tablename import TableName


class ConflictType(OpenEnum):
    """A conflict of logical replication, by its name in PostgreSQL (18 on)."""

    INSERT_EXISTS = "insert_exists"
    """The row to insert violates a unique key: an error."""
    UPDATE_ORIGIN_DIFFERS = "update_origin_differs"
    """Another origin changed the row to update: it is still updated."""
    UPDATE_EXISTS = "update_exists"
    """The updated row violates a unique key: an error."""
    UPDATE_MISSING = "update_missing"
    """The row to update does not exist: the change is skipped."""
    DELETE_ORIGIN_DIFFERS = "delete_origin_differs"
    """Another origin changed the row to delete: it is still deleted."""
    DELETE_MISSING = "delete_missing"
    """The row to delete does not exist: the change is skipped."""
    MULTIPLE_UNIQUE_CONFLICTS = "multiple_unique_conflicts"
    """The row violates several unique keys: an error."""
    UPDATE_DELETED = "update_deleted"
    """The row to update was deleted before: the change is skipped (19 on)."""


@attrs.frozen(kw_only=True)
class ConflictRecord:
    """A conflict of a subscription.

    Source: the server's log (18 on), if it is in English.
    """

    type: ConflictType
    table: TableName
    is_error: bool
    """Whether the transaction failed; else the change was applied or skipped."""
    detail: str
    """The server's text about the rows."""
    xid: int | None
    """The transaction ID on the publisher."""
    finish_lsn: LSN | None
    """The end of the transaction: the argument of ``skip``."""


_CONFLICT = re.compile(r'(ERROR|LOG):  conflict detected on relation "(.+)": conflict=(\w+)')
_CONTEXT = re.compile(
    r'origin "pg_(\d+)" .*in transaction (\d+),? finished at ([0-9A-F]+/[0-9A-F]+)'
)
_NEXT = re.compile(r"(?:LOG|ERROR|FATAL|PANIC|WARNING|NOTICE|INFO|DEBUG\d?):  ")


def logged_conflicts(log: str, oid: int) -> list[ConflictRecord]:
    """Return the conflicts of one subscription, in order, without an incomplete last one."""
    records = []
    begun: re.Match[str] | None = None
    detail: list[str] = []
    for line in log.splitlines():
        conflict = _CONFLICT.search(line)
        if conflict:
            begun, detail = conflict, []
        elif begun is None:
            continue
        elif "DETAIL:  " in line:
            detail = [line.split("DETAIL:  ", 1)[1]]
        elif line.startswith("\t") and detail:
            detail.append(line.strip())
        elif "CONTEXT:  " in line:
            context = _CONTEXT.search(line)
            if context and int(context[1]) == oid:
                records.append(_record(begun, " ".join(detail), context))
            begun = None
        elif _NEXT.search(line):
            begun = None
    return records


def _record(begun: re.Match[str], detail: str, context: re.Match[str]) -> ConflictRecord:
    # The server writes schema.name without quotes.
    schema, _, name = begun[2].partition(".")
    return ConflictRecord(
        type=ConflictType(begun[3]),
        table=TableName(schema, name),
        is_error=begun[1] == "ERROR",
        detail=detail,
        xid=int(context[2]),
        finish_lsn=LSN(context[3]),
    )
