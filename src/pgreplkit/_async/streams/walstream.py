"""AsyncWalStream: iteration over WAL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Self

from pgreplkit._async.streams.walsource import AsyncWalSource
from pgreplkit._async.wire.closing import AsyncClosing
from pgreplkit.protocol.walfeed import WalChunk
from pgreplkit.values.lsn import LSN
from pgreplkit.values.madeby import made_by


@made_by("connection.start_physical(start) of a replication connection", AsyncWalSource)
class AsyncWalStream(AsyncClosing):
    """The WAL of a server, chunk after chunk, without a gap.

    Created by ``start_physical`` of a ReplicationConnection. It begins when it is entered, or when
    the first chunk is requested. Where a timeline ends it continues on the next. Status updates are
    sent while your own code runs. Once it is closed, or has ended at ``stop_at``, the connection
    can be used again.
    """

    def __init__(self, source: AsyncWalSource) -> None:
        self._source = source
        self._chunks: Iterator[WalChunk] = iter(())

    @property
    def position(self) -> LSN:
        """The end of the last delivered chunk; the start of the stream before the first."""
        return self._source.feedback.delivered

    @property
    def acknowledged(self) -> LSN:
        """The acknowledged position; 0/0 before anything was acknowledged."""
        return self._source.feedback.flushed

    @property
    def is_closed(self) -> bool:
        """Whether the stream has ended."""
        return self._source.state.is_over

    def acknowledge(
        self, flushed: LSN, *, written: LSN | None = None, applied: LSN | None = None
    ) -> None:
        """Confirm that all WAL before ``flushed`` is safe, so that the server may remove it.

        The server is informed at once, or within a second if this is called often. Chunks before
        the one that was requested last are reported as written without it. Nothing is reported as
        applied unless ``applied`` is given, so that commits with synchronous_commit=remote_apply
        keep waiting. A server that shuts down waits until a client that has acknowledged something
        has acknowledged everything.

        Raises: InvalidAcknowledgement for a position that was not delivered yet; StreamClosed.
        Source: Standby status update of the replication protocol.
        """
        self._source.acknowledge(flushed, written, applied)

    async def close(self) -> None:
        """Send what is acknowledged, and end the stream; a slot is free then.

        May be called from another thread than the one that iterates, whose iteration then ends.
        """
        await self._source.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> WalChunk:
        source = self._source
        # A reader that asks for more has processed the chunks before.
        source.written()
        while True:
            for chunk in self._chunks:
                # Another thread has closed the stream: nothing that is delivered now could be
                # acknowledged.
                if source.state.is_over:
                    break
                source.deliver(chunk.end_lsn)
                return chunk
            batch = await source.next()
            if batch is None:
                raise StopAsyncIteration
            self._chunks = iter(batch.chunks)

    async def __aenter__(self) -> Self:
        await self._source.open()
        return self

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else f"at {self.position}"
        return f"<{type(self).__name__} from {self._source.start}, {state}>"
