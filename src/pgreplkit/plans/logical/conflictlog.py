"""ConflictRecord: the conflicts of a subscription in the subscriber's log."""

import re

import attrs

from pgreplkit.plans.logical.serverlog import QUOTED, apply_context, log_entries
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record
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
class ConflictRecord(Record):
    """A conflict of a subscription.

    Source: the server's log (18 on), in English or another language with known labels.
    """

    type: ConflictType
    table: TableName
    is_error: bool
    """Whether the transaction failed; otherwise the change was applied or skipped."""
    detail: str
    """The server's text about the rows."""
    xid: int | None
    """The transaction ID on the publisher."""
    finish_lsn: LSN | None
    """The end of the transaction: the argument of ``skip``."""


_TYPES = "|".join(kind.value for kind in ConflictType)
# The word "conflict" is translated in the log, the name of the type is not.
_CONFLICT = re.compile(rf"conflict=(\w+)|(?<![0-9A-Za-z_])({_TYPES})(?![0-9A-Za-z_])")


def logged_conflicts(log: str, oid: int) -> list[ConflictRecord]:
    """Return the conflicts of one subscription, in order, without an incomplete last one."""
    records = []
    for entry in log_entries(log):
        conflict, relation = _CONFLICT.search(entry.message), re.search(QUOTED, entry.message)
        context = apply_context(entry.context)
        if not conflict or not relation or context is None or context.oid != oid:
            continue
        # The server writes schema.name without quotes of SQL.
        schema, _, name = relation[1].partition(".")
        # The end of the entry is not written yet, or the log's format leaves it out.
        if not name or context.xid is None or context.finish_lsn is None:
            continue
        records.append(
            ConflictRecord(
                type=ConflictType(conflict[1] or conflict[2]),
                table=TableName(schema, name),
                is_error=entry.is_error,
                detail=entry.detail,
                xid=context.xid,
                finish_lsn=context.finish_lsn,
            )
        )
    return records
