"""The writes that a fence cannot refuse, and the sessions that block it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given, strategies as st

from pgreplkit.catalog.logical.fence import FenceBlocker, since_comment, since_in, unfenced
from pgreplkit.values.tablename import TableName


def blocker(
    backend: str, name: str | None, age: timedelta | None, pid: int | None = 7
) -> FenceBlocker:
    return FenceBlocker(
        table=TableName("public", "t"),
        pid=pid,
        backend_type=backend,
        application_name=name,
        age=age,
    )


def test_a_blocker_shows_its_name_or_its_kind() -> None:
    session = blocker("client backend", "psql", timedelta(seconds=1.26))
    assert str(session) == "process 7 (psql, 1.3 s old) on public.t"
    vacuum = blocker("autovacuum worker", "", None)
    assert str(vacuum) == "process 7 (autovacuum worker) on public.t"
    prepared = blocker("prepared transaction", "two", timedelta(seconds=9), None)
    assert str(prepared) == "prepared transaction (two, 9.0 s old) on public.t"
    assert (session.is_autovacuum, vacuum.is_autovacuum) == (False, True)


def test_since_15_the_replica_role_can_be_granted() -> None:
    assert "has_parameter_privilege" in unfenced(15)
    assert "has_parameter_privilege" not in unfenced(14)


@given(st.datetimes(timezones=st.just(UTC) | st.just(timezone(timedelta(hours=-3)))))
def test_the_comment_of_a_fence_keeps_a_time(time: datetime) -> None:
    assert since_in(since_comment(time)) == time


@pytest.mark.parametrize(
    "comment",
    [
        *(None, "", "ours", "refuses writes since", "2026-01-01T00:00:00+00:00"),
        *("refuses writes since then", "refuses writes since 2026-01-01T00:00:00"),
    ],
)
def test_another_comment_has_no_time(comment: str | None) -> None:
    assert since_in(comment) is None
