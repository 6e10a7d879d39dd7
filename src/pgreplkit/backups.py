"""Base backups: the stream of a replication connection, its items, progress and manifest.

``ReplicationConnection.base_backup`` returns the stream; ``pgreplkit.verify_backup`` checks the
files of a backup.
"""

from pgreplkit._public import TYPE_CHECKING, lazy as _lazy

if TYPE_CHECKING:
    from pgreplkit._async.streams.backupstream import AsyncBackupStream as AsyncBackupStream
    from pgreplkit._sync.streams.backupstream import BackupStream as BackupStream
    from pgreplkit.plans.streams.backupstream import (
        BackupCompression as BackupCompression,
        BackupProgress as BackupProgress,
        BackupStage as BackupStage,
        ManifestChecksums as ManifestChecksums,
        TablespaceProgress as TablespaceProgress,
    )
    from pgreplkit.protocol.basebackup import (
        BackupArchive as BackupArchive,
        BackupChunk as BackupChunk,
        BackupItem as BackupItem,
        ManifestChunk as ManifestChunk,
    )
    from pgreplkit.values.manifest import (
        ManifestFile as ManifestFile,
        ManifestWalRange as ManifestWalRange,
    )

# Hidden from type checkers, which would take any name for a public one.
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy(__name__)
    __all__ = __dir__()
