"""The headers of an archive's files: segments that are no files have none."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pgreplkit.offline.archive import ArchiveProblem
from pgreplkit.offline.archivescan import scan_archive
from pgreplkit.offline.files import FoundFile, WalFileKind
from pgreplkit.offline.headers import Headers


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_segment_that_is_not_a_file_is_a_finding(archive: Path, kind: str) -> None:
    path = archive / "0000000100000000000000F0"
    os.mkfifo(path) if kind == "pipe" else path.symlink_to("missing")
    [finding, *_] = [f for f in scan_archive(archive).findings if f.path == path]
    assert finding.problem is ArchiveProblem.DAMAGED


def test_a_file_that_is_removed_during_the_scan_is_none(archive: Path) -> None:
    gone = FoundFile(archive / "gone", WalFileKind.SEGMENT, 5)
    headers = Headers([gone])
    assert headers.removed == {gone.path}
    assert headers.reference() is None
