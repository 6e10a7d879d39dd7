"""The cursor class with which statements run on a connection."""

from __future__ import annotations

from typing import cast

from psycopg import AsyncClientCursor, AsyncConnection, AsyncCursor, AsyncRawCursor
from psycopg.rows import DictRow

_OTHER_PARAMETERS = (AsyncClientCursor, AsyncRawCursor)
"""Classes that bind parameters in another way than the statements here expect."""


def cursor_class(connection: AsyncConnection[object]) -> type[AsyncCursor[DictRow]]:
    """Return the connection's own cursor class if it can run the statements, else psycopg's.

    Instrumentation such as OpenTelemetry's replaces ``cursor_factory`` by a subclass.
    """
    factory: object = connection.cursor_factory
    if not isinstance(factory, type) or not issubclass(factory, AsyncCursor):
        return AsyncCursor
    if issubclass(factory, _OTHER_PARAMETERS):
        return AsyncCursor
    return cast(type[AsyncCursor[DictRow]], factory)
