"""Calls into the display package, the top layer, which is loaded when a notebook asks for it."""

from importlib import import_module

# Importing typing would cost more than the rest of this module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes


def html_of(value: object) -> str:
    """Return the HTML of a row, a report or a list of them."""
    show: Callable[[object], str] = import_module("pgreplkit.display").html
    return show(value)


def plot(samples: object, y: str, ax: "Axes | None") -> "Axes":
    """Draw a column of samples over time with matplotlib."""
    draw: Callable[[object, str, Axes | None], Axes] = import_module("pgreplkit.display.plot").plot
    return draw(samples, y, ax)


def live_display() -> "Callable[[object], None]":
    """Return a function that shows a value in a notebook, in the place of the one before."""
    show: Callable[[object], None] = import_module("pgreplkit.display.live").live()
    return show
