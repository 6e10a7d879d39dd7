"""several and by_name: refuse one name where several, or values by name, are expected."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

T = TypeVar("T")
K = TypeVar("K")


def several(given: Iterable[T], argument: str, *, at_least: int = 0) -> tuple[T, ...]:
    """Return the items of an argument that takes several, such as names of tables.

    Every public function with such an argument calls this one: iterating over one ``str`` would
    silently read its letters. The value itself is not repeated in the error, because a connection
    string may hold a password.

    Raises:
        TypeError: For a single str or bytes, or a value that is not iterable.
        ValueError: For fewer items than ``at_least``.
    """
    if isinstance(given, str | bytes):
        raise TypeError(
            f"{argument} takes several items, not one {type(given).__name__}: pass a list"
        )
    try:
        items = iter(given)
    except TypeError:
        raise TypeError(
            f"{argument} takes several items, not one {type(given).__name__}: pass a list"
        ) from None
    several_items = tuple(items)
    if len(several_items) < at_least:
        found = f"has {len(several_items)}" if several_items else "is empty"
        raise ValueError(f"{argument} {found}; it takes at least {at_least}")
    return several_items


def by_name(given: Mapping[K, T] | None, argument: str) -> Mapping[K, T]:
    """Return an argument that takes values by name; it is empty if None is given.

    Raises:
        TypeError: For anything but a mapping; its value is not repeated.
    """
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        kind = type(given).__name__
        raise TypeError(f"{argument} takes values by name, not one {kind}: pass a dict")
    return given


def texts_by_name(given: Mapping[str, str] | None, argument: str) -> Mapping[str, str]:
    """Return an argument that takes texts by name, such as settings; it is empty if None is given.

    Raises:
        TypeError: For anything but a mapping of texts; a value is not repeated.
    """
    texts = by_name(given, argument)
    for name, text in texts.items():
        if not isinstance(name, str):
            raise TypeError(f"a name in {argument} must be a str, not {type(name).__name__}")
        if not isinstance(text, str):
            raise TypeError(f"{argument}[{name!r}] must be a str, not {type(text).__name__}")
    return texts
