"""WalReader: the records in WAL files, across files and timelines."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from pgreplkit._text import counted
from pgreplkit.errors import InvalidWalRange
from pgreplkit.offline.checkpoints import WalCheckpoint, checkpoint_of, is_checkpoint
from pgreplkit.offline.columns import columns_of
from pgreplkit.offline.compression import read_pieces
from pgreplkit.offline.counts import Counts
from pgreplkit.offline.damage import InvalidWal
from pgreplkit.offline.pages import MAJORS, SHORT
from pgreplkit.offline.path import WalPath, find_path, header_of
from pgreplkit.offline.records import Source, WalRecord
from pgreplkit.offline.stats import COUNTABLE, WalBy, WalStats, stats_of
from pgreplkit.offline.walk import RecordWalk, Stop, WalEnd
from pgreplkit.offline.xacts import WalCommit, commit_of, end_time, is_end, subtransactions
from pgreplkit.values.flags import checked_flags
from pgreplkit.values.lsn import LSN
from pgreplkit.values.madeby import made_by
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.timeline import TimelineHistory

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

_CLEAN_ENDS = {WalEnd.STOP, WalEnd.END_OF_WAL, WalEnd.RECYCLED}


@made_by("open_wal(path)")
class WalReader:
    """The records of a range of WAL, in order, as often as it is iterated over.

    Created by ``open_wal``. Iteration ends where the WAL ends, and ``ended_by`` says how. Damage
    with valid WAL after it is not an end: it raises InvalidWal. In a directory to which a server
    is writing, iteration ends at an earlier or later position, never with a wrong record.
    """

    def __init__(
        self,
        path: WalPath,
        *,
        start: LSN | None,
        stop_at: LSN | None,
        strict: bool,
        verify_crc: bool,
    ) -> None:
        checked_flags(strict=strict, verify_crc=verify_crc)
        self._path = path
        self._first = path.first if start is None else path.segment_of(start)
        self._start = 0 if start is None else int(start)
        self._stop_at = None if stop_at is None else int(stop_at)
        self._strict = strict
        self._verify_crc = verify_crc
        self._ended: Stop | None = None
        self._end: int | None = None
        self._overwritten: tuple[LSN, ...] = ()

    @property
    def major(self) -> int:
        """Major version of the server that wrote the WAL."""
        return self._path.header.major

    @property
    def system_id(self) -> int:
        """System identifier of the server that wrote the WAL."""
        return self._path.header.system_id

    @property
    def segment_size(self) -> SegmentSize:
        """Size of the WAL files."""
        return self._path.header.segment_size

    @property
    def history(self) -> TimelineHistory:
        """The history along which the WAL is read."""
        return self._path.history

    @property
    def ended_by(self) -> WalEnd | None:
        """The reason why the last iteration ended; None before that."""
        return None if self._ended is None else self._ended.end

    @property
    def end_reason(self) -> str | None:
        """The reason in words, such as the link that does not fit."""
        return None if self._ended is None else self._ended.found

    @property
    def end_lsn(self) -> LSN | None:
        """Position after the last record of the last iteration; None if there was no record."""
        return None if self._end is None else LSN(self._end)

    @property
    def overwritten(self) -> tuple[LSN, ...]:
        """Positions of the incomplete records in the last iteration that the server gave up.

        A server does so after a crash in the middle of a record that crosses into another file.
        """
        return self._overwritten

    def __iter__(self) -> Iterator[WalRecord]:
        return chain.from_iterable(self.batches())

    def batches(self) -> Iterator[list[WalRecord]]:
        """Iterate over the records in lists, as they are decoded: faster than one by one."""
        return self._batches(None)

    def _batches(self, counts: Counts | None) -> Iterator[list[WalRecord]]:
        self._ended, self._end, self._overwritten = None, None, ()
        last = -1
        stop: Stop | None = None
        number, place = self._first, self._start
        while True:
            if counts is not None:
                counts.start, counts.stop = max(last + 1, self._start), self._stop_at
            one = _Pass(self._path, number, place, self._verify_crc, counts)
            has_progress, is_over = False, False
            for batch in one.batches():
                records = batch
                # A reading begins with a whole page, before the requested or the last record.
                if records[0]._lsn <= last or records[0]._lsn < self._start:
                    after = max(last + 1, self._start)
                    records = [record for record in records if record._lsn >= after]
                if self._stop_at is not None and records and records[-1]._lsn >= self._stop_at:
                    records = [record for record in records if record._lsn < self._stop_at]
                    is_over = True
                if records:
                    has_progress, last = True, records[-1]._lsn
                    self._end = int(records[-1].end_lsn)
                    yield records
                if is_over:
                    break
            self._overwritten = tuple(
                map(LSN, sorted({*map(int, self._overwritten), *one.overwritten}))
            )
            if is_over:
                self._ended = Stop(WalEnd.STOP, self._stop_at or 0, "the requested end is reached")
                return
            if not one.is_contradicted:
                break
            if one.stop == stop and not has_progress:
                raise one.stop.error(one.file)
            # A server may have written what follows after the end was read: read on from there.
            # It is damage only if the next reading ends at the same page; a long record may need
            # many readings until the server has written all of it.
            # Or the position is in the empty rest of a segment that was switched: only a reading
            # from the start of the file shows that.
            stop = one.stop
            number = one.number
            place = last if last >= 0 else number * self.segment_size.bytes
        self._conclude(one)

    def _conclude(self, one: _Pass) -> None:
        # Known before the error is raised, so that its handler can ask for ``end_lsn``.
        self._ended = one.stop
        if self._strict and one.stop.end not in _CLEAN_ENDS:
            raise one.stop.error(one.file)

    def first_at(self, lsn: LSN) -> WalRecord | None:
        """Return the first record at or after a position; None if there is none.

        Raises: WalNotFound if the position is outside the files; InvalidWal.
        """
        _insist_on_lsn("lsn", lsn)
        part = self._between(lsn)
        return next(iter(part), None)

    def commits(self, *, include_aborts: bool = False) -> Iterator[WalCommit]:
        """Iterate over the commits, in the order in which they become visible.

        Raises: InvalidWal.
        """
        checked_flags(include_aborts=include_aborts)
        for record in self:
            if is_end(record):
                commit = commit_of(record)
                if include_aborts or not commit.is_abort:
                    yield commit

    def transaction(self, xid: int) -> Iterator[WalRecord]:
        """Iterate over the records of a transaction, with those of its subtransactions.

        The WAL is read twice: a subtransaction may become known only at the end. With wal_level
        logical, from 14 on, those that were rolled back are always found; otherwise they are found
        if the server assigned them, which it does after 64 subtransactions.

        Raises: InvalidWal.
        """
        if type(xid) is not int:
            raise TypeError(f"xid must be an int, not {type(xid).__name__}")
        family = self._family(xid)
        for record in self:
            if record.xid in family or (is_end(record) and commit_of(record).xid == xid):
                yield record

    def _family(self, xid: int) -> set[int]:
        family, seen = {xid}, {0}
        for record in self:
            assigned = subtransactions(record)
            if assigned is not None and assigned[0] == xid:
                family.update(assigned[1])
            # Only the first record of a subtransaction names the top-level transaction.
            if record.xid not in seen:
                seen.add(record.xid)
                if record.top_xid == xid:
                    family.add(record.xid)
        return family

    def lsn_at(self, time: datetime) -> LSN | None:
        """Return the end of what recovery to this recovery_target_time replays.

        Recovery stops before the first commit, abort or restore point with a later time. The
        result is the end of the last one before that; None if there is none.

        Raises: InvalidWal; TypeError for a time without a time zone.
        """
        if not isinstance(time, datetime) or time.tzinfo is None:
            raise TypeError("lsn_at() takes a datetime with a time zone")
        found: LSN | None = None
        for record, at in self._times():
            if at > time:
                break
            found = record.end_lsn
        return found

    def time_at(self, lsn: LSN) -> datetime | None:
        """Return the time of the last commit, abort or restore point that ends at or before a
        position; None if there is none.

        Raises: InvalidWal.
        """
        _insist_on_lsn("lsn", lsn)
        found: datetime | None = None
        for record, at in self._times():
            if record.end_lsn > lsn:
                break
            found = at
        return found

    def _times(self) -> Iterator[tuple[WalRecord, datetime]]:
        for record in self:
            at = end_time(record)
            if at is not None:
                yield record, at

    def stats(self, *, by: WalBy = WalBy.KIND) -> WalStats:
        """Sum up the volume of the WAL, by kind of record by default.

        Raises: InvalidWal; ValueError if ``by`` is not a member of WalBy.
        """
        by = WalBy(by)
        counts = Counts(self.major) if by in COUNTABLE else None
        return stats_of(chain.from_iterable(self._batches(counts)), by, counts)

    def columns(self) -> dict[str, NDArray[numpy.uint64]]:
        """Return the numbers of all records as columns, for example for pandas.DataFrame.

        The columns are lsn, end_lsn, length, fpi_bytes, xid, manager, info and timeline. Needs the
        extra ``columns``.

        Raises: InvalidWal; ExtraMissing if numpy is missing.
        """
        return columns_of(self.batches())

    def last_checkpoint(self) -> WalCheckpoint | None:
        """Return the last checkpoint; None if there is none.

        Raises: InvalidWal.
        """
        found: WalRecord | None = None
        for record in self:
            if is_checkpoint(record):
                found = record
        return None if found is None else checkpoint_of(found)

    def _between(self, start: LSN) -> WalReader:
        return WalReader(
            self._path,
            start=start,
            stop_at=None if self._stop_at is None else LSN(self._stop_at),
            strict=self._strict,
            verify_crc=self._verify_crc,
        )

    def __enter__(self) -> WalReader:
        return self

    def __exit__(self, *_: object) -> None:
        """Do nothing: files are open only during an iteration."""

    def __repr__(self) -> str:
        header, timeline = self._path.header, self._path.history.timeline
        return (
            f"<WalReader of {self._path.place}, timeline {timeline}, PostgreSQL {header.major},"
            f" {counted(len(self._path.files), 'file')} of {header.segment_size}>"
        )


class _Pass:
    """One reading of the files from a position on, until something is not a record."""

    def __init__(
        self, path: WalPath, number: int, start: int, verify_crc: bool, counts: Counts | None
    ) -> None:
        self._path = path
        self.number: int = number
        header = path.header
        self._size: int = header.segment_size.bytes
        begin = number * self._size
        # Begin with the page of the position: its header says where the next record begins.
        self._offset: int = max(0, start - begin) // header.block_size * header.block_size
        self._walk = RecordWalk(
            begin + self._offset,
            Source(None, header.major, 0, self._size, header.block_size),
            newest_timeline=0,
            system_id=header.system_id,
            checks_crc=verify_crc,
            counts=counts,
        )
        self.stop: Stop = Stop(WalEnd.END_OF_WAL, begin, "there are no more files")
        self.is_contradicted: bool = False
        """True if valid WAL follows, so that this cannot be the end."""

    @property
    def file(self) -> str | None:
        """The path of the file that was read last."""
        return self._walk.source.path

    @property
    def overwritten(self) -> list[int]:
        """The positions of records that were given up."""
        return self._walk.overwritten

    def batches(self) -> Iterator[list[WalRecord]]:
        """Iterate over lists of records; none of them is empty."""
        while self.number in self._path.files:
            path, timeline = self._path.files[self.number]
            self._walk.newest_timeline = timeline
            self._walk.source = attrs.evolve(self._walk.source, path=str(path))
            pages = _Pages(self._path, self.number, self._offset)
            try:
                yield from self._records_of(pages.pieces(path))
            except InvalidWal as error:
                self._cut(WalEnd.DAMAGE, error.found, error.remedy)
                return
            if (stop := self._walk.stop) is not None:
                # A standby writes into a recycled file up to any byte, and not whole pages.
                if stop.end is WalEnd.DAMAGE and pages.is_leftover(stop.reached):
                    stop = attrs.evolve(stop, end=WalEnd.RECYCLED)
                self._end(stop, follows=pages.follow(stop.reached))
                return
            # A shorter file has lost its end, unless the segment was switched before.
            end = (self.number + 1) * self._size
            if self._walk.position < end and not self._walk.skip_to(end):
                self._cut(
                    WalEnd.DAMAGE,
                    f"the file ends at {LSN(self._walk.position)}, before the end of the segment",
                )
                return
            self.number, self._offset = self.number + 1, 0
        self._no_more_files()

    def _records_of(self, pieces: Iterable[bytes]) -> Iterator[list[WalRecord]]:
        """Walk through the pieces of one file, up to its end or to that of the WAL."""
        for piece in pieces:
            if records := self._walk.take(piece):
                yield records
            if self._walk.stop is not None:
                break

    def _no_more_files(self) -> None:
        pending = self._walk.pending
        if self._path.has_later(self.number):
            lsn = self.number * self._size
            self.stop = Stop(WalEnd.GAP, lsn, "its file is missing, and later files exist")
        elif pending is not None:
            found = "the record continues in a file that does not exist"
            self.stop = Stop(WalEnd.PARTIAL_RECORD, pending, found)
        else:
            self.stop = Stop(WalEnd.END_OF_WAL, self._walk.position, "there are no more files")

    def _cut(self, end: WalEnd, found: str, remedy: str = "") -> None:
        stop = Stop(end, self._walk.position, found)
        self._end(attrs.evolve(stop, remedy=remedy) if remedy else stop, follows=False)

    def _end(self, stop: Stop, *, follows: bool) -> None:
        """Record the end, and whether valid WAL follows in this file or the next ones."""
        self.stop = stop
        self.is_contradicted = follows or any(
            _holds_its_wal(path, number * self._size)
            for number, (path, _) in self._path.files.items()
            if number > self.number
        )


class _Pages:
    """The pieces of one file, and the pages after the place where records end."""

    def __init__(self, path: WalPath, number: int, offset: int) -> None:
        self._begin = number * path.header.segment_size.bytes
        self._size = path.header.segment_size.bytes
        self._block = path.header.block_size
        self._offset = offset
        self._rest: Iterator[bytes] = iter(())
        self._piece = b""

    def pieces(self, path: Path) -> Iterator[bytes]:
        """Iterate over the content, no more than a segment."""
        self._rest = read_pieces(path, start=self._offset)
        for piece in self._rest:
            self._piece = piece[: self._size - self._offset]
            self._offset += len(self._piece)
            yield self._piece
            if self._offset == self._size:
                # Codecs check a file at its end. Of a longer one, the rest is not of this segment.
                next(self._rest, b"")
                return

    def is_leftover(self, lsn: int) -> bool:
        """Return True if the page after a position is left over from an earlier use of the file."""
        after = (lsn - self._begin) // self._block * self._block + self._block
        if after >= self._offset:
            with suppress(InvalidWal):
                piece = next(self._rest, b"")
                self._piece, self._offset = self._piece + piece, self._offset + len(piece)
        at = after - self._offset + len(self._piece)
        found = _address(self._piece[at : at + SHORT.size])
        return found is not None and found < self._begin + after

    def follow(self, lsn: int) -> bool:
        """Return True if a page of this file after a position holds the WAL of its place."""
        # Damage ends the search as the end of the file does: nothing more can be read.
        with suppress(InvalidWal):
            while self._piece:
                if self._has_page_after(lsn - self._begin):
                    return True
                if self._offset >= self._size:
                    break
                self._piece = next(self._rest, b"")
                self._offset += len(self._piece)
        return False

    def _has_page_after(self, after: int) -> bool:
        """Return True if the last piece has such a page."""
        first = self._offset - len(self._piece)
        headers = (
            (self._piece[at : at + SHORT.size], first + at)
            for at in range(0, len(self._piece), self._block)
        )
        return any(
            offset > after and _address(header) == self._begin + offset
            for header, offset in headers
        )


def _address(header: bytes) -> int | None:
    """Return the address in a page's header; None for bytes that are not a header."""
    if len(header) < SHORT.size:
        return None
    magic, _, _, address, _ = SHORT.unpack_from(header)
    return address if magic in MAJORS else None


