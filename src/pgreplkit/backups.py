"""Base backups: the stream of a replication connection, its items and progress, and their files.

``ReplicationConnection.base_backup`` returns the stream; ``verify_backup`` checks the files of a
backup. BackupLabel and BackupManifest read backup_label and backup_manifest.
"""

from pgreplkit._public import TYPE_CHECKING, lazy as _lazy

if TYPE_CHECKING:
    from pgreplkit._async.streams.backupstream import AsyncBackupStream as AsyncBackupStream
    from pgreplkit._sync.streams.backupstream import BackupStream as BackupStream
    from pgreplkit.host.backupfolder import verify_backup as verify_backup
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
    from pgreplkit.values.backup import BackupLabel as BackupLabel
    from pgreplkit.values.manifest import (
        BackupManifest as BackupManifest,
        ManifestFile as ManifestFile,
        ManifestWalRange as ManifestWalRange,
    )

# Hidden from type checkers, which would take any name for a public one.
if not TYPE_CHECKING:
    __getattr__, __dir__ = _lazy(__name__)
    __all__ = __dir__()
