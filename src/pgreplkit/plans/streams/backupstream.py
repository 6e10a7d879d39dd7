"""The options, the progress and the verification of a base backup."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Literal, TypeAlias

import attrs

from pgreplkit.plans.cluster.clone import CheckpointMode
from pgreplkit.protocol.commands import Option
from pgreplkit.values.manifest import BackupManifest, ManifestFile
from pgreplkit.values.openenum import OrderedEnum
from pgreplkit.values.record import Record

BackupCompression: TypeAlias = Literal["gzip", "lz4", "zstd"]
ManifestChecksums: TypeAlias = Literal["NONE", "CRC32C", "SHA224", "SHA256", "SHA384", "SHA512"]
MANIFEST = "backup_manifest"
# The limits of BASE_BACKUP itself, which reports another unit.
_SLOWEST, _FASTEST = 32 << 10, 1 << 30
_MANIFEST_SINCE = 13
_WAL = "pg_wal/"


class BackupStage(OrderedEnum):
    """The stage of a backup that is received; the stages are ordered."""

    WAITING_FOR_CHECKPOINT = "waiting for a checkpoint"
    COPYING = "copying"
    FINISHING = "waiting for the end of the backup"
    SYNCING = "writing to disk"
    DONE = "done"


@attrs.frozen(kw_only=True)
class TablespaceProgress(Record):
    """The progress of a tablespace; with None as ``oid``, of the data directory."""

    oid: int | None
    location: str | None
    bytes_done: int
    bytes_total: int | None
    """The server's estimate; it may turn out to be more."""


@attrs.frozen(kw_only=True)
class BackupProgress(Record):
    """The progress of a backup."""

    stage: BackupStage = BackupStage.WAITING_FOR_CHECKPOINT
    tablespaces: tuple[TablespaceProgress, ...] = ()
    """In the order in which they are sent; empty before the server has begun."""
    elapsed: timedelta = timedelta(0)
    """The time since it was requested."""

    @property
    def bytes_done(self) -> int:
        """Bytes received, before compression."""
        return sum(tablespace.bytes_done for tablespace in self.tablespaces)

    @property
    def bytes_total(self) -> int | None:
        """Bytes of the whole backup, as the server estimated; it may turn out to be more."""
        sizes = [tablespace.bytes_total for tablespace in self.tablespaces]
        known = [size for size in sizes if size is not None]
        return sum(known) if known and len(known) == len(sizes) else None

    @property
    def share(self) -> float | None:
        """The received share, from 0 to 1; None while the total is not known."""
        # Files may grow after the server has estimated the total.
        return min(1.0, self.bytes_done / self.bytes_total) if self.bytes_total else None

    def __str__(self) -> str:
        if self.stage is BackupStage.COPYING and self.share is not None:
            return f"{self.share:.0%} of about {self.bytes_total} bytes copied"
        return str(self.stage)


@attrs.frozen(kw_only=True)
class BackupOptions:
    """The options of a base backup, checked."""

    label: str
    checkpoint: CheckpointMode
    wal: bool
    wait_for_archiving: bool | None
    max_rate: int | None
    tablespace_map: bool | None
    verify_checksums: bool
    manifest: bool | None
    manifest_checksums: ManifestChecksums | None
    compression: BackupCompression | None
    compression_level: int | None
    is_incremental: bool

    def __attrs_post_init__(self) -> None:
        if self.checkpoint not in {"spread", "fast"}:
            raise ValueError(f"a checkpoint is 'spread' or 'fast', not {self.checkpoint!r}")
        if self.max_rate is not None and not _SLOWEST <= self.max_rate <= _FASTEST:
            raise ValueError(
                f"a rate is from {_SLOWEST} to {_FASTEST} bytes a second, not {self.max_rate}"
            )
        if self.compression not in {None, "gzip", "lz4", "zstd"}:
            raise ValueError(f"a compression is gzip, lz4 or zstd, not {self.compression!r}")
        if self.compression_level is not None and self.compression is None:
            raise ValueError("a compression_level belongs to a compression")
        if self.manifest is False and self.manifest_checksums is not None:
            raise ValueError("manifest_checksums belong to a manifest")

    def features(self) -> Iterator[str]:
        """Yield the features that the options need of the server."""
        if self.manifest or self.manifest_checksums is not None:
            yield "basebackup.manifest"
        if self.compression is not None:
            yield "basebackup.server_compression"
        if self.is_incremental:
            yield "basebackup.incremental"
        if not self.verify_checksums:
            yield "basebackup.skip_checksums"

    @property
    def waits_for_archive(self) -> bool:
        """Whether the server ends the backup only when its WAL is archived.

        A backup with its own WAL need not wait for that.
        """
        return not self.wal if self.wait_for_archiving is None else self.wait_for_archiving

    def has_manifest(self, major: int) -> bool:
        """Return whether the backup has a manifest."""
        return major >= _MANIFEST_SINCE if self.manifest is None else self.manifest

    def asked(self, major: int, *, with_map: bool, checksums: str | None) -> dict[str, Option]:
        """Return the options as the command takes them."""
        asked: dict[str, Option] = {"LABEL": self.label, "PROGRESS": True}
        asked["CHECKPOINT"] = self.checkpoint
        asked["WAIT"] = self.waits_for_archive
        if self.wal:
            asked["WAL"] = True
        if self.max_rate is not None:
            # The command takes kilobytes.
            asked["MAX_RATE"] = self.max_rate >> 10
        if with_map:
            asked["TABLESPACE_MAP"] = True
        if not self.verify_checksums:
            asked["VERIFY_CHECKSUMS"] = False
        if self.has_manifest(major):
            asked["MANIFEST"] = "yes"
            if checksums is not None:
                asked["MANIFEST_CHECKSUMS"] = checksums
        if self.compression is not None:
            asked["COMPRESSION"] = self.compression
        if self.compression_level is not None:
            asked["COMPRESSION_DETAIL"] = f"level={self.compression_level}"
        if self.is_incremental:
            asked["INCREMENTAL"] = True
        return asked


@attrs.frozen
class FoundFile:
    """A file of a backup on disk."""

    size: int
    checksum: str | None
    """In hex digits; None where it was not computed."""


def file_name(path: str | bytes) -> str:
    """Return a path of a manifest as this machine's file system names the file."""
    # A path that is not valid UTF-8 is bytes in the manifest.
    return path if isinstance(path, str) else path.decode("utf-8", "surrogateescape")


def differences(manifest: BackupManifest, found: Mapping[str, FoundFile]) -> Iterator[str]:
    """Yield the differences between a manifest and files by path; no manifest lists WAL."""
    listed = set()
    for file in manifest.files:
        name = file_name(file.path)
        listed.add(name)
        if difference := _difference(file, found.get(name)):
            yield f"{name} {difference}"
    for name in sorted(found.keys() - listed):
        # WAL is received in parallel with the backup, and the manifest cannot list itself.
        if not name.startswith(_WAL) and name != MANIFEST:
            yield f"{name} is not in the manifest"


def _difference(file: ManifestFile, here: FoundFile | None) -> str:
    if here is None:
        return "is missing"
    if here.size != file.size:
        return f"has {here.size} bytes instead of {file.size}"
    # Without a checksum on either side the size has to be enough: NONE is an algorithm, too.
    if file.checksum and here.checksum and file.checksum.lower() != here.checksum:
        return f"has another {file.checksum_algorithm} checksum"
    return ""
