"""Compare the values and loaders with common alternatives, as ratios measured in one run.

Each line is the best of several repeats; the last column is the project's own limit.
"""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from timeit import repeat

import attrs
from barman import xlog
from rich.console import Console
from rich.table import Table

from pgreplkit import LSN, WalFileName
from pgreplkit.lab import Lab


@attrs.frozen
class Line:
    """One comparison: the seconds of the same work, ours and theirs."""

    what: str
    ours: float
    theirs: float
    beside: str
    limit: float

    @property
    def ratio(self) -> float:
        return self.ours / self.theirs


def best(function: Callable[[], object], number: int = 20_000) -> float:
    return min(repeat(function, number=number, repeat=7)) / number


def patroni_parse(lsn: str) -> int:
    """Parse an LSN as Patroni does, without validation."""
    parts = lsn.split("/")
    return int(parts[0], 16) * 0x100000000 + int(parts[1], 16)


def import_line() -> Line:
    """Measure the import time added to a bare interpreter; the limit is 25 ms."""

    def milliseconds(code: str) -> float:
        def once() -> float:
            start = time.perf_counter()
            subprocess.run([sys.executable, "-S", "-c", code], check=True)
            return time.perf_counter() - start

        return statistics.median(once() for _ in range(25)) * 1000

    path = f"import sys; sys.path[:0] = {sys.path!r}; "
    bare = milliseconds(path)
    ours = milliseconds(path + "import pgreplkit; pgreplkit.LSN('0/0')") - bare
    theirs = milliseconds(path + "import attrs") - bare
    loaded = subprocess.run(
        [
            sys.executable,
            "-c",
            "import pgreplkit, sys; pgreplkit.LSN('0/0');"
            "print(*{'attrs', 'psycopg'} & {*sys.modules} or ['neither'])",
        ],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    what = (
        f"import pgreplkit and make an LSN: {ours:.1f} ms; of attrs and psycopg it loads {loaded}"
    )
    return Line(what, ours / 1000, theirs / 1000, "import attrs", 25 / (theirs or 1))


def connect_line() -> Line:
    """Measure the imports of a first ``connect`` in fresh interpreters, beside those of psycopg."""

    def seconds(code: str) -> float:
        def once() -> float:
            start = getrusage(RUSAGE_CHILDREN)
            subprocess.run([sys.executable, "-c", code], check=True)
            end = getrusage(RUSAGE_CHILDREN)
            return end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime

        return min(once() for _ in range(15))

    bare = seconds("pass")
    theirs = seconds("import psycopg") - bare
    ours = seconds("import pgreplkit; pgreplkit.connect") - bare
    return Line("import for a first connect, CPU", ours, theirs, "import psycopg", 1.3)


def value_lines() -> list[Line]:
    texts = [str(LSN(random.getrandbits(64))) for _ in range(1000)]
    lsns = [LSN(text) for text in texts]
    names = [str(lsn.wal_file(timeline=1)) for lsn in lsns]
    files = [WalFileName.parse(name) for name in names]
    size = 16 << 20
    a, b = lsns[:2]

    def each(function: Callable[[object], object], values: list[object]) -> float:
        return best(lambda: [function(value) for value in values], 20) / len(values)

    parts = [xlog.decode_segment_name(name) for name in names]
    many = [LSN(random.getrandbits(64)) for _ in range(100_000)]
    compared = min(repeat("a < b", number=100_000, repeat=7, globals={"a": a, "b": b})) / 100_000
    return [
        Line("LSN from text", each(LSN, texts), each(patroni_parse, texts), "Patroni's int()", 1.5),
        Line("compare two LSNs", compared, 0.15e-6, "0.15 µs", 1),
        Line(
            "sort 100 000 LSNs with key=int",
            best(lambda: sorted(many, key=int), 1),
            best(lambda: sorted(many), 1),
            "without a key",
            1,
        ),
        Line(
            "WAL name parse",
            each(WalFileName.parse, names),
            each(xlog.decode_segment_name, names),
            "Barman's decode_segment_name",
            1,
        ),
        Line(
            "WAL name format",
            each(str, files),
            each(lambda part: xlog.encode_segment_name(*part), parts),
            "Barman's encode_segment_name",
            1,
        ),
        Line(
            "WAL name next",
            each(lambda file: file.next, files),
            each(lambda name: next(xlog.generate_segment_names(name, None, 100000, size)), names),
            "Barman's generate_segment_names",
            1,
        ),
    ]


def load_lines() -> list[Line]:
    """Load a million-row column as LSN and as str, with psycopg's C and Python implementations."""
    lines = []
    with Lab() as lab:
        conninfo = lab.primary().conninfo
        for half in ("c", "python"):
            run = subprocess.run(
                [sys.executable, Path(__file__).with_name("load.py"), conninfo],
                env={**os.environ, "PSYCOPG_IMPL": "binary" if half == "c" else half},
                capture_output=True,
                text=True,
                check=False,
            )
            if run.returncode:
                print(f"psycopg's {half} half does not load here:", run.stderr.splitlines()[-1])
                continue
            seconds = json.loads(run.stdout)
            for form in ("text", "binary"):
                what = f"load a million, {form}, psycopg in {half}"
                lines.append(Line(what, seconds[form], seconds["str"], "its str, text", 1.5))
    return lines


def shown(seconds: float) -> str:
    return f"{seconds * 1e6:.2f} µs" if seconds < 1e-3 else f"{seconds * 1e3:.1f} ms"


def main() -> None:
    table = Table("what", "ours", "theirs", "ratio", "limit", "beside")
    lines = [import_line(), connect_line(), *value_lines(), *load_lines()]
    for line in lines:
        cells = (shown(line.ours), shown(line.theirs), f"{line.ratio:.2f}")
        table.add_row(line.what, *cells, f"{line.limit:.2f}", line.beside)
    Console(width=120).print(table)
    slow = [line.what for line in lines if line.ratio > line.limit]
    print("over the limit:", *slow or ["none"], sep="\n  ")


if __name__ == "__main__":
    main()
