"""FeedbackTiming: status updates are neither too frequent nor too rare."""

from __future__ import annotations

from hypothesis import given, strategies as st

from pgreplkit.plans.streams.feedbacktiming import REPORTED_WITHIN, FeedbackTiming

seconds = st.floats(0, 3600)


@given(interval=seconds, timeout=st.none() | st.floats(0.3, 3600), now=seconds)
def test_the_server_hears_from_an_idle_client_within_its_timeout(
    interval: float, timeout: float | None, now: float
) -> None:
    timing = FeedbackTiming(interval)
    timing.adapt(timeout)
    timing.sent(now)
    # A heartbeat checks at each beat: the update is sent at the latest one beat after it is due.
    at_the_latest = timing.interval / 2 + timing.beat
    assert timing.must_report(now + at_the_latest + 1e-6)
    if timeout is not None:
        assert at_the_latest <= timeout / 2


@given(interval=seconds, now=seconds)
def test_two_updates_are_apart_and_news_is_sent_soon(interval: float, now: float) -> None:
    timing = FeedbackTiming(interval)
    assert timing.may_report(now)
    timing.sent(now)
    assert not timing.may_report(now + 0.04)
    assert timing.may_report(now + timing.pause(has_news=True) + 1e-6)
    assert timing.pause(has_news=True) < timing.pause(has_news=False) <= REPORTED_WITHIN
