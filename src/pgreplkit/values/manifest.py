"""BackupManifest: the list of files in a base backup of version 13 or later."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypeAlias

import attrs

from pgreplkit.errors import InvalidBackupManifest, InvalidValue
from pgreplkit.values.lsn import LSN
from pgreplkit.values.record import Record
from pgreplkit.values.walrange import WalRange

_Json: TypeAlias = "Mapping[str, _Json] | list[_Json] | str | int | float | bool | None"
_LAST_LINE = b'"Manifest-Checksum"'


@attrs.frozen(kw_only=True)
class ManifestFile(Record):
    """A file of a base backup; ``path`` is bytes if it is not valid UTF-8."""

    path: str | bytes
    size: int
    last_modified: datetime
    checksum_algorithm: str | None = None
    checksum: str | None = None


@attrs.frozen
class ManifestWalRange(Record):
    """A range of WAL required to make a backup consistent, and its timeline."""

    timeline: int
    wal: WalRange


@attrs.frozen(kw_only=True)
class BackupManifest(Record):
    """Contents of a backup_manifest whose own checksum has been verified.

    ``system_id`` is None before 17 (manifest version 1).

    Source:
        The file backup_manifest of a base backup.
    """

    version: int
    files: tuple[ManifestFile, ...]
    wal_ranges: tuple[ManifestWalRange, ...]
    checksum: str
    system_id: int | None = None

    @classmethod
    def parse(cls, data: bytes | str) -> "BackupManifest":
        """Parse the bytes of a backup_manifest, or their UTF-8 text.

        Raises:
            InvalidBackupManifest: If the content is not a manifest, or if the SHA-256 of
                everything before the last line differs from the checksum in that line.
            TypeError: If ``data`` is neither bytes nor str.
        """
        if isinstance(data, str):
            data = data.encode("utf-8", "surrogatepass")
        if not isinstance(data, bytes):
            raise TypeError(f"a manifest must be bytes or str, not {type(data).__name__}")
        try:
            manifest = json.loads(data)
        except (ValueError, RecursionError) as error:
            raise InvalidBackupManifest(data, f"it is not JSON: {str(error)[:80]}") from None
        if not isinstance(manifest, dict):
            raise InvalidBackupManifest(data, "it is not a JSON object")
        checksum = _text(manifest, "Manifest-Checksum")
        start = data.rfind(b"\n", 0, data.rfind(_LAST_LINE)) + 1
        digest = hashlib.sha256(data[:start]).hexdigest()
        if not hmac.compare_digest(digest.encode(), checksum.lower().encode("utf-8", "replace")):
            raise InvalidBackupManifest(
                data, "its checksum does not match: it was changed or truncated"
            )
        return cls(
            version=_whole(manifest, "PostgreSQL-Backup-Manifest-Version"),
            system_id=_whole(manifest, "System-Identifier")
            if "System-Identifier" in manifest
            else None,
            files=tuple(_file(entry) for entry in _entries(manifest, "Files")),
            wal_ranges=tuple(_wal_range(entry) for entry in _entries(manifest, "WAL-Ranges")),
            checksum=checksum,
        )


def _refusal(entry: Mapping[str, _Json], key: str, wanted: str) -> InvalidBackupManifest:
    found = entry.get(key)
    return InvalidBackupManifest(
        found if isinstance(found, str) else key, f"{key!r} is not {wanted}"
    )


def _text(entry: Mapping[str, _Json], key: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str):
        raise _refusal(entry, key, "a text")
    return value


def _whole(entry: Mapping[str, _Json], key: str) -> int:
    value = entry.get(key)
    if type(value) is not int or not 0 <= value < 1 << 64:
        raise _refusal(entry, key, "a whole number from 0 to 2**64 - 1")
    return value


def _entries(manifest: Mapping[str, _Json], key: str) -> list[Mapping[str, _Json]]:
    entries = manifest.get(key)
    if not isinstance(entries, list):
        raise _refusal(manifest, key, "a list")
    objects: list[Mapping[str, _Json]] = [entry for entry in entries if isinstance(entry, dict)]
    if len(objects) != len(entries):
        raise _refusal(manifest, key, "a list of objects")
    return objects


def _file(entry: Mapping[str, _Json]) -> ManifestFile:
    path: str | bytes
    if "Encoded-Path" in entry:
        try:
            path = bytes.fromhex(_text(entry, "Encoded-Path"))
        except ValueError:
            raise _refusal(entry, "Encoded-Path", "hex digits") from None
    else:
        path = _text(entry, "Path")
    modified = _text(entry, "Last-Modified")
    try:
        last_modified = datetime.strptime(modified, "%Y-%m-%d %H:%M:%S GMT").replace(tzinfo=UTC)
    except ValueError:
        raise _refusal(entry, "Last-Modified", "a time as in '2026-11-23 20:00:00 GMT'") from None
    return ManifestFile(
        path=path,
        size=_whole(entry, "Size"),
        last_modified=last_modified,
        checksum_algorithm=_text(entry, "Checksum-Algorithm")
        if "Checksum-Algorithm" in entry
        else None,
        checksum=_text(entry, "Checksum") if "Checksum" in entry else None,
    )


def _wal_range(entry: Mapping[str, _Json]) -> ManifestWalRange:
    try:
        wal = WalRange(LSN(_text(entry, "Start-LSN")), LSN(_text(entry, "End-LSN")))
    except InvalidValue as error:
        raise InvalidBackupManifest("WAL-Ranges", str(error)) from None
    return ManifestWalRange(_whole(entry, "Timeline"), wal)
