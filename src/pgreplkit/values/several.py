"""several: convert an argument that takes several items to a tuple."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

T = TypeVar("T")


def several(given: Iterable[T], what: str) -> tuple[T, ...]:
    """Return the items of an argument as a tuple; ``what`` describes the argument in the error.

    Raises:
        TypeError: For a single str, which would otherwise be iterated letter by letter.
    """
    if isinstance(given, str):
        raise TypeError(f"{what}, not one str")
    return tuple(given)
