"""Compare reading WAL with pg_waldump of the same version, on the same files, in one run.

All figures are processor seconds; the limits are the project's own.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import attrs

from pgreplkit.lab import Lab, Node
from pgreplkit.wal import WalBy, WalReader, open_wal, scan_archive

ROUNDS = 5
ROWS = 40_000
FILES = 10_000
LARGE = 1 << 30
LINE = re.compile(r"rmgr: (\S+)\s+len \(rec/tot\):\s+(\d+)/\s*(\d+).* desc: (\S+)")


@attrs.frozen
class Line:
    """One comparison."""

    what: str
    ours: float
    theirs: float
    limit: float

    def __str__(self) -> str:
        ratio = self.ours / self.theirs
        seconds = f"{self.ours:.3f} s ÷ {self.theirs:.3f} s"
        return f"{self.what:<44} {seconds} = {ratio:5.2f} (limit {self.limit})"


def spent(function: Callable[[], object]) -> float:
    """Return the processor seconds of the best round, with those of programs it runs."""

    def once() -> float:
        before = os.times()
        function()
        after = os.times()
        return sum(after[:4]) - sum(before[:4])

    return min(once() for _ in range(ROUNDS))


def write(node: Node) -> tuple[Path, list[str]]:
    """Write WAL of small records; return the directory and the names of its files."""
    with node.connect() as server:
        connection = server.connection
        switched = connection.execute("SELECT pg_walfile_name(pg_switch_wal())")
        connection.execute("CREATE TABLE filled (id int PRIMARY KEY, name text, number int)")
        for turn in range(10):
            connection.execute(
                "INSERT INTO filled SELECT n, md5(n::text), n FROM generate_series(%s, %s) AS n",
                [turn * ROWS, turn * ROWS + ROWS - 1],
            )
            connection.execute("UPDATE filled SET number = number + 1 WHERE id % 5 = 0")
        [after] = connection.execute("SELECT pg_walfile_name(pg_switch_wal())").fetchone()
        [first] = switched.fetchone()
    folder = node.data_directory / "pg_wal"
    names = sorted(path.name for path in folder.iterdir() if first < path.name <= after)
    return folder, [name for name in names if len(name) == 24]


def compare(node: Node, folder: Path, names: list[str]) -> list[Line]:
    """Compare reading, statistics and checksums with pg_waldump."""
    program = str(node.installation.bindir / "pg_waldump")

    def dump(*options: str) -> str:
        command = [program, "-p", str(folder), *options, names[0], names[-1]]
        return subprocess.run(command, capture_output=True, text=True, errors="replace").stdout

    def parse() -> Counter[str]:
        kinds: Counter[str] = Counter()
        for line in dump().split("\n"):
            if match := LINE.match(line):
                kinds[f"{match[1]}/{match[4]}"] += int(match[3])
        return kinds

    def reader(*, verify_crc: bool = False) -> WalReader:
        first, last = open_wal(folder / names[0]), open_wal(folder / names[-1])
        start, stop = next(iter(first)).lsn, next(iter(last)).lsn
        return open_wal(folder, start=start, stop_at=stop, verify_crc=verify_crc)

    def read(*, verify_crc: bool = False) -> int:
        return sum(1 for _ in reader(verify_crc=verify_crc))

    def print_text() -> None:
        command = [program, "-p", str(folder), names[0], names[-1]]
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    text = spent(print_text)
    records = spent(read)
    return [
        Line("typed records ÷ full text", records, text, 1.5),
        Line("statistics by kind ÷ full text", spent(lambda: reader().stats()), text, 0.8),
        Line("statistics by kind ÷ regex over the text", spent(lambda: reader().stats()),
             spent(parse), 0.67),
        Line("CRC, added ÷ full text", spent(lambda: read(verify_crc=True)) - records, text, 1.5),
    ]  # fmt: skip


def scan(folder: Path, segment: Path) -> float:
    """Scan an archive of many files, which share one content; return the seconds."""
    archive = folder / "many"
    archive.mkdir()
    header = bytearray(segment.read_bytes()[:8192])
    for number in range(FILES):
        header[8:16] = (number << 24).to_bytes(8, "little")
        path = archive / f"00000001{number >> 8:08X}{number & 0xFF:08X}"
        path.write_bytes(header)
        os.truncate(path, 1 << 24)
    began = time.process_time()
    report = scan_archive(archive)
    seconds = time.process_time() - began
    assert not report.findings, report.findings[0]
    shutil.rmtree(archive)
    return seconds


def main() -> None:
    """Run all comparisons."""
    settings = {"max_wal_size": "8GB", "wal_keep_size": "4GB", "autovacuum": "off"}
    with Lab() as lab:
        node = lab.primary(settings=settings)
        folder, names = write(node)
        print(f"{len(names)} files of PostgreSQL {node.version}")
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        read = 0
        while read < LARGE:
            read += open_wal(folder).stats(by=WalBy.RESOURCE_MANAGER).bytes
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) >> 10
        print(f"{read >> 20} MiB of WAL read in {grown} MiB of memory (limit 40)")
        for line in compare(node, folder, names):
            print(line)
        print(f"scan of {FILES} files: {scan(lab.root, folder / names[0]):.2f} s (limit 1)")


if __name__ == "__main__":
    main()
