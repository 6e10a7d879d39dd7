"""Sessions that end at a deadline, whatever their servers wait for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from socket import AF_INET, SHUT_RDWR, SHUT_WR, SOCK_STREAM, fromfd, socket
from typing import Self

from psycopg import AsyncConnection, Error as PsycopgError
from psycopg.pq import TransactionStatus

from pgreplkit._async._io import Job, TaskGroup, shielded, wait_readable
from pgreplkit._async.wire.cancelling import cancel
from pgreplkit.driver.backoff import Backoff

_LOOKS_EVERY = 0.1
"""Seconds between two looks whether the deadline has passed."""
_AGAIN_AFTER = 0.2
"""Seconds between two requests to cancel: one that comes between two statements is lost."""
_ENDED_WITHIN = 5.0
"""Seconds for a server that is alive to end a session whose command is cancelled."""
_BLOCK = 64 << 10


class AsyncCutoff:
    """A deadline of sessions: once ``is_due`` returns True, all their commands are cancelled.

    Whatever waits for one of their statements gets an error then: that of the cancelled statement,
    or that of a lost connection.
    """

    def __init__(
        self, is_due: Callable[[], bool], connections: Sequence[AsyncConnection[object]]
    ) -> None:
        self._is_due, self._connections = is_due, connections
        self._group = TaskGroup(1)
        self._job: Job[None] | None = None
        self._is_closed = False
        self.has_cut = False
        """Whether the sessions were ended."""

    async def __aenter__(self) -> Self:
        self._job = self._group.start(self._watch)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._is_closed = True
        await shielded(self._end)

    async def _end(self) -> None:
        await self._group.close()
        # A request to cancel uses the connection, which the caller may close next.
        if self._job is not None:
            await self._group.wait([self._job], _ENDED_WITHIN)

    async def _watch(self) -> None:
        while not self._is_due():
            if self._is_closed:
                return
            await self._group.rest(_LOOKS_EVERY)
        self.has_cut = True
        patience = Backoff(_ENDED_WITHIN)
        while not self._is_closed:
            for connection in self._connections:
                if not self._is_closed:
                    # If the path is silent, the wait for the server ends here.
                    shut(connection, SHUT_RDWR if patience.is_over else SHUT_WR)
                    await cancel(connection, timeout=_ENDED_WITHIN)
            await self._group.rest(_AGAIN_AFTER)


def shut(connection: AsyncConnection[object], how: int) -> None:
    """Let the server see the end of its client as soon as it reads.

    With SHUT_RDWR, a wait of this client ends, too.
    """
    with suppress(OSError, PsycopgError), _path(connection) as path:
        path.shutdown(how)


def _path(connection: AsyncConnection[object]) -> socket:
    # A descriptor of its own: libpq keeps the other one.
    return fromfd(connection.pgconn.socket, AF_INET, SOCK_STREAM)


async def end_session(connection: AsyncConnection[object]) -> None:
    """Close a connection after its session has ended, with everything rolled back.

    A server notices the end of its client only after the statement that it executes: a session
    that waits for a lock would outlive its client, and keep its own locks. If the caller is
    cancelled, the end comes first.
    """
    await shielded(partial(_end_session, connection))


async def _end_session(connection: AsyncConnection[object]) -> None:
    try:
        if connection.info.transaction_status == TransactionStatus.ACTIVE:
            with suppress(OSError, PsycopgError), _path(connection) as path:
                await _end(connection, path)
    finally:
        await connection.close()


async def _end(connection: AsyncConnection[object], path: socket) -> None:
    path.setblocking(False)
    # What the server has received already still comes before the end.
    path.shutdown(SHUT_WR)
    patience = Backoff(_ENDED_WITHIN)
    while not patience.is_over:
        await cancel(connection, timeout=_ENDED_WITHIN)
        while not patience.is_over and await wait_readable(path.fileno(), _AGAIN_AFTER):
            if not path.recv(_BLOCK):
                return
