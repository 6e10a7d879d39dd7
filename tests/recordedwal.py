"""WAL that was recorded from servers of each major version."""

from __future__ import annotations

import functools
import json
import tarfile
from pathlib import Path

import attrs

from pgreplkit import LSN
from pgreplkit.offline.reader import WalReader, open_wal
from pgreplkit.offline.records import WalRecord

RECORDED = Path(__file__).parent / "data" / "wal"
MAJORS = [*range(10, 19)]
WITH_DUMPS = [15, 16, 17, 18]
SAMPLE = [10, 13, 18]


@attrs.frozen(slots=False)
class Recorded:
    """A recorded workload, unpacked."""

    folder: Path
    end: LSN
    xids: dict[str, int]
    times: dict[str, int]
    checkpoint: dict[str, str]

    def open(self, *, verify_crc: bool = False) -> WalReader:
        return open_wal(self.folder, verify_crc=verify_crc)

    @functools.cached_property
    def records(self) -> list[WalRecord]:
        """The records, read once for all tests."""
        return [*self.open()]


@functools.cache
def unpack(folder: Path, major: int) -> Recorded:
    folder = folder / str(major)
    with tarfile.open(RECORDED / f"{major}.tar.xz") as archive:
        # Python has filters from 3.11.4 on.
        if hasattr(tarfile, "data_filter"):
            archive.extraction_filter = tarfile.data_filter
        archive.extractall(folder)
    facts = json.loads((folder / "facts.json").read_text())
    return Recorded(
        folder, LSN(facts["end"]), facts["xids"], facts["commit_times"], facts["checkpoint"]
    )
