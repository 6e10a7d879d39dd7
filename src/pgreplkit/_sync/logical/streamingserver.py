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
    """A primary or a standby, with its streams of changes."""

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
        """Stream the changes that a slot of this connection's database decodes by pgoutput.

        The changes are typed (Begin, Insert, Update, Delete, Truncate, Message, Commit, …), and
        start at ``start``, or at the position that the slot has confirmed. Values are loaded by
        psycopg's loaders of this server's connection; each row is a Row, or the result of
        ``row_factory``. The stream opens another connection with the parameters of this one.

        Nothing is acknowledged automatically: after a crash, changes that were not acknowledged are
        sent again. ``ChangeOptions`` lists further options, such as ``binary=True``.

        Raises: when it is entered or the first change is requested: SlotNotFound; SlotActive;
        SlotLost; PublicationNotFound (before 18, with the first change); UnsupportedByServer;
        AheadOfServer for a ``start`` that the server has not reached; InsufficientPrivilege;
        ConnectionFailed, also when the server shuts down; WaitTimeout; ValueNotLoadable.
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
        """Stream the existing rows, and then every later change, without a gap or a repetition.

        It creates the slot, which waits up to ``create_timeout`` seconds for open transactions to
        end, and copies the published columns and rows of the ``tables`` (by default all published
        ones) in the slot's snapshot. Each row is an Insert; SnapshotEnd follows, and then the
        changes as from ``changes``. If it ends before SnapshotEnd, the slot is dropped.

        Raises: as ``changes``; AlreadyExists; PublicationNotFound; TableNotFound for a table that
        is not published; StatementTimeout; InsufficientPrivilege.
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
