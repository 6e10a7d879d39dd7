# Generated from pgreplkit/_async/streams/walstream.py by `nox -s sync`. Do not edit.
"""WalStream: WAL as a client reads it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from pgreplkit._sync.streams.walsource import WalSource
from pgreplkit._sync.wire.closing import Closing
from pgreplkit.protocol.walfeed import WalChunk
from pgreplkit.values.lsn import LSN


class WalStream(Closing):
    """The WAL of a server as it comes, chunk after chunk, without a gap.

    Made by ``start_physical`` of a ReplicationConnection. It begins when it is entered, or when
    the first chunk is asked for. Where a timeline ends it goes on with the next. The server is
    answered beside your code. Once it is closed, or has ended at ``stop_at``, the connection can be
    used again.
    """

    def __init__(self, source: WalSource) -> None:
        self._source = source
        self._chunks: Iterator[WalChunk] = iter(())

    @property
    def position(self) -> LSN:
        """The end of the last chunk that was given; where it starts, before the first."""
        return self._source.feedback.delivered

    @property
    def acknowledged(self) -> LSN:
        """Up to where all is acknowledged; 0/0 before anything was."""
        return self._source.feedback.flushed

    @property
    def is_closed(self) -> bool:
        """Whether it has ended."""
        return self._source.is_closed

    def acknowledge(
        self, flushed: LSN, *, written: LSN | None = None, applied: LSN | None = None
    ) -> None:
        """Confirm that all before ``flushed`` is safe here: the server may forget it.

        The server is told at once, or at most a second later when this is called often. What was
        given before the chunk that you asked for last is told as written without this; nothing is
        told as applied unless you give ``applied``, so that nobody who waits with
        synchronous_commit=remote_apply is let go. A server that shuts down waits until a client
        that has acknowledged something has acknowledged all.

        Raises: InvalidAcknowledgement for a position that the stream has not given yet;
        StreamClosed.  Source: Standby status update of the replication protocol.
        """
        self._source.acknowledge(flushed, written, applied)

    def close(self) -> None:
        """Tell the server what is acknowledged, and end the stream; a slot is free then.

        May be called from another thread than the one that iterates, which then comes to its end.
        """
        self._source.close()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> WalChunk:
        source = self._source
        source.written()
        while True:
            for chunk in self._chunks:
                if source.is_closed:
                    break
                source.give(chunk.end_lsn)
                return chunk
            batch = source.next()
            if batch is None:
                raise StopIteration
            self._chunks = iter(batch.chunks)

    def __enter__(self) -> Self:
        self._source.open()
        return self

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else f"at {self.position}"
        return f"<{type(self).__name__} from {self._source.start}, {state}>"
