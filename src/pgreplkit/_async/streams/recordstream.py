"""AsyncWalRecordStream: iteration over the records of a server's WAL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from pgreplkit._async.streams.walsource import AsyncWalSource
from pgreplkit._async.streams.walstream import AsyncWalStream
from pgreplkit._async.wire.closing import AsyncClosing
from pgreplkit._async.wire.walsender import AsyncWalsender
from pgreplkit.offline.decoder import WalDecoder
from pgreplkit.offline.records import WalRecord
from pgreplkit.plans.streams.options import WalSettings
from pgreplkit.values.lsn import LSN
from pgreplkit.values.madeby import made_by
from pgreplkit.values.segment import SegmentSize


@made_by("connection.read_wal(start) of a replication connection", AsyncWalsender)
class AsyncWalRecordStream(AsyncClosing):
    """The records of a server's WAL, in order, as soon as they are flushed.

    Created by ``read_wal`` of a ReplicationConnection. It begins when it is entered, or when the
    first record is requested.
    """

    def __init__(self, walsender: AsyncWalsender, start: LSN, settings: WalSettings) -> None:
        self._walsender = walsender
        self._start = start
        self._settings = settings
        self._stream: AsyncWalStream | None = None
        self._decoder: WalDecoder | None = None
        self._records: Iterator[WalRecord] = iter(())
        self._position = start

    @property
    def position(self) -> LSN:
        """The end of the last delivered record; the start of the stream before the first."""
        return self._position

    def acknowledge(self, flushed: LSN) -> None:
        """Confirm that all WAL before ``flushed`` is safe, so that the server may remove it.

        Raises: InvalidAcknowledgement for a position that was not received yet; StreamClosed.
        Source: Standby status update of the replication protocol.
        """
        # Before the first record nothing was received that could be confirmed.
        if self._stream is not None:
            self._stream.acknowledge(flushed)

    async def _open(self) -> AsyncWalStream:
        """Begin with the page of the start: its header says where the next record begins."""
        if self._stream is None:
            block_size = int(await self._walsender.show("wal_block_size"))
            size = SegmentSize.parse(await self._walsender.show("wal_segment_size"))
            # Before the start: only the header of a page names the place of its first record.
            page = LSN(int(self._start) // block_size * block_size)
            major = self._walsender.version.major
            self._decoder = WalDecoder(major=major, segment_size=size, block_size=block_size)
            self._stream = AsyncWalStream(AsyncWalSource(self._walsender, page, self._settings))
        return self._stream

    async def close(self) -> None:
        """End the stream; the connection can be used again."""
        if self._stream is not None:
            await self._stream.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WalRecord:
        stream = await self._open()
        while True:
            for record in self._records:
                # The first page may have records before the start.
                if record.lsn >= self._start:
                    self._position = record.end_lsn
                    return record
            chunk = await stream.__anext__()
            if self._decoder is not None:
                self._records = iter(self._decoder.feed(chunk))

    async def __aenter__(self) -> Self:
        await (await self._open()).__aenter__()
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} from {self._start}, at {self._position}>"
