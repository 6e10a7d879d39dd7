"""WAL files in directories: below others, as links, and under names that no system has."""

from __future__ import annotations

from pathlib import Path

import pytest
from walpages import WalWriter, wal_of
from walsegments import MIB, name_of, read, three_segments, written

from pgreplkit.errors import HostFileError
from pgreplkit.offline.reader import open_wal


def test_barmans_directories_are_read_as_one(tmp_path: Path) -> None:
    writer = three_segments()
    for path in [*written(tmp_path, writer).iterdir()]:
        folder = tmp_path / path.name[:16]
        folder.mkdir(exist_ok=True)
        path.rename(folder / path.name)
    assert read(open_wal(tmp_path)) == writer.lsns


def test_a_link_to_a_missing_file_ends_reading_with_its_name(tmp_path: Path) -> None:
    written(tmp_path, wal_of([90], WalWriter(3 * MIB)))
    (tmp_path / "itself").symlink_to("itself")
    assert len(read(open_wal(tmp_path))) == 1
    (tmp_path / name_of(4)).symlink_to("missing")
    with pytest.raises(HostFileError, match=f"{name_of(4)}: No such file"):
        read(open_wal(tmp_path))


def test_a_path_that_no_system_has_is_refused() -> None:
    with pytest.raises(HostFileError, match="File name too long"):
        open_wal("x" * 5000)
