"""WalFeed: the WAL in the messages of a physical stream, across timelines."""

from collections.abc import Iterable, Iterator

import attrs

from pgreplkit.errors import InvalidWalMessage
from pgreplkit.protocol.copydata import DATA_AT, KEEPALIVE, KEEPALIVE_SIZE, WAL_DATA, keepalive
from pgreplkit.values.lsn import LSN
from pgreplkit.values.record import Record


@attrs.frozen
class WalChunk(Record):
    """A piece of WAL as the server sent it, of any length up to 128 KiB.

    Source: XLogData of the replication protocol.
    """

    lsn: LSN
    """The position of its first byte."""
    data: bytes = attrs.field(repr=lambda data: f"<{len(data)} bytes>")
    timeline: int

    @property
    def end_lsn(self) -> LSN:
        """The position after its last byte."""
        return self.lsn + len(self.data)


@attrs.frozen
class Piece:
    """The part of a chunk that lies in one segment."""

    number: int
    """The number of the segment, from the start of the WAL."""
    offset: int
    data: memoryview


def pieces(chunk: WalChunk, segment_size: int) -> Iterator[Piece]:
    """Split a chunk at segment boundaries."""
    view, position = memoryview(chunk.data), int(chunk.lsn)
    while view:
        number, offset = divmod(position, segment_size)
        data = view[: segment_size - offset]
        yield Piece(number, offset, data)
        view, position = view[len(data) :], position + len(data)


class WalFeed:
    """Converts messages to chunks of WAL without gaps, up to ``stop_at``."""

    def __init__(self, start: LSN, timeline: int, *, stop_at: LSN | None) -> None:
        self.position: LSN = start
        self.timeline: int = timeline
        self._stop_at = stop_at
        self.asked: bool = False
        """Whether the server has requested a status update."""

    @property
    def is_over(self) -> bool:
        """Whether ``stop_at`` is reached."""
        return self._stop_at is not None and self.position >= self._stop_at

    def take(self, messages: Iterable[memoryview]) -> list[WalChunk]:
        """Return the chunks in some messages.

        Raises: InvalidWalMessage.
        """
        chunks = []
        for message in messages:
            kind = message[0] if message else None
            if kind == KEEPALIVE and len(message) == KEEPALIVE_SIZE:
                _, asks = keepalive(message)
                self.asked |= asks
            elif kind == WAL_DATA and len(message) >= DATA_AT:
                # Chunks end where the server likes: the rest after stop_at is not wanted.
                if not self.is_over:
                    chunks.append(self._chunk(message))
            else:
                raise InvalidWalMessage(
                    bytes(message[:DATA_AT]), "it is neither WAL data nor a keepalive"
                )
        return chunks

    def _chunk(self, message: memoryview) -> WalChunk:
        lsn = LSN.from_bytes(message[1:9])
        # A gap would be noticed only when the WAL is replayed.
        if lsn != self.position:
            raise InvalidWalMessage(str(lsn), f"the preceding WAL ends at {self.position}")
        # A copy: the caller may keep a chunk for long.
        data = bytes(message[DATA_AT:])
        if len(data) > LSN.MAX - lsn:
            raise InvalidWalMessage(
                str(lsn), f"{len(data)} bytes of WAL from there exceed the last LSN"
            )
        if self._stop_at is not None:
            data = data[: self._stop_at - lsn]
        self.position = lsn + len(data)
        return WalChunk(lsn, data, self.timeline)

    def switch(self, timeline: int, start: LSN) -> None:
        """Continue on another timeline."""
        self.timeline, self.position = timeline, start
