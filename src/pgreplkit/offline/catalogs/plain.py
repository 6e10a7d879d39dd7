"""Base backups without a catalogue: a data directory with backup_label, or ``.backup`` files."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from pgreplkit.errors import WalNotFound
from pgreplkit.offline.backups import SMALLEST, Backup, BackupStatus, BackupTool, BackupType
from pgreplkit.offline.compression import read_small
from pgreplkit.offline.files import WalFileKind, list_folder, translate_os_errors
from pgreplkit.values.backup import BackupLabel
from pgreplkit.values.manifest import BackupManifest
from pgreplkit.values.rows import Rows
from pgreplkit.values.segment import SegmentSize
from pgreplkit.values.version import ServerVersion

_UTC = " UTC"


def read_base_backup(directory: str | os.PathLike[str]) -> Backup:
    """Read the backup in a directory that pg_basebackup or ``base_backup().extract()`` has filled.

    The end of the backup is in its manifest (13 and later). Before 13, add it with
    ``attrs.evolve(backup, stop_lsn=stream.end_lsn)``: without it, the backup has no window. An
    incremental backup (17 and later) has one only together with the backup on which it is based.

    Raises: WalNotFound if there is no backup_label; InvalidBackupLabel; InvalidBackupManifest;
    InvalidServerVersion; HostFileError.
    """
    place = Path(directory)
    with translate_os_errors(f"read the backup in {place}"):
        # The server renames it to backup_label.old at its first start.
        has_label = (place / "backup_label").is_file()
    if not has_label:
        raise WalNotFound(
            f"read the backup in {place}", "it has no backup_label, so it was started or is not"
            " a base backup", remedy="pass the directory of a base backup"
        )  # fmt: skip
    with translate_os_errors(f"read the backup in {place}"):
        text = (place / "backup_label").read_text(errors="replace")
        label = BackupLabel.parse(text, segment_size=SMALLEST)
        path = place / "backup_manifest"
        manifest = BackupManifest.parse(path.read_bytes()) if path.is_file() else None
        version = (place / "PG_VERSION").read_text(errors="replace")
    stop = manifest.wal_ranges[-1].wal.end if manifest and manifest.wal_ranges else None
    timeline = label.start_timeline or label.start_wal_file.timeline
    return Backup(
        id=place.name,
        tool=BackupTool.PG_BASEBACKUP,
        type=_type(label),
        status=BackupStatus.DONE,
        timeline=timeline,
        start_lsn=label.start_lsn,
        stop_lsn=stop or label.stop_lsn,
        start_time=_time(label.start_time),
        stop_time=_time(label.stop_time),
        system_id=manifest.system_id if manifest else None,
        major=ServerVersion(version).major,
        parent_lsn=label.incremental_from_lsn,
        size=sum(file.size for file in manifest.files) if manifest else None,
        path=place,
    )


def archived_backups(
    directory: str | os.PathLike[str], *, segment_size: SegmentSize | int = SegmentSize.DEFAULT
) -> Rows[Backup]:
    """Read the backups that the ``.backup`` files of an archive describe, the oldest first.

    Servers archive such a file at the end of each base backup. It does not name the place of the
    backup.

    Raises: InvalidBackupLabel; HostFileError; InvalidWal for a damaged compressed file.
    """
    size = segment_size if isinstance(segment_size, SegmentSize) else SegmentSize(segment_size)
    backups = []
    for file in list_folder(Path(directory)):
        if file.kind is not WalFileKind.BACKUP:
            continue
        text = read_small(file.path).decode(errors="replace")
        label = BackupLabel.parse(text, segment_size=size)
        backups.append(
            Backup(
                id=f"{label.start_wal_file}.{file.offset:08X}",
                tool=BackupTool.PG_BASEBACKUP,
                type=_type(label),
                status=BackupStatus.DONE,
                timeline=label.start_timeline or label.start_wal_file.timeline,
                start_lsn=label.start_lsn,
                stop_lsn=label.stop_lsn,
                start_time=_time(label.start_time),
                stop_time=_time(label.stop_time),
                segment_size=size,
                parent_lsn=label.incremental_from_lsn,
            )
        )
    return Rows(sorted(backups, key=lambda backup: int(backup.start_lsn)))


def _type(label: BackupLabel) -> BackupType:
    return BackupType.FULL if label.incremental_from_lsn is None else BackupType.INCREMENTAL


def _time(text: str | None) -> datetime | None:
    """Parse a label's time if it is in UTC: other abbreviations of zones are ambiguous."""
    if text is None or not text.endswith(_UTC):
        return None
    try:
        return datetime.fromisoformat(text.removesuffix(_UTC)).replace(tzinfo=UTC)
    except ValueError:
        return None
