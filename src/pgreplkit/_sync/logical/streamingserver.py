# Generated from pgreplkit/_async/logical/streamingserver.py by `nox -s sync`. Do not edit.
"""StreamingServer: a server of either role, and the streams of its changes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar, Unpack, cast, overload

from pgreplkit._sync.server.server import Server
from pgreplkit.values.flags import checked_flags
from pgreplkit.values.lsn import LSN
from pgreplkit.values.seconds import Timeout

# Rows, plans and streams are imported by the methods that use them: a first connect needs none.
if TYPE_CHECKING:
    from pgreplkit._sync.logical.snapshot import SnapshotStream
    from pgreplkit._sync.streams.changes import ChangeStream
    from pgreplkit.plans.streams.options import ChangeOptions
    from pgreplkit.protocol.pgoutput.rows import Row, RowFactory
    from pgreplkit.values.tablename import AnyTable


R = TypeVar("R")


class StreamingServer(Server):
    """A server of either role whose changes can be streamed."""

    @overload
    def changes(
        self,
        slot: str,
        *,
        publications: Iterable[str],
        start: LSN | None = None,
        **options: Unpack[ChangeOptions],
    ) -> ChangeStream[Row]: ...
    @overload
    def changes(
        self,
        slot: str,
        *,
        publications: Iterable[str],
        row_factory: RowFactory[R],
        start: LSN | None = None,
        **options: Unpack[ChangeOptions],
    ) -> ChangeStream[R]: ...
    def changes(
        self,
        slot: str,
        *,
        publications: Iterable[str],
        row_factory: RowFactory[R] | None = None,
        start: LSN | None = None,
        **options: Unpack[ChangeOptions],
    ) -> ChangeStream[R] | ChangeStream[Row]:
        """Stream the changes that a pgoutput slot of this connection's database decodes.

        The changes are typed (Begin, Insert, Update, Delete, Truncate, Message, Commit, …), from
        ``start`` or from the slot's acknowledged position on. Their values are those that a query
        of this connection would load, with the loaders that are registered on it; each row is a
        Row, or made by ``row_factory``. The stream has a connection of its own, opened like this
        one.

        Nothing is acknowledged by default: delivered changes that were not acknowledged come again
        after a crash. See ``ChangeOptions`` for the other keywords, such as ``binary=True``.

        Raises: when it is entered or a change is requested: SlotNotFound; SlotActive; SlotLost;
        PublicationNotFound; PublicationGap at a change that was made while one did not exist;
        UnsupportedByServer; AheadOfServer for a ``start`` that the server has not reached;
        InsufficientPrivilege; ConnectionFailed, also when the server shuts down or falls silent;
        WaitTimeout; ValueNotLoadable.
        Needs: REPLICATION.  Source: START_REPLICATION … LOGICAL, pgoutput 1 to 4.
        """
        from pgreplkit._sync.streams.changes import change_stream
        from pgreplkit.protocol.pgoutput.rows import RowFactory, named_rows

        return change_stream(
            self._link.conninfo_for_another(),
            slot,
            publications,
            cast(RowFactory[R], row_factory or named_rows),
            start=start,
            # The loaders that the user registered on this connection, on the stream's own
            # connection too.
            adapters=self.connection.adapters,
            options=options,
        )

    @overload
    def snapshot_then_changes(
        self,
        slot: str,
        *,
        publications: Iterable[str],
        tables: Iterable[AnyTable] | None = None,
        failover: bool = False,
        slot_timeout: Timeout = 60.0,
        **options: Unpack[ChangeOptions],
    ) -> SnapshotStream[Row]: ...
    @overload
    def snapshot_then_changes(
        self,
        slot: str,
        *,
        publications: Iterable[str],
        row_factory: RowFactory[R],
        tables: Iterable[AnyTable] | None = None,
        failover: bool = False,
        slot_timeout: Timeout = 60.0,
        **options: Unpack[ChangeOptions],
    ) -> SnapshotStream[R]: ...
    def snapshot_then_changes(
        self,
        slot: str,
        *,
        publications: Iterable[str],
        row_factory: RowFactory[R] | None = None,
        tables: Iterable[AnyTable] | None = None,
        failover: bool = False,
        slot_timeout: Timeout = 60.0,
        **options: Unpack[ChangeOptions],
    ) -> SnapshotStream[R] | SnapshotStream[Row]:
        """Stream the existing rows, and then every change since, without a gap or overlap.

        Create the slot, which waits up to ``slot_timeout`` seconds for the end of open
        transactions. Copy the published rows of ``tables`` (by default of all published tables) as
        the slot's snapshot shows them, one Insert for each row. SnapshotEnd follows, and then the
        changes as in ``changes``. If the stream ends before SnapshotEnd, the slot is dropped.

        Raises: as ``changes``; AlreadyExists; TableNotFound for a table that is not published;
        StatementTimeout; InsufficientPrivilege.
        Needs: REPLICATION, and SELECT on the tables; BYPASSRLS where row level security hides rows
        from the role.
        Source: CREATE_REPLICATION_SLOT with its snapshot exported, COPY, START_REPLICATION.
        """
        checked_flags(failover=failover)
        from pgreplkit._sync.logical.snapshot import SnapshotStream
        from pgreplkit._sync.streams.changes import Pgoutput
        from pgreplkit._sync.streams.slotstream import SlotStream
        from pgreplkit.plans.streams.options import ChangeSettings
        from pgreplkit.protocol.pgoutput.rows import RowFactory, named_rows

        settings, conninfo = ChangeSettings.of(options), self._link.conninfo_for_another()
        plugin = Pgoutput(
            publications,
            settings,
            cast(RowFactory[R], row_factory or named_rows),
            self.connection.adapters,
        )
        stream = SlotStream(conninfo, slot, plugin, start=None, settings=settings)
        return SnapshotStream(
            conninfo,
            self.connection.info.dbname,
            stream,
            plugin,
            tables,
            failover=failover,
            slot_timeout=slot_timeout,
        )
