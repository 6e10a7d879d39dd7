"""AsyncBackupStream: a base backup that is read, saved or extracted while it is received."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Protocol, Self

from psycopg.pq import ExecStatus, TransactionStatus
from psycopg.pq.abc import PGresult

from pgreplkit._async._io import to_thread, to_thread_shielded
from pgreplkit._async.wire.closing import AsyncClosing
from pgreplkit._async.wire.copyout import AsyncCopyOut
from pgreplkit._async.wire.walsender import AsyncWalsender
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.failures import translate_errors
from pgreplkit.driver.results import records
from pgreplkit.errors import ConnectionFailed, StreamClosed, WaitTimeout
from pgreplkit.host.backupfolder import DataFolder, FreshFolder, TarFolder
from pgreplkit.host.checksums import quickest
from pgreplkit.host.configfiles import translate_os_errors
from pgreplkit.plans.streams.backupstream import (
    BackupOptions,
    BackupProgress,
    BackupStage,
    TablespaceProgress,
)
from pgreplkit.plans.streams.silence import Silence, backup_silence
from pgreplkit.plans.streams.state import StreamState
from pgreplkit.protocol import commands
from pgreplkit.protocol.basebackup import (
    BackupArchive,
    BackupChunk,
    BackupFraming,
    BackupItem,
    BackupSink,
    BackupTablespace,
    ManifestChunk,
)
from pgreplkit.values.lsn import LSN
from pgreplkit.values.madeby import made_by
from pgreplkit.values.manifest import BackupManifest
from pgreplkit.values.seconds import Timeout, optional_seconds

_CHECKED_EVERY = 1.0
"""Seconds after which a wait checks the silence of the server."""
_ENDED_WITHIN = 10.0
"""Seconds for the server to cancel the backup: it may have to finish writing a large message."""
_MODE_SINCE = 11


class _Items:
    """Collects items for iteration."""

    def __init__(self) -> None:
        self.waiting: deque[BackupItem] = deque()
        self._archive: BackupArchive | None = None

    def begin(self, archive: BackupArchive) -> None:
        self._archive = archive
        self.waiting.append(archive)

    def write(self, data: memoryview) -> None:
        if self._archive is not None:
            self.waiting.append(BackupChunk(self._archive, bytes(data)))

    def end(self) -> None:
        self._archive = None

    def manifest(self, data: memoryview) -> None:
        self.waiting.append(ManifestChunk(bytes(data)))


class _Folder(BackupSink, Protocol):
    """A folder into which a backup is written."""

    def finish(self) -> None: ...
    def give_up(self) -> None: ...


@made_by("connection.base_backup() of a replication connection", AsyncWalsender)
class AsyncBackupStream(AsyncClosing):
    """A base backup: iterate over its parts, or call ``save_tar`` or ``extract``.

    Created by ``base_backup`` of a ReplicationConnection. The server begins when the first part is
    requested. Closed before its end, it is cancelled; the connection can be used again then, and
    after an error of the server, but not after ConnectionFailed.
    """

    def __init__(
        self,
        walsender: AsyncWalsender,
        options: BackupOptions,
        *,
        incremental: bytes | str | os.PathLike[str] | None,
        timeout: Timeout | None,
    ) -> None:
        self._walsender, self._options = walsender, options
        self._incremental = incremental
        self._timeout = optional_seconds(timeout, "timeout")
        self._out: AsyncCopyOut | None = None
        self._items = _Items()
        self._sink: BackupSink = self._items
        self._framing: BackupFraming | None = None
        self._ends: list[tuple[LSN, int]] = []
        self._stage = BackupStage.WAITING_FOR_CHECKPOINT
        self._began = time.monotonic()
        self._manifest: BackupManifest | None = None
        self._state = StreamState.NEW
        self._silence = Silence.of_server(None)
        self._checkpoint_timeout = 0.0
        self._sender_timeout: float | None = None

    @property
    def start_lsn(self) -> LSN | None:
        """The first position of the WAL needed to recover it; None until the server has begun."""
        return self._ends[0][0] if self._ends else None

    @property
    def timeline(self) -> int | None:
        """The timeline of ``start_lsn``; None until the server has begun."""
        return self._ends[0][1] if self._ends else None

    @property
    def end_lsn(self) -> LSN | None:
        """The end of the WAL needed to recover it; None before the end."""
        return self._ends[1][0] if len(self._ends) > 1 else None

    @property
    def manifest(self) -> BackupManifest | None:
        """The manifest; None before the end, and for a backup without one.

        Raises: InvalidBackupManifest.
        """
        # Parsed when it is asked for: that of a large database takes seconds.
        if self._manifest is None and self._framing is not None and self.end_lsn is not None:
            content = self._framing.manifest
            self._manifest = BackupManifest.parse(content) if content else None
        return self._manifest

    @property
    def progress(self) -> BackupProgress:
        """The progress of the backup."""
        framing = self._framing
        pairs = [] if framing is None else zip(framing.tablespaces, framing.done, strict=True)
        return BackupProgress(
            stage=self._stage,
            tablespaces=tuple(
                TablespaceProgress(
                    oid=tablespace.oid,
                    location=tablespace.location,
                    bytes_done=done,
                    bytes_total=tablespace.size,
                )
                for tablespace, done in pairs
            ),
            elapsed=timedelta(seconds=time.monotonic() - self._began),
        )

    @property
    def is_closed(self) -> bool:
        """Whether the stream has ended."""
        return self._state.is_over

    @property
    def _operation(self) -> str:
        return f"take the base backup {self._options.label!r}"

    async def _send_command(
        self, sink: BackupSink, *, with_map: bool, checksums: str | None
    ) -> None:
        walsender, options = self._walsender, self._options
        walsender.check_idle(self._operation)
        self._sink, self._began = sink, time.monotonic()
        # A spread checkpoint takes much of that time, during which the server sends nothing.
        self._checkpoint_timeout = await walsender.seconds("checkpoint_timeout")
        self._sender_timeout = await walsender.wal_sender_timeout()
        self._out = out = AsyncCopyOut(walsender.connection)
        self._state = self._state.to(StreamState.OPEN)
        with translate_errors(
            self._operation, connection=walsender.connection, grant="REPLICATION"
        ):
            if self._incremental is not None:
                # The server keeps the manifest for the next BASE_BACKUP of this connection.
                await out.upload(commands.UPLOAD_MANIFEST, await to_thread(self._earlier_manifest))
            major = walsender.version.major
            asked = options.asked(major, with_map=with_map, checksums=checksums)
            out.send(commands.base_backup(major, asked))

    def _earlier_manifest(self) -> bytes:
        """Return the manifest of the backup on which an incremental one builds."""
        given = self._incremental
        if isinstance(given, bytes):
            return given
        with translate_os_errors(f"read the manifest {given}"):
            return Path(given or "").read_bytes()

    async def _next(self) -> list[memoryview] | None:
        """Return the next messages of the archives; None at the end."""
        out = self._out
        if out is None or self._state.is_over:
            raise StreamClosed(
                self._operation, "the stream has ended", remedy="start another backup"
            )
        backoff = None if self._timeout is None else Backoff(self._timeout)
        with translate_errors(
            self._operation, connection=self._walsender.connection, grant="REPLICATION"
        ):
            while True:
                messages = out.views()
                if messages:
                    return messages
                # Before 15 a result separates the archives, so that all data before it is processed
                # first.
                self._note_end_of_copy(out)
                result = out.result()
                if result is not None:
                    self._process(result)
                    continue
                if out.is_over:
                    return None
                if backoff is not None and backoff.is_over:
                    raise WaitTimeout(
                        f"timed out after {self._timeout:g} s waiting for more of the base backup"
                        f" {self._options.label!r}: {self.progress}"
                    )
                await self._listen(out, _CHECKED_EVERY if backoff is None else backoff.next_pause())

    def _note_end_of_copy(self, out: AsyncCopyOut) -> None:
        framing = self._framing
        if framing is not None and framing.is_within_copy and not out.is_copying:
            framing.end_copy()
            if framing.archives_left <= 0:
                self._stage = BackupStage.FINISHING

    async def _listen(self, out: AsyncCopyOut, limit: float) -> None:
        """Wait until something was received, for at most ``limit`` seconds.

        Raises: ConnectionFailed when the server has been silent for longer than the stage explains.
        """
        silence = self._silence
        if await out.wait(limit):
            silence.heard()
            return
        silence.listened(limit)
        # Each time: the stage decides how long a server may be silent.
        silence.limit = backup_silence(
            self._stage,
            self._sender_timeout,
            checkpoint_timeout=self._checkpoint_timeout,
            waits_for_archive=self._options.waits_for_archive,
        )
        if silence.is_over:
            found = f"the server sent nothing for {silence.limit:g} s while {self._stage}"
            raise ConnectionFailed(self._operation, found, remedy="check the network between")

    def _process(self, result: PGresult) -> None:
        """Process a result; there are some with rows before and after the archives."""
        if result.status == ExecStatus.COPY_OUT and self._framing is not None:
            self._framing.begin_copy()
        elif result.status == ExecStatus.TUPLES_OK:
            # The start position, the list of tablespaces, and at the end the end position.
            rows = records([result])
            # The first result is the start position, so the second one is the list of tablespaces.
            if self._ends and self._framing is None:
                tablespaces = [BackupTablespace.from_record(row) for row in rows]
                major = self._walsender.version.major
                self._framing = BackupFraming(major, tablespaces, self._sink)
                self._stage = BackupStage.COPYING
            else:
                self._ends.append((LSN(rows[0]["recptr"] or ""), int(rows[0]["tli"] or 0)))

    async def __anext__(self) -> BackupItem:
        waiting = self._items.waiting
        if self._state.is_over:
            raise StopAsyncIteration
        if self._out is None:
            checksums = self._options.manifest_checksums
            with_map = self._options.tablespace_map is not False
            await self._start(self._items, with_map=with_map, checksums=checksums)
        while not waiting:
            try:
                messages = await self._next()
                if messages is not None and self._framing is not None:
                    self._framing.feed(messages)
            except WaitTimeout:
                # The stream stays as it is: the next call continues to wait.
                raise
            except BaseException:
                await self._end(StreamState.FAILED)
                raise
            if messages is None:
                self._stage = BackupStage.DONE
                await self.close()
                raise StopAsyncIteration
        return waiting.popleft()

    async def _start(self, sink: BackupSink, *, with_map: bool, checksums: str | None) -> None:
        if self._state is not StreamState.NEW:
            found = "the backup was started already"
            raise StreamClosed(self._operation, found, remedy="start another backup")
        try:
            await self._send_command(sink, with_map=with_map, checksums=checksums)
        except BaseException:
            await self._end(StreamState.FAILED)
            raise

    async def save_tar(
        self,
        directory: str | os.PathLike[str],
        *,
        on_progress: Callable[[BackupProgress], None] | None = None,
    ) -> None:
        """Write base.tar, an archive for each tablespace, and backup_manifest into a directory.

        The directory must be missing or empty. The manifest is written when all else is on the
        disk. If the backup fails, the written files are removed.

        Raises: HostFileError; ServerError; ConnectionFailed; WaitTimeout.
        """
        major = self._walsender.version.major
        with translate_os_errors(self._operation):
            folder = TarFolder(FreshFolder(Path(directory), self._operation), major)
        with_map = self._options.tablespace_map is not False
        checksums = self._options.manifest_checksums
        await self._write_backup(folder, with_map, checksums, on_progress, lambda: None)

    async def extract(
        self,
        directory: str | os.PathLike[str],
        *,
        tablespaces: Mapping[str, str | os.PathLike[str]] | None = None,
        on_progress: Callable[[BackupProgress], None] | None = None,
    ) -> None:
        """Write a data directory that a server starts from, and compare it with the manifest.

        ``tablespaces`` maps a tablespace's location on the server to another one here. All
        directories must be missing or empty. If the backup fails, the written files are removed.
        Called by root, it makes the owner of the parent directory the owner of the files. The
        checksums are CRC32C if google-crc32c is installed, else SHA256, unless
        ``manifest_checksums`` was given.

        Raises: BackupDamaged; HostFileError; ServerError; ConnectionFailed; WaitTimeout;
        ValueError for a backup that cannot be extracted: lz4 or zstd, or with a tablespace_map.
        """
        options, walsender = self._options, self._walsender
        if options.compression not in {None, "gzip"} or options.tablespace_map:
            raise ValueError(
                "could not extract the backup: it takes gzip at most, and no tablespace_map"
            )
        checksums: str | None = None
        if options.has_manifest(walsender.version.major):
            # Each file is hashed while it is written, to be compared with the manifest.
            checksums = options.manifest_checksums or quickest()
        # Links in pg_tblspc need absolute paths.
        moved = {old: Path(new).absolute() for old, new in (tablespaces or {}).items()}
        # Before 11 a server refuses to start from a directory with any other mode.
        mode = "0700"
        if walsender.version.major >= _MODE_SINCE:
            mode = await walsender.show("data_directory_mode")
        with translate_os_errors(self._operation):
            folder = DataFolder(
                Path(directory).absolute(),
                operation=self._operation,
                locations=moved,
                mode=int(mode, 8),
                algorithm=checksums,
            )
        await self._write_backup(folder, False, checksums, on_progress, folder.check)

    async def _write_backup(
        self,
        folder: _Folder,
        with_map: bool,
        checksums: str | None,
        on_progress: Callable[[BackupProgress], None] | None,
        check: Callable[[], None],
    ) -> None:
        """Write the backup into a folder; remove what was written if it fails."""

        def enter(stage: BackupStage) -> None:
            self._stage = stage
            if on_progress is not None:
                on_progress(self.progress)

        try:
            enter(self._stage)
            await self._start(folder, with_map=with_map, checksums=checksums)
            while (messages := await self._next()) is not None:
                await self._write(messages)
                enter(self._stage)
            enter(BackupStage.SYNCING)
            await to_thread_shielded(check)
            with translate_os_errors(self._operation):
                await to_thread_shielded(folder.finish)
        except BaseException:
            # A cancelled caller must not remove files that a thread still writes.
            await to_thread_shielded(folder.give_up)
            await self._end(StreamState.FAILED)
            raise
        await self.close()
        enter(BackupStage.DONE)

    async def _write(self, messages: list[memoryview]) -> None:
        """Write messages into the folder."""
        # Not around _next(): its WaitTimeout is an OSError, but not of a file.
        with translate_os_errors(self._operation):
            if self._framing is not None:
                await to_thread_shielded(partial(self._framing.feed, messages))

    async def close(self) -> None:
        """End the stream; a backup that is not complete is cancelled."""
        await self._end(StreamState.CLOSED)

    async def _end(self, state: StreamState) -> None:
        if self._state.is_over:
            return
        self._state = self._state.to(state)
        out, walsender = self._out, self._walsender
        if out is None or out.is_over:
            return
        if walsender.connection.info.transaction_status == TransactionStatus.IDLE:
            return  # A request to cancel would hit the next command.
        if walsender.connection.closed or not await out.cancel(timeout=_ENDED_WITHIN):
            await walsender.close()

    def __aiter__(self) -> Self:
        return self

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else str(self.progress)
        return f"<{type(self).__name__} {self._options.label!r}, {state}>"
