"""The answers of a walsender, which speaks the simple protocol only."""

from __future__ import annotations

import time
from collections.abc import Sequence

from psycopg import errors
from psycopg.abc import PQGen
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGconn, PGresult

_CANCELLED_WITHIN = 5.0
"""Seconds."""


def raise_failure(results: Sequence[PGresult], encoding: str) -> None:
    """Raise the first error among the results.

    A connection that was ended gives a second one, which does not say why.
    """
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            raise errors.error_from_result(result, encoding=encoding)


def records(results: Sequence[PGresult]) -> list[dict[str, str | None]]:
    """The rows of the first result that has any, as texts by the names of their columns."""
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
    """The same, but the server is asked to cancel what takes more than that many seconds."""
    deadline = time.monotonic() + timeout
    wanted, is_cancelled = next(fetching), False
    while True:
        # psycopg's waits come back after a while even when nothing is ready.
        ready = yield wanted
        if not ready and time.monotonic() >= deadline:
            if is_cancelled:
                raise errors.ConnectionTimeout("the server does not answer")
            pgconn.get_cancel().cancel()
            is_cancelled, deadline = True, time.monotonic() + _CANCELLED_WITHIN
        try:
            wanted = fetching.send(ready)
        except StopIteration as stop:
            results: list[PGresult] = stop.value
            return results
