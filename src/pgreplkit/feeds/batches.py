"""FeedBatch: messages that a sink stores together, with the position after them."""

from collections.abc import Sequence

import attrs

from pgreplkit.feeds.message import FeedMessage
from pgreplkit.feeds.position import FeedPosition


@attrs.frozen
class FeedBatch:
    """Messages in their order, and the position to store with them.

    Without messages only the position moves.
    """

    messages: Sequence[FeedMessage]
    position: FeedPosition
    names: Sequence[tuple[int, int]]
    """The name of each message's change: the end of its transaction, and its number in it."""
