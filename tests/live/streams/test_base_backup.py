"""Base backups: their archives, the extracted files, and clean-up after failures."""

from __future__ import annotations

import asyncio
import gzip
import os
import shutil
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import attrs
import pytest
from clusters import Clusters, one, rows, run, wait_until
from walfiles import replication

from pgreplkit import AsyncReplicationConnection, ReplicationConnection
from pgreplkit.backups import (
    BackupArchive,
    BackupChunk,
    BackupItem,
    BackupManifest,
    BackupProgress,
    BackupStage,
    BackupStream,
    ManifestChunk,
    verify_backup,
)
from pgreplkit.errors import (
    BackupDamaged,
    ConnectionFailed,
    HostFileError,
    InvalidBackupMessage,
    ServerError,
    StreamClosed,
    UnsupportedByServer,
    WaitTimeout,
)
from pgreplkit.lab import Lab, Node
from pgreplkit.protocol.basebackup import BackupFraming


@attrs.frozen
class Source:
    """A server to back up, with a tablespace."""

    lab: Lab
    node: Node
    location: Path
    oid: int

    @property
    def major(self) -> int:
        return self.node.major


@pytest.fixture(scope="module")
def source(clusters: Clusters, major: int) -> Iterator[Source]:
    lab = clusters.lab
    settings = {"archive_mode": "on", "archive_command": "exit 0", "wal_level": "replica"}
    if major >= 17:
        settings["summarize_wal"] = "on"
    node = lab.primary(version=major, name=f"backed-up{major}", settings=settings)
    location = lab.root / f"tablespace{major}"
    location.mkdir()
    owner = node.data_directory.stat()
    os.chown(location, owner.st_uid, owner.st_gid)
    run(node, f"CREATE TABLESPACE elsewhere LOCATION '{location}'")
    run(node, "CREATE TABLE here AS SELECT g FROM generate_series(1, 20000) g")
    run(node, "CREATE TABLE there TABLESPACE elsewhere AS SELECT g FROM generate_series(1, 999) g")
    oid = one(node, "SELECT oid::int FROM pg_tablespace WHERE spcname = 'elsewhere'")
    assert isinstance(oid, int)
    yield Source(lab, node, location, oid)
    lab.remove(node)
    shutil.rmtree(location)  # In a random order, the module's tests need a source several times.


@pytest.fixture
def connection(source: Source) -> Iterator[ReplicationConnection]:
    with replication(source.node, application_name="backing up") as connection:
        yield connection


def fast(connection: ReplicationConnection, **options: object) -> BackupStream:
    return connection.base_backup(checkpoint="fast", **options)  # type: ignore[arg-type]


def started(source: Source, folder: Path) -> Node:
    """A server on a data directory."""
    node = Node(folder.name, source.node.installation, source.lab._place)
    node.start()
    source.lab.nodes[node.name] = node
    return node


def test_a_backup_consists_of_archives_and_a_manifest(
    source: Source, connection: ReplicationConnection
) -> None:
    with fast(connection, label="it's \\ mine") as backup:
        assert (backup.start_lsn, backup.end_lsn, backup.manifest) == (None, None, None)
        items = list(backup)
    archives = [item for item in items if isinstance(item, BackupArchive)]
    assert archives == [
        BackupArchive(f"{source.oid}.tar", source.oid, str(source.location)),
        BackupArchive("base.tar", None, None),
    ]
    manifest = b"".join(item.data for item in items if isinstance(item, ManifestChunk))
    if source.major >= 13:
        assert isinstance(items[-1], ManifestChunk)
        assert backup.manifest == BackupManifest.parse(manifest)
    else:
        assert backup.manifest is None
    base = joined(items, archives[1])
    assert b"LABEL: it's \\ mine\n" in base
    assert b"tablespace_map" in base
    assert backup.timeline == 1
    assert backup.start_lsn is not None
    assert backup.end_lsn is not None
    assert backup.start_lsn < backup.end_lsn
    assert backup.progress.stage is BackupStage.DONE
    assert backup.progress.bytes_done == sum(len(joined(items, archive)) for archive in archives)
    assert [one.oid for one in backup.progress.tablespaces] == [source.oid, None]
    with pytest.raises(StreamClosed):
        backup.extract(source.lab.root / "never")
    assert not (source.lab.root / "never").exists()
    assert connection.identify_system().timeline == 1


def joined(items: list[BackupItem], archive: BackupArchive) -> bytes:
    return b"".join(
        item.data for item in items if isinstance(item, BackupChunk) and item.archive == archive
    )


