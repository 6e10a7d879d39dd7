"""Names and connections that lead to one server, or to one database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TypeAlias

from pgreplkit.catalog.server.identity import RunningDatabase
from pgreplkit.errors import ServerError
from pgreplkit.errors.base import OperationError

ServerKey: TypeAlias = tuple[int | None, datetime]
"""The system identifier and the start time of a running server."""


class SameServer(OperationError, ValueError):
    """Several names were given for one server, such as a virtual IP address and a host name.

    Attributes:
        servers: for each server that has several names, these names.
    """

    # A virtual address would move to another server with the next failover.
    remedy = "give each server once, by an address that always leads to it"

    servers: tuple[tuple[str, ...], ...]

    def __init__(self, operation: str, servers: tuple[tuple[str, ...], ...]) -> None:
        super().__init__(
            operation, "; ".join(f"{_listed(names)} are one server" for names in servers)
        )
        self.args: tuple[object, ...] = (operation, servers)
        self.servers = servers


def _listed(names: tuple[str, ...]) -> str:
    *others, last = map(repr, names)
    return f"{', '.join(others)} and {last}"


def insist_on_distinct(operation: str, servers: Mapping[str, ServerKey]) -> None:
    """Refuse several names for one server.

    Raises:
        SameServer: If two of the servers are the same.
    """
    if found := tuple(_same(servers)):
        raise SameServer(operation, found)


def _same(servers: Mapping[str, ServerKey]) -> Iterator[tuple[str, ...]]:
    named: dict[ServerKey, list[str]] = {}
    for name, key in servers.items():
        named.setdefault(key, []).append(name)
    for names in named.values():
        if len(names) > 1:
            yield tuple(names)


def is_one_postmaster(one: bytes, other: bytes) -> bool:
    """Return whether two contents of postmaster.pid are of one running server.

    The lines are its pid, data directory, start time in seconds, port, socket directory, address
    and shared memory, which two servers never have in common; then its status, which changes.
    """
    return one.splitlines()[:7] == other.splitlines()[:7]


def is_one_server(one: RunningDatabase, other: RunningDatabase) -> bool:
    """Return whether two databases are on one server; clones and standbys are other servers."""
    return (one.system_id, one.started_at) == (other.system_id, other.started_at)


def is_one_database(one: RunningDatabase, other: RunningDatabase) -> bool:
    """Return whether two connections lead to one database of one server."""
    return is_one_server(one, other) and one.database == other.database


def feeds_itself(publisher: RunningDatabase, subscriber: RunningDatabase) -> bool:
    """Return whether changes of the subscriber are changes of the publisher too.

    That is so for one database, and for a standby of the subscriber as the publisher. A promoted
    clone of the subscriber is another server, and is on another timeline than its standbys.
    """
    if is_one_database(publisher, subscriber):
        return True
    own, theirs = ((one.system_id, one.timeline, one.database) for one in (subscriber, publisher))
    return publisher.in_recovery and own == theirs


def destination_mismatch(
    found: RunningDatabase, expected: RunningDatabase, subscriber: RunningDatabase
) -> str:
    """Return where a subscriber's connection string leads instead of to the expected database.

    Empty if it leads there.
    """
    if is_one_database(found, expected):
        return ""
    if is_one_server(found, expected):
        return f"it leads to the database {found.database!r}, not to {expected.database!r}"
    if is_one_server(found, subscriber):
        return "it leads back to the server itself"
    if found.in_recovery and found.system_id == expected.system_id:
        return "it leads to a standby of that server"
    return "it leads to another server"


def insist_on_two(operation: str, publisher: RunningDatabase, subscriber: RunningDatabase) -> None:
    """Refuse an operation on two databases that are one: they would always be equal.

    Raises:
        ServerError: If they are one.
    """
    if is_one_database(publisher, subscriber):
        raise ServerError(
            operation,
            f"both connections lead to the database {subscriber.database!r} of one server",
            remedy="pass a connection to the other database",
        )


def insist_on_another_publisher(
    operation: str, publisher: RunningDatabase, subscriber: RunningDatabase
) -> None:
    """Refuse a subscription whose changes would be applied to the tables that they come from.

    Raises:
        ServerError: If the publisher is the subscriber, or a standby of it.
    """
    if feeds_itself(publisher, subscriber):
        is_own = is_one_database(publisher, subscriber)
        what = "the subscriber's own database" if is_own else "a standby of the subscriber"
        raise ServerError(
            operation,
            f"the publisher is {what}: changes would be applied to the tables that they come from",
            remedy="subscribe to another database",
        )
