"""ConflictRecord: what a subscriber's log says of the conflicts that it met."""

from __future__ import annotations

import re

import attrs

from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.tablename import TableName


class ConflictType(OpenEnum):
    """The conflicts of logical replication, by the names that PostgreSQL gives them from 18 on."""

    INSERT_EXISTS = "insert_exists"
    """A row to insert is there already, by a unique key: an error."""
    UPDATE_ORIGIN_DIFFERS = "update_origin_differs"
    """A row to update was last changed by another: updated nevertheless."""
    UPDATE_EXISTS = "update_exists"
    """An updated row would have the key of another: an error."""
    UPDATE_MISSING = "update_missing"
    """A row to update is not there: skipped."""
    DELETE_ORIGIN_DIFFERS = "delete_origin_differs"
    """A row to delete was last changed by another: deleted nevertheless."""
    DELETE_MISSING = "delete_missing"
    """A row to delete is not there: skipped."""
    MULTIPLE_UNIQUE_CONFLICTS = "multiple_unique_conflicts"
    """A row has the keys of several others: an error."""
    UPDATE_DELETED = "update_deleted"
    """A row to update was deleted not long ago: skipped (19 on)."""


@attrs.frozen(kw_only=True)
class ConflictRecord:
    """A conflict that a subscription met.

    Source: the server's log (18 on), as far as it is in English.
    """

    type: ConflictType
    table: TableName
    is_error: bool
    """Whether its transaction was not applied; else the change was applied, or skipped."""
    detail: str
    """What the server says of the rows."""
    xid: int | None
    """The transaction on the publisher."""
    finish_lsn: LSN | None
    """Where that transaction finishes: what ``skip`` takes."""


_CONFLICT = re.compile(r'(ERROR|LOG):  conflict detected on relation "(.+)": conflict=(\w+)')
_CONTEXT = re.compile(
    r'origin "pg_(\d+)" .*in transaction (\d+),? finished at ([0-9A-F]+/[0-9A-F]+)'
)
_NEXT = re.compile(r"(?:LOG|ERROR|FATAL|PANIC|WARNING|NOTICE|INFO|DEBUG\d?):  ")


def logged_conflicts(log: str, oid: int) -> list[ConflictRecord]:
    """The conflicts of one subscription, in their order; what is cut off at the end is left out."""
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
    # The server writes the schema and the name with a dot between, and without quotes.
    schema, _, name = begun[2].partition(".")
    return ConflictRecord(
        type=ConflictType(begun[3]),
        table=TableName(schema, name),
        is_error=begun[1] == "ERROR",
        detail=detail,
        xid=int(context[2]),
        finish_lsn=LSN(context[3]),
    )
