"""RecordWalk: contiguous bytes of WAL to records, in pieces of any size."""

from __future__ import annotations

import sys
from struct import Struct

import attrs

from pgreplkit.offline.counts import LENGTH_BITS, Counts, length_of
from pgreplkit.offline.damage import DAMAGED, InvalidWal
from pgreplkit.offline.kinds import FIRST_CUSTOM, MANAGERS, SWITCH, XLOG
from pgreplkit.offline.pages import CONTINUES, EMPTY, LONG, OVERWRITES, SHORT, header_size, major_of
from pgreplkit.offline.records import (
    HAS_IMAGE,
    HEADER,
    HEADER_SIZE,
    LAST_BLOCK,
    LONGEST,
    SAME_RELATION,
    Source,
    WalRecord,
)
from pgreplkit.values.lsn import LSN
from pgreplkit.values.openenum import OpenEnum

_SWITCH = XLOG << 8 | SWITCH
_LAST_MANAGER = len(MANAGERS) - 1
_FIRST_UNKNOWN = len(MANAGERS) << 8
_START = Struct("<I4xQH6xBB18xB")
"""Length, previous record, kind; first part and, for a block, its flags; the part after a block."""
_UNUSUAL = HAS_IMAGE | SAME_RELATION
"""Flags of a first block whose record must be looked at: the second one would be damage."""
_SECOND_BLOCK = _START.size - 1
_PADDING = bytes(_SECOND_BLOCK)
"""So that the start of any record can be unpacked."""
_CUSTOM_SINCE = 15
"""Extensions have had resource managers of their own since then, with the numbers from 128 on."""


class WalEnd(OpenEnum):
    """The reason why reading WAL ended."""

    STOP = "stop"
    """The requested end was reached."""
    END_OF_WAL = "end of WAL"
    """Nothing follows the last record."""
    PARTIAL_RECORD = "partial record"
    """The rest of a record is not written yet, or is in a file that does not exist."""
    RECYCLED = "recycled"
    """The following bytes are left over from the former use of a recycled file."""
    GAP = "gap"
    """The next file is missing, although later files exist."""
    DAMAGE = "damage"
    """The following bytes are neither a record nor empty."""


@attrs.frozen
class Stop:
    """The place where the walk cannot continue, and the reason."""

    end: WalEnd
    lsn: int
    found: str
    remedy: str = DAMAGED
    cut_at: int | None = None
    """The page that does not continue an incomplete record, which begins at ``lsn``."""

    @property
    def reached(self) -> int:
        """The position up to which there is valid WAL."""
        return self.lsn if self.cut_at is None else self.cut_at

    def error(self, path: str | None) -> InvalidWal:
        """Return the error that reports it."""
        return InvalidWal(self.found, path=path, lsn=LSN(self.lsn), remedy=self.remedy)


@attrs.frozen
class _Page:
    """A page whose content is in the buffer."""

    start: int
    """Where its content begins in the buffer; negative if that was consumed."""
    shift: int
    """The difference between an LSN in the page and the place in the buffer."""
    remaining: int
    """Bytes of the record that the page continues; 0 if it begins with a record."""
    source: Source


