"""text_of: Python values as the texts that a server reads."""

from __future__ import annotations

from collections.abc import Callable

from psycopg.abc import AdaptContext
from psycopg.adapt import PyFormat, Transformer


def text_of(context: AdaptContext | None) -> Callable[[object], bytes | None]:
    """Return a function that dumps values by the dumpers of a connection; None means psycopg's own.

    The function raises ValueError for a value that cannot be sent.
    """
    transformer = Transformer(context)

    def dumped(value: object) -> bytes | None:
        if value is None:
            return None
        try:
            text = transformer.get_dumper(value, PyFormat.TEXT).dump(value)
        except Exception as error:  # dumpers may be the caller's own
            kind = type(value).__name__
            raise ValueError(f"a value of type {kind} that cannot be sent: {error}") from error
        return None if text is None else bytes(text)

    return dumped
