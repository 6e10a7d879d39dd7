# Generated from pgreplkit/_async/logical/streamingserver.py by `nox -s sync`. Do not edit.
"""StreamingServer: a server whose changes can be streamed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar, Unpack, cast, overload

from pgreplkit._sync.logical.snapshot import SnapshotStream
from pgreplkit._sync.server.server import Server
from pgreplkit._sync.streams.changes import ChangeStream, Pgoutput, change_stream
from pgreplkit._sync.streams.slotstream import SlotStream
from pgreplkit.plans.streams.options import ChangeOptions, ChangeSettings
from pgreplkit.protocol.pgoutput.rows import Row, RowFactory, named_rows
from pgreplkit.values.lsn import LSN
from pgreplkit.values.tablename import AnyTable

R = TypeVar("R")


class StreamingServer(Server):
    """A server of either role, with its streams of changes."""

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
        """Stream the changes of a logical slot with the plugin pgoutput.

        The changes are typed (Begin, Insert, Update, Delete, Truncate, Message, Commit, …). They
        start at ``start``, by default at the slot's confirmed position. Values are loaded by the
        psycopg loaders registered on this server's connection; rows are Row objects, or made by
        ``row_factory``. The stream opens its own connection with the same parameters.

        Changes are acknowledged only by your calls: changes that are not acknowledged are sent
        again after a crash. ``ChangeOptions`` lists the options, such as ``binary=True``.

        Raises: on entering, or with the first change: SlotNotFound; SlotActive;
        SlotLost; PublicationNotFound (before 18, and once there is a change); UnsupportedByServer;
        AheadOfServer for a ``start`` beyond the end of the server's WAL; InsufficientPrivilege;
        ConnectionFailed, also if the server shuts down; WaitTimeout; ValueNotLoadable.
        Needs: REPLICATION.  Source: START_REPLICATION … LOGICAL, pgoutput 1 to 4.
        """
        return change_stream(
            self._link.another(),
            slot,
            publications,
            cast(RowFactory[R], row_factory or named_rows),
            start=start,
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
        create_timeout: float = 60.0,
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
        create_timeout: float = 60.0,
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
        create_timeout: float = 60.0,
        **options: Unpack[ChangeOptions],
    ) -> SnapshotStream[R] | SnapshotStream[Row]:
        """The rows that are there, and then every change since: no gap, and nothing twice.

        Makes the slot, which waits for open transactions to end (at most ``create_timeout``
        seconds), and copies what is published of the ``tables`` (all tables unless told) as the
        slot's snapshot shows them, one Insert a row; SnapshotEnd follows, and then what ``changes``
        gives. When it ends before SnapshotEnd, the slot is dropped again.

        Raises: as ``changes``; AlreadyExists; PublicationNotFound; TableNotFound for one that is
        not published; StatementTimeout; InsufficientPrivilege.
        Needs: REPLICATION, and SELECT on the tables; BYPASSRLS where row level security hides rows
        from the role.
        Source: CREATE_REPLICATION_SLOT with its snapshot exported, COPY, START_REPLICATION.
        """
        settings, conninfo = ChangeSettings.of(options), self._link.another()
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
            create_timeout=create_timeout,
        )
