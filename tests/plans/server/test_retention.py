"""wal_retention: laws of the report for any state of a server."""

from __future__ import annotations

import json
from datetime import timedelta

from hypothesis import given, strategies as st
from retentionfacts import HERE, SIZE, archiver, kept, report_of, slot
from serverfacts import NOW

from pgreplkit import to_records
from pgreplkit.plans.server.retention import lasting
from pgreplkit.rows import HolderKind, Severity, WalRetention
from pgreplkit.testing.strategies import segment_sizes


@st.composite
def reports(draw: st.DrawFn) -> WalRetention:
    size = draw(segment_sizes())
    current = draw(st.integers(0, 1 << 45))
    positions = st.integers(max(0, current - (40 << 30)), current)
    restarts = draw(st.lists(st.none() | positions, max_size=4))
    slots = [slot(f"s{n}", restart, current, size) for n, restart in enumerate(restarts)]
    return report_of(
        kept(current, draw(positions), size),
        slots=slots,
        senders=[],
        archiver=archiver(),
        ready=None,
        wal_rate=draw(st.none() | st.floats(0, 1e9)),
        disk_size=draw(st.none() | st.integers(0, 1 << 50)),
    )


@given(reports())
def test_only_the_holder_with_the_oldest_position_frees_wal(report: WalRetention) -> None:
    binding = [holder for holder in report.holders if holder.is_binding]
    oldest = [h.oldest_lsn for h in binding if h.kind is not HolderKind.CHECKPOINT]
    known = [lsn for lsn in oldest if lsn is not None]
    assert (report.worst.oldest_lsn if report.worst else None) == min(known, default=None)
    for holder in binding:
        assert holder.freed_bytes % report.segment_size.bytes == 0
        # Whole files: from the beginning of the first.
        assert holder.freed_bytes < holder.bytes + report.segment_size.bytes
        if holder.freed_bytes:
            assert holder is report.worst
        if holder.oldest_lsn is not None and holder.oldest_file is not None:
            assert holder.oldest_lsn in holder.oldest_file
            assert holder.bytes == report.current_lsn - holder.oldest_lsn
            size = report.segment_size.bytes
            assert (holder.files - 2) * size < holder.bytes <= holder.files * size


@given(reports())
def test_every_report_is_valid_json(report: WalRetention) -> None:
    content = json.loads(json.dumps(report.to_dict()))
    assert [holder["name"] for holder in content["holders"]] == [h.name for h in report.holders]
    assert content["severity"] == report.severity


@given(st.floats(1e-6, 1e9), st.integers(-(10**12), 10**15))
def test_the_remaining_time_follows_the_rate_and_the_limit(rate: float, size: int) -> None:
    left = lasting(size, rate)
    if left is not None:
        assert left >= timedelta(0)
        assert size > 0 or left == timedelta(0)


def test_wal_waiting_for_the_archiver_is_retained() -> None:
    report = report_of(
        kept(HERE, HERE, SIZE),
        slots=[],
        senders=[],
        archiver=archiver(archive_mode="on", last_failed_wal="x", last_failed_time=NOW),
        ready=["000000010000000200000001", "000000010000000200000002"],
    )
    assert report.worst is not None
    assert report.worst.kind is HolderKind.ARCHIVER
    assert str(report.worst.oldest_lsn) == "2/1000000"
    assert report.ready_count == 2
    assert [f.check for f in report.findings] == ["archiver"]


def test_all_kinds_of_files_wait_for_the_archiver_but_only_segments_retain_wal() -> None:
    report = report_of(
        kept(HERE, HERE, SIZE),
        slots=[],
        senders=[],
        archiver=archiver(archive_mode="on"),
        ready=[
            "000000010000000200000001.00000028.backup",
            "000000010000000200000002.partial",
            "000000020000000200000003",
            "00000002.history",
        ],
    )
    assert report.ready_count == 4
    [waiting] = [holder for holder in report.holders if holder.kind is HolderKind.ARCHIVER]
    assert str(waiting.oldest_lsn) == "2/2000000"


def test_severities_are_ordered_and_unknown_ones_are_kept() -> None:
    ordered = [Severity.OK, Severity.INFO, Severity.WARNING, Severity.CRITICAL]
    assert sorted([*ordered[2:], *ordered[:2]]) == ordered
    assert max([Severity("unheard of"), *ordered]) == "unheard of"
    assert max(ordered) is Severity.CRITICAL
    assert Severity.OK <= Severity.OK < Severity.INFO
    assert Severity.CRITICAL >= Severity.CRITICAL > Severity.WARNING


@given(reports())
def test_a_report_is_a_table_of_its_holders(report: WalRetention) -> None:
    assert [*report] == [*report.holders]
    assert len(report) == len(report.holders)
    names = [record["name"] for record in to_records(report)]
    assert names == [holder.name for holder in report]
