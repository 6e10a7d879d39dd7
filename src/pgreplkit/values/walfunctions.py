"""The server's WAL functions, computed without a server."""

from binascii import unhexlify
from struct import unpack
from typing import NamedTuple

from pgreplkit._text import counted
from pgreplkit.errors import InvalidWalFileName, UnsupportedByServer
from pgreplkit.values.lsn import LSN
from pgreplkit.values.segment import AnySegmentSize, SegmentSize, segment_size_of
from pgreplkit.values.version import AnyServerVersion, ServerVersion
from pgreplkit.values.walfile import WalFileName


class WalFileOffset(NamedTuple):
    """Result of pg_walfile_name_offset()."""

    file_name: WalFileName
    file_offset: int


class SplitWalFileName(NamedTuple):
    """Result of pg_split_walfile_name()."""

    segment_number: int
    timeline_id: int


def pg_walfile_name(
    lsn: LSN,
    *,
    server_version: AnyServerVersion,
    timeline: int = 1,
    segment_size: AnySegmentSize = SegmentSize.DEFAULT,
) -> WalFileName:
    """Return the WAL file name that pg_walfile_name() of that server version returns.

    Up to 16, a position on a segment boundary belongs to the file that ends there (0/0 wraps
    around to the last possible file); from 17 on, to the file that starts there.

    >>> boundary = LSN("0/3000000")
    >>> for major in (16, 17):
    ...     print(pg_walfile_name(boundary, server_version=major))
    000000010000000000000002
    000000010000000000000003

    Raises:
        InvalidServerVersion: If the version is malformed.
        InvalidWalFileName: If the timeline is out of range.

    Source:
        pg_walfile_name().
    """
    if not isinstance(lsn, LSN):
        raise TypeError(f"a WAL position must be an LSN, not {type(lsn).__name__}")
    position = int(lsn)
    if ServerVersion(server_version).major < 17:
        position = (position - 1) % (1 << 64)
    size = segment_size_of(segment_size)
    return WalFileName(timeline, position // size.bytes, size)


def pg_walfile_name_offset(
    lsn: LSN,
    *,
    server_version: AnyServerVersion,
    timeline: int = 1,
    segment_size: AnySegmentSize = SegmentSize.DEFAULT,
) -> WalFileOffset:
    """Return the file name and offset that pg_walfile_name_offset() of that version returns.

    Up to 16 the two do not match on a segment boundary: the file is the one that ends there, but
    the offset is 0.

    Raises:
        InvalidServerVersion: If the version is malformed.
        InvalidWalFileName: If the timeline is out of range.

    Source:
        pg_walfile_name_offset().
    """
    name = pg_walfile_name(
        lsn, server_version=server_version, timeline=timeline, segment_size=segment_size
    )
    return WalFileOffset(name, lsn.offset_in(segment_size))


def pg_split_walfile_name(
    text: str,
    *,
    server_version: AnyServerVersion,
    segment_size: AnySegmentSize = SegmentSize.DEFAULT,
) -> SplitWalFileName:
    """Return the segment number and timeline that pg_split_walfile_name() returns.

    Like the server, it accepts timeline 0 and a last part that is too large for the segment size;
    ``WalFileName.parse`` accepts neither.

    >>> pg_split_walfile_name("000000010000000000000100", server_version=18)
    SplitWalFileName(segment_number=256, timeline_id=1)

    Needs:
        PostgreSQL 16.

    Raises:
        InvalidWalFileName: If the text is not 24 hex digits.
        UnsupportedByServer: If the server version is below 16.

    Source:
        pg_split_walfile_name().
    """
    version = ServerVersion(server_version)
    if version.major < 16:
        raise UnsupportedByServer("pg_split_walfile_name", 16, str(version))
    if not isinstance(text, str):
        raise TypeError(f"a WAL file name must be a str, not {type(text).__name__}")
    if len(text) != 24:
        raise InvalidWalFileName(text, f"it has {counted(len(text), 'character')}")
    try:
        timeline, log, segment = unpack(">III", unhexlify(text))
    except ValueError:
        raise InvalidWalFileName(text, "it contains a character that is not a hex digit") from None
    return SplitWalFileName(log * segment_size_of(segment_size).per_log + segment, timeline)


def pg_wal_lsn_diff(lsn: LSN, other: LSN) -> int:
    """Return the number of bytes from ``other`` to ``lsn``; negative if ``other`` is larger.

    >>> pg_wal_lsn_diff(LSN("0/2000000"), LSN("0/3000000"))
    -16777216

    Source:
        pg_wal_lsn_diff(), which is the same in all major versions.
    """
    return lsn - other
