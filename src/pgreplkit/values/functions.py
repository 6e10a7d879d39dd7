"""insist_on_function: refuse a function that could not be called, before it is."""

from __future__ import annotations

from inspect import iscoroutinefunction, signature

from pgreplkit._text import counted


def insist_on_function(function: object, name: str, *, takes: int) -> None:
    """Refuse what cannot be called with as many arguments, or returns no value but a coroutine.

    Raises: TypeError.
    """
    if not callable(function):
        raise TypeError(f"{name} must be callable")
    # A coroutine would be true for each row.
    if iscoroutinefunction(function):
        raise TypeError(f"{name} must be an ordinary function, not an async one")
    try:
        signature(function).bind(*range(takes))
    except ValueError:
        # Some functions that are written in C do not say what they take.
        return
    except TypeError as error:
        raise TypeError(f"{name} must take {counted(takes, 'argument')}: {error}") from None
