"""The ends of transactions in recorded WAL, compared with the server's own account."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest
from recordedwal import Recorded

from pgreplkit import LSN
from pgreplkit.offline.xacts import WalCommit, subtransactions

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def named(recorded: Recorded, name: str) -> WalCommit:
    """Return the end of a transaction of the workload."""
    commits = {commit.xid: commit for commit in recorded.open().commits(include_aborts=True)}
    return commits[recorded.xids[name]]


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


def test_subtransactions_are_assigned_before_the_end(sampled: Recorded) -> None:
    xid = sampled.xids["many"]
    [assigning] = [one for one in sampled.open().transaction(xid) if one.kind == "ASSIGNMENT"]
    # The server assigns them when it has no room for more in shared memory.
    assert subtransactions(assigning) == (xid, named(sampled, "many").subxids[:64])
