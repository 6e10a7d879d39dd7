"""StreamOptions and ChangeOptions: how a slot is read, and what pgoutput is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, Self, TypedDict

import attrs

from pgreplkit.values.lsn import LSN
from pgreplkit.values.options import insist_on_known
from pgreplkit.values.seconds import Timeout, checked_seconds, optional_seconds, reconnect_seconds
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.slotname import checked_slot_name

_STREAMINGS = ("off", "on", "parallel")
_ORIGINS = ("any", "none")
_UNLOADABLE = ("raise", "text")
_GAPS = ("raise", "skip")


class StreamOptions(TypedDict, total=False):
    """Options of a stream of a slot, of any output plugin."""

    stop_at: LSN | None
    """End once everything committed before this position is delivered; None (the default) never
    ends."""
    timeout: Timeout | None
    """Seconds without a change after which WaitTimeout is raised; reading may continue then."""
    auto_acknowledge: bool
    """Whether requesting the next change acknowledges the one before. Off by default."""
    advance_when_idle: bool
    """Whether the slot follows the server while nothing that was delivered waits to be
    acknowledged, so that it does not retain WAL that is not published. On by default."""
    status_interval: Timeout
    """Seconds between status updates at most: 10 by default, less where wal_sender_timeout needs
    it."""
    reconnect: Timeout | None
    """Seconds for which to retry after the connection is lost; None (the default) does not retry.
    A server that sends nothing for its wal_sender_timeout (60 seconds where that is off), though
    it was asked to answer, counts as lost."""


class ChangeOptions(StreamOptions, total=False):
    """Options of a stream of changes: those of any stream, and those of pgoutput."""

    binary: bool
    """Whether the server sends values in binary (14 on). Off by default. Where a published column
    has a type that cannot be loaded from binary as from text, texts are sent instead: the values
    are the same either way."""
    streaming: Literal["off", "on", "parallel"]
    """Whether large transactions are sent while they still run (14 on; parallel: 16 on)."""
    two_phase: bool
    """Whether prepared transactions are sent when they are prepared (15 on)."""
    messages: bool | None
    """Whether logical messages are sent (14 on); None: where the server supports them."""
    origin: Literal["any", "none"]
    """Whether changes are sent that the publisher itself received by replication (none: 16 on)."""
    on_unloadable: Literal["raise", "text"]
    """The treatment of a value that Python cannot hold, such as the date infinity: "raise" (the
    default) raises ValueNotLoadable, "text" delivers the server's text as a str."""
    on_publication_gap: Literal["raise", "skip"]
    """The treatment of changes that were made while a publication did not exist: "raise" (the
    default) raises PublicationGap, "skip" delivers the changes of other publications only (18
    on)."""


# The body of a TypedDict may hold nothing but its items.


def _timeout(seconds: Timeout | None) -> float | None:
    return optional_seconds(seconds, "timeout")


def _status_interval(seconds: Timeout) -> float:
    return checked_seconds(seconds, "status_interval")


@attrs.frozen(kw_only=True)
class StreamSettings:
    """StreamOptions with their defaults, checked."""

    stop_at: LSN | None = None
    timeout: float | None = attrs.field(default=None, converter=_timeout)
    auto_acknowledge: bool = False
    advance_when_idle: bool = True
    status_interval: float = attrs.field(default=10.0, converter=_status_interval)
    reconnect: float | None = attrs.field(default=None, converter=reconnect_seconds)

    @classmethod
    def of(cls, options: Mapping[str, object]) -> Self:
        """Return the settings of a stream's options.

        Raises:
            TypeError: If an option is unknown or has a value of another type.
            ValueError: If a value is out of range.
        """
        # A misspelt option would otherwise have no effect.
        known = [field.name for field in attrs.fields(cls)]
        insist_on_known("the stream", "option", options, known)
        return cls(**options)  # type: ignore[arg-type]

    def __attrs_post_init__(self) -> None:
        if self.stop_at is not None and not isinstance(self.stop_at, LSN):
            raise TypeError(f"stop_at must be an LSN, not {type(self.stop_at).__name__}")
        self._insist_on_bool("auto_acknowledge", "advance_when_idle")

    def _insist_on_bool(self, *names: str) -> None:
        for name in names:
            if not isinstance(value := getattr(self, name), bool):
                raise TypeError(f"{name} must be a bool, not {type(value).__name__}")

    def _insist_on_choice(self, name: str, choices: tuple[str, ...]) -> None:
        value = getattr(self, name)
        if value not in choices:
            raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


@attrs.frozen(kw_only=True)
class ChangeSettings(StreamSettings):
    """ChangeOptions with their defaults, checked."""

    binary: bool = False
    streaming: str = "off"
    two_phase: bool = False
    messages: bool | None = None
    origin: str = "any"
    on_unloadable: str = "raise"
    on_publication_gap: str = "raise"

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self._insist_on_bool("binary", "two_phase")
        if self.messages is not None:
            self._insist_on_bool("messages")
        self._insist_on_choice("streaming", _STREAMINGS)
        self._insist_on_choice("origin", _ORIGINS)
        self._insist_on_choice("on_unloadable", _UNLOADABLE)
        self._insist_on_choice("on_publication_gap", _GAPS)

    @property
    def keeps_text(self) -> bool:
        """Whether a value that cannot be loaded stays the text that the server sent."""
        return self.on_unloadable == "text"

    @property
    def skips_gaps(self) -> bool:
        """Whether changes that were made while a publication did not exist are left out."""
        return self.on_publication_gap == "skip"


@attrs.frozen(kw_only=True)
class WalSettings:
    """The source of a stream of WAL, and its end, checked."""

    timeline: int | None = None
    slot: str | None = None
    stop_at: LSN | None = None
    timeout: float | None = attrs.field(default=None, converter=_timeout)
    status_interval: float = attrs.field(default=10.0, converter=_status_interval)
    whole_segments: SegmentSize | None = None
    """The segment size, if a new timeline begins with the first position of the segment in which it
    forked off."""

    def __attrs_post_init__(self) -> None:
        if self.slot is not None:
            checked_slot_name(self.slot)
        if self.stop_at is not None and not isinstance(self.stop_at, LSN):
            raise TypeError(f"stop_at must be an LSN, not {type(self.stop_at).__name__}")
        # 0 would send status updates without a pause.
        if not checked_seconds(self.status_interval, "status_interval"):
            raise ValueError(f"status_interval must be > 0, got {self.status_interval}")
        if self.timeout is not None:
            checked_seconds(self.timeout, "timeout")


@attrs.frozen
class HistoryFile:
    """The history file of a timeline, as the server has it."""

    timeline: int
    content: bytes
