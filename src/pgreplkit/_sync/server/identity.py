# Generated from pgreplkit/_async/server/identity.py by `nox -s sync`. Do not edit.
"""The database that a connection leads to."""

from __future__ import annotations

from pgreplkit._sync.wire.link import Link
from pgreplkit.catalog.server.identity import DATABASE, RunningDatabase
from pgreplkit.plans.server.identity import insist_on_two


def read_database(link: Link) -> RunningDatabase:
    """Return the server and the database that a connection leads to."""
    return RunningDatabase(**link.one("read the identity", DATABASE))


def insist_on_two_databases(operation: str, publisher: Link, subscriber: Link) -> None:
    """Refuse two connections to one database.

    Raises: ServerError.
    """
    insist_on_two(operation, read_database(publisher), read_database(subscriber))
