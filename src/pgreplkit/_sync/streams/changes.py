# Generated from pgreplkit/_async/streams/changes.py by `nox -s sync`. Do not edit.
"""ChangeStream and its relatives: iterators over a logical slot."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Generic, Self, TypeVar, cast

from psycopg import Connection
from psycopg.adapt import AdaptersMap

from pgreplkit._sync.streams.slotstream import SlotStream
from pgreplkit._sync.wire.closing import Closing
from pgreplkit._sync.wire.link import Link
from pgreplkit._sync.wire.sidelink import side_link
from pgreplkit._sync.wire.walsender import Walsender
from pgreplkit.catalog.logical.columntypes import (
    PUBLISHED_TYPES,
    TYPES_BY_OID,
    TYPES_OF_COLUMNS,
    ColumnType,
)
from pgreplkit.driver.encodings import name_encoding
from pgreplkit.driver.rowloading import RowLoading
from pgreplkit.errors import StreamClosed
from pgreplkit.plans.streams.options import ChangeOptions, ChangeSettings
from pgreplkit.plans.streams.state import StreamState
from pgreplkit.protocol.changefeed import ChangeFeed, Payload, PayloadFeed, TypedFeed
from pgreplkit.protocol.pgoutput.decoder import Decoder
from pgreplkit.protocol.pgoutput.messages import Change
from pgreplkit.protocol.pgoutput.options import names_of, pgoutput_options
from pgreplkit.protocol.pgoutput.rows import RowFactory, checked_row_factory
from pgreplkit.protocol.pgoutput.tuples import RowReading, UnknownTypes
from pgreplkit.protocol.transactions import Transaction, TransactionFeed
from pgreplkit.values.lsn import LSN
from pgreplkit.values.madeby import made_by

Item = TypeVar("Item")
R = TypeVar("R")

MEMORY_LIMIT = 8 << 20
"""Bytes of one transaction that stay in memory: most transactions are smaller."""
_NEW = StreamState.NEW
"""A name of its own: the look-up of an enum's member takes time for each change."""


class SlotReader(Closing, Generic[Item]):
    """Iteration over a slot, acknowledgement and the end: the base of all streams of a slot.

    It is opened when it is entered, or when the first item is requested. At its end, and when it
    is closed, the slot is free again.
    """

    def __init__(self, stream: SlotStream) -> None:
        self._stream = stream
        self._feed: ChangeFeed[Item] | None = None

    @property
    def slot(self) -> str:
        """The name of the slot."""
        return self._stream.slot

    @property
    def position(self) -> LSN:
        """The end of the last transaction that was delivered whole: store it with your own data.

        ``start=`` continues from this position, and nothing before it is delivered again. It is 0/0
        before anything was delivered, unless the stream began at a given start.
        """
        return self._stream.feedback.delivered

    @property
    def socket(self) -> int | None:
        """The socket on which messages arrive; None while there is none."""
        return self._stream.socket

    @property
    def is_complete(self) -> bool:
        """Whether everything before ``stop_at`` was delivered: the iteration ends next."""
        return self._feed is not None and self._feed.is_over

    @property
    def acknowledged(self) -> LSN:
        """The acknowledged position: the slot keeps no WAL before it."""
        return self._stream.feedback.flushed

    @property
    def is_closed(self) -> bool:
        """Whether the stream has ended."""
        return self._stream.state.is_over

    def acknowledge(
        self, flushed: LSN, *, written: LSN | None = None, applied: LSN | None = None
    ) -> None:
        """Confirm that everything before ``flushed`` is safe, so that the server may discard it.

        Use the ``end_lsn`` of the change that ends a transaction. ``written`` and ``applied`` are
        the same by default; they matter to commits that wait with synchronous_commit=remote_write
        or remote_apply. The server is informed at once, or within a second if this is called often.

        Raises: InvalidAcknowledgement for a position that was not delivered yet; StreamClosed.
        Source: Standby status update of the replication protocol.
        """
        self._stream.acknowledge(flushed, written, applied)

    def close(self) -> None:
        """Send what is acknowledged, and end the stream; the slot is free then.

        May be called from another thread than the one that iterates, whose iteration then ends.
        """
        self._stream.close()

    def _new_feed(self) -> ChangeFeed[Item]:
        """Return the feed that turns messages into items."""
        raise NotImplementedError

    def _open(self) -> ChangeFeed[Item]:
        if self._feed is None:
            feed = self._new_feed()
            # One feed for each stream: two readers would each get some of the changes.
            self._stream.bind(cast(ChangeFeed[object], feed))
            self._feed = feed
        self._stream.open()
        return self._feed

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item:
        stream, feed = self._stream, self._feed
        if feed is None or stream.state is _NEW:
            stream.raise_failure()
            feed = self._open()
        if stream.settings.auto_acknowledge:
            # A reader that asks for the next item has processed the last one.
            stream.acknowledge_delivered()
        while not stream.state.is_over:
            if feed.is_over:
                stream.close()
                break
            # Not in a method of its own: each frame here costs time for each change.
            try:
                item = feed.next(stream.messages)
            except BaseException as error:
                self._end_or_learn(feed, error)
                continue
            if item is not None:
                stream.patience = None
                return item
            # The server asks before it ends a silent connection (wal_sender_timeout).
            if feed.asked:
                stream.answer()
                feed.asked = False
            elif not feed.is_over:
                stream.fill()
        stream.raise_failure()
        raise StopIteration

    def received(self) -> Item | None:
        """Return the next item if it has arrived; None, without waiting, if it has not.

        An error or the end of the stream is left to the iteration.
        """
        stream, feed = self._stream, self._feed
        if feed is None:
            return None
        while not (stream.state.is_over or feed.is_over):
            try:
                item = feed.next(stream.messages)
            except BaseException as error:
                self._end_or_learn(feed, error)
                continue
            if item is not None:
                stream.patience = None
                return item
            if feed.asked:
                stream.answer()
                feed.asked = False
            elif not feed.is_over and not stream.receive():
                return None
        return None

    def _end_or_learn(self, feed: ChangeFeed[Item], error: BaseException) -> None:
        """Look up types that a message mentions; any other error ends the stream, and is raised."""
        if isinstance(error, UnknownTypes):
            # The message is decoded again: its first attempt has had no effect.
            self._stream.learn(feed.current, error)
            return
        self._stream.fail(error)
        raise error

    def __enter__(self) -> Self:
        self._stream.open()
        return self

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else f"at {self.position}"
        return f"<{type(self).__name__} of {self.slot!r}, {state}>"


