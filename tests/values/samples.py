"""Texts of a backup's own files, as servers write them."""

import hashlib
import json

BACKUP_LABEL = """\
START WAL LOCATION: 0/2000060 (file 000000010000000000000002)
CHECKPOINT LOCATION: 0/2000098
BACKUP METHOD: streamed
BACKUP FROM: primary
START TIME: 2026-11-23 20:49:31 UTC
LABEL: nightly
START TIMELINE: 1
"""
BACKUP_HISTORY = """\
START WAL LOCATION: 0/2000060 (file 000000010000000000000002)
STOP WAL LOCATION: 0/2000138 (file 000000010000000000000002)
CHECKPOINT LOCATION: 0/2000098
BACKUP METHOD: streamed
BACKUP FROM: standby
START TIME: 2026-11-23 20:49:31 UTC
LABEL: nightly
START TIMELINE: 1
STOP TIME: 2026-11-23 20:49:35 UTC
STOP TIMELINE: 1
"""
MANIFEST: dict[str, object] = {
    "PostgreSQL-Backup-Manifest-Version": 2,
    "System-Identifier": 7300000000000000000,
    "Files": [
        {
            "Path": "backup_label",
            "Size": 226,
            "Last-Modified": "2026-11-23 20:49:31 GMT",
            "Checksum-Algorithm": "CRC32C",
            "Checksum": "9de3f1c4",
        },
        {"Encoded-Path": "62ff", "Size": 0, "Last-Modified": "2026-11-23 20:49:31 GMT"},
    ],
    "WAL-Ranges": [{"Timeline": 1, "Start-LSN": "0/2000060", "End-LSN": "0/2000138"}],
}


def signed(body: str) -> str:
    """Return ``body`` with the last line that completes it with the right checksum."""
    digest = hashlib.sha256(body.encode("utf-8", "surrogatepass")).hexdigest()
    return f'{body}"Manifest-Checksum": "{digest}"}}\n'


def manifest_text(**changed: object) -> str:
    """Return a manifest with some values changed and a valid checksum (``-`` in keys is ``_``)."""
    fields = MANIFEST | {key.replace("_", "-"): value for key, value in changed.items()}
    return signed(json.dumps(fields)[:-1] + ",\n")
