"""Whether a failed transaction is tried again, parked, or neither."""

from __future__ import annotations

import pytest

from pgreplkit.apply.failures import is_lost, is_of_a_change, is_transient, passes
from pgreplkit.errors import (
    ApplierActive,
    ApplyFailed,
    ConnectionFailed,
    InsufficientPrivilege,
    SchemaMismatch,
    ServerError,
    SlotLost,
    SlotNotFound,
    TableNotFound,
)


@pytest.mark.parametrize(
    ("sqlstate", "verdicts"),
    [
        ("40P01", (True, False, False)),
        ("55P03", (True, False, False)),
        (None, (False, True, False)),
        ("08006", (False, True, False)),
        ("57P01", (False, True, False)),
        ("23505", (False, False, True)),
        ("22003", (False, False, True)),
        ("P0001", (False, False, True)),
        # Every other transaction would be refused, too.
        ("53100", (False, False, False)),
        ("42501", (False, False, False)),
        ("25006", (False, False, False)),
        ("57014", (False, False, False)),
    ],
)
def test_the_sqlstate_decides(sqlstate: str | None, verdicts: tuple[bool, bool, bool]) -> None:
    assert (is_transient(sqlstate), is_lost(sqlstate), is_of_a_change(sqlstate)) == verdicts


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (ConnectionFailed("connect", "refused"), True),
        (ApplierActive("a", 1), True),
        (ServerError("run", "out of memory", "53200"), True),
        (ServerError("run", "it shuts down", "57P01"), True),
        (ApplyFailed(1, "0/1", "t", 1, "deadlock", "40P01"), True),
        (ApplyFailed(1, "0/1", "t", 1, "duplicate key", "23505"), False),
        (ApplyFailed(1, "0/1", "t", 1, "where raised KeyError"), False),
        (SchemaMismatch("t", ("no column",)), False),
        (InsufficientPrivilege("run", "denied", "42501"), False),
        (SlotLost("run", "its WAL was removed", "55000"), False),
        (SlotNotFound("run", "it does not exist", "42704"), False),
        (TableNotFound("run", "a rule is for t"), False),
        (AttributeError("a defect"), False),
    ],
)
def test_an_applier_is_started_again_only_if_nothing_must_be_altered(
    error: Exception, verdict: bool
) -> None:
    assert passes(error) is verdict
