"""made_by: classes that say what creates their objects."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TypeVar

T = TypeVar("T")


def made_by(how: str, first: type = object) -> Callable[[type[T]], type[T]]:
    """Let a class that is called by guess, with arguments of another kind, name what creates it.

    ``how`` is the call that returns such objects; ``{name}`` in it is the name of the class. The
    library itself passes a ``first`` as the first argument.
    """

    def decorate(kind: type[T]) -> type[T]:
        initialize: Callable[..., None] = kind.__init__

        def reason(self: T) -> TypeError:
            name = type(self).__name__
            return TypeError(f"{name} is not created by calling it; use {how.format(name=name)}")

        @wraps(initialize)
        def checked(self: T, *args: object, **kwargs: object) -> None:
            if args and not isinstance(args[0], first):
                raise reason(self)
            try:
                initialize(self, *args, **kwargs)
            except TypeError as error:
                # Without a frame below this one, the arguments were not those of the signature.
                if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                    raise
                raise reason(self) from None

        kind.__init__ = checked  # type: ignore[method-assign, assignment]
        return kind

    return decorate