def test_archives_are_saved_completely(
    source: Source, connection: ReplicationConnection, tmp_path: Path
) -> None:
    seen: list[BackupProgress] = []
    began = time.monotonic()
    fast(connection, wal=False).save_tar(tmp_path / "new", on_progress=seen.append)
    assert timedelta(0) < seen[-1].elapsed <= timedelta(seconds=time.monotonic() - began)
    names = {f"{source.oid}.tar", "base.tar"} | (
        {"backup_manifest"} if source.major > 12 else set()
    )
    assert {path.name for path in (tmp_path / "new").iterdir()} == names
    with tarfile.open(tmp_path / "new" / "base.tar") as archive:
        members = archive.getnames()
        assert {"backup_label", "tablespace_map", "global/pg_control"} <= {*members}
        assert not [name for name in members if name.startswith("pg_wal/0")]
    assert (tmp_path / "new" / "base.tar").read_bytes().endswith(bytes(1024))
    # GNU tar complains about an archive that is cut off.
    command = ["tar", "tf", str(tmp_path / "new" / f"{source.oid}.tar")]
    assert not subprocess.run(command, check=True, capture_output=True).stderr
    assert seen[0].stage is BackupStage.WAITING_FOR_CHECKPOINT
    assert [*dict.fromkeys(progress.stage for progress in seen)][-2:] == [
        BackupStage.SYNCING,
        BackupStage.DONE,
    ]
    assert seen[-1].bytes_total is not None
    assert seen[-1].share is not None
    assert seen[-1].share > 0.9


