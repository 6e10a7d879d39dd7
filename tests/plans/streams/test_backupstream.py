"""The options of a base backup as text, its progress, and its verification."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from pgreplkit.backups import BackupManifest, BackupProgress
from pgreplkit.plans.streams.backupstream import (
    BackupOptions,
    BackupStage,
    FoundFile,
    TablespaceProgress,
    differences,
)
from pgreplkit.protocol import commands
from pgreplkit.values.manifest import ManifestFile


def options(**chosen: Any) -> BackupOptions:
    settings = {
        "label": "it's",
        "checkpoint": "spread",
        "wal": True,
        "wait_for_archiving": None,
        "max_rate": None,
        "tablespace_map": None,
        "verify_checksums": True,
        "manifest": None,
        "manifest_checksums": None,
        "compression": None,
        "compression_level": None,
        "is_incremental": False,
        **chosen,
    }
    return BackupOptions(**settings)


def command(major: int, *, with_map: bool = False, **chosen: Any) -> str:
    asked = options(**chosen).asked(major, with_map=with_map, checksums=None)
    return commands.base_backup(major, asked).decode()


def test_options_use_the_syntax_of_each_major_version() -> None:
    assert command(10) == "BASE_BACKUP LABEL 'it''s' PROGRESS NOWAIT WAL"
    assert command(14, with_map=True, verify_checksums=False, wal=False, max_rate=1 << 20) == (
        "BASE_BACKUP LABEL 'it''s' PROGRESS MAX_RATE 1024 TABLESPACE_MAP NOVERIFY_CHECKSUMS"
        " MANIFEST 'yes'"
    )
    assert command(17, checkpoint="fast", compression="zstd", compression_level=3) == (
        "BASE_BACKUP (LABEL 'it''s', PROGRESS, CHECKPOINT 'fast', WAIT false, WAL,"
        " MANIFEST 'yes', COMPRESSION 'zstd', COMPRESSION_DETAIL 'level=3')"
    )
    assert command(17, is_incremental=True, wait_for_archiving=True, manifest=False) == (
        "BASE_BACKUP (LABEL 'it''s', PROGRESS, CHECKPOINT 'spread', WAIT, WAL, INCREMENTAL)"
    )


def test_progress_has_a_fraction_if_the_server_estimated_the_size() -> None:
    def part(done: int, total: int | None) -> TablespaceProgress:
        return TablespaceProgress(oid=None, location=None, bytes_done=done, bytes_total=total)

    copying = BackupStage.COPYING
    progress = BackupProgress(stage=copying, tablespaces=(part(50, 100), part(10, 20)))
    assert (progress.bytes_done, progress.bytes_total, progress.share) == (60, 120, 0.5)
    assert str(progress) == "50% of about 120 bytes copied"
    unknown = BackupProgress(stage=copying, tablespaces=(part(50, 100), part(10, None)))
    assert (unknown.bytes_total, unknown.share, str(unknown)) == (None, None, "copying")
    assert str(BackupProgress()) == "waiting for a checkpoint"


def test_differences_name_missing_extra_and_changed_files() -> None:
    def listed(path: str | bytes, size: int, checksum: str | None = "AB") -> ManifestFile:
        now = datetime.now(UTC)
        algorithm = None if checksum is None else "SHA256"
        return ManifestFile(
            path=path,
            size=size,
            last_modified=now,
            checksum_algorithm=algorithm,
            checksum=checksum,
        )

    files = (listed("a", 1), listed("b", 2), listed(b"\xff", 3), listed("d", 4, None))
    manifest = BackupManifest(version=2, files=files, wal_ranges=(), checksum="")
    right = {
        "a": FoundFile(1, "ab"),
        "b": FoundFile(2, None),
        "\udcff": FoundFile(3, "ab"),
        "d": FoundFile(4, "cd"),
        "pg_wal/000000010000000000000001": FoundFile(5, "cd"),
        "backup_manifest": FoundFile(5, "cd"),
    }
    assert list(differences(manifest, right)) == []
    wrong = {**right, "a": FoundFile(1, "cd"), "b": FoundFile(3, "ab"), "e": FoundFile(0, "")}
    del wrong["d"]
    assert list(differences(manifest, wrong)) == [
        "a has another SHA256 checksum",
        "b has 3 bytes instead of 2",
        "d is missing",
        "e is not in the manifest",
    ]


@pytest.mark.parametrize(
    ("chosen", "error"),
    [
        ({"checkpoint": "slow"}, "checkpoint"),
        ({"max_rate": 1000}, "rate"),
        ({"compression": "bzip2"}, "compression"),
        ({"compression_level": 3}, "compression_level"),
        ({"manifest": False, "manifest_checksums": "SHA256"}, "manifest_checksums"),
    ],
)
def test_options_that_no_server_accepts_are_refused(chosen: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        options(**chosen)


@pytest.mark.parametrize(
    ("chosen", "features"),
    [
        ({}, []),
        ({"manifest": True}, ["basebackup.manifest"]),
        ({"manifest_checksums": "SHA256"}, ["basebackup.manifest"]),
        ({"compression": "zstd"}, ["basebackup.server_compression"]),
        ({"is_incremental": True}, ["basebackup.incremental"]),
        ({"verify_checksums": False}, ["basebackup.skip_checksums"]),
    ],
)
def test_options_need_features_of_the_server(chosen: dict[str, Any], features: list[str]) -> None:
    assert list(options(**chosen).features()) == features


@pytest.mark.parametrize(
    ("wal", "wait", "waits"),
    [
        (True, None, False),
        # Without its own WAL a backup can be restored only from the archive.
        (False, None, True),
        (True, True, True),
        (False, False, False),
    ],
)
def test_a_backup_without_its_own_wal_waits_for_the_archive(
    wal: bool, wait: bool | None, waits: bool
) -> None:
    assert options(wal=wal, wait_for_archiving=wait).waits_for_archive is waits
