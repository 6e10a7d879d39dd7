"""Columns of recorded WAL."""

from __future__ import annotations

import sys

import pytest
from recordedwal import Recorded


def test_columns_are_the_numbers_of_the_records(
    sampled: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("numpy")
    wal = sampled.open()
    columns, records = wal.columns(), sampled.records
    assert columns["lsn"].tolist() == [int(record.lsn) for record in records]
    assert columns["end_lsn"].tolist() == [int(record.end_lsn) for record in records]
    for name in ("length", "fpi_bytes", "xid", "manager", "info", "timeline"):
        assert columns[name].tolist() == [getattr(record, name) for record in records]
    monkeypatch.setitem(sys.modules, "numpy", None)
    with pytest.raises(ImportError, match=r"pip install 'pgreplkit\[columns\]'"):
        wal.columns()
