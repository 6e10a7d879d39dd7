"""The encoding of a session, and texts in it that may hold other bytes."""

from __future__ import annotations

from typing import Any

from psycopg import BaseConnection


def has_encoding(connection: BaseConnection[Any]) -> bool:
    """Whether the database has an encoding: SQL_ASCII means bytes of any."""
    return connection.pgconn.parameter_status(b"server_encoding") != b"SQL_ASCII"


def name_encoding(connection: BaseConnection[Any]) -> str:
    """Return the codec for names that the server sends in this session."""
    encoding = connection.info.encoding
    # psycopg calls SQL_ASCII "ascii"; names of such databases are UTF-8 most often.
    return "utf-8" if encoding == "ascii" else encoding


def role_of(connection: BaseConnection[Any]) -> str:
    """Return the role of the session, with bytes of another encoding escaped."""
    return connection.pgconn.user.decode(name_encoding(connection), "backslashreplace")
