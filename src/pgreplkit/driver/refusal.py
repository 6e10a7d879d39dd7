"""The SQLSTATE with which a server refuses a connection, which psycopg does not report."""

from __future__ import annotations

import re
import time
from ctypes import c_int, c_void_p
from selectors import EVENT_READ, EVENT_WRITE, DefaultSelector

import psycopg
from psycopg.pq import PGconn, PollingStatus
from psycopg.pq.abc import PGconn as AnyPGconn

from pgreplkit.driver.libpq import libpq

_VERBOSE = 2
"""PQERRORS_VERBOSE: messages contain the SQLSTATE, in the same form in each language."""
_CODE = re.compile(r":  ([0-9A-Z]{5}): ")
_OF_A_SERVER = b":  "
"""Two blanks follow the severity of a server's message; libpq's own messages do not have them."""
_WAITS = {PollingStatus.READING: EVENT_READ, PollingStatus.WRITING: EVENT_WRITE}
_ANSWERS_WITHIN = 3.0
"""Seconds: the server has just refused the same connection."""


def is_of_a_server(error: BaseException | None) -> bool:
    """Return whether a server has answered an attempt to connect, and refused it."""
    pgconn = error.pgconn if isinstance(error, psycopg.Error) else None
    return pgconn is not None and _OF_A_SERVER in pgconn.error_message


def lacks_password(error: BaseException | None) -> bool:
    """Return whether a connection failed because it lacks the password that the server needs."""
    pgconn = error.pgconn if isinstance(error, psycopg.Error) else None
    return pgconn is not None and pgconn.needs_password


def refusal(conninfo: str) -> str | None:
    """Connect once more, and return the SQLSTATE of the refusal; None without one.

    Of several hosts, it is that of the last one which has answered.

    Source: PQconnectPoll(), PQsetErrorVerbosity().
    """
    pgconn = PGconn.connect_start(conninfo.encode())
    try:
        verbosity = libpq().PQsetErrorVerbosity
        verbosity.argtypes = [c_void_p, c_int]
        # The attribute is documented, but not part of psycopg's protocol class.
        verbosity(pgconn.pgconn_ptr, _VERBOSE)  # type: ignore[attr-defined]
        _wait(pgconn)
        codes = _CODE.findall(pgconn.error_message.decode(errors="replace"))
        return codes[-1] if codes else None
    except psycopg.Error:
        return None
    finally:
        pgconn.finish()


def _wait(pgconn: AnyPGconn) -> None:
    """Wait until the server has accepted or refused the connection, or the time is over."""
    deadline = time.monotonic() + _ANSWERS_WITHIN
    while (event := _WAITS.get(PollingStatus(pgconn.connect_poll()))) is not None:
        left = deadline - time.monotonic()
        # Not select(), which takes no file descriptors above 1023.
        with DefaultSelector() as selector:
            selector.register(pgconn.socket, event)
            if left <= 0 or not selector.select(left):
                return
