"""The sessions of an applier; a run opens none of them after its end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from psycopg.conninfo import make_conninfo

from pgreplkit._async._io import Call, Closable, TaskGroup, abandon
from pgreplkit._async.wire.cancelling import AsyncOwnConnection
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit._async.wire.opening import opening
from pgreplkit._async.wire.pooling import insist_on_session
from pgreplkit._async.wire.session import use_own_settings
from pgreplkit.apply.goal import ApplyGoal
from pgreplkit.catalog.logical.applying import QUALIFY
from pgreplkit.driver.conninfo import address
from pgreplkit.driver.watchdog import watched

S = TypeVar("S", bound=Closable)

_LOOKS_EVERY = 0.1
"""Seconds between two looks whether the run has to end."""


async def open_session(conninfo: str, *, hides_values: bool = False) -> AsyncLink:
    """Open a session with settings of its own, whose texts are in UTF-8.

    Raises: ConnectionFailed; ServerError for the connection of a pooler.
    """
    where = address(conninfo)
    async with opening(conninfo, operation := f"connect to {where}"):
        connection = await AsyncOwnConnection[object].connect(
            make_conninfo(conninfo, client_encoding="UTF8"), autocommit=True
        )
        link = AsyncLink(connection, hides_values=hides_values)
        try:
            await insist_on_session(link, operation, where)
            await use_own_settings(connection)
            # Nothing that the caller owns is named without its schema.
            with watched(connection, link.conninfo_for_another):
                await connection.execute(QUALIFY, prepare=False)
        except BaseException:
            await connection.close()
            raise
    return link


@asynccontextmanager
async def session_of(conninfo: str) -> AsyncIterator[AsyncLink]:
    """Open such a session for the block.

    Raises: as ``open_session``.
    """
    link = await open_session(conninfo)
    try:
        yield link
    finally:
        await link.connection.close()


async def opened(goal: ApplyGoal, conninfo: str, connect: Call[S]) -> S:
    """Open a session by ``connect``, unless the run has to end before the server has answered.

    Raises: RunStopped; WaitTimeout; the errors of ``connect``.
    """
    group = TaskGroup(1)
    job = group.start(connect)
    try:
        try:
            while not job.done():
                # A run that is stopped need not wait, either: nothing is in flight yet.
                goal.check(f"{address(conninfo)} has not accepted a connection yet")
                await group.wait([job], _LOOKS_EVERY)
        finally:
            await group.close()
    except BaseException:
        # Also if it is interrupted while the group is closed: the session may be open by then.
        await abandon(job)
        raise
    return job.result()