def _holds_its_wal(path: Path, address: int) -> bool:
    """Return True if a file begins with the WAL that its name promises."""
    try:
        return int(header_of(path).lsn) == address
    except InvalidWal:
        return False


def _insist_on_lsn(argument: str, value: object) -> None:
    if not isinstance(value, LSN):
        raise TypeError(f"{argument} must be an LSN, not {type(value).__name__}")


def open_wal(
    path: str | os.PathLike[str],
    *,
    start: LSN | None = None,
    stop_at: LSN | None = None,
    timeline: int | TimelineHistory | None = None,
    strict: bool = False,
    verify_crc: bool = False,
) -> WalReader:
    """Read the records in a WAL file, or in a directory such as pg_wal or an archive.

    Files may be compressed (gzip, bzip2, xz, lzma; lz4, zstd and brotli with the extras of that
    name), and an archive may have a directory for each 4 GiB, as Barman and pgBackRest have. No
    server is needed, and the major version (10 to 18) is that of the files.

    Reading begins with the first record at or after ``start``, by default with the oldest file,
    and ends before ``stop_at``. By default it follows the newest timeline, along its history file
    if that exists. Each record is verified by its link to the previous one; with ``verify_crc``
    also by its checksum, for which the extra ``crc32c`` is recommended.

    With ``strict``, an end within a record, at a missing file or at damage raises InvalidWal.

    Raises: WalNotFound if there is no WAL at ``start`` or on the timeline; InvalidWal;
    InvalidWalRange; HostFileError.
    """
    checked_flags(strict=strict, verify_crc=verify_crc)
    for name, value in (("start", start), ("stop_at", stop_at)):
        if value is not None:
            _insist_on_lsn(name, value)
    if start is not None and stop_at is not None and stop_at < start:
        raise InvalidWalRange(f"{start} to {stop_at}", "the end is before the start")
    found = find_path(Path(path), timeline)
    return WalReader(found, start=start, stop_at=stop_at, strict=strict, verify_crc=verify_crc)
