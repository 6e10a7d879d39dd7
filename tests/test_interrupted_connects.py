"""An attempt to connect that is interrupted leaves no half open connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from pgreplkit import AsyncPrimary, AsyncReplicationConnection
from pgreplkit.apply import AsyncApplier

CALLS: dict[str, Callable[[str], Awaitable[object]]] = {
    "connection": AsyncPrimary.connect,
    "replication": AsyncReplicationConnection.connect,
    "applier": lambda conninfo: AsyncApplier(conninfo, conninfo, "x", publications=["p"]).run(),
    "applied": lambda conninfo: AsyncApplier("", conninfo, "x", publications=["p"]).parked(),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
async def test_a_cancelled_attempt_is_closed_while_its_error_is_kept(
    call: Callable[[str], Awaitable[object]],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        conninfo = f"host=127.0.0.1 port={silent.getsockname()[1]} sslmode=disable"
        task = asyncio.ensure_future(call(conninfo))
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(20):
            client, _ = await loop.sock_accept(silent)
            with client:
                # The start of a session, which the server leaves without an answer.
                assert await loop.sock_recv(client, 1 << 10)
                task.cancel()
                with pytest.raises(asyncio.CancelledError) as kept:
                    await task
                assert await loop.sock_recv(client, 1 << 10) == b""
                assert kept.value.__traceback__ is not None
