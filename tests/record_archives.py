"""Record small archives of backup tools, with their own descriptions, in tests/data/archives.

Run it as ``python tests/record_archives.py barman-3.19 pgbackrest-2.45`` to replace fixtures, with
the program of that version on the PATH.
"""

from __future__ import annotations

import lzma
import sys
import tarfile
from io import BytesIO
from pathlib import Path

from backuptools import Tool, barman_of, pgbackrest_of

from pgreplkit import SegmentSize
from pgreplkit.lab import Lab

TARGET = Path(__file__).parent / "data" / "archives"
SIZE = SegmentSize.parse("1MB")


def keep(tool: Tool, name: str, description: str) -> None:
    """Write a fixture: the files of the tool but the data of backups, and its description."""
    content = BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for path in sorted(tool.home.rglob("*")):
            within = path.relative_to(tool.home)
            is_data = {"data", "pg_data", "streaming", "backup"} & {*within.parts}
            if path.is_file() and not is_data and path.suffix not in (".lock", ".log"):
                pack(archive, str(within), path.read_bytes())
        pack(archive, "described.json", description.encode())
    TARGET.mkdir(exist_ok=True)
    packed = lzma.compress(content.getvalue(), preset=9 | lzma.PRESET_EXTREME)
    (TARGET / f"{name}.tar.xz").write_bytes(packed)


def pack(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file to an archive."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, BytesIO(data))


def record_barman(lab: Lab, name: str) -> None:
    """Record two backups, and WAL after each."""
    with barman_of(lab, SIZE) as tool:
        tool.run("switch-wal", "--force", "--archive", "main")
        for _ in range(2):
            tool.run("backup", "--wait", "main")
            tool.commit(2)
        tool.run("switch-wal", "--force", "--archive", "main")
        tool.run("archive-wal", "main")
        keep(tool, name, tool.run("-f", "json", "show-backup", "main", "last"))


def record_pgbackrest(lab: Lab, name: str) -> None:
    """Record a full and an incremental backup, and WAL after each."""
    tool = pgbackrest_of(lab, SIZE)
    for kind in ("full", "incr"):
        tool.run("backup", f"--type={kind}")
        tool.commit(2)
    tool.run("check")
    keep(tool, name, tool.run("info", "--output=json"))


if __name__ == "__main__":
    for name in sys.argv[1:]:
        with Lab() as lab:
            record = record_barman if name.startswith("barman") else record_pgbackrest
            record(lab, name)
