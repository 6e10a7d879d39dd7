"""The reports of an applier: conflicts, parked transactions, and its result."""

from collections.abc import Mapping
from datetime import datetime, timedelta

import attrs

from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum
from pgreplkit.values.record import Record


class ConflictKind(OpenEnum):
    """The kind of a conflict, with PostgreSQL 18's names."""

    INSERT_EXISTS = "insert_exists"
    """An inserted row existed already."""
    UPDATE_EXISTS = "update_exists"
    """A unique index refused an updated row: the transaction failed."""
    UPDATE_MISSING = "update_missing"
    """An updated row did not exist."""
    DELETE_MISSING = "delete_missing"
    """A deleted row did not exist."""
    UPDATE_ORIGIN_DIFFERS = "update_origin_differs"
    """An updated row has a newer version of another node."""
    DELETE_ORIGIN_DIFFERS = "delete_origin_differs"
    """A deleted row has a newer version of another node."""
    UPDATE_DELETED = "update_deleted"
    """An updated row was deleted later on another node; a name of PostgreSQL 19."""
    INSERT_DELETED = "insert_deleted"
    """An inserted row was deleted later on another node; no server has this name."""


@attrs.frozen(kw_only=True)
class ApplyConflict(Record):
    """A conflict that an applier met, and its decision.

    Source: the table pgreplkit.conflict of the subscriber.
    """

    # First what a printed list of a mesh should show, for which not all columns are narrow enough.
    kind: ConflictKind = attrs.field(converter=ConflictKind)
    table: str
    """The publisher's table."""
    resolution: str
    """``applied``, ``skipped``, or ``merged`` by the function of MergeWith."""
    key_values: Mapping[str, str | None] | None
    """The key of the row, as texts like those of a comparison; None where it was not recorded."""
    at: datetime
    id: int
    xid: int
    """The transaction's ID on the publisher."""
    lsn: LSN
    """The end of the transaction on the publisher."""


@attrs.frozen(kw_only=True)
class ParkedTransaction(Record):
    """A transaction that could not be applied, and was put aside.

    Source: the table pgreplkit.parked of the subscriber.
    """

    id: int
    at: datetime
    table: str | None
    """The table of the refused change."""
    # Before the rest: a printed list shows the first columns.
    found: str
    """The subscriber's error."""
    sqlstate: str | None
    change_number: int | None
    """The number of the refused change in its transaction, from 1."""
    xid: int
    """The transaction's ID on the publisher."""
    lsn: LSN
    """The end of the transaction on the publisher."""
    commit_time: datetime | None


@attrs.frozen
class ParkedStatement(Record):
    """A statement of a parked transaction, which ``apply_parked`` executes on the subscriber.

    Source: the table pgreplkit.parked_step of the subscriber.
    """

    number: int
    """From 1. A change of the publisher can take more than one statement."""
    table: str
    """The publisher's table."""
    statement: str
    parameters: tuple[str | None, ...]
    """The values of $1 and so on, as texts; None for NULL."""
    problem: str | None = None
    """Why the server cannot execute it now, as after its table was dropped; None if it can."""


@attrs.frozen(kw_only=True)
class ApplyReport(Record):
    """The transactions, changes and conflicts of one run of an applier."""

    transactions: int
    changes: int
    conflicts: Mapping[ConflictKind, int]
    parked: int
    skipped: int
    """The refused transactions that ``on_error`` decided to skip."""
    copied_rows: int
    """The rows that the first run has copied."""
    position: LSN
    """The end of the last transaction that was applied and flushed, or skipped."""
    lag: timedelta | None
    """The age of the last applied commit when it was applied; None if none was."""


@attrs.frozen(kw_only=True)
class ApplierStatus(Record):
    """The progress of an applier, as both servers know it.

    Source: the origin or the table pgreplkit.progress of the subscriber; pg_replication_slots of
    the publisher.
    """

    state: str
    """``creating``, ``copying`` or ``streaming``; ``lost`` or ``missing`` if the publisher has no
    slot with the changes."""
    position: LSN
    """The end of the last transaction that was applied."""
    is_active: bool
    """Whether the slot is in use."""
    confirmed: LSN | None
    """The position up to which the slot was acknowledged; None if the slot does not exist."""
    behind_bytes: int | None
    """The bytes of WAL that the publisher has written since."""


def state_of(state: str, slot: Mapping[str, object] | None) -> str:
    """Return the state of an applier, whose ``slot`` is None if it does not exist."""
    if slot is None:
        # Before, the next run creates the slot, or refuses if tables were copied.
        return "missing" if state == "streaming" else state
    return "lost" if slot["is_lost"] else state


@attrs.frozen(kw_only=True)
class SetupStatements(Record):
    """Statements that an administrator runs before an applier; ``str()`` returns a script."""

    publisher: tuple[str, ...]
    subscriber: tuple[str, ...]

    def __str__(self) -> str:
        # Comments of SQL, so that the whole text can be saved as a script.
        lines = ["-- on the publisher", *(f"{one};" for one in self.publisher)]
        lines += ["-- on the subscriber", *(f"{one};" for one in self.subscriber)]
        return "\n".join(lines)
