"""FeedSettings: the arguments of a feed, checked."""

from __future__ import annotations

import zlib

import attrs

from pgreplkit.feeds.sink import Encoder, Sink
from pgreplkit.protocol.pgoutput.options import names_of
from pgreplkit.values.seconds import Timeout, optional_seconds, reconnect_seconds
from pgreplkit.values.slotname import checked_slot_name

_SNAPSHOTS = ("never", "initial", "only")
_ON_LOST = ("stop", "accept")


# A function for each name: the type checker knows the argument of a named function only.
def _hold(given: Timeout | None) -> float | None:
    return optional_seconds(given, "hold")


def _heartbeat(given: Timeout | None) -> float | None:
    return optional_seconds(given, "heartbeat")


@attrs.frozen(kw_only=True)
class FeedSettings:
    """The arguments of a feed.

    Raises: TypeError; ValueError; InvalidSlotName.
    """

    slot: str = attrs.field(converter=checked_slot_name)
    publications: tuple[str, ...] = attrs.field(converter=names_of)
    sink: Sink
    encoder: Encoder
    snapshot: str
    on_lost: str
    parked: str | None
    messages: bool
    failover: bool
    hold: float | None = attrs.field(converter=_hold)
    heartbeat: float | None = attrs.field(converter=_heartbeat)
    reconnect: float | None = attrs.field(converter=reconnect_seconds)

    def __attrs_post_init__(self) -> None:
        for name, known in (("snapshot", _SNAPSHOTS), ("on_lost", _ON_LOST)):
            if (given := getattr(self, name)) not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}, got {given!r}")
        # Encoders and sinks of users are of any class; a missing method would show only when the
        # first change arrives.
        for name, part in (("encoder", self.encoder), ("sink", self.sink)):
            if isinstance(part, type):
                raise TypeError(f"{name} is the class {part.__name__}, not an object of it")
        if not callable(getattr(self.encoder, "encode", None)):
            raise TypeError(f"encoder has no method encode(): {type(self.encoder).__name__}")
        for method in ("open", "send", "close", "limits"):
            if not callable(getattr(self.sink, method, None)):
                raise TypeError(f"sink has no method {method}(): {type(self.sink).__name__}")
        if not isinstance(self.parked, str | None):
            raise TypeError(f"parked must be a str or None, not {type(self.parked).__name__}")
        if self.parked == "":
            raise ValueError("parked must be the name of a destination, or None")
        if self.failover and self.ends_after_copy:
            raise ValueError("failover=True needs a slot that stays, and snapshot='only' drops it")
        # 0 reads like "off", and would store a position without a pause.
        if self.heartbeat == 0:
            raise ValueError("heartbeat must be > 0, or None for no heartbeat")

    @property
    def operation(self) -> str:
        """The operation, for errors."""
        return f"run the feed {self.slot!r}"

    @property
    def held(self) -> float:
        """Seconds for which positions are not confirmed to the slot, once the sink is open."""
        return self.sink.limits().hold if self.hold is None else self.hold

    @property
    def numbering(self) -> int:
        """The numbering of its changes; see FeedPosition."""
        return zlib.crc32(repr((sorted({*self.publications}), self.messages)).encode())

    @property
    def copies(self) -> bool:
        """Whether the feed begins with the existing rows."""
        return self.snapshot != "never"

    @property
    def ends_after_copy(self) -> bool:
        """Whether the feed sends the existing rows, and no changes."""
        return self.snapshot == "only"

    @property
    def accepts_gap(self) -> bool:
        """Whether the feed may continue without changes that are lost."""
        return self.on_lost == "accept"
