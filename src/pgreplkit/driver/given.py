"""Errors for arguments that are not what a function takes, which name what to pass instead."""

from __future__ import annotations

import psycopg

_ADVICE = {
    "psycopg2": "psycopg2 is not supported; open the connection with psycopg 3",
    "asyncpg": "asyncpg is not supported; open the connection with psycopg 3",
    "psycopg_pool": "take a connection from the pool: with pool.connection() as connection",
    "sqlalchemy": "with the dialect postgresql+psycopg, pass"
    " engine.raw_connection().driver_connection, or connection.connection.driver_connection",
    "django": "with psycopg 3 installed, call its ensure_connection() and pass its attribute"
    " connection",
}
"""What to do with the objects of other libraries, by top-level package."""


def connection_error(given: object, wanted: type, owner: str) -> TypeError:
    """Return the error for an object that is not a ``wanted`` connection of psycopg.

    ``owner`` is the name of the class that takes the connection.
    """
    takes = f"{owner} takes an open psycopg.{wanted.__name__}"
    if isinstance(given, str):
        # The string is not repeated, because it may contain a password.
        return TypeError(f"{takes}, not a connection string; use {owner}.connect(conninfo)")
    if isinstance(given, psycopg.AsyncConnection):
        other = f"use Async{owner}, or open it with psycopg.connect()"
        return TypeError(f"{takes}, not an AsyncConnection; {other}")
    if isinstance(given, psycopg.Connection):
        other = owner.removeprefix("Async")
        advice = f"use {other}, or open it with psycopg.AsyncConnection.connect()"
        return TypeError(f"{takes}, not a Connection; {advice}")
    if isinstance(given, psycopg.Cursor | psycopg.AsyncCursor):
        return TypeError(f"{takes}, not a cursor; pass cursor.connection")
    return TypeError(f"{takes}, not {_described(given)}")


def server_error(given: object, wanted: str, argument: str) -> TypeError:
    """Return the error for an object that is not a server; ``wanted`` names the server classes."""
    is_async = wanted.startswith("Async")
    takes = f"{argument} must be {'an' if is_async else 'a'} {wanted}"
    opener = "aconnect()" if is_async else "connect()"
    if isinstance(given, str):
        return TypeError(f"{takes}, not a connection string; {opener} returns one")
    if type(given).__module__.startswith("pgreplkit"):
        return TypeError(f"{takes}, not {type(given).__name__}; {opener} returns one")
    if isinstance(given, psycopg.Connection | psycopg.AsyncConnection):
        return TypeError(f"{takes}, not a psycopg connection; pass {wanted}(connection)")
    return TypeError(f"{takes}, not {_described(given)}")


def _described(given: object) -> str:
    kind = type(given)
    # By name: the other library need not be installed here.
    package = kind.__module__.partition(".")[0]
    name = kind.__name__ if package == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    advice = _ADVICE.get(package)
    return f"{name}; {advice}" if advice else name
