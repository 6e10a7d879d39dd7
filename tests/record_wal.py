"""Record the WAL of a small workload, and the server's own description of it, in tests/data/wal.

Run it as ``python tests/record_wal.py 10 18`` to replace a fixture.
"""

from __future__ import annotations

import json
import lzma
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import psycopg
from clusters import one, rows, run
from waldumps import normalized
from walworkload import settings_for, write_workload

from pgreplkit import LSN, SegmentSize
from pgreplkit.lab import Lab, Node

TARGET = Path(__file__).parent / "data" / "wal"
ROWS = 40
COMPRESSION = {15: "lz4", 16: "pglz", 17: "zstd", 18: "pglz"}


def record(lab: Lab, major: int) -> None:
    """Write a fixture: the segments of the workload, and facts as JSON."""
    size = SegmentSize.parse("16MB" if major == 10 else "1MB")
    node = lab.primary(
        version=major,
        settings=settings_for(major),
        segment_size=None if major == 10 else size,
    )
    run(node, "SELECT pg_switch_wal()")
    run(node, "CHECKPOINT")
    start = LSN(str(one(node, "SELECT pg_current_wal_insert_lsn()::text")))
    first = start.wal_file(timeline=1, segment_size=size)
    xids = write_workload(node, compression=COMPRESSION.get(major, "off"), rows=ROWS, is_small=True)
    end = LSN(str(one(node, "SELECT pg_current_wal_flush_lsn()::text")))
    last = end.wal_file(timeline=1, segment_size=size)
    facts = facts_of(node, xids) | {"end": str(end)}
    TARGET.mkdir(exist_ok=True)
    content = BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        name = first
        while name <= last:
            data = (node.data_directory / "pg_wal" / str(name)).read_bytes()
            # The old content of a recycled file after its last page would only take space.
            used = int(size) if name < last else end.offset_in(size) + 200 + 8191 & -8192
            pack(archive, str(name), data[:used] + bytes(int(size) - used))
            name = name.next
        if (dumped := dump(node, first, last)) is not None:
            pack(archive, "waldump.txt", dumped)
        pack(archive, "facts.json", json.dumps(facts, indent=1).encode())
    (TARGET / f"{major}.tar.xz").write_bytes(
        lzma.compress(content.getvalue(), preset=9 | lzma.PRESET_EXTREME)
    )


def pack(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """Add a file to an archive."""
    member = tarfile.TarInfo(name)
    member.size = len(data)
    archive.addfile(member, BytesIO(data))


def facts_of(node: Node, xids: dict[str, int]) -> dict[str, object]:
    """Ask the server for the same facts as the WAL has."""
    with psycopg.connect(node.conninfo) as connection:
        query = """SELECT xid::text, (extract(epoch FROM at) * 1000000)::bigint FROM
            (SELECT xid, pg_xact_commit_timestamp(xid::text::xid) AS at
             FROM unnest(%s::bigint[]) AS xid) AS times WHERE at IS NOT NULL"""
        times: dict[str, int] = dict(connection.execute(query, [[*xids.values()]]).fetchall())
    checkpoint = {
        name: str(value)
        for name, value in rows(node, "SELECT * FROM pg_control_checkpoint()")[0].items()
    }
    return {"xids": xids, "commit_times": times, "checkpoint": checkpoint}


def dump(node: Node, first: object, last: object) -> bytes | None:
    """Return what pg_waldump prints, in the form that tests compare; None without pg_waldump."""
    program = node.installation.bindir / "pg_waldump"
    if not program.exists():
        return None
    command = [
        str(program),
        "-b",
        "-p",
        str(node.data_directory / "pg_wal"),
        str(first),
        str(last),
    ]
    text = subprocess.run(command, capture_output=True, text=True, errors="replace").stdout
    return "".join(f"{line}\n" for line in normalized(text.split("\n"))).encode()


if __name__ == "__main__":
    with Lab() as lab:
        for major in map(int, sys.argv[1:]):
            record(lab, major)
