"""Read damaged WAL files: `fuzz_wal.py 10000000 7` changes that many bytes, with that seed.

Whatever the bytes are, reading ends or raises InvalidWal, in little memory and time.
"""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import attrs
import zstandard
from recordedwal import MAJORS, unpack
from walusing import use

from pgreplkit.errors import InvalidWal, WalNotFound
from pgreplkit.offline.archivescan import scan_archive
from pgreplkit.offline.compression import content_size, form_of, read_pieces
from pgreplkit.offline.images import codec
from pgreplkit.offline.pages import file_header
from pgreplkit.offline.reader import open_wal
from pgreplkit.offline.records import Source
from pgreplkit.offline.walk import RecordWalk

BLOCK = 8192
PAGES = 8
MOST_CHANGES = 2000
SECONDS = 10
MEBIBYTES = 150
COMPRESS: tuple[Callable[[bytes], bytes], ...] = (
    *(gzip.compress, bz2.compress, lzma.compress),
    *(codec("lz4.frame", extra="lz4").compress, zstandard.compress),
)


@attrs.frozen
class Damage:
    """Changes bytes at random, and counts them."""

    chance: random.Random
    changed: list[int] = attrs.field(factory=lambda: [0])

    def __call__(self, content: bytes) -> bytes:
        damaged = bytearray(content)
        # As often a few changes, which leave most records whole, as many.
        for _ in range(int(MOST_CHANGES ** self.chance.random())):
            at = self.chance.randrange(len(damaged))
            old = damaged[at]
            damaged[at] = self.chance.choice(
                [
                    self.chance.randrange(256),
                    old ^ 1 << self.chance.randrange(8),
                    0,
                    255,
                    old - 1 & 255,
                ]
            )
            self.changed[0] += 1
        if self.chance.random() < 0.1:
            del damaged[self.chance.randrange(len(damaged)) :]
        return bytes(damaged)


def walk(content: bytes, lsn: int, major: int, segment_size: int) -> None:
    """Read contiguous pages, and everything in the last of their records."""
    walk = RecordWalk(lsn, Source(None, major, 0, segment_size, BLOCK), newest_timeline=9)
    records = []
    for at in range(0, len(content), 10_000):
        records += walk.take(content[at : at + 10_000])
    for record in records[-40:]:
        use(record)


def read(path: Path) -> None:
    """Read a file in all ways."""
    with contextlib.suppress(InvalidWal):
        content_size(path, form_of(path))
    with contextlib.suppress(InvalidWal):
        for _ in read_pieces(path):
            pass
    with contextlib.suppress(InvalidWal):
        for record in open_wal(path):
            use(record)


def main(wanted: int, seed: int) -> None:
    """Damage pages, whole files and compressed files until that number of bytes was changed."""
    chance = random.Random(seed)
    damage = Damage(chance)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder, "damaged")
        place.mkdir()
        files = [
            (major, path.read_bytes())
            for major in MAJORS
            for path in sorted(unpack(Path(folder), major).folder.iterdir())
            if len(path.name) == 24
        ]
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        slowest, rounds = 0.0, 0
        while damage.changed[0] < wanted:
            rounds += 1
            major, content = chance.choice(files)
            header = file_header(content)
            first = chance.randrange(0, len(content) - PAGES * BLOCK, BLOCK)
            part = content[first : first + PAGES * BLOCK]
            size = header.segment_size.bytes
            began = time.process_time()
            walk(damage(part), int(header.lsn) + first, major, size)
            if rounds % 10 == 0:
                file = place / str(header.lsn.wal_file(timeline=1, segment_size=size))
                compress = chance.choice(COMPRESS)
                for stored in (
                    damage(content[: len(part)]),
                    damage(compress(content[: len(part)])),
                ):
                    file.write_bytes(stored)
                    read(file)
                    with contextlib.suppress(WalNotFound):
                        str(scan_archive(place, verify=True))
                file.unlink()
            slowest = max(slowest, time.process_time() - began)
            assert slowest < SECONDS, f"round {rounds} of seed {seed} took {slowest:.1f} s"
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before >> 10
        assert grown < MEBIBYTES, f"memory grew by {grown} MiB"
        print(
            f"{damage.changed[0]} bytes changed in {rounds} rounds, the slowest in {slowest:.2f} s;"
        )
        print(f"memory grew by {grown} MiB")


if __name__ == "__main__":
    given = [int(argument) for argument in sys.argv[1:]]
    main(*given, *(10_000_000, 1)[len(given) :])
