"""Encoder and Sink: the interfaces that turn changes into messages, and store them."""

from collections.abc import Sequence
from typing import Protocol

import attrs

from pgreplkit.feeds.batches import FeedBatch
from pgreplkit.feeds.change import FeedChange
from pgreplkit.feeds.message import FeedMessage
from pgreplkit.feeds.position import FeedPosition
from pgreplkit.values.record import Record


class Encoder(Protocol):
    """Turns changes into messages.

    It must depend on the change only: after a restart the same change must become the same
    messages.
    """

    def encode(self, change: FeedChange) -> FeedMessage | Sequence[FeedMessage] | None:
        """Return the messages of a change; None if it has none."""


@attrs.frozen(kw_only=True)
class SinkLimits(Record):
    """The limits of a sink, as they are when the sink is open."""

    messages: int = 1000
    """The most messages of a batch."""
    batch_bytes: int = 4 << 20
    """The bytes of bodies after which a batch is sent."""
    message_bytes: int = 1 << 20
    """The most bytes of one message: its key, headers and body."""
    hold: float = 0.0
    """Seconds after which what was answered is on disk: before, it can be lost with the engine."""
    position_every: float | None = None
    """Seconds after which the position must be stored again, since the engine discards it."""


class Sink(Protocol):
    """Stores messages, and the position of the feed with them.

    The law: whenever a sink is opened, and whatever was interrupted before, it has exactly the
    messages up to the position that ``open`` returns, once and in order.
    ``sink_laws`` of ``pgreplkit.testing`` tests it.
    """

    async def open(self, feed: str) -> FeedPosition | None:
        """Connect, and return the position of a feed; None if nothing of it was ever stored.

        From now on, messages that others store for the feed make ``send`` fail.

        Raises: SinkUnreachable; SinkRefused for a wrong password; SinkNotFitting; SinkFenced for
        messages of another writer.
        """

    def limits(self) -> SinkLimits:
        """Return the limits of the open sink."""

    async def send(self, batch: FeedBatch) -> None:
        """Store the messages and the position, all or none; return when the engine has answered.

        After an error the sink must be opened again: the batch may be stored or not.

        Raises: SinkUnreachable; SinkRefused; SinkFenced, after which nothing of it is stored.
        """

    async def close(self) -> None:
        """Disconnect; closing it again does nothing."""
