"""The text of pg_waldump, and records, in one form to compare."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from pgreplkit.offline.records import WalRecord

_HEAD = re.compile(
    r"rmgr: (\S+)\s+len \(rec/tot\):\s+(\d+)/\s*(\d+), tx:\s+(\d+), lsn: (\S+), prev (\S+),"
    r" desc: (\S+)"
)
_BLOCK = re.compile(r"\tblkref #(\d+): rel (\d+/\d+/\d+) fork (\w+) blk (\d+)(.*)")


def normalized(lines: Iterable[str]) -> Iterator[str]:
    """Return the lines of ``pg_waldump -b`` without descriptions, one for each record or block."""
    for line in lines:
        if match := _HEAD.match(line):
            manager, size, total, xid, lsn, previous, kind = match.groups()
            yield f"{manager} {size} {total} {xid} {_lsn(lsn)} {_lsn(previous)} {kind}"
        elif match := _BLOCK.match(line):
            *block, rest = match.groups()
            yield " ".join(["-", *block, *(["image"] if "FPW" in rest else [])])


def lines_of(records: Iterable[WalRecord]) -> Iterator[str]:
    """Return the same lines for records."""
    for record in records:
        # Behind an unknown number, pg_waldump's next word is the number itself.
        kind = record.kind.split()[0]
        lengths = f"{record.record_bytes} {record.length} {record.xid}"
        yield f"{record.resource_manager} {lengths} {record.lsn} {record.prev_lsn} {kind}"
        for block in record.blocks:
            image = ["image"] if block.image else []
            words = [block.id, block.relation, block.fork, block.number, *image]
            yield " ".join(["-", *map(str, words)])


def _lsn(text: str) -> str:
    high, low = text.split("/")
    return f"{int(high, 16):X}/{int(low, 16):X}"
