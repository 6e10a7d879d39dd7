"""Transactions whose values stay as the server sent them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import cycle, islice

import pgoutputs as po
import pytest
from applyfacts import transaction
from hypothesis import given, strategies as st
from streamfeeds import TRANSACTION, alive, decoder, wal

from pgreplkit import LSN
from pgreplkit.changes import Row
from pgreplkit.errors import InvalidChangeMessage
from pgreplkit.protocol import rawtransactions
from pgreplkit.protocol.feedback import Feedback
from pgreplkit.protocol.rawtransactions import RawChange, RawTransactionFeed


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


def shown(changes: Iterable[RawChange[Row]]) -> list[object]:
    return [(kind, [reader.table for reader in readers], *rest) for kind, readers, *rest in changes]


@given(
    st.lists(
        st.sampled_from(
            [
                po.insert(1, "a"),
                po.insert(2, "b" * 30),
                po.delete(1, None),
                po.truncate(7),
                alive(50, asks=True),
                po.relation(columns=(("id", 23, True), ("other", 25, False))),
            ]
        ),
        min_size=1,
        max_size=30,
    ),
    st.lists(st.integers(1, 8), min_size=1, max_size=4),
    st.sampled_from([0, 200, 1 << 20]),
    st.sampled_from([0, 200, 2000]),
    st.sampled_from([10, 60, 1 << 20]),
)
def test_the_parts_of_a_transaction_are_its_changes(
    changes: list[bytes], sizes: list[int], memory_limit: int, parts_from: int, whole: int
) -> None:
    with pytest.MonkeyPatch.context() as within:
        within.setattr(rawtransactions, "_WHOLE", whole)
        insist_on_parts(changes, sizes, memory_limit, parts_from)


def insist_on_parts(
    changes: list[bytes], sizes: list[int], memory_limit: int, parts_from: int
) -> None:
    feed = RawTransactionFeed(
        decoder,
        Feedback(LSN.INVALID, advance_when_idle=True),
        stop_at=None,
        memory_limit=memory_limit,
        parts_from=parts_from,
    )
    sent = (po.begin(100), po.relation(), *changes, po.commit(100))
    messages = iter([each if each[:1] == b"k" else wal(each) for each in sent])
    parts: list[object] = []
    found = None
    for size in islice(cycle(sizes), 40):
        found = feed.next(islice(messages, size))
        feed.asked = False
        if found is None:
            continue
        assert found.is_complete or found.total >= parts_from
        # Descriptions of tables alone are nothing to apply yet.
        assert found.rows
        parts += shown(found.part())
        # Nothing more has come.
        assert feed.next(iter(())) is None
        if found.is_complete:
            break
    if found is None:
        assert all(change[:1] in b"Rk" for change in changes)
    else:
        assert parts == shown(found.changes())
        assert found.commit_at == 100
