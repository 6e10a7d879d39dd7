"""Feedback: the positions that a client confirms to the server."""

from __future__ import annotations

from pgreplkit.errors import InvalidAcknowledgement
from pgreplkit.protocol.copydata import status_update
from pgreplkit.values.lsn import LSN


class Feedback:
    """The delivered and confirmed positions of a stream, and the status that results from them.

    The server retains the WAL after ``flushed``. With ``advance_when_idle`` the server's own
    position is confirmed while no delivered change waits for its confirmation: otherwise a database
    whose published tables do not change would retain the WAL of all other databases.
    """

    def __init__(self, start: LSN, *, advance_when_idle: bool) -> None:
        self.written: LSN = start
        self.flushed: LSN = start
        self.applied: LSN = start
        self.delivered: LSN = start
        """The end of the last delivered item."""
        self.reached: LSN = start
        """The position before which the server has no more changes than those delivered."""
        self.is_within: bool = False
        """Whether delivery is within a transaction."""
        self.has_news: bool = False
        """Whether the server has not yet received the latest confirmed positions."""
        self._advances = advance_when_idle

    def deliver(self, end: LSN) -> None:
        """Record that an item which ends at ``end`` was delivered."""
        self.is_within = False
        # After a reconnection, a transaction may come again that was delivered before.
        if end > self.delivered:
            # Mostly both were the same position: then one comparison is enough.
            if self.reached is self.delivered or end > self.reached:
                self.reached = end
            self.delivered = end

    def acknowledge(self, flushed: LSN, *, written: LSN | None, applied: LSN | None) -> None:
        """Record the positions that the client confirms; positions never decrease.

        Raises: InvalidAcknowledgement for a position that was not delivered yet.
        """
        is_one = written is None and applied is None
        written = flushed if written is None else written
        applied = flushed if applied is None else applied
        for position in (flushed,) if is_one else (flushed, written, applied):
            # Most callers confirm the last delivered position itself.
            if position is not self.delivered:
                self._insist_on_delivered(position)
        if is_one and self.written is self.flushed is self.applied:
            # One comparison instead of five: this runs for each transaction.
            if flushed > self.flushed:
                self.written = self.flushed = self.applied = flushed
        else:
            # A flushed position is written too, even if the caller names an earlier one.
            self.written = max(self.written, written, flushed)
            self.flushed = max(self.flushed, flushed)
            self.applied = max(self.applied, applied)
        self.has_news = True

    def _insist_on_delivered(self, position: LSN) -> None:
        if not isinstance(position, LSN):
            raise TypeError(f"positions must be LSN, not {type(position).__name__}")
        if position > self.delivered:
            delivered = f"the last delivered item ends at {self.delivered}"
            raise InvalidAcknowledgement(str(position), delivered)

    def write(self) -> None:
        """Record that the client has processed the delivered items, which may not be flushed."""
        if self.delivered > self.written:
            self.written = self.delivered
            self.has_news = True

    def reach(self, position: LSN) -> None:
        """Record that the server has no more changes before ``position``."""
        if not self.is_within and position > self.reached:
            self.reached = position
        # Otherwise a change would count as confirmed that the client has not processed.
        is_idle = self.delivered <= min(self.flushed, self.applied) and not self.is_within
        if self._advances and is_idle and position > self.flushed:
            self.written = self.flushed = self.applied = self.delivered = position
            self.has_news = True

    def status(self, *, asks: bool = False) -> bytes:
        """Return a status update; with ``asks`` it requests a reply."""
        self.has_news = False
        return status_update(self.written, self.flushed, self.applied, asks=asks)
