"""One test for both colours: sync objects behind the async interface."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from typing import Any, cast

import psycopg

import pgreplkit
from pgreplkit import AsyncPrimary, AsyncReplicationConnection, AsyncStandby
from pgreplkit._sync.streams.changes import SlotReader

PLAIN = {
    *("acknowledge", "changes", "snapshot_then_changes", "start_logical"),
    *("transactions", "to_dict", "_repr_html_"),
}
"""Methods that are awaited in neither colour."""


class Awaited:
    """A sync object whose methods can be awaited."""

    def __init__(self, target: object) -> None:
        self._target = target

    def __getattr__(self, name: str) -> object:
        value = getattr(self._target, name)
        if name in PLAIN and inspect.ismethod(value):
            return lambda *args, **kwargs: wrapped(value(*args, **kwargs))
        return awaited(value) if inspect.ismethod(value) else value

    def __repr__(self) -> str:
        return repr(self._target)

    def __aiter__(self) -> Awaited:
        return self

    async def __anext__(self) -> object:
        try:
            return next(self._target)  # type: ignore[call-overload]
        except StopIteration:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> Awaited:
        self._target.__enter__()  # type: ignore[attr-defined]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._target.__exit__(*error)  # type: ignore[attr-defined]


class Pending:
    """The result of a sync call, which can be awaited or entered like that of an async call."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call

    def __await__(self) -> Generator[None, None, object]:
        yield from ()
        result = self._call()
        if isinstance(result, list):
            return type(result)(wrapped(one) for one in result)
        return wrapped(result)

    async def __aenter__(self) -> object:
        self._entered = self._call()
        return self._entered.__enter__()  # type: ignore[attr-defined]

    async def __aexit__(self, *error: object) -> object:
        return self._entered.__exit__(*error)  # type: ignore[attr-defined]


def awaited(function: Callable[..., object]) -> Callable[..., object]:
    return lambda *args, **kwargs: Pending(lambda: function(*args, **kwargs))


def wrapped(result: object) -> object:
    kinds = (
        *(pgreplkit.Server, pgreplkit.Slot, pgreplkit.Publication),
        *(pgreplkit.Subscription, pgreplkit.SequencePlan, pgreplkit.WriteFence),
        *(pgreplkit.upgrade.Upgrade, pgreplkit.Plan),
        *(pgreplkit.pglogical.PglogicalNode, pgreplkit.pglogical.PglogicalSubscription),
        *(SlotReader, pgreplkit.ReplicationConnection),
    )
    return Awaited(result) if isinstance(result, kinds) else result


def inner(wrapped: object) -> object:
    """Return the sync object inside the wrapper; async objects are not wrapped."""
    return getattr(wrapped, "_target", wrapped)


class Colour:
    """Connects to servers in one colour; its objects are used like the async classes."""

    def __init__(self, name: str) -> None:
        self.name = name

    def bound(self, target: object) -> Any:
        """Return an object of this colour, to be used like that of the async class."""
        return target if self.name == "async" else Awaited(target)

    async def connect(self, conninfo: str, **params: str | int) -> AsyncPrimary | AsyncStandby:
        if self.name == "async":
            return await pgreplkit.aconnect(conninfo, **params)
        return cast(AsyncPrimary, Awaited(pgreplkit.connect(conninfo, **params)))

    async def primary(self, conninfo: str, **params: str | int) -> AsyncPrimary:
        if self.name == "async":
            return await AsyncPrimary.connect(conninfo, **params)
        return cast(AsyncPrimary, Awaited(pgreplkit.Primary.connect(conninfo, **params)))

    async def standby(self, conninfo: str, **params: str | int) -> AsyncStandby:
        if self.name == "async":
            return await AsyncStandby.connect(conninfo, **params)
        return cast(AsyncStandby, Awaited(pgreplkit.Standby.connect(conninfo, **params)))

    async def replication(
        self, conninfo: str, *, database: str | None = None
    ) -> AsyncReplicationConnection:
        if self.name == "async":
            return await AsyncReplicationConnection.connect(conninfo, database=database)
        theirs = pgreplkit.ReplicationConnection.connect(conninfo, database=database)
        return cast(AsyncReplicationConnection, Awaited(theirs))

    async def primary_on(self, conninfo: str, *, autocommit: bool = True) -> AsyncPrimary:
        """A Primary on a connection that it did not open."""
        if self.name == "async":
            theirs = await psycopg.AsyncConnection.connect(conninfo, autocommit=autocommit)
            return AsyncPrimary(theirs)
        ours = psycopg.connect(conninfo, autocommit=autocommit)
        return cast(AsyncPrimary, Awaited(pgreplkit.Primary(ours)))

    async def standby_on(self, conninfo: str) -> AsyncStandby:
        """A Standby on a connection that it did not open."""
        if self.name == "async":
            theirs = await psycopg.AsyncConnection.connect(conninfo, autocommit=True)
            return AsyncStandby(theirs)
        ours = psycopg.connect(conninfo, autocommit=True)
        return cast(AsyncStandby, Awaited(pgreplkit.Standby(ours)))


async def execute(connection: object, sql: str) -> list[tuple[object, ...]]:
    """Run statements on a psycopg connection of either colour; return the rows of the last one."""
    cursor = await _done(connection.execute(sql))  # type: ignore[attr-defined]
    return await _done(cursor.fetchall()) if cursor.description else []


async def close(connection: object) -> None:
    """Close a psycopg connection of either colour."""
    await _done(connection.close())  # type: ignore[attr-defined]


async def _done(result: Any) -> Any:
    return await result if inspect.isawaitable(result) else result
