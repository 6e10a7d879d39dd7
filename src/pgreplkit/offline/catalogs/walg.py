"""WAL-G's catalogue: ``backup-list --detail --json``, or the sentinels in its storage."""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path

from pgreplkit.errors import HostFileError
from pgreplkit.offline.backups import (
    Backup,
    BackupStatus,
    BackupTool,
    BackupType,
    InvalidBackupCatalog,
)
from pgreplkit.offline.catalogs.json import Fields, catalog
from pgreplkit.values.lsn import LSN
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
        folder = Path(source) / "basebackups_005"
        try:
            texts = {
                path.name.removesuffix(_SENTINEL): path.read_bytes()
                for path in folder.iterdir()
                if path.name.endswith(_SENTINEL)
            }
        except OSError as error:
            raise HostFileError(f"read {folder}", error.strerror or str(error)) from error
        backups = [_of_sentinel(name, catalog(text)) for name, text in texts.items()]
    else:
        backups = [_of_listing(entry) for entry in catalog(source).items()]
    return Rows(sorted(backups, key=lambda backup: int(backup.start_lsn)))


def _of_listing(entry: Fields) -> Backup:
    return _backup(
        entry.text("backup_name"),
        entry,
        start=entry.whole("start_lsn"),
        stop=entry.whole("finish_lsn"),
        system_id="system_identifier",
        version="pg_version",
        parent=None,
        size=entry.optional_whole("uncompressed_size"),
    )


def _of_sentinel(name: str, entry: Fields) -> Backup:
    return _backup(
        name,
        entry,
        start=entry.whole("LSN"),
        stop=entry.whole("FinishLSN"),
        system_id="SystemIdentifier",
        version="PgVersion",
        parent=entry.optional_text("DeltaFrom"),
        size=entry.optional_whole("UncompressedSize"),
    )


def _backup(
    name: str,
    entry: Fields,
    *,
    start: int,
    stop: int,
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
        start_lsn=LSN(start),
        stop_lsn=LSN(stop),
        start_time=_time(entry.optional_text("start_time") or entry.optional_text("StartTime")),
        stop_time=_time(entry.optional_text("finish_time") or entry.optional_text("FinishTime")),
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
