"""AsyncChangeStream and its like: what a client reads of a logical slot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Generic, Self, TypeVar

import attrs
from psycopg.adapt import AdaptersMap

from pgreplkit._async.streams.slotstream import AsyncSlotStream
from pgreplkit._async.wire.closing import AsyncClosing
from pgreplkit._async.wire.walsender import AsyncWalsender
from pgreplkit.driver.rowloading import RowLoading
from pgreplkit.plans.streams.options import ChangeOptions, ChangeSettings
from pgreplkit.protocol.changefeed import ChangeFeed, Output
from pgreplkit.protocol.outputs import ChangeOutput, Payload, PayloadOutput
from pgreplkit.protocol.pgoutput.decoder import Decoder
from pgreplkit.protocol.pgoutput.messages import Change
from pgreplkit.protocol.pgoutput.options import names_of, pgoutput_options
from pgreplkit.protocol.pgoutput.rows import RowFactory
from pgreplkit.protocol.transactions import Transaction, TransactionOutput
from pgreplkit.values.lsn import LSN

Item = TypeVar("Item")
R = TypeVar("R")

MEMORY_LIMIT = 8 << 20


class AsyncSlotReader(AsyncClosing, Generic[Item]):
    """What every stream of a slot offers: iteration, acknowledging, and an end.

    It is opened when it is entered, or when the first item is asked for. At its end, and when it
    is closed, the server ends it too, and the slot is free.
    """

    def __init__(self, stream: AsyncSlotStream, output: Callable[[], Output[Item]]) -> None:
        self._stream, self._output = stream, output
        self._feed: ChangeFeed[Item] | None = None

    @property
    def slot(self) -> str:
        """The name of its slot."""
        return self._stream.slot

    @property
    def position(self) -> LSN:
        """The end of the last transaction that was given whole: what to store with one's own data.

        ``start=`` goes on from there, and nothing before it is given again. 0/0 before anything
        was given, where none was started from.
        """
        return self._stream.feedback.delivered

    @property
    def acknowledged(self) -> LSN:
        """Up to where all is acknowledged: the slot keeps no WAL before it."""
        return self._stream.feedback.flushed

    @property
    def is_closed(self) -> bool:
        """Whether it has ended."""
        return self._stream.is_closed

    def acknowledge(
        self, flushed: LSN, *, written: LSN | None = None, applied: LSN | None = None
    ) -> None:
        """Confirm that all before ``flushed`` is safe here: the server may forget it.

        Give the ``end_lsn`` of what ends a transaction. ``written`` and ``applied`` are the same
        unless told; they matter to who waits with synchronous_commit=remote_write or remote_apply.
        The server is told at once, or at most a second later when this is called often.

        Raises: InvalidAcknowledgement for a position that the stream has not given yet;
        StreamClosed.  Source: Standby status update of the replication protocol.
        """
        self._stream.acknowledge(flushed, written, applied)

    async def close(self) -> None:
        """Tell the server what is acknowledged, and end the stream; the slot is free then.

        May be called from another thread than the one that iterates, which then comes to its end.
        """
        await self._stream.close()

    async def _begin(self) -> ChangeFeed[Item]:
        stream = self._stream
        stream.take()
        await stream.open()
        self._feed = ChangeFeed(self._output(), stream.feedback, stop_at=stream.settings.stop_at)
        return self._feed

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        feed = self._feed
        if feed is None:
            feed = await self._begin()
        return await self._stream.next(feed)

    async def __aenter__(self) -> Self:
        await self._stream.open()
        return self

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else f"at {self.position}"
        return f"<{type(self).__name__} of {self.slot!r}, {state}>"


class AsyncPayloadStream(AsyncSlotReader[Payload]):
    """The messages of any output plugin, as they are.

    Made by ``start_logical`` of a ReplicationConnection.
    """

    def __init__(self, stream: AsyncSlotStream) -> None:
        super().__init__(stream, PayloadOutput)


class AsyncTransactionStream(AsyncSlotReader[Transaction[R]]):
    """Committed transactions, whole and in the order of their commits.

    Made by ``transactions`` of a ChangeStream.
    """


@attrs.frozen
class _Decoding(Generic[R]):
    """Makes decoders. It does not know the reader, which is to go as soon as nobody holds it."""

    stream: AsyncSlotStream
    settings: ChangeSettings
    row_factory: RowFactory[R]
    adapters: AdaptersMap | None

    def __call__(self) -> Decoder[R]:
        """One for the connection that there is now."""
        connection = self.stream.connection
        adapters = self.adapters or connection.adapters
        return Decoder(RowLoading(adapters, connection), self.row_factory)

    def changes(self) -> ChangeOutput[R]:
        """Change by change."""
        settings = self.settings
        if settings.streaming != "off" and settings.reconnect is not None:
            # The server cuts what still runs into other pieces the next time.
            raise ValueError("with streaming only transactions() can go on after a reconnection")
        return ChangeOutput(self)


class AsyncChangeStream(AsyncSlotReader[Change[R]]):
    """The changes that a slot decodes by pgoutput, typed.

    Made by ``changes`` of a server, a Slot or a ReplicationConnection.
    """

    def __init__(
        self,
        stream: AsyncSlotStream,
        settings: ChangeSettings,
        row_factory: RowFactory[R],
        adapters: AdaptersMap | None,
    ) -> None:
        self._decoding = _Decoding(stream, settings, row_factory, adapters)
        super().__init__(stream, self._decoding.changes)

    def transactions(self, *, memory_limit: int = MEMORY_LIMIT) -> AsyncTransactionStream[R]:
        """The same changes as whole transactions, in the order of their commits.

        Those that are streamed while they run are put together, what was rolled back is dropped.
        A transaction takes ``memory_limit`` bytes of memory at most; what is larger stands in a
        temporary file. To be called before the first change is taken.

        Raises: ValueError with ``two_phase``: what is prepared is not committed. ServerError ends
        the stream of a slot that was made with it, when it sends something prepared.
        """
        decoding = self._decoding
        if decoding.settings.two_phase:
            raise ValueError("what is prepared is not committed: iterate over the changes")
        return AsyncTransactionStream(
            self._stream, lambda: TransactionOutput(decoding, memory_limit=memory_limit)
        )


def change_stream(
    source: str | AsyncWalsender,
    slot: str,
    publications: Iterable[str],
    row_factory: RowFactory[R],
    *,
    start: LSN | None,
    adapters: AdaptersMap | None,
    options: ChangeOptions,
) -> AsyncChangeStream[R]:
    """A stream of a slot, not opened yet."""
    settings = ChangeSettings(**options)
    stream = pgoutput_stream(source, slot, names_of(publications), settings, start=start)
    return AsyncChangeStream(stream, settings, row_factory, adapters)


def pgoutput_stream(
    source: str | AsyncWalsender,
    slot: str,
    names: Sequence[str],
    settings: ChangeSettings,
    *,
    start: LSN | None,
) -> AsyncSlotStream:
    """The walsender of a slot of pgoutput, not opened yet."""

    def asked_for(walsender: AsyncWalsender) -> dict[str, str]:
        return pgoutput_options(
            walsender.version.major,
            walsender.require,
            names,
            binary=settings.binary,
            streaming=settings.streaming,
            two_phase=settings.two_phase,
            messages=settings.messages,
            origin=settings.origin,
        )

    return AsyncSlotStream(
        source, slot, start=start, options=asked_for, publications=names, settings=settings
    )