@attrs.define
class RecordWalk:
    """Converts contiguous WAL to records; stops at the first thing that is not a record.

    The first page says where its first record begins. WAL that begins within a page must begin
    with a record.
    """

    position: int
    """The end of the WAL that was taken."""
    source: Source
    newest_timeline: int
    """The timeline in the file's name; no page of the file has a newer one."""
    system_id: int | None = None
    checks_crc: bool = False
    counts: Counts | None = None
    """If given, records without images are counted there, and not returned, but for the last."""
    stop: Stop | None = None
    last: int | None = None
    """The position of the last record."""
    overwritten: list[int] = attrs.field(factory=list)
    """The positions of incomplete records that the server gave up."""
    _header: bytes = b""
    """The beginning of a page header that is not complete yet."""
    _is_aligned: bool = False
    """True once the start of a record was found."""
    _buffer: bytes = b""
    """Content of pages, without their headers."""
    _at: int = 0
    """Where the next record begins in the buffer."""
    _parts: list[memoryview] = attrs.field(factory=list)
    """Content after the buffer: joined with it when the next record can be complete."""
    _size: int = 0
    """Size of the buffer and the parts."""
    _needed: int = HEADER_SIZE
    """The size at which the next record can be complete."""
    _pages: list[_Page] = attrs.field(factory=list)
    _skip_to: int = 0
    """The end of a segment that was switched: the rest of it is empty."""

    @property
    def pending(self) -> int | None:
        """The position of a record that is not complete; None if nothing of it was taken."""
        if not self._is_aligned or self._size <= self._at:
            return None
        return self._at + self._page_at(self._at).shift

    def skip_to(self, end: int) -> bool:
        """Continue at ``end`` if the segment was switched, so that nothing is missing before it."""
        if self._skip_to == end:
            self.position = end
        return self.position == end

    def take(self, data: bytes) -> list[WalRecord]:
        """Return the records that the data completes; nothing once the walk has stopped."""
        records: list[WalRecord] = []
        # A page header that is split between two pieces is decoded when it is complete.
        view = memoryview(self._header + data if self._header else data)
        position, at, size = self.position - len(self._header), 0, len(view)
        self._header = b""
        block, segment = self.source.block_size, self.source.segment_size
        # Only the header of a page says where a record begins. Within a page, one must begin here.
        if not self._pages and not self._is_aligned and position % block:
            self._pages, self._is_aligned = [_Page(0, position, 0, self.source)], True
        while at < size and self.stop is None:
            if position < self._skip_to:
                step = min(self._skip_to - position, size - at)
                at, position = at + step, position + step
                continue
            if position % block == 0:
                length = header_size(position, segment)
                if size - at < length:
                    self._header = bytes(view[at:])
                    position += size - at
                    break
                self._begin_page(bytes(view[at : at + length]), position, records)
                # A switch may have been found in what came before.
                if self.stop is not None or position < self._skip_to:
                    continue
                at, position = at + length, position + length
            step = min(size - at, block - position % block)
            self._parts.append(view[at : at + step])
            self._size += step
            at, position = at + step, position + step
            # So the buffer holds at most one segment, however much is taken at once.
            if position % segment == 0:
                self._walk(records)
        self._walk(records)
        self.position = position
        return records

    def _begin_page(self, header: bytes, address: int, records: list[WalRecord]) -> None:
        problem = self._page_problem(header, address)
        flags = int.from_bytes(header[2:4], "little")
        # The records before the page decide what it means: the page may be in the rest of a segment
        # that was switched.
        if problem is not None or flags & OVERWRITES or self._skip_to:
            self._walk(records)
            if address < self._skip_to or self.stop is not None:
                return
            if problem is not None:
                self.stop = self._ended(problem)
                return
        _, flags, timeline, _, remaining = SHORT.unpack_from(header)
        # The first file of a timeline begins with a copy of its parent, up to the switchpoint.
        if timeline != self.source.timeline:
            self.source = attrs.evolve(self.source, timeline=timeline)
        remaining = remaining if flags & CONTINUES else 0
        # A server that crashed within a record does not complete it afterwards: it marks the page
        # that would continue it (minor versions since November 2021).
        if flags & OVERWRITES and not remaining:
            if self.pending is not None:
                self.overwritten.append(self.pending)
            self._restart(at=0)
        elif not self._is_aligned:
            # Every record begins at a multiple of 8 bytes.
            self._restart(at=remaining + 7 & -8)
            self._is_aligned = self._at < self.source.block_size - len(header)
        page = _Page(self._size, address + len(header) - self._size, remaining, self.source)
        if self._needed > HEADER_SIZE and page.start < self._needed:
            self.stop = self._torn(page, self._needed)
        self._pages.append(page)

    def _restart(self, at: int) -> None:
        """Drop the buffer; the next page begins it, and the next record is ``at`` in it."""
        self._buffer, self._parts, self._pages, self._size = b"", [], [], 0
        self._at, self._needed, self._is_aligned = at, HEADER_SIZE, True

    def _page_problem(self, header: bytes, address: int) -> Stop | None:
        """Return the reason why a page cannot follow; None if it can."""
        magic, _, timeline, found, _ = SHORT.unpack_from(header)
        if not any(header):
            return Stop(WalEnd.END_OF_WAL, address, EMPTY)
        try:
            major = major_of(magic)
        except InvalidWal as error:
            return Stop(WalEnd.DAMAGE, address, error.found, error.remedy)
        if found != address:
            what = f"the page holds the WAL of {LSN(found)}"
            # The server renames old files instead of creating new ones, and does not clear them:
            # behind the end of the WAL are pages of an older position.
            end = WalEnd.RECYCLED if found < address else WalEnd.DAMAGE
            return Stop(end, address, what, "rename the file, or restore it from another copy")
        what = ""
        if major != self.source.major:
            what = f"a page of version {major} follows pages of {self.source.major}"
        # Along a history, timelines only grow. A newer one than in the name is of another branch.
        elif not self.source.timeline <= timeline <= self.newest_timeline:
            newest = self.newest_timeline
            what = f"a page of timeline {timeline} is in a file of timeline {newest}"
            if timeline < self.source.timeline:
                what = f"a page of timeline {timeline} follows one of {self.source.timeline}"
        # Only the first page of a segment names the system.
        elif len(header) == LONG.size and self.system_id is not None:
            system_id = LONG.unpack_from(header)[5]
            if system_id != self.system_id:
                what = f"the page is of system {system_id}, and the others of {self.system_id}"
        return Stop(WalEnd.DAMAGE, address, what) if what else None

    def _ended(self, stop: Stop) -> Stop:
        """Report an incomplete record, if the WAL ends within one."""
        if self.pending is None or stop.end is WalEnd.DAMAGE:
            return stop
        found = f"the record is cut off at {LSN(stop.lsn)}, because {stop.found}"
        return Stop(WalEnd.PARTIAL_RECORD, self.pending, found, cut_at=stop.lsn)

    def _torn(self, page: _Page, end: int) -> Stop | None:
        """Return a problem if the page does not continue the record that ends at ``end``."""
        if page.remaining == end - page.start:
            return None
        lsn = page.start + page.shift
        found = f"the page continues a record by {page.remaining} bytes, not {end - page.start}"
        return Stop(WalEnd.DAMAGE, lsn, found)

    def _page_at(self, at: int) -> _Page:
        return next(page for page in reversed(self._pages) if page.start <= at)

    def _walk(self, records: list[WalRecord]) -> None:
        """Append the records that are complete in the buffer."""
        if self.stop is not None or not self._is_aligned:
            return
        # Joining the pieces copies them, so it waits until a record can be complete.
        if self._size < max(self._needed, self._at + HEADER_SIZE):
            return
        buffer = self._buffer = b"".join([self._buffer, *self._parts, _PADDING])
        self._parts, self._needed = [], HEADER_SIZE
        number, at, last, end_of_headers = 0, self._at, self.last, self._size - HEADER_SIZE
        # The first turn looks for the page.
        following = limit = at
        unpack, append, checks_crc = _START.unpack_from, records.append, self.checks_crc
        numbers, has_counts = [], self._has_counts(at)
        while True:
            if at >= following:
                number, page, following = self._page_from(number, at)
                shift, source, limit = page.shift, page.source, min(following, self._size)
                if at == page.start and page.remaining:
                    self.stop = self._torn(page, at)
                    break
            if at > end_of_headers:
                break
            length, previous, kind, part, flags, next_part = unpack(buffer, at)
            # One comparison accepts a good header; the exact problem is found only for a bad one.
            if previous != last or length < HEADER_SIZE or kind >= _FIRST_UNKNOWN:
                self.last = last
                self.stop = self._header_problem(at + shift, buffer, at)
                if self.stop is not None:
                    break
            end = at + length
            if end > limit and not self._is_whole(number + 1, end, length, at + shift):
                break
            # Most records have no block, or one without an image.
            if has_counts and (
                part > LAST_BLOCK
                or not (flags & _UNUSUAL or (next_part <= LAST_BLOCK and _has_more(buffer, at)))
            ):
                numbers.append(kind << LENGTH_BITS | length)
            else:
                record = WalRecord(source, at + shift, buffer[at:end])
                # The CRC comes last: it takes longer than all other checks.
                if checks_crc and not record.is_crc_correct:
                    self.stop = _wrong_crc(record)
                    break
                append(record)
            last = at + shift
            at = end + 7 & -8
            # The rest of its segment is padding, whatever the bytes are.
            if kind & 0xFFF0 == _SWITCH:
                self._skip_to = last - last % source.segment_size + source.segment_size
                break
        self.last = last
        if self.stop is not None:
            self._drop_unfinished(numbers, records)
        self._count(numbers, records)
        self._drop(at)

    def _page_from(self, number: int, at: int) -> tuple[int, _Page, int]:
        """Return the page of a place, from a number on; and where the next one begins."""
        pages = self._pages
        while number + 1 < len(pages) and pages[number + 1].start <= at:
            number += 1
        following = pages[number + 1].start if number + 1 < len(pages) else sys.maxsize
        return number, pages[number], following

    def _is_whole(self, number: int, end: int, length: int, lsn: int) -> bool:
        """Check a record that continues in the page with a number, or behind the buffer."""
        self.stop = self._crossing_problem(number, end)
        if self.stop is None and end > self._size:
            self._needed = length
            # Damage in the length would otherwise let the buffer grow without limit.
            if length > LONGEST:
                self.stop = Stop(WalEnd.DAMAGE, lsn, f"its length is {length} bytes")
        return self.stop is None and end <= self._size

    def _has_counts(self, at: int) -> bool:
        """Return True if records are only counted, from a place on."""
        if self.counts is None or self.checks_crc:
            return False
        return self.counts.covers(at + self._page_at(at).shift, self._size + self._pages[-1].shift)

    def _drop_unfinished(self, numbers: list[int], records: list[WalRecord]) -> None:
        """Drop the last record before the end if the server has not written all of it.

        The beginning of a record can reach the file before its end, and then looks complete.
        """
        last, stop = self.last, self.stop
        is_returned = bool(records) and records[-1]._lsn == last
        if last is None or stop is None or not (is_returned or numbers):
            return
        record = records[-1] if is_returned else self._counted(last, numbers[-1])
        if not record.is_crc_correct:
            if is_returned:
                records.pop()
            else:
                numbers.pop()
            self.last = int(record.prev_lsn)
            found = f"the rest of the record is missing: {_wrong_crc(record).found}"
            self.stop = Stop(WalEnd.PARTIAL_RECORD, last, found, cut_at=stop.reached)

    def _counted(self, lsn: int, number: int) -> WalRecord:
        """Return a record that was counted, from the buffer."""
        page = next(page for page in reversed(self._pages) if page.start + page.shift <= lsn)
        at = lsn - page.shift
        return WalRecord(page.source, lsn, self._buffer[at : at + length_of(number)])

    def _count(self, numbers: list[int], records: list[WalRecord]) -> None:
        """Count records; the last one is appended instead, so that the caller knows its place."""
        if self.counts is None or not numbers or self.last is None:
            return
        if not records or records[-1]._lsn != self.last:
            records.append(self._counted(self.last, numbers.pop()))
        self.counts.add(numbers)

    def _drop(self, at: int) -> None:
        """Drop what is before ``at`` from the buffer; after a switch, all of it."""
        if self._skip_to > (self.last or 0):
            self._restart(at=0)
        elif at > self._size:
            # The padding of the last record was not taken yet.
            self._buffer, self._at = self._buffer[: self._size], at
        else:
            self._buffer, self._at = self._buffer[at : self._size], 0
            self._size -= at
            first = self._pages.index(self._page_at(at))
            self._pages = [
                attrs.evolve(page, start=page.start - at, shift=page.shift + at)
                for page in self._pages[first:]
            ]

    def _crossing_problem(self, number: int, end: int) -> Stop | None:
        """Return the problem of the pages, from ``number`` on, that a record to ``end`` covers."""
        for page in self._pages[number:]:
            if page.start >= end:
                break
            if problem := self._torn(page, end):
                return problem
        return None

    def _header_problem(self, lsn: int, buffer: bytes, at: int) -> Stop | None:
        """Return the reason why these bytes are not the header of a record."""
        length, _, previous, _info, manager, _ = HEADER.unpack_from(buffer, at)
        if not any(buffer[at : at + HEADER_SIZE]):
            return Stop(WalEnd.END_OF_WAL, lsn, "the WAL is empty there")
        found = ""
        if length < HEADER_SIZE:
            found = f"the record's length is {length} bytes, less than its header"
        elif self.last is not None and previous != self.last:
            found = (
                f"the record names {LSN(previous)} as the previous record, but {LSN(self.last)} is"
            )
        elif previous >= lsn:
            found = f"the record names {LSN(previous)} as the previous record, but that is later"
        elif manager > _LAST_MANAGER and (
            manager < FIRST_CUSTOM or self.source.major < _CUSTOM_SINCE
        ):
            found = f"no version {self.source.major} has a resource manager {manager}"
        return Stop(WalEnd.DAMAGE, lsn, found) if found else None


def _has_more(buffer: bytes, at: int) -> bool:
    """Return True unless a record has two blocks, and the second one has no image."""
    flags = buffer[at + _SECOND_BLOCK + 1]
    after = at + _SECOND_BLOCK + 8 + (0 if flags & SAME_RELATION else 12)
    return bool(flags & HAS_IMAGE) or buffer[after] <= LAST_BLOCK


def _wrong_crc(record: WalRecord) -> Stop:
    crc = int.from_bytes(record.content[20:24], "little")
    found = f"the record's CRC is {record.computed_crc():08X}, and its header says {crc:08X}"
    return Stop(WalEnd.DAMAGE, int(record.lsn), found)
