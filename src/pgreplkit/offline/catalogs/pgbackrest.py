"""pgBackRest's catalogue: the output of ``pgbackrest info --output=json``."""

from __future__ import annotations

from pgreplkit.errors import InvalidServerVersion, WalNotFound
from pgreplkit.offline.backups import (
    SMALLEST,
    Backup,
    BackupStatus,
    BackupTool,
    BackupType,
    InvalidBackupCatalog,
)
from pgreplkit.offline.catalogs.json import Fields, catalog
from pgreplkit.values.lsn import LSN
from pgreplkit.values.rows import Rows
from pgreplkit.values.version import ServerVersion

_TYPES = {
    "full": BackupType.FULL,
    "diff": BackupType.DIFFERENTIAL,
    "incr": BackupType.INCREMENTAL,
}


def pgbackrest_backups(text: str | bytes, *, stanza: str | None = None) -> Rows[Backup]:
    """Read the backups in the output of ``pgbackrest info --output=json``, the oldest first.

    Without ``stanza``, the backups of all stanzas are returned.

    Raises: InvalidBackupCatalog; WalNotFound if there is no such stanza.
    """
    entries = {entry.text("name"): entry for entry in catalog(text).items()}
    if stanza is not None and stanza not in entries:
        raise WalNotFound(
            f"find the stanza {stanza!r} in pgBackRest's catalogue",
            f"it has {', '.join(entries) or 'no stanzas'}",
            remedy="name one of its stanzas",
        )
    backups: Rows[Backup] = Rows()
    for entry in entries.values() if stanza is None else [entries[stanza]]:
        systems = {_system_key(system): system for system in entry.field("db").items()}
        backups += [_backup(one, systems) for one in entry.field("backup").items()]
    return backups


_SystemKey = tuple[int, int]


def _system_key(entry: Fields) -> _SystemKey:
    """Return the key of a system: each repository counts its own ones (since pgBackRest 2.32)."""
    return entry.optional_whole("repo-key") or 1, entry.whole("id")


def _backup(entry: Fields, systems: dict[_SystemKey, Fields]) -> Backup:
    # A stanza has several clusters after an upgrade: each backup names its own.
    system = systems.get(_system_key(entry.field("database")))
    times = entry.field("timestamp")
    timeline, start, stop = _wal(entry)
    kind = entry.text("type")
    error = entry.optional("error")
    return Backup(
        id=entry.text("label"),
        tool=BackupTool.PGBACKREST,
        type=_TYPES.get(kind) or BackupType(kind),
        status=BackupStatus.FAILED if error and error.value else BackupStatus.DONE,
        timeline=timeline,
        start_lsn=start,
        stop_lsn=stop,
        start_time=times.time("start"),
        stop_time=times.time("stop"),
        system_id=system.whole("system-id") if system else None,
        major=_major(system) if system else None,
        parent=entry.optional_text("prior"),
        size=entry.field("info").whole("size"),
    )


def _wal(entry: Fields) -> tuple[int, LSN, LSN | None]:
    """Return the timeline, and the WAL that a backup needs."""
    archive = entry.field("archive")
    # A backup of a stopped server (--no-online) needs none, and does not say where it was.
    if archive.optional("start") is None:
        return 1, LSN.INVALID, None
    timeline, positions = archive.wal_file("start", SMALLEST).timeline, entry.optional("lsn")
    if positions is not None:  # missing before pgBackRest 2.42
        return timeline, positions.lsn("start"), positions.lsn("stop")
    # The whole segments, which are a little more than the backup needs.
    return timeline, archive.wal_file("start").first_lsn, archive.wal_file("stop").end_lsn


def _major(system: Fields) -> int:
    try:
        return ServerVersion(system.text("version")).major
    except InvalidServerVersion as error:
        raise InvalidBackupCatalog(f"{system.place}.version", error.reason) from None
