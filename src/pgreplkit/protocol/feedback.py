"""Feedback: the positions of a client, and the status updates that report them."""

from __future__ import annotations

from pgreplkit.errors import InvalidAcknowledgement
from pgreplkit.protocol.copydata import status_update
from pgreplkit.values.lsn import LSN


class Feedback:
    """The delivered and the acknowledged positions of a stream.

    The server retains the WAL after ``flushed``. With ``advance_when_idle`` the server's own
    position is acknowledged while nothing that was delivered waits for an acknowledgement:
    otherwise a database without changes in published tables would retain the WAL of all others.
    """

    def __init__(self, start: LSN, *, advance_when_idle: bool) -> None:
        self.written: LSN = start
        self.flushed: LSN = start
        self.applied: LSN = start
        self.delivered: LSN = start
        """The end of the last delivered item."""
        self.is_within: bool = False
        """Whether a transaction has begun and not ended."""
        self.has_news: bool = False
        """Whether a position was acknowledged and not reported yet."""
        self._advances = advance_when_idle

    def deliver(self, end: LSN) -> None:
        """Note that an item with that end was delivered."""
        self.is_within = False
        self.delivered = max(self.delivered, end)

    def acknowledge(self, flushed: LSN, *, written: LSN | None, applied: LSN | None) -> None:
        """Acknowledge positions; they never move back.

        Raises: InvalidAcknowledgement for a position that was not delivered yet.
        """
        written = flushed if written is None else written
        applied = flushed if applied is None else applied
        for position in (written, flushed, applied):
            if not isinstance(position, LSN):
                raise TypeError(
                    f"an acknowledged position must be an LSN, got {type(position).__name__}"
                )
            if position > self.delivered:
                delivered = f"the stream has delivered changes up to {self.delivered}"
                raise InvalidAcknowledgement(str(position), delivered)
        self.written = max(self.written, written, flushed)
        self.flushed = max(self.flushed, flushed)
        self.applied = max(self.applied, applied)
        self.has_news = True

    def write(self) -> None:
        """Note that the client has processed the delivered items; it may not have stored them."""
        if self.delivered > self.written:
            self.written = self.delivered
            self.has_news = True

    def reach(self, position: LSN) -> None:
        """Note that the server has nothing more to send before that position."""
        is_idle = self.delivered <= min(self.flushed, self.applied) and not self.is_within
        if self._advances and is_idle and position > self.flushed:
            self.written = self.flushed = self.applied = self.delivered = position
            self.has_news = True

    def status(self, *, asks: bool = False) -> bytes:
        """Return the next status update; with ``asks`` the server answers it."""
        self.has_news = False
        return status_update(self.written, self.flushed, self.applied, asks=asks)
