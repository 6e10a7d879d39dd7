"""Transactions whose values stay as the server sent them."""

from __future__ import annotations

import pgoutputs as po
import pytest
from applyfacts import transaction
from streamfeeds import TRANSACTION, decoder, wal

from pgreplkit import LSN
from pgreplkit.errors import InvalidChangeMessage
from pgreplkit.protocol.feedback import Feedback
from pgreplkit.protocol.rawtransactions import RawTransactionFeed


def test_raw_changes_survive_a_spool_in_a_file() -> None:
    changes = [po.insert(n, "a", None) for n in range(50)]
    small, large = transaction(*changes, memory_limit=100), transaction(*changes)
    assert [change[4] for change in small.changes()] == [change[4] for change in large.changes()]
    assert small.size < large.size


@pytest.mark.parametrize(("options", "restarts"), [(1, False), (2, True)])
def test_a_raw_truncate_names_each_of_its_tables(options: int, restarts: bool) -> None:
    sent = transaction(po.relation(oid=8), po.truncate(7, 8, options=options))
    [(kind, readers, flag, old, new)] = sent.changes()
    assert (chr(kind), [reader.table.oid for reader in readers]) == ("T", [7, 8])
    assert (flag, old, new) == (restarts, None, None)


def test_a_truncated_raw_change_is_refused() -> None:
    with pytest.raises(InvalidChangeMessage):
        list(transaction(po.insert(1, "abc", 5)[:-3]).changes())


def test_a_restart_within_a_raw_transaction_ends_the_transaction() -> None:
    feedback = Feedback(LSN.INVALID, advance_when_idle=True)
    raw = RawTransactionFeed(decoder, feedback, stop_at=None, memory_limit=1 << 20)
    assert raw.next(iter([wal(TRANSACTION[0])])) is None
    assert feedback.is_within
    raw.restart()
    # Otherwise a server that does not send it again would retain its WAL without limit.
    assert not feedback.is_within