@made_by("connection.start_logical(slot) of a replication connection", SlotStream)
class PayloadStream(SlotReader[Payload]):
    """The messages of any output plugin, undecoded.

    Created by ``start_logical`` of a ReplicationConnection.
    """

    def _new_feed(self) -> ChangeFeed[Payload]:
        return PayloadFeed(self._stream.feedback, stop_at=self._stream.settings.stop_at)


class AnyPlugin:
    """An output plugin whose messages are not decoded."""

    publications: tuple[str, ...] = ()
    skips_gaps = False

    def __init__(self, options: Mapping[str, str]) -> None:
        self._options = options

    def options(self, walsender: Walsender) -> Mapping[str, str]:
        """Return the options as they were given."""
        return self._options

    def learn(self, link: Link, oids: frozenset[int]) -> None:
        """Do nothing: the messages are not decoded."""


class Pgoutput(Generic[R]):
    """pgoutput, and how its rows are loaded.

    It does not refer to a reader, so that a reader that is no longer used is freed at once.
    """

    def __init__(
        self,
        publications: Iterable[str],
        settings: ChangeSettings,
        row_factory: RowFactory[R],
        adapters: AdaptersMap | None,
    ) -> None:
        self.publications: tuple[str, ...] = names_of(publications)
        self.settings: ChangeSettings = settings
        self.skips_gaps: bool = settings.skips_gaps
        self.row_factory: RowFactory[R] = checked_row_factory(row_factory)
        self._adapters = adapters
        self._types: dict[int, ColumnType] = {}
        self._connection: Connection[object] | None = None

    def options(self, walsender: Walsender) -> Mapping[str, str]:
        """Return the options of START_REPLICATION; look up the types of all columns before."""
        operation = "look up the types of columns"
        settings, self._connection = self.settings, walsender.connection
        # Before, the server ends the stream there.
        if settings.skips_gaps:
            walsender.require("publication.gaps")
        # Before the stream begins: a walsender that streams takes no queries.
        for record in walsender.query(operation, TYPES_OF_COLUMNS):
            self._types[record["oid"]] = ColumnType(**record)
        options = pgoutput_options(
            walsender.version.major,
            walsender.require,
            self.publications,
            binary=settings.binary,
            streaming=settings.streaming,
            two_phase=settings.two_phase,
            messages=settings.messages,
            origin=settings.origin,
        )
        if settings.binary:
            oids = self._published_types(walsender)
            # One type for one column, whatever the format: only a text can be kept as it is, or
            # be loaded where psycopg has no loader of binary values.
            if settings.keeps_text or not self._loading(walsender.connection).agrees_in_binary(
                oids
            ):
                del options["binary"]
        return options

    def _published_types(self, walsender: Walsender) -> Collection[int]:
        """Return the types of the published columns."""
        # Not on the walsender: the view leaves the definitions of today in its caches, by which the
        # server would decode changes that are older than an ALTER.
        with side_link(walsender.conninfo) as link:
            operation = "look up the types of columns"
            published = link.all(operation, PUBLISHED_TYPES, [[*self.publications]])
        return [record["oid"] for record in published]

    def learn(self, link: Link, oids: frozenset[int]) -> None:
        """Look up types that were created after the stream began."""
        operation = "look up the types of columns"
        for record in link.all(operation, TYPES_BY_OID, [[*oids]]):
            self._types[record["oid"]] = ColumnType(**record)
        for oid in oids - self._types.keys():
            # The type was dropped in the meantime; its values come as texts.
            self._types[oid] = ColumnType(oid, oid, is_enum=False)

    def decoder(self) -> Decoder[R]:
        """Return a decoder for the messages of the current connection."""
        if self._connection is None:
            raise StreamClosed("decode changes", "the stream is not open")
        return Decoder(self.reading(self._connection))

    def reading(self, connection: Connection[object]) -> RowReading[R]:
        """Return the loaders, the factory and the encoding for the rows of a connection."""
        return RowReading(
            self._loading(connection),
            self.row_factory,
            encoding=name_encoding(connection),
            keeps_text=self.settings.keeps_text,
        )

    def _loading(self, connection: Connection[object]) -> RowLoading:
        return RowLoading(self._adapters or connection.adapters, connection, self._types)


