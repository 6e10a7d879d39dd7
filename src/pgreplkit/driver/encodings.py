"""The encoding of a session, and texts in it that may hold other bytes."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from psycopg import BaseConnection

from pgreplkit.errors import ServerError

_ESCAPED = re.compile(r"\\x[0-9a-f]{2}")
"""A byte that could not be decoded, as it is shown."""


def has_encoding(connection: BaseConnection[Any]) -> bool:
    """Return whether the database has an encoding: SQL_ASCII means bytes of any."""
    return connection.pgconn.parameter_status(b"server_encoding") != b"SQL_ASCII"


def common_encoding(connections: Iterable[BaseConnection[Any]]) -> str | None:
    """Return the encoding in which texts of several databases are equal, byte by byte.

    None stands for the encoding of all of them. SQL_ASCII leaves the bytes as each database has
    them: the server converts none from or to such a database.
    """
    encodings = {each.pgconn.parameter_status(b"server_encoding") for each in connections}
    if b"SQL_ASCII" in encodings:
        return "SQL_ASCII"
    return None if len(encodings) == 1 else "UTF8"


def name_encoding(connection: BaseConnection[Any]) -> str:
    """Return the codec for names that the server sends in this session."""
    encoding = connection.info.encoding
    # psycopg calls SQL_ASCII "ascii"; names of such databases are UTF-8 most often.
    return "utf-8" if encoding == "ascii" else encoding


def role_of(connection: BaseConnection[Any]) -> str:
    """Return the role of the session, with bytes of another encoding escaped."""
    return connection.pgconn.user.decode(name_encoding(connection), "backslashreplace")


def insist_on_readable(
    connection: BaseConnection[Any], operation: str, names: Iterable[str]
) -> None:
    """Refuse names with bytes of another encoding: they cannot be sent back to the server.

    Raises: ServerError.
    """
    if has_encoding(connection):
        return
    if unreadable := [name for name in names if _ESCAPED.search(name)]:
        found = f"{', '.join(unreadable)} is not valid {name_encoding(connection)}"
        remedy = "connect with the encoding of the names, such as client_encoding=LATIN1"
        raise ServerError(operation, found, remedy=remedy)
