"""scan_archive: directories without WAL, and faults that only reading all records shows."""

from __future__ import annotations

import gzip
import hashlib
from pathlib import Path

import pytest
from walarchives import wal
from walsegments import name_of

from pgreplkit.errors import WalNotFound
from pgreplkit.offline.archive import ArchiveProblem
from pgreplkit.offline.archivescan import scan_archive


def test_damage_inside_files_is_found_when_all_records_are_read(archive: Path) -> None:
    path = archive / name_of(4)
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    assert scan_archive(archive).findings == ()
    report = scan_archive(archive, verify=True)
    [finding] = report.findings
    assert (finding.problem, finding.path) == (ArchiveProblem.DAMAGED, path)
    assert "CRC is" in finding.found
    assert not report.covers(wal(4, 5))
    assert scan_archive(archive, verify=True).ranges == report.ranges


def test_a_wrong_checksum_at_the_end_of_a_compressed_file_is_that_files_damage(
    archive: Path,
) -> None:
    path = archive / name_of(4)
    stored = bytearray(gzip.compress(path.read_bytes()))
    stored[-6] ^= 1
    path.write_bytes(stored)
    assert scan_archive(archive).findings == ()
    [finding] = scan_archive(archive, verify=True).findings
    assert (finding.path, finding.wal) == (path, wal(4, 5))


def test_verify_compares_the_sha1_in_the_names_of_pgbackrest(archive: Path) -> None:
    for path in [*archive.glob("0000000[12]????????????????")]:
        content = path.read_bytes()
        digest = hashlib.sha1(content, usedforsecurity=False).hexdigest()
        path.unlink()
        (archive / f"{path.name}-{digest}.gz").write_bytes(gzip.compress(content))
    assert scan_archive(archive, verify=True).findings == ()
    # The CRC of no record covers the end of a segment behind a switch.
    [path] = archive.glob(f"{name_of(4)}-*")
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1] + b"x"))
    assert scan_archive(archive).findings == ()
    report = scan_archive(archive, verify=True)
    [finding] = report.findings
    assert (finding.problem, finding.path) == (ArchiveProblem.DAMAGED, path)
    assert "its content has the SHA-1" in finding.found
    assert not report.covers(wal(4, 5))


def test_a_directory_without_wal_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        WalNotFound, match="it holds no WAL files; name the directory of an archive"
    ):
        scan_archive(tmp_path)
    (tmp_path / name_of(3)).write_bytes(b"Salted__" + bytes(90))
    with pytest.raises(WalNotFound, match=r"none .* can be read: the file is encrypted"):
        scan_archive(tmp_path)
    with pytest.raises(WalNotFound, match="it is not a directory; name the directory"):
        scan_archive(tmp_path / "missing")
    with pytest.raises(ValueError, match="layout must be one of auto, plain, barman"):
        scan_archive(tmp_path, layout="barmn")
