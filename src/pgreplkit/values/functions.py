"""Refuse functions of callers that could not be called, before they are."""

from __future__ import annotations

from collections.abc import Callable
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction, signature

from pgreplkit._text import counted


def insist_on_function(function: object, name: str, *, takes: int) -> None:
    """Refuse an object that cannot be called with that number of arguments, or is async.

    Raises: TypeError.
    """
    if not callable(function):
        raise TypeError(f"{name} must be callable")
    # No one would await a coroutine, which is true for each row. An object's __call__ may be async.
    if iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__):
        raise TypeError(f"{name} must be an ordinary function, not an async one")
    insist_on_arguments(function, name, takes=takes)


def _is_generator(function: object) -> bool:
    """Return whether a function has a yield."""
    return isgeneratorfunction(function) or isasyncgenfunction(function)


def insist_on_arguments(function: Callable[..., object], name: str, *, takes: int) -> None:
    """Refuse a function that does not take that number of arguments, or that has a yield.

    Raises: TypeError.
    """
    # A call of it runs nothing.
    if any(map(_is_generator, (function, type(function).__call__))):
        raise TypeError(f"{name} must be an ordinary function, not one with yield")
    try:
        signature(function).bind(*range(takes))
    except ValueError:
        # Some functions that are written in C do not report their parameters.
        return
    except TypeError as error:
        raise TypeError(f"{name} must take {counted(takes, 'argument')}: {error}") from None
