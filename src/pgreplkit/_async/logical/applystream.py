"""AsyncRawStream: the transactions of a slot, with their values as they were sent."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Self

from pgreplkit._async.streams.changes import AsyncPgoutput, AsyncSlotReader
from pgreplkit._async.streams.slotstream import AsyncSlotStream
from pgreplkit._async.wire.walsender import AsyncWalsender
from pgreplkit.catalog.logical.applying import PORTABLE_TEXTS
from pgreplkit.plans.streams.options import ChangeSettings
from pgreplkit.protocol.pgoutput.rows import Row, named_rows
from pgreplkit.protocol.rawtransactions import RawTransaction, RawTransactionFeed
from pgreplkit.values.lsn import LSN

_FEW = 4 << 10
"""Bytes of a transaction that comes at once: waiting would only delay it."""


class AsyncQualifiedPgoutput(AsyncPgoutput[Row]):
    """pgoutput, whose values name the schemas of what they refer to, as those of regclass do.

    ``types`` are those of the published columns, which the applier knows.
    """

    def __init__(
        self, publications: Iterable[str], settings: ChangeSettings, types: Collection[int]
    ) -> None:
        super().__init__(publications, settings, named_rows, None)
        self._known_types = types

    async def options(self, walsender: AsyncWalsender) -> Mapping[str, str]:
        """Return the options of START_REPLICATION; let the session write portable values before."""
        options = await super().options(walsender)
        await walsender.run("write portable values", PORTABLE_TEXTS)
        return options

    async def _published_types(self, walsender: AsyncWalsender) -> Collection[int]:
        return self._known_types


class AsyncRawStream(AsyncSlotReader[RawTransaction[Row]]):
    """Committed transactions, in the order of their commits.

    One that takes more than ``parts_from`` bytes comes again and again until it is complete.
    """

    def __init__(
        self,
        stream: AsyncSlotStream,
        plugin: AsyncPgoutput[Row],
        *,
        memory_limit: int,
        parts_from: int | None = None,
        keeps_messages: bool = False,
    ) -> None:
        super().__init__(stream)
        self._parts_from, self._keeps_messages = parts_from, keeps_messages
        self._plugin, self._memory_limit = plugin, memory_limit

    async def opened(self) -> Self:
        """Open the stream, and return it."""
        return await self.__aenter__()

    @property
    def reached(self) -> LSN:
        """The position before which the server has no more changes than those delivered."""
        return self._stream.feedback.reached

    @property
    def has_part(self) -> bool:
        """Whether some of a transaction has come, more than a few changes, and its end has not."""
        return isinstance(self._feed, RawTransactionFeed) and self._feed.received_bytes > _FEW

    def pass_idle(self, lsn: LSN) -> None:
        """Count a position without a change as delivered, so that it can be acknowledged."""
        feedback = self._stream.feedback
        feedback.delivered = max(feedback.delivered, lsn)

    def _new_feed(self) -> RawTransactionFeed[Row]:
        stream = self._stream
        return RawTransactionFeed(
            self._plugin.decoder,
            stream.feedback,
            stop_at=stream.settings.stop_at,
            memory_limit=self._memory_limit,
            parts_from=self._parts_from,
            keeps_messages=self._keeps_messages,
        )
