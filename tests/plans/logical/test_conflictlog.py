"""Conflicts in the server's log, among other lines, complete or truncated."""

from __future__ import annotations

from hypothesis import given, strategies as st

from pgreplkit import LSN, TableName
from pgreplkit.plans.logical.conflictlog import logged_conflicts
from pgreplkit.rows import ConflictType

LOG = """\
2026-11-24 10:00:00 UTC [7] ERROR:  conflict detected on relation "public.t": conflict=insert_exists
2026-11-24 10:00:00 UTC [7] DETAIL:  Key already exists in unique index "t_pkey", modified in \
transaction 740.
\tKey (id)=(1); existing local row (1, 'a'); remote row (1, 'b').
2026-11-24 10:00:00 UTC [7] CONTEXT:  processing remote data for replication origin "pg_16395" \
during message type "INSERT" for replication target relation "public.t" in transaction 725, \
finished at 0/14C0378
2026-11-24 10:00:01 UTC [8] LOG:  something else
2026-11-24 10:00:02 UTC [9] LOG:  conflict detected on relation "odd.x.y": conflict=novel
2026-11-24 10:00:02 UTC [9] DETAIL:  Nothing.
2026-11-24 10:00:02 UTC [9] CONTEXT:  processing remote data for replication origin "pg_16395" \
during message type "UPDATE" in transaction 726, finished at 0/14C0400
2026-11-24 10:00:03 UTC [9] LOG:  conflict detected on relation "a.b": conflict=update_missing
2026-11-24 10:00:03 UTC [9] CONTEXT:  processing remote data for replication origin "pg_1" \
during message type "UPDATE" in transaction 1, finished at 0/1
"""


def test_each_logged_conflict_of_the_subscription_becomes_a_record() -> None:
    first, second = logged_conflicts(LOG, 16395)
    assert (first.type, first.table) == (ConflictType.INSERT_EXISTS, TableName("public", "t"))
    assert (first.is_error, first.xid, first.finish_lsn) == (True, 725, LSN("0/14C0378"))
    assert first.detail.endswith(
        "740. Key (id)=(1); existing local row (1, 'a'); remote row (1, 'b')."
    )
    assert (second.type, second.table.name, second.is_error) == ("novel", "x.y", False)
    assert [c.xid for c in logged_conflicts(LOG, 1)] == [1]
    assert logged_conflicts(LOG, 2) == []


@given(st.integers(0, len(LOG)), st.integers(0, len(LOG)))
def test_truncated_log_lines_are_skipped(begin: int, end: int) -> None:
    whole = logged_conflicts(LOG, 16395)
    assert {c.xid for c in logged_conflicts(LOG[begin:end], 16395)} <= {c.xid for c in whole}
