"""The life of a stream follows one table of transitions."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pgreplkit.plans.streams.state import TRANSITIONS, StreamState

STATES = st.sampled_from([*StreamState])


def test_every_state_has_its_transitions() -> None:
    assert {*TRANSITIONS} == {*StreamState}


@given(STATES, STATES)
def test_a_stream_changes_state_only_along_the_table(
    before: StreamState, after: StreamState
) -> None:
    if after in TRANSITIONS[before]:
        assert before.to(after) is after
    else:
        with pytest.raises(RuntimeError, match=f"{before.value} cannot become {after.value}"):
            before.to(after)


@given(STATES)
def test_a_stream_that_is_over_stays_over_and_any_other_can_end(state: StreamState) -> None:
    if state.is_over:
        assert not TRANSITIONS[state]
    else:
        assert {StreamState.FAILED, StreamState.CLOSED} <= TRANSITIONS[state]


def test_only_a_stream_that_was_open_is_cut_and_it_can_be_opened_again() -> None:
    leading = {state for state, after in TRANSITIONS.items() if StreamState.CUT in after}
    assert leading == {StreamState.OPEN}
    assert StreamState.OPEN in TRANSITIONS[StreamState.CUT]
    assert not any(StreamState.NEW in after for after in TRANSITIONS.values())
