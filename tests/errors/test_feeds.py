"""The errors of feeds."""

from __future__ import annotations

from pgreplkit import errors


def test_a_lost_position_says_what_the_sink_and_the_slot_have() -> None:
    both = errors.PositionLost("run the feed 'a'", "0/5", "0/9")
    assert "the sink ends at 0/5, and the slot begins at 0/9; continue" in str(both)
    neither = errors.PositionLost("run the feed 'a'", None, None)
    assert "the sink has no position, and the slot does not exist" in str(neither)
    removed = errors.PositionLost("run the feed 'a'", "0/5", None, "wal_removed")
    assert "the server has invalidated the slot (wal_removed)" in str(removed)


def test_a_message_that_is_too_large_says_by_how_much() -> None:
    error = errors.MessageTooLarge("send (0/5, 1)", 2_000, 1_000)
    assert "it has 2000 bytes, and the engine takes 1000; raise the engine's limit" in str(error)
