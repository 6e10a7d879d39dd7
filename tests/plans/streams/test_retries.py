"""The errors after which an applier or a feed is started again."""

from __future__ import annotations

import pytest

from pgreplkit.errors import (
    ApplierActive,
    ApplyFailed,
    ConnectionFailed,
    InsufficientPrivilege,
    LoginRefused,
    PositionLost,
    SchemaMismatch,
    ServerError,
    SinkFenced,
    SinkUnreachable,
    SlotActive,
    SlotLost,
    SlotNotFound,
    TableNotFound,
    WaitTimeout,
)
from pgreplkit.plans.streams.retries import Refusals, may_succeed_later


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ConnectionFailed("connect", "refused"), True),
        (ConnectionFailed("connect", "too many connections", "53300"), True),
        (LoginRefused("connect", "password authentication failed", "28P01"), False),
        (LoginRefused("connect", "no password supplied"), False),
        (ApplierActive("a", 1), True),
        (SinkUnreachable("run the feed", "no answer"), True),
        (SlotActive("run", "orders", 7, None, None), True),
        (WaitTimeout("timed out waiting for the slot"), True),
        (ServerError("run", "no more connections", "53300"), True),
        (ServerError("run", "lock timeout", "55P03"), True),
        (ServerError("run", "unknown"), False),
        (ServerError("run", "it shuts down", "57P01"), True),
        # A pooler refuses connections so, and a server a malformed statement.
        (ConnectionFailed("connect", "server login failed", "08P01"), True),
        (ServerError("run", "a wrong number of parameters", "08P01"), False),
        (ApplyFailed(1, "0/1", "t", 1, "insufficient data", "08P01"), False),
        (ApplyFailed(1, "0/1", "t", 1, "deadlock", "40P01"), True),
        (ApplyFailed(1, "0/1", "t", 1, "duplicate key", "23505"), False),
        (ApplyFailed(1, "0/1", "t", 1, "where raised KeyError"), False),
        (SchemaMismatch("t", ("no column",)), False),
        (InsufficientPrivilege("run", "denied", "42501"), False),
        (SlotLost("run", "its WAL was removed", "55000"), False),
        (SlotNotFound("run", "it does not exist", "42704"), False),
        (TableNotFound("run", "a rule is for t"), False),
        (PositionLost("run the feed", "0/5", None), False),
        (SinkFenced("run the feed", "another process wrote"), False),
        (AttributeError("a defect"), False),
    ],
)
def test_a_process_is_started_again_only_if_nothing_must_be_altered(
    error: Exception, verdict: bool
) -> None:
    assert may_succeed_later(error) is verdict


def test_refusals_may_be_permanent_after_a_time_and_a_number_of_attempts() -> None:
    often, slow = Refusals(), Refusals()
    assert [often.may_be_permanent(now) for now in range(100, 220)] == 120 * [False]
    assert often.may_be_permanent(220.0)
    verdicts = [slow.may_be_permanent(now) for now in range(0, 500, 100)]
    assert verdicts == [False, False, False, False, True]
