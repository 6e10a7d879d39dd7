"""Feedback: the client never confirms more than it has."""

from __future__ import annotations

import struct
import time

import pytest
from hypothesis import given, strategies as st

from pgreplkit import LSN
from pgreplkit.errors import InvalidAcknowledgement
from pgreplkit.protocol.feedback import Feedback

steps = st.lists(
    st.tuples(st.sampled_from(["begin", "deliver", "acknowledge", "reach"]), st.integers(1, 50))
)


@given(steps, st.booleans())
def test_delivered_changes_are_not_confirmed_before_acknowledgement(
    steps: list[tuple[str, int]], advances: bool
) -> None:
    """The server's positions rise; the client acknowledges any of the delivered positions."""
    feedback = Feedback(LSN.INVALID, advance_when_idle=advances)
    given_out: list[LSN] = []
    acknowledged = position = before = LSN.INVALID
    for step, number in steps:
        match step:
            case "begin":
                feedback.is_within = True
            case "deliver":
                position += number
                given_out.append(position)
                feedback.deliver(position)
            case "reach":
                position += number
                feedback.reach(position)
                assert feedback.flushed != position or not feedback.is_within
            case "acknowledge" if LSN(number) > feedback.delivered:
                with pytest.raises(InvalidAcknowledgement):
                    feedback.acknowledge(LSN(number), written=None, applied=None)
            case "acknowledge":
                acknowledged = max(acknowledged, LSN(number))
                feedback.acknowledge(LSN(number), written=None, applied=None)
        outstanding = [end for end in given_out if end > acknowledged]
        # A confirmation made while nothing was pending remains.
        assert not outstanding or feedback.flushed < min(outstanding)
        assert before <= feedback.flushed <= feedback.delivered
        assert advances or feedback.flushed == acknowledged
        assert feedback.written == feedback.flushed == feedback.applied
        assert feedback.reached >= feedback.delivered
        before = feedback.flushed


def test_an_idle_stream_follows_the_server() -> None:
    feedback = Feedback(LSN(5), advance_when_idle=True)
    feedback.reach(LSN(10))
    assert (feedback.written, feedback.flushed, feedback.applied) == (LSN(10),) * 3
    feedback.is_within = True
    feedback.reach(LSN(11))
    assert feedback.flushed == LSN(10)
    feedback.deliver(LSN(20))
    feedback.reach(LSN(30))
    assert feedback.flushed == LSN(10)
    feedback.acknowledge(LSN(20), written=None, applied=LSN(15))
    feedback.reach(LSN(30))
    assert (feedback.flushed, feedback.applied) == (LSN(20), LSN(15))
    feedback.acknowledge(LSN(20), written=None, applied=None)
    feedback.reach(LSN(30))
    assert feedback.flushed == LSN(30)
    still = Feedback(LSN(5), advance_when_idle=False)
    still.reach(LSN(10))
    assert still.flushed == LSN(5)


def test_a_later_delivery_does_not_lower_the_position_that_the_server_reached() -> None:
    feedback = Feedback(LSN(5), advance_when_idle=False)
    feedback.reach(LSN(50))
    feedback.deliver(LSN(40))
    assert (feedback.delivered, feedback.reached) == (LSN(40), LSN(50))
    feedback.deliver(LSN(60))
    assert feedback.reached == LSN(60)


def test_feedback_distinguishes_written_flushed_and_applied() -> None:
    feedback = Feedback(LSN.INVALID, advance_when_idle=True)
    feedback.deliver(LSN(100))
    feedback.acknowledge(LSN(60), written=LSN(80), applied=LSN(40))
    kind, written, flushed, applied, clock, asks = struct.unpack(
        ">c8s8s8sq?", feedback.status(asks=True)
    )
    assert (kind, asks) == (b"r", True)
    assert [LSN.from_bytes(p) for p in (written, flushed, applied)] == [LSN(80), LSN(60), LSN(40)]
    assert abs(clock / 1e6 + 946_684_800 - time.time()) < 60
    had_news = feedback.has_news
    # A flushed position is written too.
    feedback.acknowledge(LSN(90), written=LSN(85), applied=None)
    assert (had_news, feedback.has_news) == (False, True)
    assert (feedback.written, feedback.flushed, feedback.applied) == (LSN(90),) * 3
    with pytest.raises(TypeError):
        feedback.acknowledge("0/5", written=None, applied=None)  # type: ignore[arg-type]
