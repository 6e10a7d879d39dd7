"""AsyncBackupStream: a base backup that is read, saved or extracted while it comes."""

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

from pgreplkit._async._io import aside, aside_whole
from pgreplkit._async.wire.closing import AsyncClosing
from pgreplkit._async.wire.copyout import AsyncCopyOut
from pgreplkit._async.wire.walsender import AsyncWalsender
from pgreplkit.driver.backoff import Pace
from pgreplkit.driver.failures import telling
from pgreplkit.driver.results import records
from pgreplkit.errors import StreamClosed, WaitTimeout
from pgreplkit.host.backupfiles import FreshFolder, TarFolder
from pgreplkit.host.backupfolder import DataFolder
from pgreplkit.host.checksums import quickest
from pgreplkit.host.configfiles import telling_files
from pgreplkit.plans.streams.backupstream import (
    BackupOptions,
    BackupProgress,
    BackupStage,
    TablespaceProgress,
)
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
from pgreplkit.values.manifest import BackupManifest

_LOOKS_AGAIN = 1.0
_ENDED_WITHIN = 10.0
_MODE_SINCE = 11


class _Items:
    """Makes items of what comes."""

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
    """Where a backup is written to."""

    def finish(self) -> None: ...
    def give_up(self) -> None: ...


class AsyncBackupStream(AsyncClosing):
    """A base backup: iterate over its parts, ``save_tar`` it or ``extract`` it.

    Made by ``base_backup`` of a ReplicationConnection. The server begins with it when the first
    part is asked for. Closed before its end, it is cancelled; the connection can be used again
    then, and after an error of the server, but not after ConnectionFailed.
    """

    def __init__(
        self,
        walsender: AsyncWalsender,
        options: BackupOptions,
        *,
        incremental: bytes | str | os.PathLike[str] | None,
        timeout: float | None,
    ) -> None:
        self._walsender, self._options = walsender, options
        self._incremental, self._timeout = incremental, timeout
        self._out: AsyncCopyOut | None = None
        self._items = _Items()
        self._sink: BackupSink = self._items
        self._framing: BackupFraming | None = None
        self._is_within = False
        """Whether a COPY has begun whose end the framing was not told."""
        self._ends: list[tuple[LSN, int]] = []
        self._stage = BackupStage.WAITING_FOR_CHECKPOINT
        self._began = time.monotonic()
        self._manifest: BackupManifest | None = None
        self._is_closed = False

    @property
    def start_lsn(self) -> LSN | None:
        """From where on WAL is needed to recover it; None until the server has begun."""
        return self._ends[0][0] if self._ends else None

    @property
    def timeline(self) -> int | None:
        """The timeline of that position; None until the server has begun."""
        return self._ends[0][1] if self._ends else None

    @property
    def end_lsn(self) -> LSN | None:
        """Up to where WAL is needed to recover it; None before the end."""
        return self._ends[1][0] if len(self._ends) > 1 else None

    @property
    def manifest(self) -> BackupManifest | None:
        """The manifest; None before the end, and where there is none.

        Raises: InvalidBackupManifest.
        """
        if self._manifest is None and self._framing is not None and self.end_lsn is not None:
            content = self._framing.manifest
            self._manifest = BackupManifest.parse(content) if content else None
        return self._manifest

    @property
    def progress(self) -> BackupProgress:
        """How far it is."""
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
        """Whether it has ended."""
        return self._is_closed

    @property
    def _tried(self) -> str:
        return f"take the base backup {self._options.label!r}"

    async def _begin(self, sink: BackupSink, *, with_map: bool, checksums: str | None) -> None:
        walsender, options = self._walsender, self._options
        walsender.insist_on_idle(self._tried)
        self._sink, self._began = sink, time.monotonic()
        self._out = out = AsyncCopyOut(walsender.connection)
        with telling(self._tried, role=walsender.role, grant="REPLICATION"):
            if self._incremental is not None:
                await out.upload(commands.UPLOAD_MANIFEST, await aside(self._earlier))
            major = walsender.version.major
            asked = options.asked(major, with_map=with_map, checksums=checksums)
            out.send(commands.base_backup(major, asked))

    def _earlier(self) -> bytes:
        """The manifest of the backup that an incremental one is made to."""
        given = self._incremental
        if isinstance(given, bytes):
            return given
        with telling_files(f"read the manifest {given}"):
            return Path(given or "").read_bytes()

    async def _next(self) -> list[memoryview] | None:
        """Messages of what is copied; None at the end."""
        out = self._out
        if out is None or self._is_closed:
            raise StreamClosed(self._tried, "it has ended: take another")
        pace = None if self._timeout is None else Pace(self._timeout)
        with telling(self._tried, role=self._walsender.role, grant="REPLICATION"):
            while True:
                messages = out.views()
                if messages:
                    return messages
                if self._is_within and not out.is_copying and self._framing is not None:
                    self._is_within = False
                    self._framing.end_copy()
                    if self._framing.archives_left <= 0:
                        self._stage = BackupStage.FINISHING
                result = out.result()
                if result is not None:
                    self._answered(result)
                    continue
                if out.is_over:
                    return None
                if pace is not None and pace.is_over:
                    raise WaitTimeout(
                        f"{self._tried}: nothing came in {self._timeout:g} s: {self.progress}"
                    )
                await out.wait(_LOOKS_AGAIN if pace is None else pace.next_pause())

    def _answered(self, result: PGresult) -> None:
        """The answer has rows before and after what is copied."""
        if result.status == ExecStatus.COPY_OUT and self._framing is not None:
            self._framing.begin_copy()
            self._is_within = True
        elif result.status == ExecStatus.TUPLES_OK:
            rows = records([result])
            if self._ends and self._framing is None:
                tablespaces = [BackupTablespace.from_record(row) for row in rows]
                major = self._walsender.version.major
                self._framing = BackupFraming(major, tablespaces, self._sink)
                self._stage = BackupStage.COPYING
            else:
                self._ends.append((LSN(rows[0]["recptr"] or ""), int(rows[0]["tli"] or 0)))

    async def __anext__(self) -> BackupItem:
        waiting = self._items.waiting
        if self._is_closed:
            raise StopAsyncIteration
        if self._out is None:
            checksums = self._options.manifest_checksums
            with_map = self._options.tablespace_map is not False
            await self._guarded_begin(self._items, with_map=with_map, checksums=checksums)
        while not waiting:
            try:
                messages = await self._next()
                if messages is not None and self._framing is not None:
                    self._framing.feed(messages)
            except WaitTimeout:
                raise
            except BaseException:
                await self.close()
                raise
            if messages is None:
                self._stage = BackupStage.DONE
                await self.close()
                raise StopAsyncIteration
        return waiting.popleft()

    async def _guarded_begin(
        self, sink: BackupSink, *, with_map: bool, checksums: str | None
    ) -> None:
        if self._is_closed or self._out is not None:
            raise StreamClosed(self._tried, "it was taken already: take another")
        try:
            await self._begin(sink, with_map=with_map, checksums=checksums)
        except BaseException:
            await self.close()
            raise

    async def save_tar(
        self,
        directory: str | os.PathLike[str],
        *,
        on_progress: Callable[[BackupProgress], None] | None = None,
    ) -> None:
        """Write base.tar, an archive for each tablespace, and backup_manifest into a directory.

        The directory is missing or empty. The manifest is written when all else is on the disk.
        When it fails, what it made is removed.

        Raises: HostFileError; ServerError; ConnectionFailed; WaitTimeout.
        """
        major = self._walsender.version.major
        with telling_files(self._tried):
            folder = TarFolder(FreshFolder(Path(directory), self._tried), major)
        with_map = self._options.tablespace_map is not False
        checksums = self._options.manifest_checksums
        await self._pour(folder, with_map, checksums, on_progress, lambda: None)

    async def extract(
        self,
        directory: str | os.PathLike[str],
        *,
        tablespaces: Mapping[str, str | os.PathLike[str]] | None = None,
        on_progress: Callable[[BackupProgress], None] | None = None,
    ) -> None:
        """Write a data directory that a server starts from, and compare it with the manifest.

        ``tablespaces`` says where each goes that is not to lie where it does on the server. All
        directories are missing or empty. When it fails, what it made is removed. Called by root
        it gives the files to who owns the folder above. Unless ``manifest_checksums`` says which,
        they are CRC32C where google-crc32c is installed, else SHA256.

        Raises: BackupDamaged; HostFileError; ServerError; ConnectionFailed; WaitTimeout;
        ValueError for what cannot be extracted: lz4 and zstd, or a tablespace_map.
        """
        options, walsender = self._options, self._walsender
        if options.compression not in {None, "gzip"} or options.tablespace_map:
            raise ValueError("extract takes gzip at the most, and makes the links by itself")
        checksums: str | None = None
        if options.has_manifest(walsender.version.major):
            checksums = options.manifest_checksums or quickest()
        moved = {old: Path(new).absolute() for old, new in (tablespaces or {}).items()}
        mode = "0700"
        if walsender.version.major >= _MODE_SINCE:
            mode = await walsender.show("data_directory_mode")
        with telling_files(self._tried):
            folder = DataFolder(
                Path(directory).absolute(),
                tried=self._tried,
                locations=moved,
                mode=int(mode, 8),
                algorithm=checksums,
            )
        await self._pour(folder, False, checksums, on_progress, folder.check)

    async def _pour(
        self,
        folder: _Folder,
        with_map: bool,
        checksums: str | None,
        on_progress: Callable[[BackupProgress], None] | None,
        check: Callable[[], None],
    ) -> None:
        """Let all go into a folder, or nothing."""

        def told(stage: BackupStage) -> None:
            self._stage = stage
            if on_progress is not None:
                on_progress(self.progress)

        try:
            told(self._stage)
            await self._guarded_begin(folder, with_map=with_map, checksums=checksums)
            while (messages := await self._next()) is not None:
                if self._framing is not None:
                    # A WaitTimeout is an OSError: it is not to be told as a file's.
                    with telling_files(self._tried):
                        await aside_whole(partial(self._framing.feed, messages))
                told(self._stage)
            told(BackupStage.SYNCING)
            await aside_whole(check)
            with telling_files(self._tried):
                await aside_whole(folder.finish)
        except BaseException:
            await aside_whole(folder.give_up)
            await self.close()
            raise
        await self.close()
        told(BackupStage.DONE)

    async def close(self) -> None:
        """End it; before its end, the server is asked to cancel it."""
        if self._is_closed:
            return
        self._is_closed = True
        out, walsender = self._out, self._walsender
        if out is None or out.is_over:
            return
        if walsender.connection.info.transaction_status == TransactionStatus.IDLE:
            return  # What is cancelled then would be the next command.
        if walsender.connection.closed or not await out.cancel(timeout=_ENDED_WITHIN):
            await walsender.close()

    def __aiter__(self) -> Self:
        return self

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else str(self.progress)
        return f"<{type(self).__name__} {self._options.label!r}, {state}>"
