"""Whether a slot can be streamed is decided from its state alone."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pgreplkit import LSN, SystemIdentity
from pgreplkit.errors import (
    AheadOfServer,
    PublicationNotFound,
    ServerError,
    SlotLost,
    SlotNotFound,
    StatementTimeout,
)
from pgreplkit.plans.streams.slot import (
    missing_publications,
    not_created,
    slot_refusal,
    slower_on_standby,
    start_refusal,
)

USABLE = {
    "slot_type": "logical",
    "database": "app",
    "here": "app",
    "status": "reserved",
    "reason": None,
}
HERE = SystemIdentity(system_id=7, timeline=1, position=LSN(100), database="app")


def test_a_usable_slot_is_not_refused() -> None:
    assert slot_refusal("stream it", [USABLE], None) is None


@pytest.mark.parametrize(
    ("change", "kind", "text"),
    [
        ({"slot_type": "physical"}, ServerError, "physical slot"),
        ({"database": "other"}, ServerError, "connect to that database"),
        ({"status": "lost"}, SlotLost, "its WAL is removed"),
        ({"reason": "idle_timeout"}, SlotLost, "idle_timeout"),
    ],
)
def test_a_slot_that_cannot_be_streamed_is_refused_with_the_reason(
    change: dict[str, object], kind: type[ServerError], text: str
) -> None:
    refusal = slot_refusal("stream it", [USABLE | change], None)
    assert type(refusal) is kind
    assert text in str(refusal)


def test_a_missing_slot_is_not_found() -> None:
    refusal = slot_refusal("stream it", [], None)
    assert isinstance(refusal, SlotNotFound)
    assert refusal.sqlstate == "42704"


NAMES = st.lists(st.sampled_from(["a", "b", "c", "d"]), min_size=1)


@given(NAMES, NAMES)
def test_only_publications_that_do_not_exist_are_missing(
    names: list[str], existing: list[str]
) -> None:
    missing = missing_publications("stream it", names, [{"name": name} for name in existing])
    if {*names} <= {*existing}:
        assert missing is None
    else:
        assert isinstance(missing, PublicationNotFound)
        assert missing.found.endswith(", ".join(sorted({*names} - {*existing})))


@given(st.integers(0, 200), st.sampled_from([None, 7, 8]))
def test_a_stream_starts_only_where_the_same_cluster_has_its_wal(
    start: int, system_id: int | None
) -> None:
    refusal = start_refusal("stream it", LSN(start), HERE, system_id)
    if system_id == 8:
        assert "another cluster" in str(refusal)
    elif start > 100:
        assert isinstance(refusal, AheadOfServer)
    else:
        assert refusal is None


@pytest.mark.parametrize(
    ("sqlstate", "remedy"),
    [
        ("55000", "set wal_level = logical"),
        ("58P01", "install the plugin"),
        ("53400", "drop slots that are not used"),
        ("XX000", "the server's own remedy"),
        (None, "the server's own remedy"),
    ],
)
def test_a_slot_that_is_not_created_names_the_remedy(sqlstate: str | None, remedy: str) -> None:
    refused = ServerError("create it", "no", sqlstate, remedy="the server's own remedy")
    error = not_created(refused)
    assert (error.operation, error.found, error.sqlstate) == ("create it", "no", sqlstate)
    assert error.remedy.startswith(remedy)


def test_a_logical_slot_needs_a_connection_to_a_database() -> None:
    error = not_created(ServerError("create it", "no", "55000"), has_database=False)
    assert error.remedy.startswith("connect with database=")


def test_a_timeout_on_a_standby_names_the_remedy() -> None:
    error = slower_on_standby(StatementTimeout("create it", "canceled", "57014"))
    assert "pg_log_standby_snapshot()" in str(error)
    assert (error.operation, error.sqlstate) == ("create it", "57014")
