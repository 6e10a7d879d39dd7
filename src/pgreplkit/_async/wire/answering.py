"""answered_in_time: a limit for commands that a live server answers at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from socket import AF_INET, SHUT_RDWR, SOCK_STREAM, fromfd

from psycopg import AsyncConnection, Error as PsycopgError, errors

from pgreplkit._async._io import later


@contextmanager
def answered_in_time(connection: AsyncConnection[object]) -> Iterator[None]:
    """Cut the connection if the commands of the block are not answered in time.

    psycopg waits for an answer without limit, so a path that falls silent would stop the caller.
    The limit is that of a stream whose server has wal_sender_timeout off.

    Raises: psycopg's ConnectionTimeout.
    """
    # A first connect does without it.
    from pgreplkit.plans.streams import silence

    limit, is_cut = silence.DEFAULT_LIMIT, False
    # A descriptor of its own: the connection may be closed by then, and its number used again.
    path = fromfd(connection.pgconn.socket, AF_INET, SOCK_STREAM)

    def cut() -> None:
        nonlocal is_cut
        is_cut = True
        # Wakes the waiting reader with the end of the connection.
        with suppress(OSError):
            path.shutdown(SHUT_RDWR)

    timer = later(limit, cut)
    try:
        yield
    except PsycopgError as error:
        if not is_cut:
            raise
        raise errors.ConnectionTimeout(f"the server did not answer within {limit:g} s") from error
    finally:
        timer.cancel()
        path.close()
