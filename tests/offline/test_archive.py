"""ArchiveReport: the ranges, histories and files of an archive of two timelines."""

from __future__ import annotations

import json
from pathlib import Path

from walarchives import wal
from walsegments import MIB, SIZE, name_of

from pgreplkit import LSN, TimelineHistory, WalRange
from pgreplkit.offline.archivescan import scan_archive
from pgreplkit.offline.layouts import ArchiveLayout


def test_a_complete_archive_has_ranges_and_no_findings(archive: Path) -> None:
    report = scan_archive(archive)
    assert report.findings == ()
    assert report.is_complete
    assert [str(one) for one in report.ranges] == [
        f"timeline 1: {name_of(3)} to {name_of(6)} (4 files)",
        f"timeline 2: {name_of(5, 2)} to {name_of(8, 2)} (4 files)",
    ]
    assert report.ranges[1].wal == wal(5, 9)
    assert (report.major, report.segment_size, report.layout) == (18, SIZE, ArchiveLayout.PLAIN)
    assert report.history().timelines == (1, 2)
    assert report.covers(wal(3, 9))
    assert report.covers(wal(3, 7), 1)
    assert not report.covers(wal(3, 8), 1)
    assert [path.name for path in report.files(wal(4, 6))] == [name_of(4), name_of(5, 2)]
    assert [path.name for path in report.files(wal(4, 6), TimelineHistory(1))] == [
        name_of(4),
        name_of(5),
    ]
    assert json.loads(json.dumps(report.to_dict()))["ranges"][0]["files"] == 4
    assert not report.covers(WalRange(LSN(3 * MIB), LSN.MAX))
