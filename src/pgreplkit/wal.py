"""WAL: streams of a replication connection, and PostgreSQL's functions for WAL file names.

The value types (LSN, WalFileName, WalRange, TimelineHistory) are in ``pgreplkit``.
"""

from pgreplkit._public import TYPE_CHECKING, lazy as _lazy

if TYPE_CHECKING:
    from pgreplkit._async.streams.segmentstream import AsyncSegmentStream as AsyncSegmentStream
    from pgreplkit._async.streams.walstream import AsyncWalStream as AsyncWalStream
    from pgreplkit._sync.streams.segmentstream import SegmentStream as SegmentStream
    from pgreplkit._sync.streams.walstream import WalStream as WalStream
    from pgreplkit.host.walfiles import ReceivedSegment as ReceivedSegment
    from pgreplkit.protocol.walfeed import WalChunk as WalChunk
    from pgreplkit.values.walfunctions import (
        SplitWalFileName as SplitWalFileName,
        WalFileOffset as WalFileOffset,
        pg_split_walfile_name as pg_split_walfile_name,
        pg_wal_lsn_diff as pg_wal_lsn_diff,
        pg_walfile_name as pg_walfile_name,
        pg_walfile_name_offset as pg_walfile_name_offset,
    )

# Hidden from type checkers, which would take any name for a public one.
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy(__name__)
    __all__ = __dir__()
