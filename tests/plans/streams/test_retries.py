"""The errors after which an applier or a feed is started again."""

from __future__ import annotations

import pytest

from pgreplkit.errors import (
    ApplierActive,
    ApplyFailed,
    ConnectionFailed,
    InsufficientPrivilege,
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
from pgreplkit.plans.streams.retries import may_succeed_later


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ConnectionFailed("connect", "refused"), True),
        (ApplierActive("a", 1), True),
        (SinkUnreachable("run the feed", "no answer"), True),
        (SlotActive("run", "orders", 7, None, None), True),
        (WaitTimeout("timed out waiting for the slot"), True),
        (ServerError("run", "no more connections", "53300"), True),
        (ServerError("run", "lock timeout", "55P03"), True),
        (ServerError("run", "unknown"), False),
        (ServerError("run", "it shuts down", "57P01"), True),
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
