"""The meaning of a failed transaction's SQLSTATE for another attempt."""

from __future__ import annotations

from pgreplkit.errors import ConnectionFailed, ServerError
from pgreplkit.errors.server import PROTOCOL_VIOLATION
from pgreplkit.plans.streams.retries import TRANSIENT, is_of_lost_session

_DIVISION_BY_ZERO = "22012"
"""The error by which a statement for several rows refuses to change fewer of them."""
_CANCELLED = "57014"
_OF_A_DEFINITION = (PROTOCOL_VIOLATION, "0A", "22", "23502", "42")
"""Errors that a column or table of another definition causes: one that was dropped or renamed, that
has another type, or is new and takes no NULL."""


def is_transient(sqlstate: str | None) -> bool:
    """Return whether the same transaction may succeed at the next attempt."""
    return sqlstate in TRANSIENT


def is_of_a_set(sqlstate: str | None) -> bool:
    """Return whether a statement for several rows may have failed because of a conflict."""
    return sqlstate == _DIVISION_BY_ZERO


def is_lost(sqlstate: str | None) -> bool:
    """Return whether the session has ended; libpq's own errors have no SQLSTATE."""
    return sqlstate is None or is_of_lost_session(sqlstate)


def is_of_a_definition(sqlstate: str | None) -> bool:
    """Return whether an altered table may be the cause."""
    return sqlstate is not None and sqlstate.startswith(_OF_A_DEFINITION)


def is_of_cutoff(error: ServerError) -> bool:
    """Return whether an error may be that of a session which was ended at a deadline."""
    return isinstance(error, ConnectionFailed) or error.sqlstate == _CANCELLED
