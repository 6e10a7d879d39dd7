"""insist_on_known: validation of the names of options."""

from __future__ import annotations

from collections.abc import Iterable


def insist_on_known(function: str, what: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Check that all ``given`` names are ``known``; ``what`` they name is part of the error.

    Raises:
        TypeError: If a name is unknown; the error suggests the closest known name.
    """
    choices = sorted(known)
    for name in given:
        if name not in choices:
            from difflib import get_close_matches

            close = get_close_matches(name, choices, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"it takes {', '.join(choices)}"
            raise TypeError(f"{function} has no {what} {name!r}; {hint}")
