"""AsyncReplicationConnection: the commands of the replication protocol."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Self, TypeVar, Unpack, cast, overload

from psycopg import AsyncConnection

from pgreplkit._async.streams.backupstream import AsyncBackupStream
from pgreplkit._async.streams.changes import (
    AsyncAnyPlugin,
    AsyncChangeStream,
    AsyncPayloadStream,
    change_stream,
)
from pgreplkit._async.streams.recordstream import AsyncWalRecordStream
from pgreplkit._async.streams.segmentstream import AsyncSegmentStream
from pgreplkit._async.streams.slotstream import AsyncSlotStream
from pgreplkit._async.streams.walsource import AsyncWalSource
from pgreplkit._async.streams.walstream import AsyncWalStream
from pgreplkit._async.wire.closing import AsyncClosing
from pgreplkit._async.wire.walsender import AsyncWalsender
from pgreplkit.driver.conninfo import complete
from pgreplkit.driver.failures import (
    DUPLICATE_OBJECT,
    OBJECT_IN_USE,
    UNDEFINED_OBJECT,
)
from pgreplkit.errors import (
    AlreadyExists,
    ServerError,
    SlotActive,
    SlotNotFound,
    StatementTimeout,
)
from pgreplkit.plans.cluster.clone import CheckpointMode
from pgreplkit.plans.streams.backupstream import BackupCompression, BackupOptions, ManifestChecksums
from pgreplkit.plans.streams.options import (
    ChangeOptions,
    StreamOptions,
    StreamSettings,
    WalSettings,
)
from pgreplkit.plans.streams.slot import not_created, slower_on_standby
from pgreplkit.protocol import commands
from pgreplkit.protocol.answers import CreatedSlot, SlotPosition, Snapshot
from pgreplkit.protocol.pgoutput.rows import Row, RowFactory, named_rows
from pgreplkit.values.flags import checked_flags, optional_flags
from pgreplkit.values.identity import SystemIdentity
from pgreplkit.values.lsn import LSN
from pgreplkit.values.madeby import made_by
from pgreplkit.values.seconds import Timeout
from pgreplkit.values.several import by_name
from pgreplkit.values.timeline import TimelineHistory
from pgreplkit.values.version import ServerVersion

R = TypeVar("R")


@made_by("{name}.connect(conninfo)", AsyncWalsender)
class AsyncReplicationConnection(AsyncClosing):
    """A connection to a walsender, with the commands of the replication protocol.

    Without a ``database`` it is for physical replication; with one, for logical replication too.
    It carries one stream at a time, and at most one logical stream.

    Needs: REPLICATION, and an entry of pg_hba.conf (for ``replication`` without a database).
    """

    def __init__(self, walsender: AsyncWalsender) -> None:
        self._walsender = walsender

    @classmethod
    async def connect(
        cls, conninfo: str = "", *, database: str | None = None, **params: str | int | None
    ) -> Self:
        """Open a connection; ``conninfo`` and ``params`` are those of ``pgreplkit.connect``.

        Raises: ConnectionFailed.
        """
        if database is not None:
            params["dbname"] = database
        whole = complete(conninfo, params)
        return cls(await AsyncWalsender.connect(whole, is_logical=database is not None))

    @property
    def connection(self) -> AsyncConnection[object]:
        """The psycopg connection; a walsender takes neither parameters nor prepared statements."""
        return self._walsender.connection

    @property
    def version(self) -> ServerVersion:
        """The server's version."""
        return self._walsender.version

    async def identify_system(self) -> SystemIdentity:
        """Return the system identifier, the timeline and the flushed (standby: received) position.

        Source: IDENTIFY_SYSTEM.
        """
        return await self._walsender.identify()

    async def show(self, name: str) -> str:
        """Return a setting as the server writes it, such as ``16MB``.

        Raises: SettingNotFound.  Source: SHOW.
        """
        return await self._walsender.show(name)

    async def timeline_history(self, timeline: int) -> TimelineHistory:
        """Return the history of a timeline; that of timeline 1 has no switches.

        Raises: ServerError if the server has no such timeline.  Source: TIMELINE_HISTORY.
        """
        # The first timeline has no history file, and the server refuses the command.
        if timeline == 1:
            return TimelineHistory(1)
        content = await self._walsender.history_file(timeline)
        return TimelineHistory.from_bytes(content, timeline=timeline)

    async def read_slot(self, name: str) -> SlotPosition:
        """Return the position of a physical slot.

        Raises: UnsupportedByServer before 15; SlotNotFound; ServerError for a logical slot.
        Source: READ_REPLICATION_SLOT.
        """
        self._walsender.require("protocol.read_slot")
        operation = f"read the slot {name!r}"
        [record] = await self._walsender.ask(operation, commands.read_slot(name))
        # The server answers with a row of NULLs if there is no such slot.
        if record["slot_type"] is None:
            raise SlotNotFound(operation, "no slot has that name")
        lsn, timeline = record["restart_lsn"], record["restart_tli"]
        return SlotPosition(
            None if lsn is None else LSN(lsn), None if timeline is None else int(timeline)
        )

    async def create_slot(
        self,
        name: str,
        *,
        plugin: str | None = None,
        temporary: bool = False,
        reserve_wal: bool = False,
        snapshot: Snapshot | str = Snapshot.NOTHING,
        two_phase: bool = False,
        failover: bool = False,
        timeout: Timeout = 60.0,
    ) -> CreatedSlot:
        """Create a slot: a logical slot for ``plugin``, or a physical slot without a plugin.

        A physical slot retains WAL from its first use on, or with ``reserve_wal`` from the last
        checkpoint on. The creation of a logical slot waits until all open transactions have ended,
        at most ``timeout`` seconds; its ``snapshot`` shows the data before its first change. A
        ``temporary`` slot is dropped when the connection ends.

        Raises: UnsupportedByServer for ``two_phase`` before 15, ``failover`` before 17;
        StatementTimeout; AlreadyExists; InvalidSlotName; ServerError.
        Source: CREATE_REPLICATION_SLOT.
        """
        checked_flags(
            temporary=temporary, reserve_wal=reserve_wal, two_phase=two_phase, failover=failover
        )
        major = self.version.major
        if plugin is None:
            # The server would report a syntax error.
            if two_phase or failover or Snapshot(snapshot) is not Snapshot.NOTHING:
                raise TypeError("a physical slot has no plugin, snapshot, two_phase or failover")
            command = commands.create_physical_slot(
                major, name, temporary=temporary, reserve_wal=reserve_wal
            )
        else:
            if reserve_wal:
                raise TypeError("a logical slot always reserves WAL")
            # The server would report a syntax error, and not the version that is needed.
            self._require_slot_options(two_phase=two_phase, failover=failover)
            flags = {"temporary": temporary, "two_phase": two_phase, "failover": failover}
            command = commands.create_logical_slot(
                major, name, plugin, snapshot=Snapshot(snapshot), **flags
            )
        return await self._created(name, command, is_logical=plugin is not None, timeout=timeout)

    async def _created(
        self, name: str, command: bytes, *, is_logical: bool, timeout: Timeout
    ) -> CreatedSlot:
        operation, meaning = f"create the slot {name!r}", {DUPLICATE_OBJECT: AlreadyExists}
        walsender = self._walsender
        try:
            [record] = await walsender.ask(operation, command, meaning=meaning, timeout=timeout)
        except StatementTimeout as error:
            # The server itself waits without limit. On a standby it waits for the primary to log
            # its running transactions, and not only for their ends.
            if is_logical and await walsender.is_in_recovery():
                raise slower_on_standby(error) from error
            raise
        except ServerError as error:
            # An error of a class of its own says what happened; the others need an explanation.
            if not is_logical or type(error) is not ServerError:
                raise
            has_database = (await walsender.identify()).database is not None
            raise not_created(error, has_database=has_database) from error.__cause__
        return CreatedSlot(
            name=name,
            consistent_point=LSN(record["consistent_point"] or "0/0"),
            snapshot_name=record["snapshot_name"],
            plugin=record["output_plugin"],
        )

    def _require_slot_options(self, *, two_phase: bool, failover: bool) -> None:
        if two_phase:
            self._walsender.require("protocol.two_phase")
        if failover:
            self._walsender.require("slot.failover")

    async def drop_slot(self, name: str, *, wait: bool = False, timeout: Timeout = 60.0) -> None:
        """Drop a slot; with ``wait``, wait up to ``timeout`` seconds until it is no longer used.

        Raises: SlotNotFound; SlotActive; StatementTimeout.
        Source: DROP_REPLICATION_SLOT.
        """
        checked_flags(wait=wait)
        operation, command = f"drop the slot {name!r}", commands.drop_slot(name, wait=wait)
        meaning = {UNDEFINED_OBJECT: SlotNotFound}
        try:
            await self._walsender.ask(operation, command, meaning=meaning, timeout=timeout)
        except ServerError as error:
            if error.sqlstate != OBJECT_IN_USE:
                raise
            # Without a database nothing can be asked about the process that uses it.
            raise SlotActive(operation, name, None, None, None) from error

    def start_logical(
        self,
        slot: str,
        options: Mapping[str, str] | None = None,
        *,
        start: LSN | None = None,
        **settings: Unpack[StreamOptions],
    ) -> AsyncPayloadStream:
        """Stream the undecoded messages of a slot's plugin, from ``start`` or the slot's position.

        ``options`` are those of the plugin, such as ``{"format-version": "2"}`` for wal2json. See
        ``StreamOptions`` for the other keywords.

        Raises: as ``changes``, when it is entered or the first message is requested.
        Needs: a connection to the slot's database.  Source: START_REPLICATION … LOGICAL.
        """
        stream = AsyncSlotStream(
            self._walsender,
            slot,
            AsyncAnyPlugin({**by_name(options, "options")}),
            start=start,
            settings=StreamSettings.of(settings),
        )
        return AsyncPayloadStream(stream)

    @overload
    def changes(
        self,
        slot: str,
        *,
        publications: Iterable[str],
        start: LSN | None = None,
        **options: Unpack[ChangeOptions],
    ) -> AsyncChangeStream[Row]: ...
    @overload
    def changes(
        self,
        slot: str,
        *,
        publications: Iterable[str],
        row_factory: RowFactory[R],
        start: LSN | None = None,
        **options: Unpack[ChangeOptions],
    ) -> AsyncChangeStream[R]: ...
    def changes(
        self,
        slot: str,
        *,
        publications: Iterable[str],
        row_factory: RowFactory[R] | None = None,
        start: LSN | None = None,
        **options: Unpack[ChangeOptions],
    ) -> AsyncChangeStream[R] | AsyncChangeStream[Row]:
        """Stream the changes of a pgoutput slot on this connection; see ``changes`` of a server.

        The values are loaded by the loaders of ``connection.adapters``.
        """
        return change_stream(
            self._walsender,
            slot,
            publications,
            cast(RowFactory[R], row_factory or named_rows),
            start=start,
            # The stream uses this very connection, and so its adapters.
            adapters=None,
            options=options,
        )

    def start_physical(
        self,
        start: LSN,
        *,
        timeline: int | None = None,
        slot: str | None = None,
        stop_at: LSN | None = None,
        timeout: Timeout | None = None,
        status_interval: Timeout = 10.0,
    ) -> AsyncWalStream:
        """Stream the WAL from ``start`` on, of ``timeline`` and all timelines that follow it.

        By default the timeline is the one in the server's history that contains ``start``. With
        ``stop_at`` the stream ends before that position; otherwise it never ends. After ``timeout``
        seconds without WAL it raises WaitTimeout; reading may continue then. A status update is
        sent every ``status_interval`` seconds, and more often if wal_sender_timeout requires it.

        Raises: when it is entered or WAL is requested: WalRemoved; AheadOfServer; SlotNotFound;
        SlotActive; ConnectionFailed, also when the server shuts down or falls silent; ServerError,
        as for a timeline that is not in the server's history or ended before ``start``;
        WaitTimeout.
        Source: START_REPLICATION … PHYSICAL.
        """
        settings = WalSettings(
            timeline=timeline,
            slot=slot,
            stop_at=stop_at,
            timeout=timeout,
            status_interval=status_interval,
        )
        return AsyncWalStream(AsyncWalSource(self._walsender, start, settings))

    def read_wal(
        self,
        start: LSN,
        *,
        timeline: int | None = None,
        slot: str | None = None,
        stop_at: LSN | None = None,
        timeout: Timeout | None = None,
        status_interval: Timeout = 10.0,
    ) -> AsyncWalRecordStream:
        """Iterate over the records of the WAL, from the first one at or after ``start``.

        With ``stop_at``, the last record is the last one that is complete before that position;
        otherwise the stream never ends. The keywords are those of ``start_physical``.

        Raises: InvalidWal; when it is entered or a record is requested, the errors of
        ``start_physical``.
        Source: START_REPLICATION … PHYSICAL.
        """
        settings = WalSettings(
            timeline=timeline,
            slot=slot,
            stop_at=stop_at,
            timeout=timeout,
            status_interval=status_interval,
        )
        return AsyncWalRecordStream(self._walsender, start, settings)

    def receive_wal(
        self,
        directory: str | os.PathLike[str],
        *,
        start: LSN | None = None,
        slot: str | None = None,
        stop_at: LSN | None = None,
        synchronous: bool = False,
        timeout: Timeout | None = None,
        status_interval: Timeout = 10.0,
    ) -> AsyncSegmentStream:
        """Write WAL into a directory as pg_receivewal does; yield each complete segment.

        It continues where the WAL in the directory ends. An empty directory begins with the segment
        of ``start``, or of the slot (15 on), or with the server's current segment. With a
        ``slot``, flushed WAL is reported when a segment is complete; with ``synchronous``, after
        each write, so that commits can wait for it. It ends at ``stop_at``; the segment of that
        position stays ``….partial``. After ``timeout`` seconds without WAL it raises WaitTimeout;
        reading may continue then. After any error the next run continues from the same place.

        Raises: HostFileError for a directory that is missing or has segments of another size, or
        when writing fails; the errors of ``start_physical``.
        Source: START_REPLICATION … PHYSICAL, TIMELINE_HISTORY.
        """
        checked_flags(synchronous=synchronous)
        settings = WalSettings(
            slot=slot, stop_at=stop_at, timeout=timeout, status_interval=status_interval
        )
        return AsyncSegmentStream(
            self._walsender, directory, start=start, synchronous=synchronous, settings=settings
        )

    def base_backup(
        self,
        *,
        label: str = "pgreplkit base backup",
        checkpoint: CheckpointMode = "spread",
        wal: bool = True,
        wait_for_archiving: bool | None = None,
        max_rate: int | None = None,
        tablespace_map: bool | None = None,
        verify_checksums: bool = True,
        manifest: bool | None = None,
        manifest_checksums: ManifestChecksums | None = None,
        compression: BackupCompression | None = None,
        compression_level: int | None = None,
        incremental: bytes | str | os.PathLike[str] | None = None,
        timeout: Timeout | None = None,
    ) -> AsyncBackupStream:
        """Take a base backup, which begins when it is saved, extracted or iterated over.

        With ``wal`` it contains the WAL that is needed to start from it. Without, the server ends
        it only when that WAL is archived, unless ``wait_for_archiving`` is False. ``max_rate`` is
        in bytes per second, from 32 KiB to 1 GiB. With ``tablespace_map`` the backup lists the
        tablespaces in a file instead of as links; this is the default for a backup that stays in
        archives. A ``manifest`` is included by default if the server supports it (13 on).
        ``incremental`` is the manifest of an earlier backup, or its path: the backup then contains
        only the changes since, for pg_combinebackup. After ``timeout`` seconds without data it
        raises WaitTimeout; a spread checkpoint takes minutes.

        Raises: UnsupportedByServer for compression before 15, a manifest before 13, ``incremental``
        before 17, and ``verify_checksums=False`` before 11; ValueError.
        Source: BASE_BACKUP, UPLOAD_MANIFEST.
        """
        checked_flags(wal=wal, verify_checksums=verify_checksums)
        optional_flags(
            wait_for_archiving=wait_for_archiving, tablespace_map=tablespace_map, manifest=manifest
        )
        options = BackupOptions(
            label=label,
            checkpoint=checkpoint,
            wal=wal,
            wait_for_archiving=wait_for_archiving,
            max_rate=max_rate,
            tablespace_map=tablespace_map,
            verify_checksums=verify_checksums,
            manifest=manifest,
            manifest_checksums=manifest_checksums,
            compression=compression,
            compression_level=compression_level,
            is_incremental=incremental is not None,
        )
        # The server would only report a syntax error, and not the version that is needed.
        for feature in options.features():
            self._walsender.require(feature)
        return AsyncBackupStream(self._walsender, options, incremental=incremental, timeout=timeout)

    async def close(self) -> None:
        """Close the connection."""
        await self._walsender.close()

    def __repr__(self) -> str:
        info = self.connection.info
        if self.connection.closed:
            return f"<{type(self).__name__}, closed>"
        of = f" of {info.dbname!r}" if self._walsender.is_logical else ""
        version = self.version
        return f"<{type(self).__name__}{of} PostgreSQL {version} at {info.host}:{info.port}>"
