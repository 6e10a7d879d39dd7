"""Times in milliseconds, the unit of the server's settings."""

from __future__ import annotations

from datetime import timedelta

from pgreplkit.values.seconds import Timeout, checked_seconds

_LONGEST = (1 << 31) - 1
"""Settings are 32-bit integers."""


def timeout_milliseconds(timeout: Timeout) -> int:
    """Return a timeout in seconds as the value of a setting such as statement_timeout.

    It is at least 1, since 0 would mean no limit.

    Raises: ValueError, TypeError.
    """
    return min(max(1, round(checked_seconds(timeout, "a timeout") * 1000)), _LONGEST)


def delay_milliseconds(delay: timedelta, what: str) -> int:
    """Return a delay as the value of a setting; ``what`` names it in the error.

    It is rounded up, since 0 would mean no delay.

    Raises: ValueError if it is negative or too long.
    """
    milliseconds = -(-delay // timedelta(milliseconds=1))
    if delay < timedelta(0) or milliseconds > _LONGEST:
        raise ValueError(f"{what} must be from 0 to {_LONGEST} milliseconds, got {delay}")
    return milliseconds
