# Generated from pgreplkit/_async/server/identity.py by `nox -s sync`. Do not edit.
"""The database that a connection leads to."""

from __future__ import annotations

from pgreplkit._sync.server.server import Server
from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.server.identity import DATABASE, RunningDatabase
from pgreplkit.driver.conninfo import is_same_address_on
from pgreplkit.errors import ConnectionFailed
from pgreplkit.plans.server.identity import destination_mismatch, insist_on_two

_CONNECT_TIMEOUT = 5
"""Seconds; the address may be one that only the other server reaches."""


def read_database(link: Link) -> RunningDatabase:
    """Return the server and the database that a connection leads to."""
    return RunningDatabase(**link.one("read the identity", DATABASE))


def wrong_destination(conninfo: str, expected: Server, subscriber: Server) -> str:
    """Return where a subscriber's connection string leads instead of to the expected publisher.

    Empty if it leads there, and also if this process cannot find out: the subscriber may reach an
    address that this process does not reach.
    """
    if not is_same_address_on(conninfo, subscriber.connection):
        return ""
    try:
        with Server.connect(conninfo, connect_timeout=_CONNECT_TIMEOUT) as there:
            found = read_database(there._link)
    except ConnectionFailed:
        return ""
    own = read_database(subscriber._link)
    return destination_mismatch(found, read_database(expected._link), own)


def insist_on_two_databases(operation: str, publisher: Link, subscriber: Link) -> None:
    """Refuse two connections to one database.

    Raises: ServerError.
    """
    insist_on_two(operation, read_database(publisher), read_database(subscriber))
