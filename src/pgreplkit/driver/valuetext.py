"""text_of: Python values as the texts that a server reads."""

from __future__ import annotations

from collections.abc import Callable

import psycopg
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
        except (psycopg.Error, UnicodeError) as error:
            raise ValueError(f"{_unsendable(value)}: {error}") from None
        except Exception as error:
            # Dumpers may be the caller's own, with a text that has the value.
            why = type(error).__name__
            raise ValueError(f"{_unsendable(value)}: its dumper raised {why}") from None
        return None if text is None else bytes(text)

    return dumped


def _unsendable(value: object) -> str:
    return f"a value of type {type(value).__name__} that cannot be sent"
