"""The pauses before a feed begins again."""

from __future__ import annotations

from hypothesis import given, strategies as st

from pgreplkit.feeds.retries import retry_pause


@given(st.integers(1, 10**9), st.floats(0, 1))
def test_a_pause_is_never_longer_than_ten_seconds_nor_shorter_than_a_quarter(
    failures: int, spread: float
) -> None:
    assert 0.25 <= retry_pause(failures, spread) <= 10


def test_feeds_of_one_server_do_not_connect_all_at_once() -> None:
    assert [retry_pause(1, spread) for spread in (0, 0.5, 1)] == [0.25, 0.375, 0.5]
