"""The headers of WAL pages, and positions within pages and segments."""

from __future__ import annotations

from struct import Struct

import attrs

from pgreplkit._text import counted
from pgreplkit.errors import InvalidSegmentSize
from pgreplkit.offline.damage import InvalidWal
from pgreplkit.values.lsn import LSN
from pgreplkit.values.segment import SegmentSize

MAJORS = {
    0xD097: 10,
    0xD098: 11,
    0xD101: 12,
    0xD106: 13,
    0xD10D: 14,
    0xD110: 15,
    0xD113: 16,
    0xD116: 17,
    0xD118: 18,
}
"""The major versions, by the magic number of their WAL pages."""
NEWEST_MAGIC = max(MAJORS)
OLDEST_MAGIC = 0xD001
"""Before 10 the magic numbers started here; other numbers were never used by a server."""

SHORT = Struct("<HHIQI4x")
"""Magic, flags, timeline, address, and the bytes that remain of a continued record."""
LONG = Struct("<HHIQI4xQII")
"""The first header of a file: also the system identifier, segment size and page size."""
CONTINUES = 0x0001
"""The page begins with the rest of a record."""
IS_LONG = 0x0002
EMPTY = "the page is empty"
"""The problem of a page in a file to which nothing was written."""
OVERWRITES = 0x0008
"""The record that was incomplete at the end of the previous page was given up (until 18)."""


@attrs.frozen(kw_only=True)
class WalFileHeader:
    """The header of a WAL file, which is that of its first page.

    Source: XLogLongPageHeaderData.
    """

    major: int
    """The major version of the server that wrote it."""
    timeline: int
    """Timeline of the first page; older than the file's if the timeline began within the file."""
    lsn: LSN
    """Position of the first page. A recycled file still has the position of its former use."""
    system_id: int
    segment_size: SegmentSize
    block_size: int


def major_of(magic: int) -> int:
    """Return the major version that writes pages with this magic number.

    Raises: InvalidWal.
    """
    major = MAJORS.get(magic)
    if major is not None:
        return major
    # A file that was created, and not written to yet.
    if magic == 0:
        raise InvalidWal(EMPTY)
    if NEWEST_MAGIC < magic < 0xD200:
        raise InvalidWal(
            f"the page was written by a version newer than 18 (magic number {magic:04X})",
            remedy="use a newer version of pgreplkit",
        )
    if OLDEST_MAGIC <= magic < 0xD200:
        raise InvalidWal(
            f"a version older than 10, or a beta, wrote the page (magic number {magic:04X})",
            remedy="use that version's pg_waldump",
        )
    raise InvalidWal(f"the page's magic number {magic:04X} is that of no server")


def file_header(content: bytes) -> WalFileHeader:
    """Decode the first bytes of a WAL file.

    Raises: InvalidWal.
    """
    if len(content) < LONG.size:
        raise InvalidWal(f"the file has {counted(len(content), 'byte')}, fewer than its header")
    magic, flags, timeline, address, _, system_id, size, block = LONG.unpack_from(content)
    major = major_of(magic)
    if not flags & IS_LONG:
        raise InvalidWal("the first page has no long header, so it is from the middle of a file")
    if not (block & (block - 1) == 0 and 1024 <= block <= 65536):
        raise InvalidWal(f"the header names a page size of {block} bytes")
    # Timelines count from 1.
    if timeline == 0:
        raise InvalidWal("the header names timeline 0")
    try:
        segment_size = SegmentSize(size)
    except InvalidSegmentSize as error:
        raise InvalidWal(f"the header names a segment size of {size} bytes") from error
    return WalFileHeader(
        major=major,
        timeline=timeline,
        lsn=LSN(address),
        system_id=system_id,
        segment_size=segment_size,
        block_size=block,
    )


def header_size(address: int, segment_size: int) -> int:
    """Return the size of the header of the page at an address."""
    return LONG.size if address % segment_size == 0 else SHORT.size


def record_end(start: int, length: int, segment_size: int, block_size: int) -> int:
    """Return the end of a record, as the server counts it: aligned, and before a page's header."""
    # A record begins at a multiple of eight, so the rest of its last eight bytes belongs to it.
    length = length + 7 & -8
    page = start - start % block_size + block_size
    if start + length <= page:
        return start + length
    length -= page - start
    # The rest continues after the header of each further page.
    while True:
        size = header_size(page, segment_size)
        if length <= block_size - size:
            return page + size + length
        length -= block_size - size
        page += block_size
