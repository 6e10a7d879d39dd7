"""Feedback: what a client says it has, and never more."""

from __future__ import annotations

from pgreplkit.errors import InvalidAcknowledgement
from pgreplkit.protocol.copydata import status_update
from pgreplkit.values.lsn import LSN


class Feedback:
    """Which positions were delivered, which the client confirmed, and what follows for the server.

    A server keeps the WAL after ``flushed``. Where nothing that was delivered waits to be
    confirmed, the server's own position can be confirmed with ``advance_when_idle``: else a
    database whose published tables rest would keep the WAL of all others.
    """

    def __init__(self, start: LSN, *, advance_when_idle: bool) -> None:
        self.written: LSN = start
        self.flushed: LSN = start
        self.applied: LSN = start
        self.delivered: LSN = start
        """The end of what was handed to the client last."""
        self.is_within: bool = False
        """Whether a transaction was begun and not ended."""
        self.has_news: bool = False
        """Whether something is confirmed that the server was not told yet."""
        self._advances = advance_when_idle

    def deliver(self, end: LSN) -> None:
        """What ends there was handed to the client."""
        self.is_within = False
        self.delivered = max(self.delivered, end)

    def acknowledge(self, flushed: LSN, *, written: LSN | None, applied: LSN | None) -> None:
        """The client has it; positions never go back.

        Raises: InvalidAcknowledgement for what was not delivered yet.
        """
        written = flushed if written is None else written
        applied = flushed if applied is None else applied
        for position in (written, flushed, applied):
            if not isinstance(position, LSN):
                raise TypeError(f"an LSN is acknowledged, not a {type(position).__name__}")
            if position > self.delivered:
                delivered = f"the stream has given what ends at {self.delivered} at the most"
                raise InvalidAcknowledgement(str(position), delivered)
        self.written = max(self.written, written, flushed)
        self.flushed = max(self.flushed, flushed)
        self.applied = max(self.applied, applied)
        self.has_news = True

    def write(self) -> None:
        """The client has done with what was delivered, without a word of where it is safe."""
        if self.delivered > self.written:
            self.written = self.delivered
            self.has_news = True

    def reach(self, position: LSN) -> None:
        """The server has nothing more before that position."""
        is_idle = self.delivered <= min(self.flushed, self.applied) and not self.is_within
        if self._advances and is_idle and position > self.flushed:
            self.written = self.flushed = self.applied = self.delivered = position
            self.has_news = True

    def status(self, *, asks: bool = False) -> bytes:
        """What to tell the server; with ``asks`` it shall answer."""
        self.has_news = False
        return status_update(self.written, self.flushed, self.applied, asks=asks)
