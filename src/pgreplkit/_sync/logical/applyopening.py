# Generated from pgreplkit/_async/logical/applyopening.py by `nox -s sync`. Do not edit.
"""The sessions of an applier; a run opens none of them after its end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

from psycopg.conninfo import make_conninfo

from pgreplkit._sync._io import Call, Closable, TaskGroup, abandon
from pgreplkit._sync.wire.cancelling import OwnConnection
from pgreplkit._sync.wire.link import Link
from pgreplkit._sync.wire.opening import opening
from pgreplkit._sync.wire.pooling import insist_on_session
from pgreplkit._sync.wire.session import use_own_settings
from pgreplkit.apply.goal import ApplyGoal
from pgreplkit.catalog.logical.applying import QUALIFY
from pgreplkit.driver.conninfo import address
from pgreplkit.driver.watchdog import watched

S = TypeVar("S", bound=Closable)

_LOOKS_EVERY = 0.1
"""Seconds between two looks whether the run has to end."""


def open_session(conninfo: str, *, hides_values: bool = False) -> Link:
    """Open a session with settings of its own, whose texts are in UTF-8.

    Raises: ConnectionFailed; ServerError for the connection of a pooler.
    """
    where = address(conninfo)
    with opening(conninfo, operation := f"connect to {where}"):
        connection = OwnConnection[object].connect(
            make_conninfo(conninfo, client_encoding="UTF8"), autocommit=True
        )
        link = Link(connection, hides_values=hides_values)
        try:
            insist_on_session(link, operation, where)
            use_own_settings(connection)
            # Nothing that the caller owns is named without its schema.
            with watched(connection, link.conninfo_for_another):
                connection.execute(QUALIFY, prepare=False)
        except BaseException:
            connection.close()
            raise
    return link


@contextmanager
def session_of(conninfo: str) -> Iterator[Link]:
    """Open such a session for the block.

    Raises: as ``open_session``.
    """
    link = open_session(conninfo)
    try:
        yield link
    finally:
        link.connection.close()


def opened(goal: ApplyGoal, conninfo: str, connect: Call[S]) -> S:
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
                group.wait([job], _LOOKS_EVERY)
        finally:
            group.close()
    except BaseException:
        # Also if it is interrupted while the group is closed: the session may be open by then.
        abandon(job)
        raise
    return job.result()
