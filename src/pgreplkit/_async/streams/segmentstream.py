"""AsyncSegmentStream: writes WAL into a directory, segment after segment."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import Self

import attrs

from pgreplkit._async._io import to_thread, to_thread_shielded
from pgreplkit._async.streams.walsource import AsyncWalSource, WalBatch
from pgreplkit._async.wire.closing import AsyncClosing
from pgreplkit._async.wire.walsender import AsyncWalsender
from pgreplkit.catalog.features import FEATURES
from pgreplkit.errors import InvalidWalMessage, SlotNotFound, StreamClosed, WaitTimeout
from pgreplkit.host.walfolder import ReceivedSegment, WalFolder
from pgreplkit.plans.streams.options import WalSettings
from pgreplkit.plans.streams.state import StreamState
from pgreplkit.protocol import commands
from pgreplkit.values.flags import checked_flags
from pgreplkit.values.lsn import LSN
from pgreplkit.values.madeby import made_by
from pgreplkit.values.segment import SegmentSize


@made_by("connection.receive_wal(directory) of a replication connection", AsyncWalsender)
class AsyncSegmentStream(AsyncClosing):
    """WAL that is written into a directory; iteration yields each complete segment.

    Created by ``receive_wal`` of a ReplicationConnection. It begins when it is entered, or when the
    first segment is requested. It writes only while the next segment is requested, not while your
    own code runs.
    """

    def __init__(
        self,
        walsender: AsyncWalsender,
        directory: str | os.PathLike[str],
        *,
        start: LSN | None,
        synchronous: bool,
        settings: WalSettings,
    ) -> None:
        checked_flags(synchronous=synchronous)
        if start is not None and not isinstance(start, LSN):
            raise TypeError(f"start must be an LSN, not {type(start).__name__}")
        self._walsender = walsender
        self._directory = Path(directory)
        self._start = start
        self._settings = settings
        self._is_synchronous = synchronous
        # Commits may wait for a client that reports what it has flushed.
        self._confirms = synchronous or settings.slot is not None
        self._source: AsyncWalSource | None = None
        self._folder: WalFolder | None = None
        self._done: deque[ReceivedSegment] = deque()
        self._position, self._timeline = LSN.INVALID, 0
        self._state = StreamState.NEW

    @property
    def directory(self) -> Path:
        """The directory of the segments."""
        return self._directory

    @property
    def position(self) -> LSN:
        """The end of the written WAL: at first its start, and 0/0 before it was opened."""
        return self._position

    @property
    def is_closed(self) -> bool:
        """Whether the stream has ended."""
        return self._state.is_over

    async def _open(self) -> tuple[AsyncWalSource, WalFolder]:
        if self._state.is_over:
            operation, remedy = f"receive WAL into {self._directory}", "open another stream"
            raise StreamClosed(operation, "the stream has ended", remedy=remedy)
        if self._source is not None and self._folder is not None:
            return self._source, self._folder
        walsender = self._walsender
        segment_size = SegmentSize.parse(await walsender.show("wal_segment_size"))
        folder = WalFolder(self._directory, segment_size)
        # As pg_receivewal: a partial segment is received again from its start.
        resumed = await to_thread(folder.resume)
        if resumed is None:
            lsn, timeline = await self._beginning()
        else:
            lsn, timeline = resumed.first_lsn, resumed.timeline
        # A file has a whole segment, so that the stream has to begin at the start of one.
        start = lsn.wal_file(timeline=1, segment_size=segment_size).first_lsn
        settings = attrs.evolve(self._settings, timeline=timeline, whole_segments=segment_size)
        source = AsyncWalSource(walsender, start, settings)
        feed = await source.open()
        self._folder, self._source = folder, source
        self._position, self._timeline = feed.position, feed.timeline
        self._state = self._state.to(StreamState.OPEN)
        return source, folder

    async def _beginning(self) -> tuple[LSN, int | None]:
        """Return the position and timeline at which to begin in an empty directory."""
        slot = self._settings.slot
        if self._start is not None:
            return self._start, None
        # Before 15 only SQL shows the position of a slot, which this connection may not run.
        is_readable = self._walsender.version.major >= FEATURES["protocol.read_slot"].since
        if slot is not None and is_readable:
            operation = f"read the slot {slot!r}"
            [record] = await self._walsender.ask(operation, commands.read_slot(slot))
            if record["slot_type"] is None:
                raise SlotNotFound(operation, "no slot has that name")
            if record["restart_lsn"] is not None and record["restart_tli"] is not None:
                return LSN(record["restart_lsn"]), int(record["restart_tli"])
        identity = await self._walsender.identify()
        return identity.position, identity.timeline

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ReceivedSegment:
        try:
            while not self._done:
                if self._state.is_over and self._source is not None:
                    raise StopAsyncIteration
                source, folder = await self._open()
                batch = await source.next()
                if batch is None:
                    await self.close()
                else:
                    await self._take(source, folder, batch)
        except (WaitTimeout, StopAsyncIteration):
            raise
        except Exception:
            # After a failed flush the next one succeeds, though the data of the first is lost.
            await self._end(StreamState.FAILED, confirms=False)
            raise
        return self._done.popleft()

    async def _take(self, source: AsyncWalSource, folder: WalFolder, batch: WalBatch) -> None:
        chunks = batch.chunks
        # Another timeline begins again with its first segment.
        is_same = bool(chunks) and chunks[0].timeline == self._timeline
        if is_same and chunks[0].lsn != self._position:
            # Ctrl-C came between receiving WAL and writing it: continuing would leave a hole.
            found = f"WAL is written up to {self._position}: open another stream"
            raise InvalidWalMessage(str(chunks[0].lsn), found)
        is_last = source.feed is not None and source.feed.is_over
        syncs = self._is_synchronous or (self._confirms and (batch.asked or is_last))

        before, is_written = len(self._done), False

        def write() -> None:
            nonlocal is_written
            # All of it in one call: a caller that is cancelled during it gets the segments later.
            if batch.history is not None:
                folder.write_history(batch.history)
            done = folder.write(chunks)
            if syncs:
                folder.sync()
            self._done += done
            if chunks:
                self._position, self._timeline = chunks[-1].end_lsn, chunks[-1].timeline
                source.deliver(self._position)
                source.written()
            is_written = True

        try:
            await to_thread_shielded(write)
        finally:
            # Also if the caller was cancelled during the write: a commit may wait for it.
            may_confirm = is_written and not source.state.is_over
            if may_confirm and syncs:
                source.acknowledge(source.feedback.delivered, None, None)
                source.report()
            elif may_confirm and self._confirms and len(self._done) > before:
                source.acknowledge(self._done[-1].name.end_lsn, source.feedback.written, None)

    async def close(self) -> None:
        """Flush the WAL to disk, report it to the server, and end; the connection is free then.

        The last segment stays ``….partial`` unless it is complete.

        Raises: HostFileError when it cannot be written.
        """
        await self._end(StreamState.CLOSED, confirms=self._confirms)

    async def _end(self, state: StreamState, *, confirms: bool) -> None:
        if self._state.is_over:
            return
        self._state = self._state.to(state)
        source, folder = self._source, self._folder
        try:
            if folder is not None:
                # WAL is flushed before it is confirmed: the server may remove it then.
                await to_thread_shielded(folder.close)
                if confirms and source is not None and not source.state.is_over:
                    source.acknowledge(source.feedback.delivered, None, None)
        finally:
            if source is not None:
                await source.close()

    async def __aenter__(self) -> Self:
        try:
            await self._open()
        except BaseException:
            await self.close()
            raise
        return self

    def __repr__(self) -> str:
        state = "closed" if self.is_closed else f"at {self._position}"
        return f"<{type(self).__name__} into {str(self._directory)!r}, {state}>"
