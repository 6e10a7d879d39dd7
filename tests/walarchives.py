"""Archives that the tests write, and the findings of a scan."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from walpages import SWITCH, WalWriter, wal_of
from walsegments import MIB

from pgreplkit import LSN, WalRange
from pgreplkit.offline.archive import ArchiveReport
from pgreplkit.values.finding import Severity

FORK = LSN(5 * MIB + 8192)
ENCRYPTED = b"\x85\x01" + bytes(90)


def content_of(number: int, timeline: int = 1, *, major: int = 18) -> bytes:
    """A segment with a few records, which ends with a switch."""
    writer = WalWriter(number * MIB, timeline=timeline, major=major)
    writer.previous = 0 if number == 3 else (number - 1) * MIB + 40
    writer.add(*SWITCH) if number % 2 else wal_of([100] * 3, writer).add(*SWITCH)
    return writer.padded()


def found(report: ArchiveReport, *, at_least: Severity = Severity.INFO) -> list[str]:
    return [f.problem for f in report.findings if f.severity >= at_least]


def wal(first: int, end: int) -> WalRange:
    return WalRange(LSN(first * MIB), LSN(end * MIB))


def moved(archive: Path, target: Callable[[str], str]) -> None:
    for path in [*archive.iterdir()]:
        if path.is_file():
            new = archive / target(path.name)
            new.parent.mkdir(parents=True, exist_ok=True)
            path.rename(new)
