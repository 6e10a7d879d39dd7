"""FeedBatch: messages that a sink stores together; Batching: groups changes into batches."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import attrs

from pgreplkit._text import counted
from pgreplkit.errors import EncodingFailed, MessageTooLarge, SinkRefused
from pgreplkit.feeds.change import FeedChange, change_name, not_encoded
from pgreplkit.feeds.message import FeedMessage
from pgreplkit.feeds.position import FeedPosition, FeedStage
from pgreplkit.values.lsn import LSN

if TYPE_CHECKING:
    from pgreplkit.feeds.sink import Encoder, SinkLimits

_OVERHEAD = 64
"""Bytes that a message takes in addition to its content, such as its position and its name."""


@attrs.frozen
class FeedBatch:
    """Messages in their order, and the position to store with them.

    Without messages only the position moves.
    """

    messages: Sequence[FeedMessage]
    position: FeedPosition
    names: Sequence[tuple[LSN, int]]
    """The name of each message's change: the end of its transaction, and its number in it."""


class Batching:
    """Encodes changes, and groups their messages into batches.

    The messages of one change are in one batch, so that every batch ends with a position from
    which a feed can continue. Changes that the sink has are left out.
    """

    def __init__(
        self,
        encoder: "Encoder",
        limits: "SinkLimits",
        position: FeedPosition,
        *,
        parked: str | None = None,
    ) -> None:
        self._encoder, self._limits, self._parked_to = encoder, limits, parked
        self.parked: int = 0
        """The number of messages that were too large, and were replaced."""
        self._first = position
        self._reached = position.lsn, position.number, position.stage, position.is_whole
        """The position after the last change that was taken; as a tuple, since each change moves
        it."""
        self._messages: list[FeedMessage] = []
        self._names: list[tuple[LSN, int]] = []
        self._bytes = 0

    @property
    def position(self) -> FeedPosition:
        """The position after everything that was taken; the next batch may not be made yet."""
        lsn, number, stage, is_whole = self._reached
        return attrs.evolve(self._first, lsn=lsn, number=number, stage=stage, is_whole=is_whole)

    @property
    def has_messages(self) -> bool:
        """Whether messages wait for their batch."""
        return bool(self._messages)

    def take(
        self, changes: Iterable[FeedChange], end: LSN, stage: FeedStage = FeedStage.STREAMING
    ) -> Iterator[FeedBatch]:
        """Add a transaction that ends at ``end``; yield the batches that become full.

        Raises: EncodingFailed; MessageTooLarge; SinkRefused.
        """
        # More changes than any transaction has: is the whole transaction in the sink?
        before = self.position
        if before.has(end, 1 << 63):
            return
        number = 0
        first = before.number if end == before.lsn else 0
        for change in changes:
            number = change.number
            if number <= first:
                continue
            messages, size = self._encoded(change)
            # Before they are added: a batch must not exceed the limits of the sink.
            if self._messages and (
                len(self._messages) + len(messages) > self._limits.messages
                or self._bytes + size > self._limits.batch_bytes
            ):
                yield self.batch()
            self._messages += messages
            # One name for each message: a sink that names its entries needs as many names as
            # messages.
            self._names += [(end, number)] * len(messages)
            self._bytes += size
            self._reached = end, number, stage, False
        # While rows are copied, each is taken alone: the end of one is not the end of the copy.
        if stage is FeedStage.STREAMING:
            self._reached = end, number, stage, True

    def reach(self, lsn: LSN) -> None:
        """Move the position to one before which the source has no more changes."""
        self._reached = lsn, 0, FeedStage.STREAMING, True

    def batch(self) -> FeedBatch:
        """Return the messages that wait, with the position after them."""
        batch = FeedBatch(self._messages, self.position, self._names)
        self._messages, self._names, self._bytes = [], [], 0
        return batch

    def _encoded(self, change: FeedChange) -> tuple[Sequence[FeedMessage], int]:
        """Return the messages of a change, and their size."""
        try:
            encoded = self._encoder.encode(change)
        # Any other error is a defect of an encoder, which may be the user's: the error must name
        # the change.
        except EncodingFailed:
            raise
        except Exception as error:
            found = f"the encoder raised {type(error).__name__}: {error}"
            raise not_encoded(change, found) from error
        if encoded is None:
            return (), 0
        limits = self._limits
        if isinstance(encoded, FeedMessage):
            size = _size(change, encoded)
            if size <= limits.message_bytes:
                return (encoded,), size
        messages = (encoded,) if isinstance(encoded, FeedMessage) else encoded
        # A generator would be empty when it is counted; a str has items, which are not messages.
        if not isinstance(messages, Sequence) or isinstance(messages, str | bytes):
            raise not_encoded(change, f"the encoder returned a {type(messages).__name__}")
        # They cannot be spread over batches: no position lies between the messages of one change.
        if len(messages) > limits.messages:
            became = counted(len(messages), "message")
            found = f"it became {became}, and the sink takes {limits.messages}"
            remedy = "let the encoder return fewer messages, for example with tombstones=False"
            raise SinkRefused(f"send the change {change_name(change)}", found, remedy=remedy)
        for message in messages:
            if not isinstance(message, FeedMessage):
                raise not_encoded(change, f"the encoder returned a {type(message).__name__}")
        fitting = [self._fitting(change, message) for message in messages]
        return fitting, sum([_size(change, message) for message in fitting])

    def _fitting(self, change: FeedChange, message: FeedMessage) -> FeedMessage:
        """Return the message, or the one that says why it is not sent.

        Raises: MessageTooLarge.
        """
        size, limit = _size(change, message), self._limits.message_bytes
        if size <= limit:
            return message
        what = f"send the change {change_name(change)} to {message.destination!r}"
        error = MessageTooLarge(what, size, limit)
        if self._parked_to is None:
            raise error
        self.parked += 1
        found = {
            "lsn": str(change.lsn),
            "number": change.number,
            "destination": message.destination,
            "reason": error.found,
        }
        return FeedMessage(self._parked_to, message.key, json.dumps(found).encode())


def _size(change: FeedChange, message: FeedMessage) -> int:
    """Return the size of a message.

    Raises: EncodingFailed for a message with parts of other types: each sink would fail in its own
    way, or store them as it likes.
    """
    body, key = message.body, message.key
    # Not a bytearray either: the encoder could change it before it is sent.
    if not (body is None or type(body) is bytes) or not (key is None or type(key) is bytes):
        kinds = f"{type(key).__name__} and {type(body).__name__}"
        raise not_encoded(change, f"key and body of its message must be bytes or None, not {kinds}")
    size = _OVERHEAD + len(body or b"") + len(key or b"")
    try:
        # Not its own method, which bytes have too.
        if not str.isascii(message.destination):
            message.destination.encode()
        if message.headers:
            pairs = message.headers
            size += sum([len(name.encode()) + len(value.encode()) for name, value in pairs])
    except (AttributeError, TypeError, ValueError) as error:
        found = f"the destination or the headers of its message are not texts: {error}"
        raise not_encoded(change, found) from error
    return size
