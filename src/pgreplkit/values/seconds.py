"""checked_seconds: whether a number is a time that can be waited for."""

from __future__ import annotations

import math


def checked_seconds(seconds: float, what: str) -> float:
    """The number itself, when it can be waited for.

    Raises: ValueError when it is negative or not finite; TypeError when it is no number.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{what} is a number of seconds, not {type(seconds).__name__}")
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{what} is 0 seconds or more, and ends: not {seconds}")
    return seconds
