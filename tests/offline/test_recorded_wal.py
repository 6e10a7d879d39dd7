"""WAL of each major version, compared with what pg_waldump and the server said about it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from recordedwal import WITH_DUMPS, Recorded
from waldumps import lines_of

from pgreplkit import LSN
from pgreplkit.offline.walk import WalEnd
from pgreplkit.offline.xacts import WalCommit

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def named(recorded: Recorded, name: str) -> WalCommit:
    """Return the end of a transaction of the workload."""
    commits = {commit.xid: commit for commit in recorded.open().commits(include_aborts=True)}
    return commits[recorded.xids[name]]


@pytest.mark.parametrize("version", WITH_DUMPS)
def test_every_record_is_what_pg_waldump_prints(
    unpacked: Callable[[int], Recorded], version: int
) -> None:
    recorded = unpacked(version)
    expected = (recorded.folder / "waldump.txt").read_text().split("\n")[:-1]
    assert [*lines_of(recorded.records)] == expected


def test_every_record_has_the_right_checksum_link_and_parts(recorded: Recorded) -> None:
    wal, previous = recorded.open(verify_crc=True), None
    kinds: Counter[str] = Counter()
    for record in wal:
        assert previous in (None, record.prev_lsn)
        previous = record.lsn
        parts = sum(len(block.data) for block in record.blocks) + len(record.data)
        assert 24 + parts <= record.record_bytes <= record.length
        kinds[record.kind] += 1
    assert wal.ended_by is WalEnd.END_OF_WAL
    assert wal.end_lsn is not None
    assert recorded.end <= wal.end_lsn < recorded.end + 200
    assert not [kind for kind in kinds if "UNKNOWN" in kind]
    assert len(kinds) > 45


def test_the_last_checkpoint_is_the_servers(recorded: Recorded) -> None:
    checkpoint, server = recorded.open().last_checkpoint(), recorded.checkpoint
    assert checkpoint is not None
    assert str(checkpoint.lsn) == server["checkpoint_lsn"]
    assert str(checkpoint.redo_lsn) == server["redo_lsn"]
    names = "full_page_writes oldest_xid next_oid next_multixact_id next_multi_offset"
    names += " oldest_active_xid oldest_multi_xid oldest_commit_ts_xid newest_commit_ts_xid"
    for name in names.split():
        assert str(getattr(checkpoint, name)) == server[name]
    assert f"0:{checkpoint.next_xid}" == server["next_xid"]
    assert str(checkpoint.timeline) == server["timeline_id"]
    assert str(checkpoint.oldest_xid_database) == server["oldest_xid_dbid"]
    assert str(checkpoint.time) == server["checkpoint_time"]
    assert not checkpoint.is_shutdown
    assert checkpoint.to_dict()["redo_lsn"] == server["redo_lsn"]


def test_commits_have_the_servers_times(recorded: Recorded) -> None:
    wal = recorded.open()
    commits = {str(commit.xid): commit for commit in wal.commits()}
    assert {*recorded.times} <= {*commits}
    for xid, microseconds in recorded.times.items():
        commit = commits[xid]
        at = commit.origin_time or commit.time
        assert at == EPOCH + timedelta(microseconds=microseconds)
        # Before a commit, the time is that of an earlier one.
        assert wal.time_at(commit.end_lsn) == commit.time
        assert wal.lsn_at(commit.time) == commit.end_lsn
        earlier = wal.lsn_at(commit.time - timedelta(microseconds=1))
        assert earlier is not None
        assert earlier < commit.end_lsn
    assert wal.lsn_at(EPOCH) is None
    assert wal.time_at(LSN(0)) is None
    with pytest.raises(TypeError, match="time zone"):
        wal.lsn_at(datetime(2026, 1, 1))


def test_ends_of_transactions_tell_their_parts(recorded: Recorded) -> None:
    major = recorded.open().major
    assert len(named(recorded, "nested").subxids) == 2
    assert len(named(recorded, "many").subxids) == 70
    assert [named(recorded, name).is_abort for name in ("prepared", "given up")] == [False, True]
    if major > 10:
        assert named(recorded, "prepared").gid == "first one"
    received = named(recorded, "from origin")
    assert (received.origin, received.origin_lsn) == (1, LSN("0/ABCD"))
    assert received.origin_time == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    dropped = [commit for commit in recorded.open().commits() if commit.dropped]
    assert dropped
    assert cast(dict[str, object], dropped[0].to_dict())["is_abort"] is False


def test_a_transaction_is_all_its_records(sampled: Recorded) -> None:
    wal = sampled.open()
    kinds = {
        name: Counter(record.kind.removesuffix("+INIT") for record in wal.transaction(xid))
        for name, xid in sampled.xids.items()
    }
    assert kinds["aborted"] == {"INSERT": 1, "ABORT": 1}
    assert kinds["prepared"] == {"INSERT": 1, "PREPARE": 1, "COMMIT_PREPARED": 1}
    assert kinds["given up"] == {"INSERT": 1, "PREPARE": 1, "ABORT_PREPARED": 1}
    assert kinds["many"]["INSERT"] == 71
    assert kinds["many"]["ASSIGNMENT"] == 1
    # From 14 on, subtransactions that were rolled back name their transaction.
    assert kinds["nested"]["INSERT"] == (5 if wal.major > 13 else 3)
    assert kinds["nested"]["COMMIT"] == 1


def test_any_position_leads_to_the_next_record(sampled: Recorded) -> None:
    wal = sampled.open()
    records = sampled.records
    for number in range(0, len(records), 797):
        for lsn in (records[number].lsn, records[number].lsn - 1):
            assert wal.first_at(lsn) == records[number]
