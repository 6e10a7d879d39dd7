"""What a walsender answers to commands about slots."""

from __future__ import annotations

from enum import StrEnum

import attrs

from pgreplkit.values.lsn import LSN


class Snapshot(StrEnum):
    """What becomes of the snapshot that a new logical slot begins with."""

    EXPORT = "export"
    """SET TRANSACTION SNAPSHOT takes it elsewhere, until the next command on this connection."""
    USE = "use"
    """This connection's transaction, just begun, read only and REPEATABLE READ, sees it."""
    NOTHING = "nothing"


@attrs.frozen
class CreatedSlot:
    """A slot that was just made.

    Source: CREATE_REPLICATION_SLOT.
    """

    name: str
    consistent_point: LSN
    """From where on a logical slot has every change; 0/0 for a physical one."""
    snapshot_name: str | None
    """For SET TRANSACTION SNAPSHOT, where it was exported."""
    plugin: str | None


@attrs.frozen
class SlotPosition:
    """Where a physical slot is.

    Source: READ_REPLICATION_SLOT.
    """

    restart_lsn: LSN | None
    """None for a slot that reserves no WAL yet."""
    restart_timeline: int | None
