"""FeedPosition: its text, and the order of changes."""

import pytest
from hypothesis import given, strategies as st

from pgreplkit import LSN
from pgreplkit.errors import InvalidFeedPosition
from pgreplkit.feeds import FeedPosition, FeedStage
from pgreplkit.testing.strategies import lsns

positions = st.builds(
    FeedPosition,
    lsns(),
    st.integers(0, 1 << 40),
    st.booleans(),
    st.sampled_from(FeedStage),
    system_id=st.integers(1, (1 << 64) - 1),
    timeline=st.integers(1, (1 << 32) - 1),
    generation=st.integers(1, 1000),
    numbering=st.integers(0, (1 << 32) - 1),
)


@given(positions)
def test_parsing_a_position_is_the_inverse_of_printing_it(position: FeedPosition) -> None:
    assert FeedPosition.parse(str(position)) == position


@pytest.mark.parametrize(
    "text",
    [
        *("", "streaming 7/1/1/0 0/5", "streaming 7/1/1/0 0/5 3-", "running 7/1/1/0 0/5 3"),
        *(" streaming", "streaming 7/1/1 0/5 3"),
    ],
)
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidFeedPosition, match="not a valid feed position"):
        FeedPosition.parse(text)


@given(positions, lsns(), st.integers(1, 1 << 40))
def test_a_position_has_each_change_up_to_it_and_none_after_it(
    position: FeedPosition, lsn: LSN, number: int
) -> None:
    assert position.has(position.lsn, position.number)
    assert position.has(position.lsn, position.number + 1) == position.is_whole
    assert position.has(lsn, number) == (
        lsn < position.lsn
        or (lsn == position.lsn and (position.is_whole or number <= position.number))
    )
