"""Archives that backup tools wrote, unpacked."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

from walsegments import SIZE

from pgreplkit.offline.archive import ArchiveReport
from pgreplkit.offline.archivescan import scan_archive
from pgreplkit.offline.backups import Backup
from pgreplkit.offline.windows import WindowEnd
from pgreplkit.values.rows import Rows

RECORDED = Path(__file__).parent / "data" / "archives"
SEGMENT = "000000010000000000000[0-9A-F]*"


def unpacked(name: str, folder: Path) -> Path:
    with tarfile.open(RECORDED / f"{name}.tar.xz") as archive:
        # Python has filters from 3.11.4 on.
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(folder)
    return folder


def described(folder: Path) -> Any:
    return json.loads((folder / "described.json").read_text())


def check_windows(folder: Path, backups: Rows[Backup]) -> ArchiveReport:
    """All windows end at the last record; without a segment, the first two end before it."""
    report = scan_archive(folder, verify=True)
    assert report.findings == ()
    assert (report.major, report.segment_size) == (15, SIZE)
    windows = report.windows(backups)
    assert [window.ended_by for window in windows] == [WindowEnd.END] * 2
    assert {window.to_lsn for window in windows} == {windows[0].to_lsn}
    assert windows[0].last_commit is not None
    lost = sorted(report.directory.rglob(SEGMENT))[-2]
    lost.unlink()
    report = scan_archive(folder)
    gap = report.gaps[0]
    assert gap.found == f"{lost.name[:24]} is missing"
    for window in report.windows(backups):
        assert window.ended_by is WindowEnd.GAP
        assert window.to_lsn is not None
        assert gap.wal is not None
        assert window.to_lsn < gap.wal.start
    return report
