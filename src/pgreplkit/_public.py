"""Public names are loaded when they are first used, from the modules that define them."""

import sys
from importlib import import_module

from pgreplkit._rooms import ROOMS

HOME = {
    public: {name: room for room, names in rooms.items() for name in names}
    for public, rooms in ROOMS.items()
}
"""The module that defines each name, by public module."""

# Importing typing would cost more than the rest of this module.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_unnamed = {*ROOMS["pgreplkit"]}
"""Modules whose classes do not yet name their public module."""


def lazy(public: str) -> tuple["Callable[[str], object]", "Callable[[], list[str]]"]:
    """Return ``__getattr__`` and ``__dir__`` of a public module."""
    homes = HOME[public]

    def load(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {public!r} has no attribute {name!r}")
        value = getattr(import_module(f"pgreplkit.{homes[name]}"), name)
        setattr(sys.modules[public], name, value)
        _name_public_module()
        return value

    return load, lambda: sorted(homes)


def _name_public_module() -> None:
    """Let classes and functions name ``pgreplkit`` as their module.

    Tracebacks and pickles then name what users import, and stay right when a module moves. It is
    done for all that is loaded, since a class may be met that was never asked for by its name.
    """
    for room in sorted(_unnamed):
        module = sys.modules.get(f"pgreplkit.{room}")
        values = [vars(module).get(name) for name in ROOMS["pgreplkit"][room]] if module else []
        # Another thread may be importing the module right now.
        if not values or None in values:
            continue
        for value in filter(_has_module, values):
            value.__module__ = "pgreplkit"
        _unnamed.discard(room)


def _has_module(value: object) -> bool:
    return isinstance(value, type | type(lazy))
