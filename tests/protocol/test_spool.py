"""Messages kept in memory, or in a file once they are many."""

from __future__ import annotations

from itertools import zip_longest

from hypothesis import given, strategies as st

from pgreplkit import LSN
from pgreplkit.protocol.spool import Spool
from pgreplkit.testing.strategies import lsns

messages = st.lists(st.tuples(lsns(), st.binary(max_size=300)))


@given(messages, messages, st.sampled_from([0, 200, 1000, 1 << 20]))
def test_messages_are_returned_in_order_whatever_the_memory_limit(
    first: list[tuple[LSN, bytes]], second: list[tuple[LSN, bytes]], limit: int
) -> None:
    spool = Spool(limit)
    for lsn, data in first:
        spool.add(lsn, data)
    assert [*spool] == first
    for lsn, data in second:
        spool.add(lsn, data)
    assert [*spool] == [*spool] == first + second


@given(messages, st.sampled_from([0, 500]))
def test_two_iterations_at_once_do_not_disturb_each_other(
    added: list[tuple[LSN, bytes]], limit: int
) -> None:
    spool = Spool(limit)
    for lsn, data in added:
        spool.add(lsn, data)
    assert [*zip_longest(spool, spool)] == [(message, message) for message in added]
