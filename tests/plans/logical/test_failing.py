"""The transaction that a subscription cannot apply, in the stream's messages and in the log."""

from __future__ import annotations

import pgoutputs as sent

from pgreplkit import LSN
from pgreplkit.plans.logical.failing import first_failed, logged_error
from pgreplkit.rows import FailedTransaction, Operation


def failed(after: int, *messages: bytes) -> FailedTransaction | None:
    return first_failed([(LSN(1), message) for message in messages], LSN(after))


def test_the_first_transaction_with_changes_after_a_position_is_found() -> None:
    applied = [sent.begin(100, 1), sent.relation(), sent.insert("1", "a"), sent.commit(100)]
    empty = [sent.begin(200, 2), sent.commit(200)]
    update, full = sent.update("2", ..., key=("1", None)), sent.delete("1", None, kind=b"O")
    next_one = [sent.begin(300, 3), update, full, sent.truncate(7), sent.commit(300)]
    later = [sent.begin(400, 4), sent.insert("1", "a"), sent.commit(400)]
    found = failed(148, *applied, *empty, *next_one, *later)
    assert found is not None
    assert (found.finish_lsn, found.xid) == (LSN(300), 3)
    assert [(c.operation, c.old, c.new) for c in found.changes] == [
        (Operation.UPDATE, {"id": "1"}, {"id": "2"}),
        (Operation.DELETE, {"id": "1", "name": None}, None),
        (Operation.TRUNCATE, None, None),
    ]
    assert failed(148, *applied, *empty) is None
    assert failed(0) is None


LOG = """\
2026-11-24 10:00:00 UTC [1] LOG:  logical replication apply worker for subscription "s" has started
2026-11-24 10:00:00 UTC [1] ERROR:  duplicate key value violates unique constraint "two_pkey"
2026-11-24 10:00:00 UTC [1] DETAIL:  Key (id)=(500) already exists.
2026-11-24 10:00:00 UTC [1] CONTEXT:  processing remote data for replication origin "pg_{}" \
during message type "INSERT" for replication target relation "public.two" in \
transaction 741, finished at {}
"""


def test_only_log_lines_of_the_failed_transaction_are_read() -> None:
    log = LOG.format(16400, "0/1566D10") + LOG.format(16401, "0/999")
    said = logged_error(log, 16400, LSN("0/1566D10"))
    assert said is not None
    assert said.startswith('duplicate key value violates unique constraint "two_pkey"; Key (id)')
    assert logged_error(log, 16400, LSN("0/1566D1")) is None
    assert logged_error(log, 1640, LSN("0/1566D10")) is None
    assert logged_error("", 1, LSN(1)) is None
