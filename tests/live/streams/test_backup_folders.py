"""Extraction of malicious or broken archives, and checksums of the data directory."""

from __future__ import annotations

import gzip
import hashlib
import io
import sys
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from pgreplkit.backups import BackupArchive, verify_backup
from pgreplkit.errors import BackupDamaged, HostFileError, InvalidBackupMessage
from pgreplkit.host.backupfolder import DataFolder, FreshFolder
from pgreplkit.host.checksums import Crc32c, checksum, quickest
from pgreplkit.values.crc32c import extended

BASE = BackupArchive("base.tar", None, None)


def data_folder(path: Path, algorithm: str | None = "SHA256") -> DataFolder:
    return DataFolder(path, operation="extract", locations={}, mode=0o700, algorithm=algorithm)


def archive(*members: tuple[str, bytes | str | None]) -> memoryview:
    """Return an archive of files (bytes), symbolic links (str) and directories (None)."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.mode = 0o600
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
            else:
                info.type = tarfile.DIRTYPE if content is None else tarfile.SYMTYPE
                info.linkname, info.mode = content or "", 0o700
                tar.addfile(info)
    return memoryview(buffer.getvalue())


@pytest.mark.parametrize(
    "members",
    [
        [("../evil", b"x")],
        [("a/../../evil", b"x")],
        [("/tmp/evil", b"x")],
        [("pg_tblspc", None), ("pg_tblspc/1", "/nowhere"), ("pg_tblspc/1/evil", b"x")],
        [("link", "/nowhere")],
        [("pg_tblspc", None), ("pg_tblspc/1", "../../nowhere")],
        [("x", None), ("x/pg_tblspc", None), ("x/pg_tblspc/1", "/nowhere")],
    ],
)
def test_archive_entries_outside_the_directory_are_refused(
    tmp_path: Path, members: list[tuple[str, bytes | str | None]]
) -> None:
    folder = data_folder(tmp_path / "data")
    folder.begin(BASE)
    with pytest.raises(InvalidBackupMessage):
        folder.write(archive(*members))
    folder.give_up()
    assert not list(tmp_path.iterdir())


def manifest_of(files: dict[str, bytes]) -> bytes:
    lines = [
        f'{{ "Path": "{name}", "Size": {len(content)},'
        ' "Last-Modified": "2026-11-23 20:00:00 GMT", "Checksum-Algorithm": "SHA256",'
        f' "Checksum": "{hashlib.sha256(content).hexdigest()}" }}'
        for name, content in files.items()
    ]
    text = '{ "PostgreSQL-Backup-Manifest-Version": 1,\n"Files": [' + ",\n".join(lines)
    text += '],\n"WAL-Ranges": [],\n'
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f'{text}"Manifest-Checksum": "{digest}"}}\n'.encode()


def test_a_corrupted_byte_is_reported(tmp_path: Path) -> None:
    sent = {"PG_VERSION": b"18\n", "base/1/2": bytes(100_000)}
    flipped = {**sent, "base/1/2": bytes(99_999) + b"\1"}
    for number, (arrived, differs) in enumerate([(sent, False), (flipped, True)]):
        folder = data_folder(tmp_path / str(number))
        folder.begin(BASE)
        members = archive(("base", None), ("base/1", None), *arrived.items())
        for at in range(0, len(members), 1000):
            folder.write(members[at : at + 1000])
        folder.end()
        folder.manifest(memoryview(manifest_of(sent)))
        if not differs:
            folder.check()
            folder.finish()
            verify_backup(tmp_path / str(number))
            continue
        with pytest.raises(BackupDamaged, match="base/1/2 has another SHA256 checksum"):
            folder.check()
        folder.give_up()
        assert not (tmp_path / str(number)).exists()


def test_only_an_empty_directory_is_written_and_only_created_files_are_removed(
    tmp_path: Path,
) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(HostFileError, match="not empty"):
        FreshFolder(tmp_path, "extract")
    there = tmp_path / "there"
    there.mkdir()
    for target, stays in ((there, True), (tmp_path / "new", False)):
        fresh = FreshFolder(target, "extract")
        (target / "folder").mkdir()
        (target / "folder" / "file").touch()
        (target / "link").symlink_to(tmp_path)
        fresh.remove()
        assert target.exists() == stays
    assert (tmp_path / "mine").exists()
    assert not list(there.iterdir())


@given(st.lists(st.binary(max_size=300)))
def test_crc32c_in_python_equals_the_extension(parts: list[bytes]) -> None:
    whole = Crc32c()
    value = 0
    for part in parts:
        whole.update(memoryview(part))
        value = extended(value, part)
    assert whole.hexdigest() == value.to_bytes(4, "little").hex()


def test_checksum_algorithms_are_found_by_name() -> None:
    assert extended(0, b"123456789") == 0xE3069283
    sha = checksum("sha512")
    assert sha is not None
    assert len(sha().hexdigest()) == 128
    assert checksum("NONE") is checksum("md5") is None


def test_another_algorithm_is_requested_without_the_crc32c_extension(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "google_crc32c", None)
    assert quickest() == "SHA256"
    monkeypatch.setitem(sys.modules, "google_crc32c", sys)
    assert quickest() == "CRC32C"


def test_a_broken_archive_raises_backup_failed(tmp_path: Path) -> None:
    folder = data_folder(tmp_path / "data")
    folder.begin(BackupArchive("base.tar.gz", None, None))
    with pytest.raises(InvalidBackupMessage, match="invalid gzip"):
        folder.write(memoryview(b"neither gzip nor anything"))
    folder.give_up()
    assert not list(tmp_path.iterdir())


def test_gzip_is_decompressed_in_parts_to_the_end(tmp_path: Path) -> None:
    zeros = bytes(20 << 20)
    packed = memoryview(gzip.compress(archive(("zeros", zeros), ("more", b"x"))))
    folder = data_folder(tmp_path / "data")
    folder.begin(BackupArchive("base.tar.gz", None, None))
    pieces: list[int] = []
    write = folder.content

    def content(data: memoryview) -> None:
        pieces.append(len(data))
        write(data)

    folder.content = content  # type: ignore[method-assign]
    folder.write(packed)
    folder.end()
    assert (tmp_path / "data/zeros").read_bytes() == zeros
    assert max(pieces) <= 1 << 20
    with pytest.raises(InvalidBackupMessage, match="after the end of the gzip"):
        folder.write(memoryview(b"more"))
    folder.begin(BackupArchive("base.tar.gz", None, None))
    folder.write(packed[:0])
    with pytest.raises(InvalidBackupMessage, match="is incomplete"):
        folder.end()
