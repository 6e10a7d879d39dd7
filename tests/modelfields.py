"""The value types as fields of models, with values of each."""

from __future__ import annotations

import pytest
from hypothesis import settings, strategies as st
from values.test_laws import KINDS

from pgreplkit import (
    BackupHistoryFileName,
    CompressedWalName,
    PartialWalFileName,
    SegmentSize,
    WalFileName,
)
from pgreplkit.backups import BackupLabel, BackupManifest, ManifestFile
from pgreplkit.testing import strategies as ours
from pgreplkit.values.modelfield import ModelField

SIZE = SegmentSize.DEFAULT
# Names do not contain the segment size, so other sizes are lost in text.
OF_16_MIB: dict[type, st.SearchStrategy[object]] = {
    WalFileName: ours.wal_file_names(segment_size=SIZE),
    PartialWalFileName: ours.partial_wal_file_names(segment_size=SIZE),
    BackupHistoryFileName: ours.backup_history_file_names(segment_size=SIZE),
    CompressedWalName: st.builds(
        CompressedWalName, ours.wal_file_names(segment_size=SIZE), st.just("gz")
    ),
}
# The path of a file may be bytes, and times are times: their JSON is backup_manifest's own.
OWN_JSON = {BackupLabel, BackupManifest, ManifestFile}
FIELDS = {
    kind: OF_16_MIB.get(kind, values)
    for kind, values in KINDS.items()
    if issubclass(kind, ModelField) and kind not in OWN_JSON
}
every_kind = pytest.mark.parametrize("kind", FIELDS, ids=lambda kind: kind.__name__)
few = settings(max_examples=settings().max_examples // 5)
