"""Activity of other sessions on the servers under test, as on any busy server.

Creating and dropping temporary tables changes the catalogs, invalidates caches and commits
transactions without changes. Tests of replication must not depend on a server that is idle.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

from pgreplkit.lab import Node

_PAUSE = 0.05
"""Seconds between two statements: often enough to fall into every test, without filling the WAL."""


@contextmanager
def disturbance(node: Node, running: threading.Lock) -> Iterator[None]:
    """Create and drop temporary tables on a node all the time, except while the lock is held."""
    ended = threading.Event()
    thread = threading.Thread(target=_create_tables, args=[node, running, ended], daemon=True)
    thread.start()
    yield
    ended.set()
    thread.join()


def _create_tables(node: Node, running: threading.Lock, ended: threading.Event) -> None:
    while not ended.wait(_PAUSE):
        try:
            with psycopg.connect(node.conninfo, autocommit=True) as connection:
                _create_in(connection, running, ended)
        except psycopg.Error:
            continue  # Tests end sessions and stop servers.


def _create_in(
    connection: psycopg.Connection, running: threading.Lock, ended: threading.Event
) -> None:
    while not ended.wait(_PAUSE):
        with running:
            connection.execute("CREATE TEMP TABLE disturbing (id int PRIMARY KEY)")
            connection.execute("DROP TABLE disturbing")
