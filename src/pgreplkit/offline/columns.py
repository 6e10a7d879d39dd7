"""Columns of records as numpy arrays, for data frames."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pgreplkit.offline.images import codec
from pgreplkit.offline.records import WalRecord

if TYPE_CHECKING:
    import numpy
    from numpy.typing import NDArray

NAMES = ("lsn", "end_lsn", "length", "fpi_bytes", "xid", "manager", "info", "timeline")


def columns_of(batches: Iterable[list[WalRecord]]) -> dict[str, NDArray[numpy.uint64]]:
    """Collect the numbers of all records.

    Raises: ExtraMissing without numpy.
    """
    frombuffer = codec("numpy", extra="columns").frombuffer
    columns = [array("Q") for _ in NAMES]
    for records in batches:
        for record in records:
            numbers = (
                int(record.lsn),
                int(record.end_lsn),
                record.length,
                record.fpi_bytes,
                record.xid,
                record.manager,
                record.info,
                record.timeline,
            )
            for column, number in zip(columns, numbers, strict=True):
                column.append(number)
    return {
        name: frombuffer(column, dtype="uint64")
        for name, column in zip(NAMES, columns, strict=True)
    }
