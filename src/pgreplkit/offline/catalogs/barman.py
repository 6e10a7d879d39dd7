"""Barman's catalogue: the backup.info of each backup."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from pgreplkit.errors import HostFileError, InvalidSegmentSize, InvalidValue, WalNotFound
from pgreplkit.offline.backups import (
    Backup,
    BackupStatus,
    BackupTool,
    BackupType,
    InvalidBackupCatalog,
)
from pgreplkit.offline.files import translate_os_errors
from pgreplkit.values.lsn import LSN
from pgreplkit.values.rows import Rows
from pgreplkit.values.segment import SegmentSize

_STATUS = {
    "DONE": BackupStatus.DONE,
    "WAITING_FOR_WALS": BackupStatus.WAITING_FOR_WALS,
    "FAILED": BackupStatus.FAILED,
    "STARTED": BackupStatus.STARTED,
    "EMPTY": BackupStatus.STARTED,
}
_NAME = re.compile(r"(\d{8}T\d{6})-backup\.info")


def barman_backups(directory: str | os.PathLike[str]) -> Rows[Backup]:
    """Read the backups of a server in Barman's home, such as ``/var/lib/barman/main``.

    They are read from ``meta/ID-backup.info``, or ``base/ID/backup.info`` as older versions write
    it; the oldest backup comes first.

    Raises: WalNotFound if the directory is not that of a Barman server; InvalidBackupCatalog;
    HostFileError.
    """
    place = Path(directory)
    with translate_os_errors(f"read Barman's backups in {place}"):
        is_barmans = (place / "base").is_dir() or (place / "meta").is_dir()
    if not is_barmans:
        raise WalNotFound(
            f"read Barman's backups in {place}", "it has neither base/ nor meta/",
            remedy="pass the directory of one server in Barman's home",
        )  # fmt: skip
    found = sorted(_files(place))
    return Rows(
        _backup(identifier, path, place / "base" / identifier) for identifier, path in found
    )


def _files(place: Path) -> Iterator[tuple[str, Path]]:
    new = {match[1] for path in place.glob("meta/*") if (match := _NAME.fullmatch(path.name))}
    for identifier in new:
        yield identifier, place / "meta" / f"{identifier}-backup.info"
    for path in place.glob("base/*/backup.info"):
        # After an update of Barman a backup may have both files; the new one is maintained.
        if path.parent.name not in new:
            yield path.parent.name, path


def _backup(identifier: str, path: Path, data: Path) -> Backup:
    try:
        # Names and paths may have any encoding, and are not read.
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise HostFileError(f"read {path}", error.strerror or str(error)) from error
    fields = dict(_fields(path, text))
    try:
        parent = fields.get("parent_backup_id")
        word = fields["status"]
        stop = fields.get("end_xlog")
        number = fields.get("version")
        size = fields.get("xlog_segment_size")
        return Backup(
            id=identifier,
            tool=BackupTool.BARMAN,
            type=BackupType.INCREMENTAL if parent else BackupType.FULL,
            status=_STATUS.get(word) or BackupStatus(word.lower()),
            timeline=int(fields.get("timeline") or "1"),
            start_lsn=LSN(fields.get("begin_xlog") or "0/0"),
            stop_lsn=LSN(stop) if stop else None,
            start_time=_time(fields.get("begin_time")),
            stop_time=_time(fields.get("end_time")),
            system_id=int(fields["systemid"]) if fields.get("systemid") else None,
            major=int(number) // 10000 if number else None,
            segment_size=SegmentSize(int(size)) if size else None,
            parent=parent,
            size=int(fields["size"]) if fields.get("size") else None,
            path=data,
        )
    except (KeyError, ValueError, InvalidSegmentSize) as error:
        found = f"the key {error.args[0]!r} is missing" if isinstance(error, KeyError) else error
        if isinstance(error, InvalidValue):
            found = f"{error.value}: {error.reason}"
        raise InvalidBackupCatalog(str(path), str(found)) from error


def _fields(path: Path, text: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.split("\n"), 1):
        key, equals, value = line.partition("=")
        if not equals:
            if line.strip():
                raise InvalidBackupCatalog(str(path), f"line {number} is not KEY=VALUE")
            continue
        # Barman writes Python's None for a value that it does not know.
        if value != "None":
            yield key.strip(), value.strip()


def _time(text: str | None) -> datetime | None:
    time = datetime.fromisoformat(text) if text else None
    # Times without a zone are in the local one, of a machine that is not known here.
    return time if time is None or time.tzinfo else None
