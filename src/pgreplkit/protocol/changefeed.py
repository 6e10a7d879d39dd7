"""ChangeFeed: what the messages of one slot's stream are to its client, one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from pgreplkit.errors import InvalidChangeMessage
from pgreplkit.protocol.copydata import DATA_AT, KEEPALIVE, KEEPALIVE_SIZE, WAL_DATA, keepalive
from pgreplkit.protocol.feedback import Feedback
from pgreplkit.values.lsn import LSN

Item = TypeVar("Item")
Item_co = TypeVar("Item_co", covariant=True)
_new_lsn = bytes.__new__


class Output(Protocol[Item_co]):
    """What an output plugin's messages are made into."""

    def take(self, data: bytes, lsn: LSN, at: int, feedback: Feedback, /) -> Item_co | None:
        """What is made of a message that begins at ``at``; None for what is not to be handed out.

        It tells ``feedback`` what begins and what ends.
        """

    def restart(self) -> None:
        """The server begins anew, at the position that was delivered last."""


class ChangeFeed(Generic[Item]):
    """Takes the server's messages in their order, and keeps account of what was handed out.

    ``stop_at`` ends it once all that was committed before that position is handed out.
    """

    def __init__(self, output: Output[Item], feedback: Feedback, *, stop_at: LSN | None) -> None:
        self._output, self._feedback, self._stop_at = output, feedback, stop_at
        self.asked: bool = False
        """Whether the server waits for a status."""
        self.is_over: bool = False
        """Whether ``stop_at`` is reached."""
        self._take: Callable[[bytes, LSN, int, Feedback], Item | None] = output.take

    def restart(self) -> None:
        """The server begins anew, at the position that was delivered last."""
        self._output.restart()

    def take(self, data: bytes) -> Item | None:
        """What a message is to the client; None when it is nothing.

        Raises: InvalidChangeMessage.
        """
        if len(data) >= DATA_AT and data[0] == WAL_DATA:
            item = self._take(data, _new_lsn(LSN, data[1:9]), DATA_AT, self._feedback)
            if self._stop_at is not None and not self._feedback.is_within:
                self.is_over = self._feedback.delivered >= self._stop_at
            return item
        if len(data) != KEEPALIVE_SIZE or data[0] != KEEPALIVE:
            raise InvalidChangeMessage(data, "it is neither WAL data nor a keepalive")
        position, self.asked = keepalive(data)
        self._feedback.reach(position)
        if self._stop_at is not None and not self._feedback.is_within:
            self.is_over = position >= self._stop_at
        return None
