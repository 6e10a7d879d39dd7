"""What the server's own WAL functions answer, computed without a server."""

from __future__ import annotations

from binascii import unhexlify
from struct import unpack
from typing import NamedTuple

from pgreplkit.errors import InvalidWalFileName, UnsupportedByServer
from pgreplkit.values.lsn import LSN
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.version import ServerVersion, server_version as _version
from pgreplkit.values.walfile import WalFileName


class WalFileOffset(NamedTuple):
    """What pg_walfile_name_offset answers."""

    file_name: WalFileName
    file_offset: int


class SplitWalFileName(NamedTuple):
    """What pg_split_walfile_name answers."""

    segment_number: int
    timeline_id: int


def pg_walfile_name(
    lsn: LSN,
    *,
    server_version: ServerVersion,
    timeline: int = 1,
    segment_size: SegmentSize = SegmentSize.DEFAULT,
) -> WalFileName:
    """The file that a server of that version names for ``lsn``.

    Until 16 a position on a segment's boundary counts into the file that ends there (and 0/0
    wraps to the last file of all); from 17 on into the file that starts there.

    >>> boundary = LSN("0/3000000")
    >>> for major in (16, 17):
    ...     print(pg_walfile_name(boundary, server_version=major))
    000000010000000000000002
    000000010000000000000003

    Raises: InvalidServerVersion, InvalidWalFileName.  Source: pg_walfile_name.
    """
    if not isinstance(lsn, LSN):
        raise TypeError(f"a WAL position is an LSN, not {type(lsn).__name__}")
    position = int(lsn)
    if _version(server_version).major < 17:
        position = (position - 1) % (1 << 64)
    return WalFileName(timeline, position // segment_size.bytes, segment_size)


def pg_walfile_name_offset(
    lsn: LSN,
    *,
    server_version: ServerVersion,
    timeline: int = 1,
    segment_size: SegmentSize = SegmentSize.DEFAULT,
) -> WalFileOffset:
    """The file that a server of that version names for ``lsn``, and the offset it gives.

    Until 16 they do not belong together on a segment's boundary: the file is the one that ends
    there, the offset is 0.

    Raises: InvalidServerVersion, InvalidWalFileName.  Source: pg_walfile_name_offset.
    """
    name = pg_walfile_name(
        lsn, server_version=server_version, timeline=timeline, segment_size=segment_size
    )
    return WalFileOffset(name, lsn.offset_in(segment_size))


def pg_split_walfile_name(
    text: str,
    *,
    server_version: ServerVersion,
    segment_size: SegmentSize = SegmentSize.DEFAULT,
) -> SplitWalFileName:
    """The segment number and the timeline that a server of that version reads from a name.

    It takes timeline 0, and a last part that is too large for the segment size, as the server
    does; ``WalFileName.parse`` takes neither.

    >>> pg_split_walfile_name("000000010000000000000100", server_version=18)
    SplitWalFileName(segment_number=256, timeline_id=1)

    Raises: InvalidWalFileName; UnsupportedByServer before 16.  Source: pg_split_walfile_name.
    """
    version = _version(server_version)
    if version.major < 16:
        raise UnsupportedByServer("pg_split_walfile_name", 16, str(version))
    if not isinstance(text, str):
        raise TypeError(f"a WAL file name is a str, not {type(text).__name__}")
    if len(text) != 24:
        raise InvalidWalFileName(text, f"it has {len(text)} characters")
    try:
        timeline, log, segment = unpack(">III", unhexlify(text))
    except ValueError:
        raise InvalidWalFileName(text, "one of its characters is not a hex digit") from None
    return SplitWalFileName(log * segment_size.per_log + segment, timeline)


def pg_wal_lsn_diff(lsn: LSN, other: LSN) -> int:
    """The bytes from ``other`` to ``lsn``; negative when ``other`` is ahead.

    >>> pg_wal_lsn_diff(LSN("0/2000000"), LSN("0/3000000"))
    -16777216

    Source: pg_wal_lsn_diff, the same in all majors.
    """
    return lsn - other
