"""Results of a walsender, which supports only the simple query protocol."""

from __future__ import annotations

import time
from collections.abc import Sequence

from psycopg import errors
from psycopg.abc import PQGen
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

_CANCELLED_WITHIN = 5.0
"""Seconds: a server that is alive cancels a command at once; then the connection is given up."""


def raise_failure(results: Sequence[PGresult], encoding: str) -> None:
    """Raise the first error among the results.

    A terminated connection adds a second error, which does not contain the reason.
    """
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            raise errors.error_from_result(result, encoding=encoding)


def records(results: Sequence[PGresult]) -> list[dict[str, str | None]]:
    """Return the rows of the first result that has any, as texts by column name."""
    for result in results:
        if result.status == ExecStatus.TUPLES_OK:
            names = [(result.fname(at) or b"").decode() for at in range(result.nfields)]
            return [
                {name: _text(result.get_value(row, at)) for at, name in enumerate(names)}
                for row in range(result.ntuples)
            ]
    return []


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "backslashreplace")


def cancelled_after(
    timeout: float, fetching: PQGen[list[PGresult]], pgconn: PGconn
) -> PQGen[list[PGresult]]:
    """Run ``fetching``; after ``timeout`` seconds ask the server to cancel the command."""
    deadline = time.monotonic() + timeout
    wanted, is_cancelled = next(fetching), False
    while True:
        # psycopg's waits return after an interval even if nothing is ready.
        ready = yield wanted
        if not ready and time.monotonic() >= deadline:
            # The request to cancel was sent on a connection of its own: nothing answers at all.
            if is_cancelled:
                raise errors.ConnectionTimeout("the server does not respond")
            pgconn.get_cancel().cancel()
            is_cancelled, deadline = True, time.monotonic() + _CANCELLED_WITHIN
        try:
            wanted = fetching.send(ready)
        except StopIteration as stop:
            results: list[PGresult] = stop.value
            return results
