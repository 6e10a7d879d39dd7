"""The meaning of a failed transaction's SQLSTATE for another attempt."""

from __future__ import annotations

from pgreplkit.plans.streams.retries import LOST, TRANSIENT

_OF_A_CHANGE = ("21", "22", "23", "27", "2F", "38", "39", "42", "44", "P0")
"""Classes of errors that the data, a constraint or a trigger causes."""
_PRIVILEGE = "42501"


def is_transient(sqlstate: str | None) -> bool:
    """Return whether the same transaction may succeed at the next attempt."""
    return sqlstate in TRANSIENT


def is_lost(sqlstate: str | None) -> bool:
    """Return whether the session has ended; libpq's own errors have no SQLSTATE."""
    return sqlstate is None or sqlstate.startswith(LOST)


def is_of_a_change(sqlstate: str | None) -> bool:
    """Return whether a change of the transaction is the cause.

    A full disk or a missing privilege would refuse every transaction that follows, too.
    """
    return sqlstate is not None and sqlstate != _PRIVILEGE and sqlstate.startswith(_OF_A_CHANGE)
