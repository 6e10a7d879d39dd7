"""StreamOptions and ChangeOptions: how a slot is to be read, and what pgoutput is to give."""

from __future__ import annotations

from typing import Literal, TypedDict

import attrs

from pgreplkit.values.lsn import LSN
from pgreplkit.values.seconds import checked_seconds
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.slotname import checked_slot_name

_STREAMINGS = ("off", "on", "parallel")
_ORIGINS = ("any", "none")


class StreamOptions(TypedDict, total=False):
    """What can be chosen for a stream of a slot, of whatever plugin."""

    stop_at: LSN | None
    """Ends once all is given that was committed before; None (the default) goes on."""
    timeout: float | None
    """Seconds without a change after which WaitTimeout is raised; the stream can go on then."""
    auto_acknowledge: bool
    """Whether asking for the next change acknowledges the one before."""
    advance_when_idle: bool
    """Whether the slot follows the server where nothing that was given waits to be acknowledged,
    so that it does not keep the WAL of what is not published. On unless told."""
    status_interval: float
    """At least every so many seconds the server hears from this side; 10 unless told, and less
    where wal_sender_timeout needs it."""
    reconnect: float | None
    """Seconds for which a lost connection is tried again; None (the default) does not try."""


class ChangeOptions(StreamOptions, total=False):
    """What can be chosen for a stream of changes: that, and what pgoutput is asked for."""

    binary: bool
    """Whether the server sends values in binary where their type can (14 on)."""
    streaming: Literal["off", "on", "parallel"]
    """Whether large transactions come while they still run (14 on; parallel, 16 on)."""
    two_phase: bool
    """Whether prepared transactions come when they are prepared (15 on)."""
    messages: bool | None
    """Whether logical messages come (14 on); None is where the server has them."""
    origin: Literal["any", "none"]
    """Whether changes come that the publisher itself got by replication (16 on to say none)."""


# Within its body a TypedDict takes nothing but its items.


@attrs.frozen(kw_only=True)
class StreamSettings:
    """StreamOptions that can be what they are, with what holds where nothing is told."""

    stop_at: LSN | None = None
    timeout: float | None = None
    auto_acknowledge: bool = False
    advance_when_idle: bool = True
    status_interval: float = 10.0
    reconnect: float | None = None

    def __attrs_post_init__(self) -> None:
        if self.stop_at is not None and not isinstance(self.stop_at, LSN):
            raise TypeError(f"a stream stops at an LSN, not at a {type(self.stop_at).__name__}")
        checked_seconds(self.status_interval, "status_interval")
        for name in ("timeout", "reconnect"):
            if (seconds := getattr(self, name)) is not None:
                checked_seconds(seconds, name)
        self._insist_on_bool("auto_acknowledge", "advance_when_idle")

    def _insist_on_bool(self, *names: str) -> None:
        for name in names:
            if not isinstance(value := getattr(self, name), bool):
                raise TypeError(f"{name} is a bool, not a {type(value).__name__}")


@attrs.frozen(kw_only=True)
class ChangeSettings(StreamSettings):
    """The same of ChangeOptions."""

    binary: bool = False
    streaming: str = "off"
    two_phase: bool = False
    messages: bool | None = None
    origin: str = "any"

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._insist_on_bool("binary", "two_phase")
        if self.messages is not None:
            self._insist_on_bool("messages")
        if self.streaming not in _STREAMINGS:
            raise ValueError(f"streaming is one of {', '.join(_STREAMINGS)}: {self.streaming!r}")
        if self.origin not in _ORIGINS:
            raise ValueError(f"origin is one of {', '.join(_ORIGINS)}: {self.origin!r}")


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
