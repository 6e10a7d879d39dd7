# Generated from pgreplkit/_async/wire/cursors.py by `nox -s sync`. Do not edit.
"""The cursor class with which statements run on a connection."""

from __future__ import annotations

from typing import cast

from psycopg import ClientCursor, Connection, Cursor, RawCursor
from psycopg.rows import DictRow

_OTHER_PARAMETERS = (ClientCursor, RawCursor)
"""Classes that bind parameters in another way than the statements here expect."""


def cursor_class(connection: Connection[object]) -> type[Cursor[DictRow]]:
    """Return the connection's own cursor class if it can run the statements, else psycopg's.

    Instrumentation such as OpenTelemetry's replaces ``cursor_factory`` by a subclass.
    """
    factory: object = connection.cursor_factory
    if not isinstance(factory, type) or not issubclass(factory, Cursor):
        return Cursor
    if issubclass(factory, _OTHER_PARAMETERS):
        return Cursor
    return cast(type[Cursor[DictRow]], factory)
