"""WAL: records in files and streams, archives and their restore windows, and WAL file names.

- ``open_wal`` reads the records in WAL files; ``scan_archive`` checks a WAL archive.
- Streams of a replication connection, and PostgreSQL's functions for WAL file names.

The value types (LSN, WalFileName, WalRange, TimelineHistory) are in ``pgreplkit``.
"""

from pgreplkit._public import TYPE_CHECKING, lazy as _lazy

if TYPE_CHECKING:
    from pgreplkit._async.streams.recordstream import AsyncWalRecordStream as AsyncWalRecordStream
    from pgreplkit._async.streams.segmentstream import AsyncSegmentStream as AsyncSegmentStream
    from pgreplkit._async.streams.walstream import AsyncWalStream as AsyncWalStream
    from pgreplkit._sync.streams.recordstream import WalRecordStream as WalRecordStream
    from pgreplkit._sync.streams.segmentstream import SegmentStream as SegmentStream
    from pgreplkit._sync.streams.walstream import WalStream as WalStream
    from pgreplkit.host.walfolder import ReceivedSegment as ReceivedSegment
    from pgreplkit.offline.archive import (
        ArchiveFinding as ArchiveFinding,
        ArchiveProblem as ArchiveProblem,
        ArchiveRange as ArchiveRange,
        ArchiveReport as ArchiveReport,
    )
    from pgreplkit.offline.archivescan import scan_archive as scan_archive
    from pgreplkit.offline.backups import (
        Backup as Backup,
        BackupStatus as BackupStatus,
        BackupTool as BackupTool,
        BackupType as BackupType,
    )
    from pgreplkit.offline.catalogs.barman import barman_backups as barman_backups
    from pgreplkit.offline.catalogs.pgbackrest import pgbackrest_backups as pgbackrest_backups
    from pgreplkit.offline.catalogs.plain import (
        archived_backups as archived_backups,
        read_base_backup as read_base_backup,
    )
    from pgreplkit.offline.catalogs.walg import walg_backups as walg_backups
    from pgreplkit.offline.checkpoints import WalCheckpoint as WalCheckpoint
    from pgreplkit.offline.decoder import WalDecoder as WalDecoder
    from pgreplkit.offline.images import PageCompression as PageCompression, PageImage as PageImage
    from pgreplkit.offline.layouts import ArchiveLayout as ArchiveLayout
    from pgreplkit.offline.reader import WalReader as WalReader, open_wal as open_wal
    from pgreplkit.offline.records import (
        Fork as Fork,
        RelationFile as RelationFile,
        WalBlock as WalBlock,
        WalRecord as WalRecord,
    )
    from pgreplkit.offline.stats import (
        StatsKey as StatsKey,
        WalBy as WalBy,
        WalStats as WalStats,
        WalStatsRow as WalStatsRow,
    )
    from pgreplkit.offline.walk import WalEnd as WalEnd
    from pgreplkit.offline.windows import PitrWindow as PitrWindow, WindowEnd as WindowEnd
    from pgreplkit.offline.xacts import WalCommit as WalCommit
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
