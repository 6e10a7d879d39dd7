"""WalCheckpoint: compared with the server's own values."""

from __future__ import annotations

from recordedwal import Recorded


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
