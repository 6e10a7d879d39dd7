"""Functions of libpq that wait for a server, called so that other threads run in the meantime.

psycopg's C code calls them without releasing the GIL: on a path that is silent, no thread of the
process would run. ctypes releases the GIL, and psycopg's pure Python uses it as well.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from ctypes import CDLL, PyDLL, c_void_p, create_string_buffer

from psycopg import BaseConnection, pq
from psycopg.pq import PGconn, Ping
from psycopg.pq.misc import find_libpq_full_path


def ping(conninfo: str) -> Ping:
    """Ask a server whether it accepts connections.

    Source: PQping().
    """
    if pq.__impl__ == "python":
        return Ping(PGconn.ping(conninfo.encode()))
    return Ping(CDLL(_c_code()).PQping(conninfo.encode()))


def cancellation(connection: BaseConnection[object]) -> Callable[[], None]:
    """Return a function that asks the server to cancel the connection's command.

    The function must be called once, in any thread; the connection may be closed by then. It waits
    until the server has taken the request, without a limit.

    Source: PQcancel().
    """
    if pq.__impl__ == "python":
        return connection.pgconn.get_cancel().cancel
    create = PyDLL(_c_code()).PQgetCancel
    create.argtypes, create.restype = [c_void_p], c_void_p
    # The attribute is documented, but not part of psycopg's protocol class.
    pointer: int | None = connection.pgconn.pgconn_ptr  # type: ignore[attr-defined]
    # PyDLL keeps the GIL, so that no other thread closes the connection in the meantime.
    request = c_void_p(create(pointer))

    def send() -> None:
        libpq, message = CDLL(_c_code()), create_string_buffer(256)
        libpq.PQcancel(request, message, len(message))
        libpq.PQfreeCancel(request)

    return send


def libpq() -> PyDLL:
    """Return the libpq that psycopg uses, for functions that do not wait."""
    if pq.__impl__ == "python":
        return PyDLL(find_libpq_full_path())
    return PyDLL(_c_code())


def _c_code() -> str | None:
    """Return the file of psycopg's C code; its symbols include those of the libpq that it uses."""
    return sys.modules[f"psycopg_{pq.__impl__}.pq"].__file__