@made_by("transactions() of a stream of changes", SlotStream)
class TransactionStream(SlotReader[Transaction[R]]):
    """Committed transactions, whole and in the order of their commits.

    Created by ``transactions`` of a ChangeStream.
    """

    def __init__(self, stream: SlotStream, plugin: Pgoutput[R], *, memory_limit: int) -> None:
        super().__init__(stream)
        self._plugin, self._memory_limit = plugin, memory_limit

    def _new_feed(self) -> ChangeFeed[Transaction[R]]:
        stream, plugin = self._stream, self._plugin
        return TransactionFeed(
            plugin.decoder,
            stream.feedback,
            stop_at=stream.settings.stop_at,
            memory_limit=self._memory_limit,
        )


@made_by("server.changes(slot, publications=[…])", SlotStream)
class ChangeStream(SlotReader[Change[R]]):
    """The changes that a slot decodes by pgoutput, typed.

    Created by ``changes`` of a server, a Slot or a ReplicationConnection.
    """

    def __init__(self, stream: SlotStream, plugin: Pgoutput[R]) -> None:
        super().__init__(stream)
        self._plugin = plugin

    def _new_feed(self) -> ChangeFeed[Change[R]]:
        stream, plugin = self._stream, self._plugin
        if plugin.settings.streaming != "off" and plugin.settings.reconnect is not None:
            # After a reconnection the server divides an unfinished transaction differently.
            raise ValueError(
                "could not stream changes: streaming and reconnect are both given;"
                " iterate over transactions(), which supports both"
            )
        return TypedFeed(
            plugin.decoder,
            stream.feedback,
            stop_at=stream.settings.stop_at,
        )

    def transactions(self, *, memory_limit: int = MEMORY_LIMIT) -> TransactionStream[R]:
        """Return the same changes as whole transactions, in the order of their commits.

        Transactions that are streamed while they run are assembled; rolled-back changes are
        dropped. Each transaction takes at most ``memory_limit`` bytes of memory; the rest is in a
        temporary file. Call it before the first change is requested.

        Raises: ValueError with ``two_phase``, since prepared transactions are not committed.
        ServerError ends the stream of a slot that was created with two_phase when it sends a
        prepared transaction.
        """
        if self._plugin.settings.two_phase:
            raise ValueError(
                "could not assemble transactions: with two_phase, prepared transactions come, which"
                " are not committed; iterate over the changes"
            )
        return TransactionStream(self._stream, self._plugin, memory_limit=memory_limit)


def change_stream(
    source: str | Walsender,
    slot: str,
    publications: Iterable[str],
    row_factory: RowFactory[R],
    *,
    start: LSN | None,
    adapters: AdaptersMap | None,
    options: ChangeOptions,
) -> ChangeStream[R]:
    """Return a stream of a slot, not opened yet."""
    settings = ChangeSettings.of(options)
    plugin = Pgoutput(publications, settings, row_factory, adapters)
    stream = SlotStream(source, slot, plugin, start=start, settings=settings)
    return ChangeStream(stream, plugin)
