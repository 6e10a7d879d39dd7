"""The WAL that a slot retains, and whether the slot is lost."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from logicalfacts import slot_state

from pgreplkit import LSN, SegmentSize
from pgreplkit.testing.strategies import lsns, segment_sizes


@pytest.mark.parametrize(
    ("changed", "is_lost"),
    [
        ({}, False),
        ({"wal_status": "reserved"}, False),
        ({"wal_status": "extended"}, False),
        ({"wal_status": "unreserved"}, False),
        ({"wal_status": "lost"}, True),
        ({"wal_status": "reserved", "invalidation_reason": "idle_timeout"}, True),
        ({"invalidation_reason": "a reason of a later version"}, True),
        ({"conflicting": True}, True),
        ({"conflicting": False}, False),
    ],
)
def test_a_slot_is_lost_if_the_server_invalidated_it(
    changed: dict[str, object], is_lost: bool
) -> None:
    slot = slot_state(**changed)
    assert slot.is_lost is is_lost
    assert (slot.retained_bytes == 0) is is_lost
    assert (slot.retained is None) is is_lost


@given(restart=st.none() | lsns(), current=lsns(), size=segment_sizes())
def test_retained_files_contain_the_retained_bytes(
    restart: LSN | None, current: LSN, size: SegmentSize
) -> None:
    slot = slot_state(restart_lsn=restart, current_lsn=current, segment_size=size)
    if restart is None:
        assert (slot.retained, slot.retained_bytes, slot.retained_files) == (None, 0, 0)
        return
    # A standby may have replayed less than the slot has confirmed.
    assert slot.retained_bytes == max(0, current - restart)
    if slot.retained_bytes:
        first, last = int(restart) // int(size), (int(current) - 1) // int(size)
        assert slot.retained_files == last - first + 1


def test_the_client_of_a_logical_slot_has_reached_the_confirmed_position() -> None:
    slot = slot_state()
    assert slot.reached_lsn == slot.confirmed_flush_lsn != slot.restart_lsn
    physical = slot_state(slot_type="physical", plugin=None, confirmed_flush_lsn=None)
    assert physical.reached_lsn == physical.restart_lsn
