# Generated from pgreplkit/_async/cluster/hooks.py by `nox -s sync`. Do not edit.
"""Calls of the functions with which a caller moves clients or fences a server."""

from __future__ import annotations

from collections.abc import Callable
from traceback import format_exception_only

from pgreplkit._sync._io import failure_of_hook
from pgreplkit.errors import ControlFailed


def call_hook(
    operation: str, name: str, hook: Callable[[str], object], node: str, timeout: float | None
) -> None:
    """Call a caller's function with the name of a server.

    Raises: ControlFailed for all that it raises, and if it takes too long; KeyboardInterrupt.
    """
    try:
        error = failure_of_hook(lambda: hook(node), timeout)
    except TimeoutError:
        found = f"{name} has not returned within {timeout} s, and may still run"
        raise ControlFailed(operation, found) from None
    match error:
        case None:
            return
        case KeyboardInterrupt():
            raise error
        case SystemExit():
            # The program would end as if the operation were complete, perhaps with exit status 0.
            found = f"{name} has called sys.exit({error.code!r})"
        case _:
            found = "".join(format_exception_only(error)).strip()
    raise ControlFailed(operation, found) from error
