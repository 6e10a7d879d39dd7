"""checked_flags: refuse options that are not True or False."""

from __future__ import annotations


def checked_flags(**flags: object) -> None:
    """Refuse flags that are not bools; their names are those of the arguments.

    Every public function with such an argument calls this one, before it does anything else:
    ``"no"``, ``"off"`` and ``"false"``, as they come from configuration files, are true in Python,
    and would choose the opposite.

    Raises: TypeError.
    """
    for argument, given in flags.items():
        if not isinstance(given, bool):
            raise TypeError(f"{argument} must be True or False, not {type(given).__name__}")


def optional_flags(**flags: object) -> None:
    """Refuse flags that are neither bools nor None, which leaves a choice to the server.

    Raises: TypeError.
    """
    checked_flags(**{argument: given for argument, given in flags.items() if given is not None})
