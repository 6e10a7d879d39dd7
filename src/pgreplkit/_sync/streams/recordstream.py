# Generated from pgreplkit/_async/streams/recordstream.py by `nox -s sync`. Do not edit.
"""WalRecordStream: iteration over the records of a server's WAL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from pgreplkit._sync.streams.walsource import WalSource
from pgreplkit._sync.streams.walstream import WalStream
from pgreplkit._sync.wire.closing import Closing
from pgreplkit._sync.wire.walsender import Walsender
from pgreplkit.offline.decoder import WalDecoder
from pgreplkit.offline.records import WalRecord
from pgreplkit.plans.streams.options import WalSettings
from pgreplkit.values.lsn import LSN
from pgreplkit.values.madeby import made_by
from pgreplkit.values.segment import SegmentSize


@made_by("connection.read_wal(start) of a replication connection", Walsender)
class WalRecordStream(Closing):
    """The records of a server's WAL, in order, as soon as they are flushed.

    Created by ``read_wal`` of a ReplicationConnection. It begins when it is entered, or when the
    first record is requested.
    """

    def __init__(self, walsender: Walsender, start: LSN, settings: WalSettings) -> None:
        self._walsender = walsender
        self._start = start
        self._settings = settings
        self._stream: WalStream | None = None
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

    def _open(self) -> WalStream:
        """Begin with the page of the start: its header says where the next record begins."""
        if self._stream is None:
            block_size = int(self._walsender.show("wal_block_size"))
            size = SegmentSize.parse(self._walsender.show("wal_segment_size"))
            # Before the start: only the header of a page names the place of its first record.
            page = LSN(int(self._start) // block_size * block_size)
            major = self._walsender.version.major
            self._decoder = WalDecoder(major=major, segment_size=size, block_size=block_size)
            self._stream = WalStream(WalSource(self._walsender, page, self._settings))
        return self._stream

    def close(self) -> None:
        """End the stream; the connection can be used again."""
        if self._stream is not None:
            self._stream.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> WalRecord:
        stream = self._open()
        while True:
            for record in self._records:
                # The first page may have records before the start.
                if record.lsn >= self._start:
                    self._position = record.end_lsn
                    return record
            chunk = stream.__next__()
            if self._decoder is not None:
                self._records = iter(self._decoder.feed(chunk))

    def __enter__(self) -> Self:
        (self._open()).__enter__()
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} from {self._start}, at {self._position}>"
