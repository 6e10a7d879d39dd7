"""checked_moment: a time that is the same in every time zone."""

from __future__ import annotations

from datetime import datetime


def checked_moment(given: datetime | None, argument: str) -> datetime | None:
    """Return a time, or None if none is given.

    Raises:
        TypeError: For anything but a datetime with a time zone: without one, the server would use
            its own.
    """
    if given is None:
        return None
    # A date, which is not a datetime, would be midnight in the server's time zone.
    if not isinstance(given, datetime):
        raise TypeError(f"{argument} must be a datetime, not {type(given).__name__}")
    if given.tzinfo is None:
        raise TypeError(f"{argument} needs a time zone, got {given}")
    return given
