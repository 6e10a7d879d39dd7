"""cancel: a request to cancel a command, within a limit."""

from __future__ import annotations

from contextlib import suppress
from threading import Thread

from psycopg import AsyncConnection, BaseConnection, Error as PsycopgError, capabilities

from pgreplkit._async._io import to_thread


async def cancel(connection: AsyncConnection[object], *, timeout: float) -> None:
    """Ask the server to cancel the connection's command; wait at most ``timeout`` seconds.

    A request that fails raises nothing: it may meet the same silence as the command, whose own
    end the caller waits for.
    """
    if capabilities.has_cancel_safe():
        with suppress(PsycopgError):
            await connection.cancel_safe(timeout=timeout)
        return
    # libpq before 17 waits for the server without a limit. A daemon thread, because neither the
    # caller nor the end of the program may wait for it. This does not help psycopg's C code, which
    # lets no other thread run in the meantime.
    request = Thread(target=_request, args=[connection], daemon=True, name="pgreplkit cancel")
    request.start()
    await to_thread(lambda: request.join(timeout))


def _request(connection: BaseConnection[object]) -> None:
    with suppress(PsycopgError):
        connection.pgconn.get_cancel().cancel()
