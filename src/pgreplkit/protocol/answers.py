"""Answers of a walsender to commands about slots."""

from __future__ import annotations

from enum import StrEnum

import attrs

from pgreplkit.values.lsn import LSN


class Snapshot(StrEnum):
    """The use of the snapshot with which a new logical slot begins."""

    EXPORT = "export"
    """Another session can use it by SET TRANSACTION SNAPSHOT, until the next command on this
    connection."""
    USE = "use"
    """The transaction of this connection uses it; it must be new, READ ONLY and REPEATABLE READ."""
    NOTHING = "nothing"


@attrs.frozen
class CreatedSlot:
    """A slot that was created.

    Source: CREATE_REPLICATION_SLOT.
    """

    name: str
    consistent_point: LSN
    """The position from which a logical slot has every change; 0/0 for a physical slot."""
    snapshot_name: str | None
    """The name for SET TRANSACTION SNAPSHOT, if the snapshot was exported."""
    plugin: str | None


@attrs.frozen
class SlotPosition:
    """The position of a physical slot.

    Source: READ_REPLICATION_SLOT.
    """

    restart_lsn: LSN | None
    """None for a slot that reserves no WAL yet."""
    restart_timeline: int | None
