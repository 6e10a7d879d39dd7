"""ChangeFeed: turns the messages of one slot's stream into items, and tracks what was delivered."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Generic, TypeVar

import attrs

from pgreplkit.errors import InvalidChangeMessage, ServerError
from pgreplkit.protocol.copydata import DATA_AT, KEEPALIVE, KEEPALIVE_SIZE, WAL_DATA, keepalive
from pgreplkit.protocol.feedback import Feedback
from pgreplkit.protocol.pgoutput import messages as m
from pgreplkit.protocol.pgoutput.decoder import Decoder
from pgreplkit.protocol.pgoutput.messages import ENDS, Change
from pgreplkit.values.lsn import LSN, trusted_lsn
from pgreplkit.values.record import Record

Item = TypeVar("Item")
R = TypeVar("R")


class ChangeFeed(ABC, Generic[Item]):
    """Takes the server's messages in their order, and reports to ``feedback`` what was delivered.

    With ``stop_at`` it ends once everything committed before that position is delivered.
    """

    def __init__(self, feedback: Feedback, *, stop_at: LSN | None) -> None:
        self._feedback, self._stop_at = feedback, stop_at
        self.asked: bool = False
        """Whether the server asked for a status update."""
        self.is_over: bool = False
        """Whether ``stop_at`` is reached."""
        self.current: bytes = b""
        """The message that was processed last."""

    def next(self, messages: Iterator[bytes]) -> Item | None:
        """Process messages up to the next item, and return it.

        Return None if they yield no item, at a message that asks for a status update, and at
        ``stop_at``.

        Raises: InvalidChangeMessage; UnknownTypes, after which ``current`` may be processed again.
        """
        # One look-up for all messages: this loop runs for each change.
        decode = self.decode
        for data in messages:
            if len(data) >= DATA_AT and data[0] == WAL_DATA:
                self.current = data
                item = decode(data, trusted_lsn(data[1:9]), DATA_AT)
                if self._stop_at is not None and not self._feedback.is_within:
                    self.is_over = self._feedback.delivered >= self._stop_at
                if item is not None:
                    return item
            else:
                self._note_keepalive(data)
            # The server waits for an answer, and ends the client if it waits too long.
            if self.asked or self.is_over:
                break
        return None

    def take(self, data: bytes) -> Item | None:
        """Process one message, as ``next`` does."""
        return self.next(iter((data,)))

    def _note_keepalive(self, data: bytes) -> None:
        if len(data) != KEEPALIVE_SIZE or data[0] != KEEPALIVE:
            raise InvalidChangeMessage(data, "it is neither WAL data nor a keepalive")
        position, self.asked = keepalive(data)
        self._feedback.reach(position)
        if self._stop_at is not None and not self._feedback.is_within:
            # An idle server sends no change beyond stop_at, only its position.
            self.is_over = position >= self._stop_at

    @abstractmethod
    def decode(self, data: bytes, lsn: LSN, at: int) -> Item | None:
        """Decode the output plugin's message that begins at ``at``; return None if it yields no
        item."""

    @abstractmethod
    def restart(self) -> None:
        """Prepare for a connection, which begins after the last delivered position."""


@attrs.frozen
class Payload(Record):
    """A message of an output plugin, as the plugin wrote it.

    ``lsn`` is the position that the plugin gave it; the message of a commit has the transaction's
    end, which acknowledges it.
    """

    lsn: LSN
    data: bytes


class PayloadFeed(ChangeFeed[Payload]):
    """Messages of any plugin. Each is outstanding until its position is acknowledged."""

    def decode(self, data: bytes, lsn: LSN, at: int) -> Payload:
        """Return the message."""
        self._feedback.deliver(lsn)
        return Payload(lsn, data[at:])

    def restart(self) -> None:
        """Prepare for a connection; payloads need no state."""


class TypedFeed(ChangeFeed[Change[R]]):
    """Typed changes of pgoutput.

    After a reconnection the server sends an unfinished transaction again from its beginning; the
    changes that were delivered before are skipped.
    """

    def __init__(
        self, make_decoder: Callable[[], Decoder[R]], feedback: Feedback, *, stop_at: LSN | None
    ) -> None:
        super().__init__(feedback, stop_at=stop_at)
        self._make_decoder = make_decoder
        self._decoder: Decoder[R] | None = None
        self._transaction: Change[R] | None = None
        """The message that began the current transaction."""
        self._delivered_count = self._to_skip = 0
        """The number of changes delivered of the current transaction, and of those that the server
        sends again after a reconnection."""

    def decode(self, data: bytes, lsn: LSN, at: int) -> Change[R] | None:
        """Return the change, unless it was delivered before."""
        decoder = self._decoder
        if decoder is None:
            decoder = self._decoder = self._make_decoder()
        change = decoder.decode(data, lsn, at)
        if change is None:
            return None
        track = _TRACKS.get(type(change))
        if track is not None:
            # Skipping by number is right only if the server sends the same transaction again.
            if self._to_skip and not self._delivered_count and change != self._transaction:
                raise ServerError(
                    f"continue within the transaction of {self._transaction!r}",
                    f"the server sends {change!r} instead: it lost the transaction in a failover",
                )
            track(change, self._feedback)
            self._transaction = change if type(change) in _BEGINS else None
            self._delivered_count = 0
        elif type(change) is m.Message and not change.transactional:
            self._feedback.deliver(change.end_lsn)
        self._delivered_count += 1
        if self._to_skip:
            self._to_skip -= 1
            return None
        return change

    def restart(self) -> None:
        """Prepare for a connection, on which an unfinished transaction begins again."""
        self._decoder = None
        self._to_skip = self._delivered_count if self._transaction is not None else 0
        self._delivered_count = 0


def _enter_transaction(change: object, feedback: Feedback) -> None:
    feedback.is_within = True


def _deliver_transaction(change: object, feedback: Feedback) -> None:
    feedback.deliver(change.end_lsn)  # type: ignore[attr-defined]


def _leave_block(change: object, feedback: Feedback) -> None:
    feedback.is_within = False


_BEGINS = (m.Begin, m.BeginPrepare)
_TRACKS: Mapping[type, Callable[[object, Feedback], None]] = {
    **dict.fromkeys((*_BEGINS, m.StreamStart), _enter_transaction),
    **dict.fromkeys(ENDS, _deliver_transaction),
    m.StreamStop: _leave_block,
}
"""How the changes that begin or end a transaction, or a part of one, move the position."""
