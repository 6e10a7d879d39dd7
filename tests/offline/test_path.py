"""The files of a timeline and its ancestors: chosen, missing and renamed."""

from __future__ import annotations

from pathlib import Path

import pytest
from walpages import WalWriter, wal_of
from walsegments import MIB, name_of, read, three_segments, written

from pgreplkit import LSN
from pgreplkit.errors import HostFileError, InvalidWal, InvalidWalRange, WalNotFound
from pgreplkit.offline.reader import open_wal
from pgreplkit.offline.walk import WalEnd


def test_one_file_is_read_alone_under_any_name(tmp_path: Path) -> None:
    writer = three_segments()
    written(tmp_path, writer)
    wal = open_wal((tmp_path / name_of(3)).rename(tmp_path / "copied"))
    lsns = read(wal)
    assert lsns == writer.lsns[: len(lsns)]
    assert (wal.ended_by, lsns[-1] < 4 * MIB) == (WalEnd.PARTIAL_RECORD, True)


def forked(folder: Path) -> tuple[list[int], list[int]]:
    """Write two timelines: the second begins in segment 4; return the records of each."""
    old = wal_of([1000] * 1300, WalWriter(3 * MIB))
    written(folder, old)
    number = next(n for n, lsn in enumerate(old.lsns) if lsn > 4 * MIB + 70_000)
    switch = old.lsns[number]
    new = WalWriter(3 * MIB, content=old.content[: switch - 3 * MIB])
    new.lsns, new.previous, new.timeline = old.lsns[:number], old.lsns[number - 1], 2
    wal_of([500] * 3000, new)
    padded = new.padded()
    for segment in range(4, 3 + len(padded) // MIB):
        content = padded[(segment - 3) * MIB : (segment - 2) * MIB]
        (folder / name_of(segment, 2)).write_bytes(content)
    (folder / "00000002.history").write_text(f"1\t{LSN(switch)}\tno recovery target specified\n")
    return old.lsns, new.lsns


def test_reading_follows_the_newest_timeline(tmp_path: Path) -> None:
    old, new = forked(tmp_path)
    wal = open_wal(tmp_path)
    assert read(wal) == new
    assert wal.history.timelines == (1, 2)
    timelines = [record.timeline for record in wal]
    assert {*timelines} == {1, 2}
    assert timelines == sorted(timelines)
    assert read(open_wal(tmp_path, timeline=1)) == old
    assert read(open_wal(tmp_path, timeline=wal.history)) == new
    (tmp_path / "00000002.history").unlink()
    assert read(open_wal(tmp_path)) == [lsn for lsn in new if lsn > 4 * MIB]


def test_the_end_of_the_last_file_is_a_start_without_records_yet(tmp_path: Path) -> None:
    written(tmp_path, wal_of([100] * 20, WalWriter(3 * MIB)))
    wal = open_wal(tmp_path, start=LSN(4 * MIB))
    assert (read(wal), wal.ended_by, wal.end_lsn) == ([], WalEnd.END_OF_WAL, None)
    assert wal.first_at(LSN(4 * MIB)) is None
    with pytest.raises(WalNotFound, match="has no file for it"):
        open_wal(tmp_path, start=LSN(4 * MIB + 1))


def test_wal_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(WalNotFound, match="holds no WAL files; name a directory of WAL files"):
        open_wal(tmp_path)
    written(tmp_path, three_segments())
    with pytest.raises(WalNotFound, match="holds WAL from 0/300000 to 0/600000"):
        open_wal(tmp_path, start=LSN(9 * MIB))
    with pytest.raises(WalNotFound, match="it holds WAL of timeline 1"):
        open_wal(tmp_path, timeline=3)
    with pytest.raises(HostFileError, match="No such file"):
        open_wal(tmp_path / "missing")
    with pytest.raises(InvalidWalRange):
        open_wal(tmp_path, start=LSN(9), stop_at=LSN(8))
    with pytest.raises(TypeError, match="start must be an LSN, not str"):
        open_wal(tmp_path, start="0/0")  # type: ignore[arg-type]


def test_a_renamed_file_is_refused(tmp_path: Path) -> None:
    written(tmp_path, wal_of([90], WalWriter(3 * MIB)))
    (tmp_path / name_of(3)).rename(tmp_path / name_of(7))
    with pytest.raises(InvalidWal, match="the file holds the WAL of 0/300000"):
        open_wal(tmp_path)
