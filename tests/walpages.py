"""WAL that the tests write: records with correct links, sizes and checksums, in pages."""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack

import attrs

from pgreplkit.offline.pages import MAJORS, header_size
from pgreplkit.values.crc32c import extension

MAGIC = {major: magic for magic, major in MAJORS.items()}
SYSTEM_ID = 7_000_000_000_000_000_001
SWITCH = (0, 0x40, b"")
"""The arguments of the record that ends a segment."""


@attrs.define
class WalWriter:
    """Writes records to pages as a server does."""

    start: int
    major: int = 18
    timeline: int = 1
    segment_size: int = 1 << 20
    block_size: int = 8192
    previous: int = 0
    lsns: list[int] = attrs.field(factory=list)
    content: bytearray = attrs.field(factory=bytearray)

    @property
    def position(self) -> int:
        return self.start + len(self.content)

    def add(self, manager: int, info: int, data: bytes, *, xid: int = 0, parts: bytes = b"") -> int:
        """Write a record with main data; return its position."""
        if data:
            parts += pack("<BB", 255, len(data)) if len(data) < 256 else pack("<BI", 254, len(data))
        return self.add_body(manager, info, parts + data, xid=xid)

    def add_body(self, manager: int, info: int, body: bytes, *, xid: int = 0) -> int:
        """Write a record whose parts are given."""
        if self.position % self.block_size == 0:
            self._begin_page(0)
        lsn = self.position
        record = sealed(manager, info, body, xid=xid, previous=self.previous)
        self._append(record)
        self.content += bytes(-len(self.content) % 8)
        self.lsns.append(lsn)
        self.previous = lsn
        if (manager, info) == SWITCH[:2]:
            self.content += bytes(-self.position % self.segment_size)
        return lsn

    def give_up(self, size: int) -> int:
        """Write a part of a record, up to the end of the page; the next page overwrites it."""
        lsn = self.position
        room = self.block_size - lsn % self.block_size
        record = sealed(10, 0, bytes([255, 200]) + bytes(200 + size), xid=9, previous=self.previous)
        self.content += record[:room]
        assert self.position % self.block_size == 0
        self._begin_page(0, flags=0x0008)
        return lsn

    def fill_page(self, leave: int) -> None:
        """Write records until only ``leave`` bytes of the page are left."""
        while (room := self.block_size - self.position % self.block_size) > leave + 400:
            self.add(10, 0, bytes(200))
        self.add(10, 0, bytes(room - leave - 26))

    def padded(self) -> bytes:
        """Return the content, filled up with zeros to the end of the segment."""
        return bytes(self.content) + bytes(-self.position % self.segment_size)

    def _append(self, record: bytes) -> None:
        at = 0
        while at < len(record):
            if self.position % self.block_size == 0:
                self._begin_page(len(record) - at)
            room = self.block_size - self.position % self.block_size
            self.content += record[at : at + room]
            at += room

    def _begin_page(self, remaining: int, *, flags: int = 0) -> None:
        self.content += page_header(
            self.position,
            remaining,
            flags=flags,
            major=self.major,
            timeline=self.timeline,
            segment_size=self.segment_size,
            block_size=self.block_size,
        )


def page_header(
    address: int,
    remaining: int = 0,
    *,
    flags: int = 0,
    major: int = 18,
    timeline: int = 1,
    segment_size: int = 1 << 20,
    block_size: int = 8192,
) -> bytes:
    """Return the header of a page."""
    is_long = header_size(address, segment_size) == 40
    flags |= (1 if remaining else 0) | (2 if is_long else 0)
    header = pack("<HHIQI4x", MAGIC[major], flags, timeline, address, remaining)
    return header + (pack("<QII", SYSTEM_ID, segment_size, block_size) if is_long else b"")


def sealed(manager: int, info: int, body: bytes, *, xid: int = 0, previous: int = 0) -> bytes:
    """Return a record with its checksum."""
    head = pack("<IIQBBxx", 24 + len(body), xid, previous, info, manager)
    extend = extension()
    return head + pack("<I", extend(extend(0, body), head)) + body


def wal_of(sizes: Sequence[int], writer: WalWriter) -> WalWriter:
    """Write records whose main data has these sizes."""
    for number, size in enumerate(sizes):
        writer.add(10, 0, bytes([number % 256]) * size, xid=number)
    return writer
