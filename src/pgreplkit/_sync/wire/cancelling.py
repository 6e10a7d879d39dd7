# Generated from pgreplkit/_async/wire/cancelling.py by `nox -s sync`. Do not edit.
"""cancel: a request to cancel a command, within a limit."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from threading import Thread

from psycopg import Connection, Error as PsycopgError, capabilities, errors
from psycopg.rows import Row

from pgreplkit._sync._io import shielded, to_thread


def cancel(connection: Connection[object], *, timeout: float) -> None:
    """Ask the server to cancel the connection's command; wait at most ``timeout`` seconds.

    A request that fails raises nothing: it may meet the same silence as the command, whose own
    end the caller waits for.
    """
    with suppress(PsycopgError):
        if capabilities.has_cancel_safe():
            connection.cancel_safe(timeout=timeout)
        else:
            _cancel_in_thread(connection, timeout)


class OwnConnection(Connection[Row]):
    """A connection that this library opens, whose cancellation has a limit with every libpq.

    psycopg cancels the command of a task or thread that is interrupted while it waits.
    """

    def cancel_safe(self, *, timeout: float = 30.0) -> None:
        """Cancel the current command; see psycopg.

        If the caller is cancelled, the request comes first: otherwise the server's session would
        outlive its client as long as it waits for a lock.

        Raises: psycopg's CancellationTimeout.
        """
        shielded(partial(self._request, timeout))

    def _request(self, timeout: float) -> None:
        if capabilities.has_cancel_safe():
            super().cancel_safe(timeout=timeout)
        else:
            _cancel_in_thread(self, timeout)


def _cancel_in_thread(connection: Connection[object], timeout: float) -> None:
    from pgreplkit.driver.libpq import cancellation

    # libpq before 17 waits for the server without a limit. A daemon thread, because neither the
    # caller nor the end of the program may wait for it.
    request = Thread(
        target=_send, args=[cancellation(connection)], daemon=True, name="pgreplkit cancel"
    )
    request.start()
    to_thread(lambda: request.join(timeout))
    if request.is_alive():
        raise errors.CancellationTimeout("cancellation timeout expired")


def _send(request: Callable[[], None]) -> None:
    with suppress(PsycopgError):
        request()
