"""StreamSettings: how a stream of changes is to be read."""

from __future__ import annotations

from typing import Literal, TypedDict

import attrs

from pgreplkit.values.lsn import LSN


class ChangeOptions(TypedDict, total=False):
    """What can be chosen for a stream of changes."""

    stop_at: LSN | None
    """Ends once all is given that was committed before; None (the default) goes on."""
    timeout: float | None
    """Seconds without a change after which WaitTimeout is raised; the stream can go on then."""
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


# Within its body a TypedDict takes nothing but its items.
ChangeOptions.__module__ = "pgreplkit"


@attrs.frozen(kw_only=True)
class StreamSettings:
    """The same, with what holds where nothing is told."""

    stop_at: LSN | None = None
    timeout: float | None = None
    binary: bool = False
    streaming: str = "off"
    two_phase: bool = False
    messages: bool | None = None
    origin: str = "any"
    auto_acknowledge: bool = False
    advance_when_idle: bool = True
    status_interval: float = 10.0
    reconnect: float | None = None
