"""Errors of feeds and their sinks."""

from __future__ import annotations

from pgreplkit.errors.base import OperationError
from pgreplkit.errors.values import InvalidValue


class InvalidFeedPosition(InvalidValue):
    """A text that is not the position of a feed."""

    what: str = "feed position"
    expected: str = "the text that a feed has stored with its messages"

    def __init__(self, value: object, reason: str = "it has another form") -> None:
        super().__init__(value, reason)


class InvalidDestination(InvalidValue):
    """A template that does not make valid and distinct names of subjects, topics or streams."""

    what: str = "destination"
    expected: str = "a template such as cdc.{db}.{schema}.{table}"


class FeedError(OperationError):
    """A feed that cannot begin or continue."""


class SinkUnreachable(FeedError):
    """The engine could not be reached, or did not answer: a batch may be stored or not."""


class SinkRefused(FeedError):
    """The engine refused messages, or the feed's role; it would refuse them again."""


class MessageTooLarge(SinkRefused):
    """A message that is larger than the engine takes.

    Attributes:
        size: the bytes of its key, headers and body.
        limit: the most bytes that the engine takes.
    """

    remedy = "raise the engine's limit, leave out large columns, or park it with parked=…"

    size: int
    limit: int

    def __init__(self, operation: str, size: int, limit: int) -> None:
        super().__init__(operation, f"it has {size} bytes, and the engine takes {limit}")
        self.size, self.limit = size, limit

    def __reduce__(self) -> tuple[type[MessageTooLarge], tuple[str, int, int]]:
        return MessageTooLarge, (self.operation, self.size, self.limit)


class SinkFenced(FeedError):
    """Something else was stored since the feed was opened: by another process, or by another feed.

    Nothing of the batch is stored. If the other process runs the same feed, it has the slot, and
    continues.
    """


class SinkNotFitting(FeedError):
    """An engine whose settings would lose, double or refuse messages.

    Attributes:
        setting: the setting.
    """

    setting: str

    def __init__(self, operation: str, setting: str, found: str, *, remedy: str = "") -> None:
        super().__init__(operation, found, remedy=remedy)
        self.setting = setting

    def __reduce__(self) -> tuple[type[SinkNotFitting], tuple[str, str, str], dict[str, object]]:
        return SinkNotFitting, (self.operation, self.setting, self.found), self.__dict__


class EncodingFailed(FeedError):
    """An encoder raised an error, or returned something other than messages.

    Attributes:
        lsn: the end of the transaction.
        number: the number of the change in the transaction.
    """

    lsn: str
    number: int

    def __init__(self, operation: str, found: str, lsn: str, number: int) -> None:
        super().__init__(operation, found)
        self.lsn, self.number = lsn, number

    def __reduce__(self) -> tuple[type[EncodingFailed], tuple[str, str, str, int]]:
        return EncodingFailed, (self.operation, self.found, self.lsn, self.number)


class PositionLost(FeedError):
    """Changes that the sink does not have, and that the slot no longer sends.

    Attributes:
        sink: the position that the sink has; None if it has none.
        slot: the position from which the slot sends changes; None if it sends none.
        invalidated: why the server has invalidated the slot; empty if it has not.
    """

    remedy = (
        "continue without the changes between with on_lost='accept', or drop the slot and the"
        " sink's messages to begin again"
    )

    sink: str | None
    slot: str | None
    invalidated: str

    def __init__(
        self, operation: str, sink: str | None, slot: str | None, invalidated: str = ""
    ) -> None:
        has = "the sink has no position" if sink is None else f"the sink ends at {sink}"
        sends = "the slot does not exist" if slot is None else f"the slot begins at {slot}"
        if invalidated:
            sends = f"the server has invalidated the slot ({invalidated})"
        super().__init__(operation, f"{has}, and {sends}")
        self.sink, self.slot, self.invalidated = sink, slot, invalidated

    def __reduce__(self) -> tuple[type[PositionLost], tuple[str, str | None, str | None, str]]:
        return PositionLost, (self.operation, self.sink, self.slot, self.invalidated)


class WrongSource(FeedError):
    """A sink whose position is of another cluster, or of a history that this server left."""

    remedy = "use another slot name and another sink for another source"
