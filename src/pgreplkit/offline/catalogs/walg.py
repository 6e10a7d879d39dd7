"""WAL-G's catalogue: ``backup-list --detail --json``, or the sentinels in its storage."""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path

import attrs

from pgreplkit.offline.backups import (
    Backup,
    BackupStatus,
    BackupTool,
    BackupType,
    InvalidBackupCatalog,
)
from pgreplkit.offline.catalogs.json import Fields, catalog
from pgreplkit.offline.files import translate_os_errors
from pgreplkit.values.rows import Rows

_SENTINEL = "_backup_stop_sentinel.json"
_NAME = re.compile(r"base_([0-9A-F]{8})[0-9A-F]{16}(_D_[0-9A-F]{24})?.*")


def walg_backups(source: str | bytes | os.PathLike[str]) -> Rows[Backup]:
    """Read WAL-G's backups, the oldest first.

    ``source`` is the output of ``wal-g backup-list --detail --json``, or the path of a storage
    with ``basebackups_005/`` below it.

    Raises: InvalidBackupCatalog; HostFileError.
    """
    if isinstance(source, os.PathLike):
        # The number is the version of WAL-G's storage format.
        backups = _of_storage(Path(source) / "basebackups_005")
    else:
        backups = _with_parents([_of_listing(entry) for entry in catalog(source).items()])
    return Rows(sorted(backups, key=lambda backup: int(backup.start_lsn)))


def _of_storage(folder: Path) -> list[Backup]:
    backups = []
    with translate_os_errors(f"read {folder}"):
        for path in folder.iterdir():
            if path.name.endswith(_SENTINEL):
                name = path.name.removesuffix(_SENTINEL)
                # The sentinel has no times.
                metadata = folder / name / "metadata.json"
                more = catalog(metadata.read_bytes()) if metadata.is_file() else None
                backups.append(_of_sentinel(name, catalog(path.read_bytes()), more))
    return backups


def _with_parents(backups: list[Backup]) -> list[Backup]:
    """Complete the backups of a listing, in which only the name of a delta says its base."""
    found = []
    for backup in backups:
        base, is_delta, wal_file = backup.id.partition("_D_")
        if is_delta:
            # The name has the WAL file of the base only, which may be a delta itself.
            base = f"base_{wal_file}"
            names = (one.id for one in backups if one.id.partition("_D_")[0] == base)
            backup = attrs.evolve(backup, parent=next(names, base))
        found.append(backup)
    return found


def _of_listing(entry: Fields) -> Backup:
    return _backup(
        entry.text("backup_name"),
        entry,
        start="start_lsn",
        stop="finish_lsn",
        times=entry,
        system_id="system_identifier",
        version="pg_version",
        parent=None,
        size=entry.optional_whole("uncompressed_size"),
    )


def _of_sentinel(name: str, entry: Fields, metadata: Fields | None) -> Backup:
    return _backup(
        name,
        entry,
        start="LSN",
        # Null in the sentinels that WAL-E wrote.
        stop="FinishLSN",
        times=metadata,
        system_id="SystemIdentifier",
        version="PgVersion",
        parent=entry.optional_text("DeltaFrom"),
        size=entry.optional_whole("UncompressedSize"),
    )


def _backup(
    name: str,
    entry: Fields,
    *,
    start: str,
    stop: str,
    times: Fields | None,
    system_id: str,
    version: str,
    parent: str | None,
    size: int | None,
) -> Backup:
    # Neither form has the timeline in a field of its own.
    match = _NAME.fullmatch(name)
    if match is None:
        raise InvalidBackupCatalog(name, "the name is not of the form base_TIMELINE…")
    number = entry.optional_whole(version)
    return Backup(
        id=name,
        tool=BackupTool.WALG,
        type=BackupType.INCREMENTAL if match[2] else BackupType.FULL,
        status=BackupStatus.DONE,
        timeline=int(match[1], 16),
        start_lsn=entry.lsn(start),
        stop_lsn=entry.lsn(stop) if entry.optional(stop) else None,
        start_time=_time(times.optional_text("start_time") if times else None),
        stop_time=_time(times.optional_text("finish_time") if times else None),
        system_id=entry.optional_whole(system_id),
        major=number // 10000 if number else None,
        parent=parent,
        size=size,
    )


def _time(text: str | None) -> datetime | None:
    """Parse a time; Go writes up to nine digits of a second, Python reads six."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text))
    except ValueError as error:
        raise InvalidBackupCatalog(text, "it is not a time") from error
    return time if time.tzinfo else None
