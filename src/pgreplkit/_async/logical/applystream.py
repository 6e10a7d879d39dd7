"""AsyncRawStream: the transactions of a slot, with their values as they were sent."""

from __future__ import annotations

from pgreplkit._async.streams.changes import AsyncPgoutput, AsyncSlotReader
from pgreplkit._async.streams.slotstream import AsyncSlotStream
from pgreplkit.protocol.pgoutput.rows import Row
from pgreplkit.protocol.rawtransactions import RawTransaction, RawTransactionFeed


class AsyncRawStream(AsyncSlotReader[RawTransaction[Row]]):
    """Committed transactions, whole and in the order of their commits."""

    def __init__(
        self, stream: AsyncSlotStream, plugin: AsyncPgoutput[Row], *, memory_limit: int
    ) -> None:
        super().__init__(stream)
        self._plugin, self._memory_limit = plugin, memory_limit

    def _new_feed(self) -> RawTransactionFeed[Row]:
        stream = self._stream
        return RawTransactionFeed(
            self._plugin.decoder,
            stream.feedback,
            stop_at=stream.settings.stop_at,
            memory_limit=self._memory_limit,
        )
