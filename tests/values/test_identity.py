"""SystemIdentity: only answers that IDENTIFY_SYSTEM can give."""

import pytest
from hypothesis import given, strategies as st

from pgreplkit import LSN, SystemIdentity
from pgreplkit.errors import InvalidSystemIdentity
from pgreplkit.testing.strategies import system_identities, timelines


@given(system_identities())
def test_every_answer_of_a_server_is_accepted(identity: SystemIdentity) -> None:
    assert 0 < identity.system_id < 1 << 64
    assert 0 < identity.timeline < 1 << 32


@given(st.integers(max_value=0) | st.integers(min_value=1 << 64), timelines())
def test_a_system_identifier_outside_64_bits_is_refused(system_id: int, timeline: int) -> None:
    with pytest.raises(InvalidSystemIdentity, match="system identifier"):
        SystemIdentity(system_id, timeline, LSN(1))


@given(st.integers(max_value=0) | st.integers(min_value=1 << 32))
def test_a_timeline_outside_32_bits_is_refused(timeline: int) -> None:
    with pytest.raises(InvalidSystemIdentity, match="timeline"):
        SystemIdentity(1, timeline, LSN(1))


@pytest.mark.parametrize(
    ("system_id", "timeline", "position"),
    [("1", 1, "lsn"), (True, 1, "lsn"), (1, "1", "lsn"), (1, 1.0, "lsn"), (1, 1, 5)],
)
def test_text_is_refused_where_a_number_is_expected(
    system_id: int, timeline: int, position: object
) -> None:
    lsn = LSN(1) if position == "lsn" else position
    with pytest.raises(TypeError):
        SystemIdentity(system_id, timeline, lsn)  # type: ignore[arg-type]
