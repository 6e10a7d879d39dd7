"""Whether a failed transaction is tried again, parked, or neither."""

from __future__ import annotations

import pytest

from pgreplkit.apply.failures import is_lost, is_transient
from pgreplkit.errors.apply import is_of_a_change


@pytest.mark.parametrize(
    ("sqlstate", "verdicts"),
    [
        ("40P01", (True, False, False)),
        ("55P03", (True, False, False)),
        (None, (False, True, False)),
        ("08006", (False, True, False)),
        ("57P01", (False, True, False)),
        # A binary value that is too short; the session continues.
        ("08P01", (False, False, True)),
        ("23505", (False, False, True)),
        ("22003", (False, False, True)),
        ("P0001", (False, False, True)),
        # A value that is too large for an index of the subscriber.
        ("54000", (False, False, True)),
        # TRUNCATE of a table to which others refer.
        ("0A000", (False, False, True)),
        # Every other transaction would be refused, too.
        ("53100", (False, False, False)),
        ("42501", (False, False, False)),
        ("25006", (False, False, False)),
        ("57014", (False, False, False)),
    ],
)
def test_the_sqlstate_decides(sqlstate: str | None, verdicts: tuple[bool, bool, bool]) -> None:
    assert (is_transient(sqlstate), is_lost(sqlstate), is_of_a_change(sqlstate)) == verdicts
