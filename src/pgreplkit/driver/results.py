"""Results of a walsender, which supports only the simple query protocol."""

from __future__ import annotations

import time
from collections.abc import Sequence

from psycopg import errors
from psycopg.abc import PQGen
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

CANCELLED_WITHIN = 5.0
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


class Fetching:
    """The fetching of a command's results, which can be left at a deadline and continued."""

    def __init__(self, fetching: PQGen[list[PGresult]]) -> None:
        self._fetching = fetching
        self._wanted = next(fetching)

    def within(self, timeout: float) -> PQGen[list[PGresult] | None]:
        """Fetch the results; return None if they are not complete after ``timeout`` seconds."""
        deadline = time.monotonic() + timeout
        while True:
            # psycopg's waits return after an interval even if nothing is ready.
            ready = yield self._wanted
            if not ready and time.monotonic() >= deadline:
                return None
            try:
                self._wanted = self._fetching.send(ready)
            except StopIteration as stop:
                results: list[PGresult] = stop.value
                return results