def test_a_server_starts_from_an_extracted_backup(
    source: Source, connection: ReplicationConnection
) -> None:
    target = source.lab.root / f"extracted{source.major}"
    moved = source.lab.root / f"{target.name}-elsewhere"
    fast(connection).extract(target, tablespaces={str(source.location): moved})
    copy = started(source, target)
    try:
        assert one(copy, "SELECT count(*) FROM here") == 20000
        assert one(copy, "SELECT count(*) FROM there") == 999
        assert one(copy, f"SELECT pg_tablespace_location({source.oid})") == str(moved)
        assert target.stat().st_mode == source.node.data_directory.stat().st_mode
        with pytest.raises(HostFileError, match="is not empty; it is unchanged"):
            fast(connection).extract(target)
        assert one(copy, "SELECT count(*) FROM here") == 20000
    finally:
        source.lab.remove(copy)
        for path in sorted(moved.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        moved.rmdir()


def extract(source: Source, backup: BackupStream, target: Path) -> None:
    backup.extract(target, tablespaces={str(source.location): target / "moved"})


@pytest.mark.parametrize("algorithm", [None, "SHA512", "NONE"])
def test_an_extracted_backup_is_verified_against_its_manifest(
    source: Source, connection: ReplicationConnection, tmp_path: Path, algorithm: str | None
) -> None:
    if source.major < 13:
        pytest.skip("needs PostgreSQL 13")
    tmp_path.chmod(0o755)
    target, moved = tmp_path / "data", tmp_path / "moved"
    backup = fast(connection, manifest_checksums=algorithm)
    backup.extract(target, tablespaces={str(source.location): moved})
    manifest = verify_backup(target)
    assert manifest == backup.manifest
    algorithms = {file.checksum_algorithm for file in manifest.files}
    assert algorithms == ({None} if algorithm == "NONE" else {algorithm or "CRC32C"})
    (target / "standby.signal").touch()
    verify_backup(target)
    [flipped] = [path for path in target.glob("pg_tblspc/*/*/*/*") if path.stat().st_size > 30000]
    content = bytearray(flipped.read_bytes())
    content[12345] ^= 1
    flipped.write_bytes(content)
    if algorithm == "NONE":
        verify_backup(target)
    else:
        with pytest.raises(BackupDamaged) as damaged:
            verify_backup(target)
        name = flipped.relative_to(target)
        assert damaged.value.differences == (
            f"{name} has another {algorithm or 'CRC32C'} checksum",
        )
    (target / "PG_VERSION").unlink()
    (target / "global" / "more").touch()
    os.truncate(target / "backup_label", 7)
    with pytest.raises(BackupDamaged) as damaged:
        verify_backup(target)
    text = " ".join(damaged.value.differences)
    assert "PG_VERSION is missing" in text
    assert "backup_label has 7 bytes instead of" in text
    assert "global/more is not in the manifest" in text


def test_unsupported_options_are_refused_before_anything_is_sent(
    source: Source, connection: ReplicationConnection
) -> None:
    wanted: dict[int, dict[str, object]] = {
        11: {"verify_checksums": False},
        13: {"manifest": True},
        15: {"compression": "gzip"},
        17: {"incremental": b"{}"},
    }
    for since, options in wanted.items():
        if source.major < since:
            with pytest.raises(UnsupportedByServer) as refused:
                fast(connection, **options)
            assert refused.value.since == since
    for wrong in ({"max_rate": 5}, {"compression": "xz"}, {"compression_level": 3}):
        with pytest.raises(ValueError, match="a "):
            fast(connection, **wrong)


def test_options_are_sent_in_the_syntax_of_the_major_version(
    source: Source, connection: ReplicationConnection
) -> None:
    options: dict[str, object] = {"max_rate": 1 << 30, "wal": False, "wait_for_archiving": False}
    options["tablespace_map"] = False
    if source.major >= 11:
        options["verify_checksums"] = False
    if source.major >= 13:
        options["manifest"] = False
    items = list(fast(connection, **options))
    assert not [item for item in items if isinstance(item, ManifestChunk)]
    base = next(item for item in items if isinstance(item, BackupArchive) and item.oid is None)
    assert b"\0tablespace_map\0" not in joined(items, base)


@pytest.mark.parametrize("compression", ["gzip", "lz4", "zstd"])
def test_the_server_compresses_archives(
    source: Source, connection: ReplicationConnection, tmp_path: Path, compression: str
) -> None:
    if source.major < 15:
        pytest.skip("needs PostgreSQL 15")
    backup = fast(connection, compression=compression, compression_level=1)
    try:
        backup.save_tar(tmp_path)
    except ServerError as error:
        assert "this build does not support" in str(error)  # noqa: PT017 - the build may have it
        assert not list(tmp_path.iterdir())
        return
    suffix = {"gzip": "gz", "lz4": "lz4", "zstd": "zst"}[compression]
    assert (tmp_path / f"{source.oid}.tar.{suffix}").exists()
    magic = {"gzip": b"\x1f\x8b", "lz4": b"\x04\x22\x4d\x18", "zstd": b"\x28\xb5\x2f\xfd"}
    assert (tmp_path / f"base.tar.{suffix}").read_bytes().startswith(magic[compression])
    assert backup.progress.share is not None
    assert backup.progress.share > 0.9
    if compression == "gzip":
        with gzip.open(tmp_path / "base.tar.gz") as file, tarfile.open(fileobj=file) as archive:
            assert "global/pg_control" in archive.getnames()
        target = tmp_path / "data"
        extract(source, fast(connection, compression="gzip"), target)
        assert (target / "PG_VERSION").read_text() == f"{source.major}\n"
    else:
        with pytest.raises(ValueError, match="it takes gzip at most"):
            fast(connection, compression=compression).extract(tmp_path / "data")


def test_the_connection_can_be_used_after_an_abandoned_backup(
    source: Source, connection: ReplicationConnection
) -> None:
    began = time.monotonic()
    with fast(connection, max_rate=1 << 20) as backup:
        next(backup)
        next(backup)
        with pytest.raises(ServerError, match="a stream runs on the connection"):
            connection.identify_system()
    # Cancelled, and not read to its end.
    assert time.monotonic() - began < 15
    assert list(backup) == []
    assert connection.identify_system().timeline == 1
    assert not connection.connection.closed
    next(fast(connection))


def test_a_failed_backup_removes_its_files(
    source: Source, connection: ReplicationConnection, tmp_path: Path
) -> None:
    for target in (tmp_path / "new", tmp_path):

        def refuse(progress: BackupProgress) -> None:
            if progress.bytes_done > 5_000_000:
                raise RuntimeError("enough")

        with pytest.raises(RuntimeError, match="enough"):
            fast(connection).extract(
                target,
                tablespaces={str(source.location): tmp_path.parent / "moved"},
                on_progress=refuse,
            )
        assert not list(tmp_path.iterdir())
        assert not (tmp_path.parent / "moved").exists()
        with pytest.raises(RuntimeError, match="enough"):
            fast(connection).save_tar(target, on_progress=refuse)
        assert not list(tmp_path.iterdir())
    # The server's own refusal, and the loss of the connection.
    if source.major >= 13:
        with pytest.raises(ServerError, match="nonsense"):
            fast(connection, manifest_checksums="nonsense").save_tar(tmp_path)
        assert connection.identify_system().timeline == 1
    killing = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name"
    threading.Timer(0.5, lambda: run(source.node, f"{killing} = 'backing up'")).start()
    with pytest.raises(ConnectionFailed):
        fast(connection, max_rate=4 << 20).save_tar(tmp_path)
    assert not list(tmp_path.iterdir())
    assert connection.connection.closed


@pytest.mark.matrix
def test_waiting_for_the_archive_can_be_continued_after_a_timeout(
    source: Source, connection: ReplicationConnection
) -> None:
    run(source.node, "ALTER SYSTEM SET archive_command = 'false'")
    run(source.node, "SELECT pg_reload_conf()")
    try:
        wait_until(lambda: one(source.node, "SHOW archive_command") == "false")
        backup = fast(connection, wal=False, timeout=1)
        with pytest.raises(WaitTimeout, match="after 1 s waiting for more of the base backup"):
            list(backup)
    finally:
        run(source.node, "ALTER SYSTEM RESET archive_command")
        run(source.node, "SELECT pg_reload_conf()")
    connection.connection.pgconn.consume_input()
    while True:
        try:
            list(backup)
        except WaitTimeout:
            continue
        break
    assert backup.end_lsn is not None


def test_a_cancelled_async_backup_leaves_no_files(source: Source, tmp_path: Path) -> None:
    async def cancelled() -> None:
        conninfo = source.node.conninfo
        async with await AsyncReplicationConnection.connect(conninfo) as connection:
            backup = connection.base_backup(checkpoint="fast", max_rate=8 << 20)
            moved = {str(source.location): tmp_path / "moved"}
            task = asyncio.ensure_future(backup.extract(tmp_path / "data", tablespaces=moved))
            while backup.progress.bytes_done < 1_000_000 and not task.done():
                await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert not list(tmp_path.iterdir())
            assert (await connection.identify_system()).timeline == 1

    asyncio.run(cancelled())


def test_async_and_sync_extract_the_same_files(source: Source, tmp_path: Path) -> None:
    async def extracted() -> BackupManifest | None:
        conninfo = source.node.conninfo
        async with await AsyncReplicationConnection.connect(conninfo) as connection:
            backup = connection.base_backup(checkpoint="fast")
            moved = {str(source.location): tmp_path / "moved"}
            await backup.extract(tmp_path / "data", tablespaces=moved)
            async with connection.base_backup(checkpoint="fast") as another:
                kinds = {type(item) async for item in another}
                assert {BackupArchive, BackupChunk} <= kinds
            return backup.manifest

    manifest = asyncio.run(extracted())
    assert (tmp_path / "data" / "PG_VERSION").read_text() == f"{source.major}\n"
    if source.major >= 13:
        assert verify_backup(tmp_path / "data") == manifest


@pytest.mark.matrix
def test_an_incremental_backup_can_be_combined_with_the_full_one(
    source: Source, connection: ReplicationConnection
) -> None:
    tool = source.node.installation.bindir / "pg_combinebackup"
    if source.major < 17:
        pytest.skip("needs PostgreSQL 17")
    if not tool.exists():
        pytest.skip("needs pg_combinebackup")
    full, more, whole = (
        source.lab.root / f"{name}{source.major}" for name in ("full", "more", "whole")
    )
    moved = [f"{folder}-elsewhere" for folder in (full, more, whole)]
    extract_to = {str(source.location): moved[0]}
    fast(connection).extract(full, tablespaces=extract_to)
    run(source.node, "CREATE TABLE later AS SELECT g FROM generate_series(1, 500) g")
    with pytest.raises(ServerError):
        list(fast(connection, incremental=b"no manifest"))
    extract_to = {str(source.location): moved[1]}
    backup = fast(connection, incremental=full / "backup_manifest")
    backup.extract(more, tablespaces=extract_to)
    assert list(more.rglob("INCREMENTAL.*"))
    mapping = f"--tablespace-mapping={moved[1]}={moved[2]}"
    command = [str(tool), str(full), str(more), "-o", str(whole), mapping]
    combined = source.lab._place.run(command)
    assert combined.returncode == 0, combined.stderr
    copy = started(source, whole)
    assert rows(copy, "SELECT (SELECT count(*) FROM later) a, (SELECT count(*) FROM there) b") == [
        {"a": 500, "b": 999}
    ]


def test_a_malformed_message_ends_the_backup(
    source: Source, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refusing(framing: BackupFraming, messages: list[memoryview]) -> None:
        raise InvalidBackupMessage(b"?", "it is of no known kind")

    with replication(source.node) as connection:
        backup = connection.base_backup(checkpoint="fast")
        with monkeypatch.context() as patched:
            patched.setattr(BackupFraming, "feed", refusing)
            with pytest.raises(InvalidBackupMessage):
                list(backup)
        assert backup.is_closed
        assert connection.identify_system().timeline == 1
