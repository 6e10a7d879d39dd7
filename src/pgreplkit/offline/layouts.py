"""The places of WAL in the directories of backup tools."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs

from pgreplkit.errors import WalNotFound
from pgreplkit.offline.files import translate_os_errors
from pgreplkit.values.openenum import OpenEnum

NO_ARCHIVE = "name the directory of an archive"
"""The remedy for a directory without WAL."""


class ArchiveLayout(OpenEnum):
    """The layout of a WAL archive's directories."""

    AUTO = "auto"
    """Found out by the names of the directories."""
    PLAIN = "plain"
    """Files in one directory, as archive_command, pg_receivewal and receive_wal write them."""
    BARMAN = "barman"
    """A server's directory with ``wals/`` below it."""
    PGBACKREST = "pgbackrest"
    """A repository with ``archive/STANZA/ID`` below it, or one of these directories."""
    WALG = "wal-g"
    """A storage with ``wal_005/`` below it."""
    PG_WAL = "pg_wal"
    """The directory of a server, with ``archive_status/`` in it."""


@attrs.frozen
class Place:
    """The directory of an archive that holds the WAL files."""

    layout: ArchiveLayout
    folder: Path
    others: tuple[Path, ...] = ()
    """Directories of older systems in the same archive, which are not scanned."""


_WALG = "wal_005"
"""The number is the version of WAL-G's layout, not of the server."""


def find_place(folder: Path, layout: ArchiveLayout) -> Place:
    """Find the WAL in a directory.

    Raises: WalNotFound if the directory does not have the layout; HostFileError.
    """
    with translate_os_errors(f"scan the archive {folder}"):
        if not folder.is_dir():
            raise WalNotFound(
                f"scan the archive {folder}", "it is not a directory", remedy=NO_ARCHIVE
            )
        layouts = [layout] if layout is not ArchiveLayout.AUTO else [*_FINDERS]
        for one in layouts:
            place = _FINDERS[one](folder)
            if place is not None:
                return place
    raise WalNotFound(f"scan the archive {folder}", f"it is not laid out as an archive of {layout}")


def _barman(folder: Path) -> Place | None:
    wals = folder / "wals"
    return Place(ArchiveLayout.BARMAN, wals) if wals.is_dir() else None


def _walg(folder: Path) -> Place | None:
    for place in (folder / _WALG, folder):
        if place.name == _WALG and place.is_dir():
            return Place(ArchiveLayout.WALG, place)
    return None


def _pgbackrest(folder: Path) -> Place | None:
    """Find the newest ``15-1`` (version, number of the system) of the one stanza."""
    if (folder / "archive").is_dir():
        stanzas = [entry for entry in (folder / "archive").iterdir() if entry.is_dir()]
        if len(stanzas) != 1:
            names = ", ".join(sorted(stanza.name for stanza in stanzas)) or "none"
            raise WalNotFound(
                f"scan the archive {folder}",
                f"it has {len(stanzas)} stanzas ({names}): pass the path of archive/STANZA",
            )
        folder = stanzas[0]
    if (folder / "archive.info").is_file():
        # stanza-upgrade counts on; names such as 9.6-1 and 15-10 do not sort by that number.
        systems = sorted(_systems(folder), key=lambda path: int(path.name.partition("-")[2]))
        if systems:
            return Place(ArchiveLayout.PGBACKREST, systems[-1], tuple(systems[:-1]))
    if (folder.parent / "archive.info").is_file():
        return Place(ArchiveLayout.PGBACKREST, folder)
    return None


def _systems(stanza: Path) -> list[Path]:
    return [
        entry
        for entry in stanza.iterdir()
        if entry.is_dir() and entry.name.partition("-")[2].isdecimal()
    ]


def _pg_wal(folder: Path) -> Place | None:
    is_servers = (folder / "archive_status").is_dir()
    return Place(ArchiveLayout.PG_WAL, folder) if is_servers else None


def _plain(folder: Path) -> Place:
    return Place(ArchiveLayout.PLAIN, folder)


_FINDERS: dict[ArchiveLayout, Callable[[Path], Place | None]] = {
    ArchiveLayout.BARMAN: _barman,
    ArchiveLayout.PGBACKREST: _pgbackrest,
    ArchiveLayout.WALG: _walg,
    ArchiveLayout.PG_WAL: _pg_wal,
    ArchiveLayout.PLAIN: _plain,
}
