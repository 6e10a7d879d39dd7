# Generated from pgreplkit/_async/streams/segmentstream.py by `nox -s sync`. Do not edit.
"""SegmentStream: WAL into a directory, segment after segment."""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import Self

import attrs

from pgreplkit._sync._io import aside, aside_whole
from pgreplkit._sync.streams.walsource import WalBatch, WalSource
from pgreplkit._sync.wire.closing import Closing
from pgreplkit._sync.wire.walsender import Walsender
from pgreplkit.catalog.features import FEATURES
from pgreplkit.errors import InvalidWalMessage, SlotNotFound, StreamClosed, WaitTimeout
from pgreplkit.host.walfiles import ReceivedSegment, WalFiles
from pgreplkit.plans.streams.waloptions import WalSettings
from pgreplkit.protocol import commands
from pgreplkit.values.lsn import LSN
from pgreplkit.values.segment import SegmentSize


class SegmentStream(Closing):
    """WAL that is written into a directory; iteration gives each segment that is whole.

    Made by ``receive_wal`` of a ReplicationConnection. It begins when it is entered, or when the
    first segment is asked for, and writes while you ask for the next: what you do between two is
    time in which nothing is written.
    """

    def __init__(
        self,
        walsender: Walsender,
        directory: str | os.PathLike[str],
        *,
        start: LSN | None,
        synchronous: bool,
        settings: WalSettings,
    ) -> None:
        if start is not None and not isinstance(start, LSN):
            raise TypeError(f"WAL is received from an LSN on, not a {type(start).__name__}")
        self._walsender = walsender
        self._directory = Path(directory)
        self._start = start
        self._settings = settings
        self._is_synchronous = synchronous
        # Who tells the server where it has flushed may be waited for by its commits.
        self._confirms = synchronous or settings.slot is not None
        self._source: WalSource | None = None
        self._files: WalFiles | None = None
        self._done: deque[ReceivedSegment] = deque()
        self._position, self._timeline = LSN.INVALID, 0
        self._is_closed = False

    @property
    def directory(self) -> Path:
        """Where the segments are."""
        return self._directory

    @property
    def position(self) -> LSN:
        """Up to where WAL is written; where it begins, before any was; 0/0 before it was begun."""
        return self._position

    @property
    def is_closed(self) -> bool:
        """Whether it has ended."""
        return self._is_closed

    def _open(self) -> tuple[WalSource, WalFiles]:
        if self._is_closed:
            raise StreamClosed(f"receive WAL into {self._directory}", "it has ended: begin another")
        if self._source is not None and self._files is not None:
            return self._source, self._files
        walsender = self._walsender
        segment_size = SegmentSize.parse(walsender.show("wal_segment_size"))
        files = WalFiles(self._directory, segment_size)
        resumed = aside(files.resume)
        if resumed is None:
            lsn, timeline = self._beginning()
        else:
            lsn, timeline = resumed.first_lsn, resumed.timeline
        start = lsn.wal_file(timeline=1, segment_size=segment_size).first_lsn
        settings = attrs.evolve(self._settings, timeline=timeline, whole_segments=segment_size)
        source = WalSource(walsender, start, settings)
        feed = source.open()
        self._files, self._source = files, source
        self._position, self._timeline = feed.position, feed.timeline
        return source, files

    def _beginning(self) -> tuple[LSN, int | None]:
        """Where to begin in an empty directory."""
        slot = self._settings.slot
        if self._start is not None:
            return self._start, None
        is_readable = self._walsender.version.major >= FEATURES["protocol.read_slot"].since
        if slot is not None and is_readable:
            tried = f"read the slot {slot!r}"
            [record] = self._walsender.ask(tried, commands.read_slot(slot))
            if record["slot_type"] is None:
                raise SlotNotFound(tried, "there is no slot of that name")
            if record["restart_lsn"] is not None and record["restart_tli"] is not None:
                return LSN(record["restart_lsn"]), int(record["restart_tli"])
        identity = self._walsender.identify()
        return identity.position, identity.timeline

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> ReceivedSegment:
        try:
            while not self._done:
                if self._is_closed and self._source is not None:
                    raise StopIteration
                source, files = self._open()
                batch = source.next()
                if batch is None:
                    self.close()
                else:
                    self._take(source, files, batch)
        except (WaitTimeout, StopIteration):
            raise
        except Exception:
            # A flush that failed is not told of again by the next one, which loses what it lost.
            self._end(confirms=False)
            raise
        return self._done.popleft()

    def _take(self, source: WalSource, files: WalFiles, batch: WalBatch) -> None:
        chunks = batch.chunks
        # Another timeline begins again with its first segment.
        is_same = bool(chunks) and chunks[0].timeline == self._timeline
        if is_same and chunks[0].lsn != self._position:
            # Ctrl-C came between taking WAL and writing it: going on would leave a hole.
            raise InvalidWalMessage(
                str(chunks[0].lsn), f"what was written goes up to {self._position}: begin anew"
            )
        is_last = source.feed is not None and source.feed.is_over
        syncs = self._is_synchronous or (self._confirms and (batch.asked or is_last))

        before, is_written = len(self._done), False

        def written() -> None:
            nonlocal is_written
            # All of it here: a caller that is cancelled meanwhile gets the segments later.
            if batch.history is not None:
                files.write_history(batch.history)
            done = files.write(chunks)
            if syncs:
                files.sync()
            self._done += done
            if chunks:
                self._position, self._timeline = chunks[-1].end_lsn, chunks[-1].timeline
                source.give(self._position)
                source.written()
            is_written = True

        try:
            aside_whole(written)
        finally:
            # Also for a caller that is cancelled meanwhile: a commit may wait for it.
            may_confirm = is_written and not source.is_closed
            if may_confirm and syncs:
                source.acknowledge(source.feedback.delivered, None, None)
                source.tell()
            elif may_confirm and self._confirms and len(self._done) > before:
                source.acknowledge(self._done[-1].name.end_lsn, source.feedback.written, None)

    def close(self) -> None:
        """See that all is on the disk, tell the server, and end; the connection is free then.

        The last segment, where it is not whole, stays ``….partial``.

        Raises: HostFileError when it cannot be written.
        """
        self._end(confirms=self._confirms)

    def _end(self, *, confirms: bool) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        source, files = self._source, self._files
        try:
            if files is not None:
                aside_whole(files.close)
                if confirms and source is not None and not source.is_closed:
                    source.acknowledge(source.feedback.delivered, None, None)
        finally:
            if source is not None:
                source.close()

    def __enter__(self) -> Self:
        try:
            self._open()
        except BaseException:
            self.close()
            raise
        return self

    def __repr__(self) -> str:
        state = "closed" if self._is_closed else f"at {self._position}"
        return f"<{type(self).__name__} into {str(self._directory)!r}, {state}>"
