"""Timeout: seconds or a timedelta; and the validation of timeouts and intervals."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import TypeAlias

Timeout: TypeAlias = float | timedelta
"""How long a call waits: seconds, or a timedelta.

The defaults follow one rule: 10 seconds for a statement or a lock; 60 seconds for replication, or
an answer of another server; 600 seconds where data is copied or a program runs on a host. A stream
waits without a limit: its ``timeout`` is the longest time without data.
"""

_LONGEST = 1e9
"""30 years: the clocks and system calls that wait refuse much larger numbers."""


def checked_seconds(seconds: Timeout, what: str) -> float:
    """Return the seconds if they are finite and not negative; ``what`` names them in the error.

    More than 30 years become 30 years.

    Raises:
        ValueError: If they are negative, infinite or NaN.
        TypeError: If it is neither a number nor a timedelta.
    """
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        given = type(seconds).__name__
        raise TypeError(f"{what} must be a number of seconds or a timedelta, not {given}")
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{what} must be finite and >= 0, got {seconds}")
    return min(seconds, _LONGEST)


def optional_seconds(seconds: Timeout | None, what: str) -> float | None:
    """Return the seconds as ``checked_seconds`` does; None if there are none.

    Raises: ValueError; TypeError.
    """
    return None if seconds is None else checked_seconds(seconds, what)


def reconnect_seconds(seconds: Timeout | None) -> float | None:
    """Return the seconds of an argument ``reconnect``, which several classes have.

    Raises: ValueError; TypeError.
    """
    return optional_seconds(seconds, "reconnect")
