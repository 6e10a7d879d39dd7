"""pgBackRest's catalogue: the output of ``pgbackrest info --output=json``."""

from __future__ import annotations

from datetime import UTC, datetime

from pgreplkit.errors import WalNotFound
from pgreplkit.offline.backups import Backup, BackupStatus, BackupTool, BackupType
from pgreplkit.offline.catalogs.json import Fields, catalog
from pgreplkit.values.rows import Rows

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
        systems = {
            system.whole("id"): system
            for system in entry.field("db").items()
        }  # fmt: skip
        backups += [_backup(one, systems) for one in entry.field("backup").items()]
    return backups


def _backup(entry: Fields, systems: dict[int, Fields]) -> Backup:
    # A stanza has several clusters after an upgrade: each backup names its own.
    system = systems.get(entry.field("database").whole("id"))
    times = entry.field("timestamp")
    positions = entry.optional("lsn")
    archive = entry.field("archive")
    first = archive.wal_file("start")
    # The whole segments, which are a little more than the backup needs.
    start, stop = first.first_lsn, archive.wal_file("stop").end_lsn
    if positions is not None:  # missing before pgBackRest 2.42
        start, stop = positions.lsn("start"), positions.lsn("stop")
    kind = entry.text("type")
    error = entry.optional("error")
    return Backup(
        id=entry.text("label"),
        tool=BackupTool.PGBACKREST,
        type=_TYPES.get(kind) or BackupType(kind),
        status=BackupStatus.FAILED if error and error.value else BackupStatus.DONE,
        timeline=first.timeline,
        start_lsn=start,
        stop_lsn=stop,
        start_time=datetime.fromtimestamp(times.whole("start"), tz=UTC),
        stop_time=datetime.fromtimestamp(times.whole("stop"), tz=UTC),
        system_id=system.whole("system-id") if system else None,
        major=int(system.text("version").partition(".")[0]) if system else None,
        parent=entry.optional_text("prior"),
        size=entry.field("info").whole("size"),
    )
