"""UNCHANGED: the value of a column that an UPDATE did not change and the server did not send."""

from __future__ import annotations

from enum import Enum
from typing import Final


class Unchanged(Enum):
    """The type of ``UNCHANGED``."""

    UNCHANGED = "unchanged"

    def __repr__(self) -> str:
        return "UNCHANGED"


UNCHANGED: Final = Unchanged.UNCHANGED
"""The value of a large column (TOAST) that an UPDATE did not change: the server does not send it.

It is neither NULL nor missing: leave the column as it is. A value that the old row of the same
Update has is taken from there instead.
"""
