"""The meaning of a failed transaction's SQLSTATE for another attempt."""

from __future__ import annotations

from pgreplkit.errors import ApplierActive, ConnectionFailed, ServerError, SlotActive, WaitTimeout

_TRANSIENT = {"40P01", "40001", "55P03"}
"""Deadlock, serialization failure and lock timeout: the transaction succeeds another time."""
_LOST = ("08", "57P")
"""The connection is lost, or the server shuts down."""
_OF_A_CHANGE = ("21", "22", "23", "27", "2F", "38", "39", "42", "44", "P0")
"""Classes of errors that the data, a constraint or a trigger causes."""
_PRIVILEGE = "42501"
_PASSING = (ApplierActive, ConnectionFailed, SlotActive, WaitTimeout)
_RESOURCES = "53"
"""A server that lacks connections, memory or disk space."""


def is_transient(sqlstate: str | None) -> bool:
    """Return whether the same transaction may succeed at the next attempt."""
    return sqlstate in _TRANSIENT


def is_lost(sqlstate: str | None) -> bool:
    """Return whether the session has ended; libpq's own errors have no SQLSTATE."""
    return sqlstate is None or sqlstate.startswith(_LOST)


def is_of_a_change(sqlstate: str | None) -> bool:
    """Return whether a change of the transaction is the cause.

    A full disk or a missing privilege would refuse every transaction that follows, too.
    """
    return sqlstate is not None and sqlstate != _PRIVILEGE and sqlstate.startswith(_OF_A_CHANGE)


def passes(error: BaseException) -> bool:
    """Return whether the applier may succeed if it is started again, with nothing altered."""
    if isinstance(error, _PASSING):
        return True
    sqlstate = (error.sqlstate if isinstance(error, ServerError) else None) or ""
    return sqlstate in _TRANSIENT or sqlstate.startswith((*_LOST, _RESOURCES))
