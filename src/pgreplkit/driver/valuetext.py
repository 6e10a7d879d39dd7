"""text_of: Python values as the texts that a server reads."""

from __future__ import annotations

from collections.abc import Callable

from psycopg import BaseConnection
from psycopg.adapt import PyFormat, Transformer


def text_of(connection: BaseConnection[object]) -> Callable[[object], bytes | None]:
    """Return a function that dumps values by the dumpers of a connection.

    The function raises psycopg's ProgrammingError for a value without a dumper.
    """
    transformer = Transformer(connection)

    def dumped(value: object) -> bytes | None:
        if value is None:
            return None
        text = transformer.get_dumper(value, PyFormat.TEXT).dump(value)
        return None if text is None else bytes(text)

    return dumped
