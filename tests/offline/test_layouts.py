"""The layouts of archives, recognized or given."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest
from walarchives import found, moved
from walsegments import name_of

from pgreplkit.errors import HostFileError, WalNotFound
from pgreplkit.offline.archivescan import scan_archive
from pgreplkit.offline.layouts import ArchiveLayout

SHA = "0123456789012345678901234567890123456789"


def test_the_layouts_of_backup_tools_are_recognized(archive: Path) -> None:
    moved(archive, lambda name: f"wals/{name[:16] + '/' if len(name) == 24 else ''}{name}")
    (archive / "wals" / "main-xlog.db").write_text("")
    report = scan_archive(archive)
    assert (report.layout, report.findings, len(report._segments)) == (ArchiveLayout.BARMAN, (), 8)
    with pytest.raises(WalNotFound, match="not laid out as an archive of wal-g"):
        scan_archive(archive, layout="wal-g")


def test_a_pgbackrest_repository_is_recognized(archive: Path) -> None:
    moved(
        archive,
        lambda name: (
            f"archive/main/18-2/{name[:16]}/{name}-{SHA}"
            if len(name) == 24
            else f"archive/main/18-2/{name}"
        ),
    )
    stanza = archive / "archive" / "main"
    (stanza / "archive.info").write_text("")
    (stanza / "16-1").mkdir()
    for folder in (archive, stanza, stanza / "18-2"):
        report = scan_archive(folder)
        assert (report.layout, len(report._segments)) == (ArchiveLayout.PGBACKREST, 8)
        assert report.directory == stanza / "18-2"
        assert found(report) == ([] if folder.name == "18-2" else ["other system"])
    (archive / "archive" / "other").mkdir()
    with pytest.raises(WalNotFound, match=r"2 stanzas \(main, other\)"):
        scan_archive(archive)


def test_a_walg_storage_is_recognized(archive: Path) -> None:
    for path in archive.iterdir():
        path.write_bytes(lzma.compress(path.read_bytes(), lzma.FORMAT_ALONE))
    moved(archive, lambda name: f"wal_005/{name}.lzma")
    (archive / "wal_005" / f"{name_of(0)}_delta.lzma").write_bytes(b"blocks")
    report = scan_archive(archive)
    assert (report.layout, report.findings, len(report._segments)) == (ArchiveLayout.WALG, (), 8)


@pytest.mark.parametrize("layout", ["walg", "AUTO", None])
def test_an_unknown_layout_is_refused(archive: Path, layout: str) -> None:
    with pytest.raises(ValueError, match="layout must be one of auto, plain, barman"):
        scan_archive(archive, layout=layout)
    with pytest.raises(HostFileError, match="File name too long"):
        scan_archive("x" * 5000)
