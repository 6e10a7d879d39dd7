"""checked_seconds: validation of timeouts and intervals in seconds."""

from __future__ import annotations

import math


def checked_seconds(seconds: float, what: str) -> float:
    """Return ``seconds`` if it is finite and not negative; ``what`` names it in the error.

    Raises:
        ValueError: If it is negative, infinite or NaN.
        TypeError: If it is not a number.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{what} is a number of seconds, not {type(seconds).__name__}")
    if not 0 <= seconds < math.inf:
        raise ValueError(f"{what} must be finite and >= 0, got {seconds}")
    return seconds
