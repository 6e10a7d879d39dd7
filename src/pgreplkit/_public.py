"""Public names are loaded when they are first used, from the modules that define them."""

import sys
from importlib import import_module

from pgreplkit._annotations import defer
from pgreplkit._rooms import ROOMS

# Importing typing would cost more than the rest of this module. An editor that infers values, such
# as jedi, skips a block below False; it does not evaluate the call.
TYPE_CHECKING = bool()  # noqa: UP018
if TYPE_CHECKING:
    from collections.abc import Callable

HOME = {
    public: {name: room for room, names in rooms.items() for name in names}
    for public, rooms in ROOMS.items()
}
"""The module that defines each name, by public module."""
SUBMODULES = sorted(public.removeprefix("pgreplkit.") for public in ROOMS if public != "pgreplkit")
"""The public modules that are imported when they are first used as attributes of the package."""

_unnamed = {(public, room) for public, rooms in ROOMS.items() for room in rooms}
"""Modules whose classes do not yet name their public module."""


def lazy(public: str) -> tuple["Callable[[str], object]", "Callable[[], list[str]]"]:
    """Return ``__getattr__`` and ``__dir__`` of a public module."""
    homes = HOME[public]

    def load(name: str) -> object:
        if public == "pgreplkit" and name in SUBMODULES:
            return import_module(f"pgreplkit.{name}")
        if name not in homes:
            raise AttributeError(f"module {public!r} has no attribute {name!r}")
        value = getattr(import_module(f"pgreplkit.{homes[name]}"), name)
        setattr(sys.modules[public], name, value)
        _name_public_module()
        return value

    return load, lambda: sorted(homes)


def _name_public_module() -> None:
    """Let classes and functions name the public module that has them, such as ``pgreplkit.rows``.

    Tracebacks and pickles then name what users import, and stay right when a module moves. It is
    done for all that is loaded, since a class may be met that was never asked for by its name.
    """
    # The package is the last, and has the last word about a name that is in two modules.
    for public, room in sorted(_unnamed, reverse=True):
        module = sys.modules.get(f"pgreplkit.{room}")
        values = [vars(module).get(name) for name in ROOMS[public][room]] if module else []
        # Another thread may be importing the module right now.
        if not values or None in values:
            continue
        for value in filter(_has_module, values):
            defer(value)
            value.__module__ = public
        _unnamed.discard((public, room))


def _has_module(value: object) -> bool:
    return isinstance(value, type | type(lazy))
