"""Answers of a walsender to commands about slots."""

from enum import StrEnum

import attrs

from pgreplkit.values.lsn import LSN
from pgreplkit.values.record import Record


class Snapshot(StrEnum):
    """The use of the snapshot with which a new logical slot starts."""

    EXPORT = "export"
    """For SET TRANSACTION SNAPSHOT in other sessions, until this connection's next command."""
    USE = "use"
    """For this connection's transaction, which must be new, read-only and REPEATABLE READ."""
    NOTHING = "nothing"


@attrs.frozen
class CreatedSlot(Record):
    """A newly created slot.

    Source: CREATE_REPLICATION_SLOT.
    """

    name: str
    consistent_point: LSN
    """The position from which a logical slot has all changes; 0/0 for a physical slot."""
    snapshot_name: str | None
    """The argument of SET TRANSACTION SNAPSHOT; None unless it was exported."""
    plugin: str | None


@attrs.frozen
class SlotPosition(Record):
    """The position of a physical slot.

    Source: READ_REPLICATION_SLOT.
    """

    restart_lsn: LSN | None
    """None if the slot reserves no WAL yet."""
    restart_timeline: int | None
