"""Whether a slot can be streamed, from its state and the server's identity."""

from __future__ import annotations

import pytest

from pgreplkit import (
    LSN,
    AheadOfServer,
    PublicationNotFound,
    ServerError,
    SlotLost,
    SlotNotFound,
    SystemIdentity,
)
from pgreplkit.plans.streams.slot import missing_publications, slot_refusal, start_refusal

GOOD = {
    "slot_type": "logical",
    "database": "app",
    "here": "app",
    "status": "reserved",
    "reason": None,
}


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"slot_type": "physical", "database": None}, ServerError),
        ({"here": "other"}, ServerError),
        ({"status": "lost"}, SlotLost),
        ({"reason": "idle_timeout"}, SlotLost),
    ],
)
def test_a_slot_that_cannot_be_streamed_has_its_error(
    changed: dict[str, object], error: type[ServerError]
) -> None:
    assert slot_refusal("stream", [GOOD], None) is None
    found = slot_refusal("stream", [GOOD | changed], "55000")
    assert type(found) is error
    assert found.sqlstate == "55000"


def test_a_missing_slot_is_an_undefined_object() -> None:
    found = slot_refusal("stream", [], None)
    assert isinstance(found, SlotNotFound)
    assert found.sqlstate == "42704"


def test_the_reason_of_the_server_is_part_of_the_error() -> None:
    assert "rows_removed" in str(slot_refusal("stream", [GOOD | {"reason": "rows_removed"}], None))


def test_only_missing_publications_are_named() -> None:
    existing = [{"name": "p"}, {"name": "q"}]
    assert missing_publications("stream", ["p", "q", "p"], existing) is None
    found = missing_publications("stream", ["z", "p", "a"], existing)
    assert isinstance(found, PublicationNotFound)
    assert "a, z" in str(found)


@pytest.mark.parametrize(
    ("start", "system_id", "error"),
    [
        (LSN(100), None, None),
        (LSN(100), 7, None),
        (LSN(101), 7, AheadOfServer),
        (LSN(50), 8, ServerError),
        # Another cluster is refused whatever its position.
        (LSN(101), 8, ServerError),
    ],
)
def test_a_server_without_the_wanted_wal_is_refused(
    start: LSN, system_id: int | None, error: type[ServerError] | None
) -> None:
    identity = SystemIdentity(7, 1, LSN(100))
    found = start_refusal("stream", start, identity, system_id)
    assert (None if found is None else type(found)) is error
