"""Whether a slot can be streamed, and better errors where it cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pgreplkit.errors import (
    AheadOfServer,
    PublicationGap,
    PublicationNotFound,
    ServerError,
    SlotLost,
    SlotNotFound,
    StatementTimeout,
)
from pgreplkit.values.identity import SystemIdentity
from pgreplkit.values.lsn import LSN

_UNDEFINED_OBJECT = "42704"
_REMEDIES = {
    "55000": "set wal_level = logical, and restart the server; for a slot on a standby, set it on"
    " the primary",
    "58P01": "install the plugin on the server, or correct its name; pgoutput always exists",
    "53400": "drop slots that are not used, or raise max_replication_slots, and restart the server",
}
"""What to do if a logical slot cannot be created, by SQLSTATE: the server's messages say what is
wrong, and mostly not what to do."""
PUBLICATIONS_CHECKED_EVERY = 30.0
"""Seconds. From 18 on the server only logs a warning for a publication that was dropped, and
streams the rest: the stream has to look. Each check opens a connection, so not more often."""


def slower_on_standby(error: StatementTimeout) -> StatementTimeout:
    """Return the error of a slot that could not be created in time on a standby.

    A standby starts to decode at a list of running transactions in the WAL, which an idle primary
    logs rarely, or never.
    """
    return StatementTimeout(
        error.operation,
        f"{error.found}; a standby waits until its primary logs the running transactions",
        error.sqlstate,
        remedy="call pg_log_standby_snapshot() on the primary, and repeat it",
    )


def not_created(error: ServerError, *, has_database: bool = True) -> ServerError:
    """Return the error of a logical slot that the server did not create, with its remedy."""
    remedy = _REMEDIES.get(error.sqlstate or "", error.remedy)
    # The server reports the same SQLSTATE for a wal_level that is too low.
    if not has_database:
        remedy = "connect with database=, which physical replication does not need"
    return type(error)(error.operation, error.found, error.sqlstate, remedy=remedy)


def slot_refusal(
    operation: str, records: Sequence[Mapping[str, object]], sqlstate: str | None
) -> ServerError | None:
    """Return the error for a slot that cannot be streamed on a connection; None if it can be.

    ``records`` is the slot's state, no record for a missing slot. ``sqlstate`` is the server's own
    error code, if it refused the slot already.
    """
    if not records:
        found = "no slot has that name"
        return SlotNotFound(operation, found, sqlstate or _UNDEFINED_OBJECT)
    [slot] = records
    if slot["slot_type"] != "logical":
        return ServerError(operation, "it is a physical slot, which decodes nothing", sqlstate)
    if slot["database"] != slot["here"]:
        found = f"it belongs to the database {slot['database']!r}, this is {slot['here']!r}"
        return ServerError(operation, found, sqlstate, remedy="connect to that database")
    # wal_status is lost from 13 on; invalidation_reason names other causes from 17 on.
    if slot["status"] == "lost" or slot["reason"]:
        why = slot["reason"] or "its WAL is removed"
        return SlotLost(operation, f"it is lost ({why})", sqlstate)
    return None


def missing_publications(
    operation: str, names: Sequence[str], existing: Sequence[Mapping[str, object]]
) -> PublicationNotFound | None:
    """Return the error for publications that do not exist; None if all do."""
    missing = sorted({*names} - {str(record["name"]) for record in existing})
    if not missing:
        return None
    found = f"no publication has the name {', '.join(missing)}"
    return PublicationNotFound(operation, found, _UNDEFINED_OBJECT)


def publication_gap(operation: str, names: Sequence[str], reported: str) -> PublicationGap:
    """Return the error for a change that was made while one of the publications did not exist.

    ``reported`` is the server's message. pgoutput reads a publication in the catalogs as they were
    when a change was made.
    """
    which = f"the publication {names[0]!r}" if len(names) == 1 else "one of the publications"
    found = (
        f"{which} did not exist when the next change was made ({reported}): it was dropped, or"
        " created later, and changes of its tables in that time are not sent"
    )
    return PublicationGap(operation, found, _UNDEFINED_OBJECT)


def start_refusal(
    operation: str, start: LSN, identity: SystemIdentity, system_id: int | None
) -> ServerError | None:
    """Return the error for a server that never had the WAL before ``start``; None if it may.

    ``system_id`` is the cluster's that was streamed before, None on the first connection.
    """
    # After a reconnection, for example through a load balancer: positions of two clusters have
    # nothing in common.
    if system_id is not None and identity.system_id != system_id:
        found = f"another cluster answers: its system identifier is {identity.system_id}"
        return ServerError(operation, found)
    # The server itself would pass over all transactions before the start, silently.
    if start > identity.position:
        return AheadOfServer(operation, str(start), str(identity.position))
    return None
