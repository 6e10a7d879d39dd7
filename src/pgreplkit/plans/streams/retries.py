"""The errors after which an applier or a feed may succeed later, with nothing altered."""

from __future__ import annotations

import attrs

from pgreplkit.errors import (
    ApplierActive,
    ConnectionFailed,
    LoginRefused,
    ServerError,
    SinkUnreachable,
    SlotActive,
    WaitTimeout,
)
from pgreplkit.errors.server import LOST_SESSION, PROTOCOL_VIOLATION

TRANSIENT = {"40P01", "40001", "55P03"}
"""Deadlock, serialization failure and lock timeout: the same may succeed another time."""
_REFUSED_WITHIN = 120.0
"""Seconds for which servers that take connections may refuse one: a pooler refuses all as long as
the server behind it is down."""
_REFUSALS = 5
"""Attempts at least: a busy machine has time for few."""
_RESOURCES = "53"
"""A server that lacks connections, memory or disk space."""
_PASSING = (ApplierActive, ConnectionFailed, SinkUnreachable, SlotActive, WaitTimeout)


def may_succeed_later(error: BaseException, *, has_logged_in: bool = False) -> bool:
    """Return whether another attempt may succeed without any change of the configuration.

    ``has_logged_in`` says whether the same login has worked before.
    """
    if isinstance(error, LoginRefused):
        # A server whose LDAP, PAM or RADIUS is out refuses every login in the same way.
        return has_logged_in
    if isinstance(error, _PASSING):
        return True
    sqlstate = (error.sqlstate if isinstance(error, ServerError) else None) or ""
    is_passing = sqlstate in TRANSIENT or sqlstate.startswith(_RESOURCES)
    return is_passing or is_of_lost_session(sqlstate)


def is_of_lost_session(sqlstate: str) -> bool:
    """Return whether an SQLSTATE means that the session has ended."""
    return sqlstate.startswith(LOST_SESSION) and sqlstate != PROTOCOL_VIOLATION


@attrs.define
class Refusals:
    """Attempts in a row that failed, to tell a permanent error from one that passes."""

    number: int = 0
    _since: float = 0.0

    def may_be_permanent(self, now: float) -> bool:
        """Count one more; return whether it is time to ask if the servers take connections."""
        if not self.number:
            self._since = now
        self.number += 1
        return self.number >= _REFUSALS and now - self._since >= _REFUSED_WITHIN
