"""Holding: the time at which positions of the sink are confirmed to the slot."""

from pgreplkit import LSN
from pgreplkit.feeds.holding import Holding


def test_a_position_is_due_once_it_is_old_enough() -> None:
    holding = Holding(5.0)
    for second, lsn in enumerate(("0/1", "0/2", "0/3")):
        holding.answered(LSN(lsn), second)
    assert holding.due(4.9) is None
    assert holding.due(6.0) == LSN("0/2")
    assert holding.due(6.5) is None
    assert holding.due(100.0) == LSN("0/3")


def test_without_hold_an_answer_is_due_at_once() -> None:
    holding = Holding(0.0)
    holding.answered(LSN("0/1"), 7.0)
    assert holding.due(7.0) == LSN("0/1")
