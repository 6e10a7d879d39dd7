"""The errors after which an applier or a feed may succeed later, with nothing altered."""

from __future__ import annotations

from pgreplkit.errors import (
    ApplierActive,
    ConnectionFailed,
    ServerError,
    SinkUnreachable,
    SlotActive,
    WaitTimeout,
)

TRANSIENT = {"40P01", "40001", "55P03"}
"""Deadlock, serialization failure and lock timeout: the same may succeed another time."""
LOST = ("08", "57P")
"""The connection is lost, or the server shuts down."""
_RESOURCES = "53"
"""A server that lacks connections, memory or disk space."""
_PASSING = (ApplierActive, ConnectionFailed, SinkUnreachable, SlotActive, WaitTimeout)


def may_succeed_later(error: BaseException) -> bool:
    """Return whether another attempt may succeed without any change of the configuration."""
    if isinstance(error, _PASSING):
        return True
    sqlstate = (error.sqlstate if isinstance(error, ServerError) else None) or ""
    return sqlstate in TRANSIENT or sqlstate.startswith((*LOST, _RESOURCES))
