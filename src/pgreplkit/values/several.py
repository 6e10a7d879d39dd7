"""several: whether what is given for many is not just one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def several(given: Iterable[T], what: str) -> tuple[T, ...]:
    """All of them; ``what`` says what they are.

    Raises: TypeError for one str, which would be taken letter by letter.
    """
    if isinstance(given, str):
        raise TypeError(f"{what}, not one str")
    return tuple(given)
