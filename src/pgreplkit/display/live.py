"""A display of a notebook that is updated in its place."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

from pgreplkit.errors.extras import needs_extra


def live() -> Callable[[object], None]:
    """Return a function that shows a value in the place of the one before."""
    with needs_extra("notebook", "IPython"):
        # Type checkers may lack it.
        display: Any = import_module("IPython.display").display
    handle: Any = None

    def show(value: object) -> None:
        nonlocal handle
        if handle is None:
            handle = display(value, display_id=True)
        else:
            handle.update(value)

    return show
