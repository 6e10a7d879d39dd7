"""WalDecoder: records from WAL that arrives in chunks, without I/O."""

from __future__ import annotations

from pgreplkit.errors import InvalidWalMessage
from pgreplkit.offline.pages import MAJORS
from pgreplkit.offline.records import Source, WalRecord
from pgreplkit.offline.walk import RecordWalk
from pgreplkit.protocol.walfeed import WalChunk
from pgreplkit.values.lsn import LSN
from pgreplkit.values.segment import SegmentSize

_BLOCK_SIZE = 8192
"""The server's own default, which few builds change (--with-wal-blocksize)."""


class WalDecoder:
    """Decodes the records in contiguous chunks of WAL, such as ``start_physical`` yields.

    The first chunk begins with a page, or with a record. In the first case, the records begin with
    the first one that starts in the page or after it.

    Raises: ValueError for a major version without a decoder.
    """

    def __init__(
        self,
        *,
        major: int,
        segment_size: SegmentSize | int = SegmentSize.DEFAULT,
        block_size: int = _BLOCK_SIZE,
    ) -> None:
        if major not in MAJORS.values():
            known = f"{min(MAJORS.values())} to {max(MAJORS.values())}"
            raise ValueError(f"major must be {known}, got {major!r}")
        self._source = Source(None, major, 0, int(segment_size), block_size)
        self._walk: RecordWalk | None = None

    @property
    def position(self) -> LSN | None:
        """The end of the WAL that was fed; None before the first chunk."""
        return None if self._walk is None else LSN(self._walk.position)

    @property
    def pending(self) -> LSN | None:
        """Position of a record of which only a part was fed; None if there is none."""
        pending = None if self._walk is None else self._walk.pending
        return None if pending is None else LSN(pending)

    def feed(self, chunk: WalChunk) -> list[WalRecord]:
        """Return the records that the chunk completes.

        Records before damage are returned first; the next call raises.

        Raises: InvalidWal for damage; InvalidWalMessage for a chunk that does not follow.
        """
        walk = self._walk
        if walk is None:
            source = Source(
                None,
                self._source.major,
                # Within a page its header was not sent: the chunk says the timeline instead.
                chunk.timeline if int(chunk.lsn) % self._source.block_size else 0,
                self._source.segment_size,
                self._source.block_size,
            )
            walk = self._walk = RecordWalk(int(chunk.lsn), source, chunk.timeline)
        if walk.stop is not None:
            raise walk.stop.error(None)
        if int(chunk.lsn) != walk.position:
            raise InvalidWalMessage(
                str(chunk.lsn), f"the preceding WAL ends at {LSN(walk.position)}"
            )
        walk.newest_timeline = max(walk.newest_timeline, chunk.timeline)
        records = walk.take(chunk.data)
        # Good records are not lost with the damage behind them.
        if walk.stop is not None and not records:
            raise walk.stop.error(None)
        return records
