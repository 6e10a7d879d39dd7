"""WalSettings: how a stream of WAL is to be read."""

from __future__ import annotations

import attrs

from pgreplkit.values.lsn import LSN
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.slotname import checked_slot_name


@attrs.frozen(kw_only=True)
class WalSettings:
    """Where it comes from, and when it ends."""

    timeline: int | None = None
    slot: str | None = None
    stop_at: LSN | None = None
    timeout: float | None = None
    status_interval: float = 10.0
    whole_segments: SegmentSize | None = None
    """With it a new timeline begins where the segment does in which it forked off."""

    def __attrs_post_init__(self) -> None:
        if self.slot is not None:
            checked_slot_name(self.slot)
        if self.stop_at is not None and not isinstance(self.stop_at, LSN):
            raise TypeError(f"a stream stops at an LSN, not at a {type(self.stop_at).__name__}")
        if not self.status_interval > 0:
            raise ValueError(f"a status interval is more than 0, not {self.status_interval}")


@attrs.frozen
class HistoryFile:
    """The history file of a timeline, as the server has it."""

    timeline: int
    content: bytes
