"""Databases for logical replication, which leave nothing behind."""

from __future__ import annotations

import select
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from itertools import count

import attrs
import psycopg
from clusters import wait_until
from colours import Colour
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus

from pgreplkit import LSN, AsyncPrimary, AsyncSubscription, SubscriptionOptions
from pgreplkit.errors import InsufficientPrivilege
from pgreplkit.lab import Node

numbers = count(1)


@attrs.frozen
class Database:
    """A database of its own on a node."""

    node: Node
    name: str

    @property
    def conninfo(self) -> str:
        return make_conninfo(self.node.conninfo, dbname=self.name)

    def as_role(self, role: str) -> str:
        return make_conninfo(self.conninfo, user=role, password=role)

    def run(self, *statements: str) -> None:
        """Execute statements, each for itself."""
        with session(self) as connection:
            for statement in statements:
                connection.execute(statement.encode())
            if any(statement.startswith("ALTER DATABASE") for statement in statements):
                connection.close()  # the next session has the new settings

    def run_between_copies(self, statement: str) -> None:
        """Execute a statement that locks a table whose copies fail and are repeated.

        The slot of a copy waits for the statement, and the statement for the copy. Publisher and
        subscriber are one server, which does not see such a deadlock of two sessions.
        """

        def is_done() -> bool:
            with session(self) as connection, suppress(psycopg.errors.LockNotAvailable):
                connection.execute("SET lock_timeout = '200ms'")
                connection.execute(statement.encode())
                return True
            return False

        wait_until(is_done)

    def all(self, sql: str) -> list[tuple[object, ...]]:
        """The records of a query."""
        with session(self) as connection:
            return connection.execute(sql.encode()).fetchall()

    def one(self, sql: str) -> object:
        """The one value of a query."""
        [[value]] = self.all(sql)
        return value


def end(database: Database) -> LSN:
    """Return the position after all changes until now."""
    return LSN(str(database.one("SELECT pg_current_wal_lsn()::text")))


KEPT: dict[Database, list[psycopg.Connection]] = {}
"""The session of each database that keeps one: a connection takes longer than most statements."""


@contextmanager
def session(database: Database) -> Iterator[psycopg.Connection]:
    """Lend the kept session of the database, as good as new, or a new one.

    Another thread gets a session of its own.
    """
    kept = KEPT.get(database)
    connection = kept.pop() if kept else None
    if connection is None or has_ended(connection):
        # Not prepared, because tests change the types of the results.
        connection = psycopg.connect(database.conninfo, autocommit=True, prepare_threshold=None)
    try:
        yield connection
    finally:
        if kept == [] and is_as_new(connection):
            kept.append(connection)
        else:
            connection.close()


def has_ended(connection: psycopg.Connection) -> bool:
    """Close a session that the server has ended, as in a restart; return True if it is closed."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    if poll.poll(0):
        connection.close()
    return connection.closed


def is_as_new(connection: psycopg.Connection) -> bool:
    """Discard the session's state; return True if it can execute the next statements."""
    if connection.closed or connection.info.transaction_status != TransactionStatus.IDLE:
        return False
    with suppress(psycopg.OperationalError):
        connection.execute("DISCARD ALL")
    return not connection.closed


@contextmanager
def keeping_sessions(*databases: Database) -> Iterator[None]:
    """Keep a session in each of the databases between statements."""
    KEPT.update({database: [] for database in databases})
    try:
        yield
    finally:
        for database in databases:
            for connection in KEPT.pop(database):
                connection.close()


FREE: list[Database] = []
"""Returned databases, empty: creating one takes longer than most tests."""


def make_database(node: Node) -> Database:
    """Return an empty database on that node without any session."""
    for database in FREE:
        if database.node is node:
            FREE.remove(database)
            return database
    database = Database(node, f"logical_{next(numbers)}")
    with psycopg.connect(node.conninfo, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {database.name}".encode())
    return database


def remove_databases(*databases: Database) -> None:
    """Empty the databases, and end their subscriptions, slots, sessions and appliers."""
    with ExitStack() as stack:
        own = {database: stack.enter_context(unchanged_session(database)) for database in databases}
        for connection in own.values():
            drop_subscriptions(connection)
        for database, connection in own.items():
            end_sessions(connection)
            drop_origins(connection)
            empty(connection)
            FREE.append(database)


@contextmanager
def unchanged_session(database: Database) -> Iterator[psycopg.Connection]:
    """Lend a session in the database, from which it removes all settings."""
    with session(database) as connection:
        if not connection.execute(DATABASE_SETTINGS).fetchall():
            yield connection
            return
        connection.close()
    with psycopg.connect(database.node.conninfo, autocommit=True) as server:
        server.execute(f"ALTER DATABASE {database.name} RESET ALL".encode())
    with session(database) as connection:
        yield connection


DATABASE_SETTINGS = """SELECT FROM pg_db_role_setting
    WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())"""


def drop_subscriptions(connection: psycopg.Connection) -> None:
    """Drop the subscriptions of the database, whose publishers may be lost."""
    subscriptions = """SELECT quote_ident(subname) FROM pg_subscription
        WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())"""
    for (name,) in connection.execute(subscriptions).fetchall():
        for statement in (
            f"ALTER SUBSCRIPTION {name} DISABLE",
            f"ALTER SUBSCRIPTION {name} CONNECTION 'host=/nowhere password=x'",
            f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)",
            f"DROP SUBSCRIPTION {name}",
        ):
            connection.execute(statement.encode())


def end_sessions(connection: psycopg.Connection) -> None:
    """End all other sessions in the database, wait for their end, and drop its slots."""
    ended = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()"""
    slots = """SELECT slot_name, active FROM pg_replication_slots
        WHERE database = current_database() AND NOT temporary"""
    while True:
        sessions = connection.execute(ended).fetchall()
        found = connection.execute(slots).fetchall()
        if not sessions and not found:
            return
        for name, is_active in found:
            if not is_active:
                connection.execute("SELECT pg_drop_replication_slot(%s)", [name])
        if sessions:
            time.sleep(0.005)  # a session needs some milliseconds to end


def wait_for_ends(database: Database, *, left: int = 0) -> None:
    """Wait until the database has only so many sessions of other clients.

    A session frees its locks and its origin a moment after its client has closed it.
    """
    others = """SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""
    wait_until(lambda: database.one(others) == left)


def drop_origins(connection: psycopg.Connection) -> None:
    """Drop the origins of appliers, which belong to the whole server."""
    statement = """SELECT pg_replication_origin_drop(roname) FROM pg_replication_origin
        WHERE roname LIKE 'pgreplkit%'"""

    def are_dropped() -> bool:
        # A session frees its origin some milliseconds after its client has closed it.
        with suppress(psycopg.errors.ObjectInUse):
            connection.execute(statement)
            return True
        return False

    wait_until(are_dropped)


def empty(connection: psycopg.Connection) -> None:
    """Drop everything in the database, and make its schema as in a new one."""
    everything = """SELECT format('DROP PUBLICATION %I', pubname) FROM pg_publication
        UNION ALL SELECT format('DROP SCHEMA %I CASCADE', nspname) FROM pg_namespace
        WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"""
    for (statement,) in connection.execute(everything).fetchall():
        connection.execute(statement)
    for statement in (
        f"REVOKE CREATE ON DATABASE {connection.info.dbname} FROM PUBLIC",
        "CREATE SCHEMA public",
        "GRANT USAGE ON SCHEMA public TO PUBLIC",
    ):
        connection.execute(statement.encode())


TABLES = (
    "CREATE TABLE one (id int PRIMARY KEY, name text)",
    "CREATE TABLE two (id int PRIMARY KEY)",
)
FILLED = (
    "INSERT INTO one SELECT i, 'name ' || i FROM generate_series(1, 1000) AS i",
    "INSERT INTO two SELECT i FROM generate_series(1, 10) AS i",
)


@attrs.frozen
class Pair:
    """A publisher with rows, and a subscriber without."""

    publisher: Database
    subscriber: Database

    def rows(self, table: str) -> tuple[object, object]:
        sql = f"SELECT count(*) FROM {table}"
        return self.publisher.one(sql), self.subscriber.one(sql)


def granted(refused: InsufficientPrivilege) -> list[str]:
    """Return the statements that the error names as enough."""
    return [f"GRANT {one} TO {refused.role}" for one in refused.grant.split("; ")]


@contextmanager
def empty_pair(node: Node) -> Iterator[Pair]:
    """Two empty databases, which keep a session each."""
    pair = Pair(make_database(node), make_database(node))
    with keeping_sessions(pair.publisher, pair.subscriber):
        yield pair
        remove_databases(pair.subscriber, pair.publisher)


@contextmanager
def publishing(node: Node, table: str) -> Iterator[Pair]:
    """Two databases with the empty table t of a statement, which the first one publishes."""
    with empty_pair(node) as pair:
        for each in (pair.publisher, pair.subscriber):
            each.run(table)
        pair.publisher.run("CREATE PUBLICATION p FOR TABLE t")
        yield pair


def make_pair(publisher: Node, subscriber: Node) -> Pair:
    """Create two databases with the same tables; the publisher's have rows and a publication p."""
    pair = Pair(make_database(publisher), make_database(subscriber))
    pair.publisher.run(*TABLES, *FILLED, "CREATE PUBLICATION p FOR TABLE one, two")
    pair.subscriber.run(*TABLES)
    return pair


@asynccontextmanager
async def both(pair: Pair, colour: Colour) -> AsyncIterator[tuple[AsyncPrimary, AsyncPrimary]]:
    """Connections to the publisher and to the subscriber."""
    async with (
        await colour.primary(pair.publisher.conninfo) as publisher,
        await colour.primary(pair.subscriber.conninfo) as subscriber,
    ):
        yield publisher, subscriber


async def subscribed(
    pair: Pair, subscriber: AsyncPrimary, options: SubscriptionOptions | None = None
) -> AsyncSubscription:
    return await subscriber.create_subscription("s", pair.publisher.conninfo, ["p"], options)


def shadowed_operators(*operators: str) -> list[str]:
    """Return statements after which a session finds failing operators of texts first."""
    return [
        "CREATE SCHEMA shadows",
        "CREATE FUNCTION shadows.met(text, text) RETURNS bool LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'executed by %', current_user; END $$",
        *(
            f"CREATE OPERATOR shadows.{one} (leftarg = text, rightarg = text,"
            " procedure = shadows.met)"
            for one in operators
        ),
        "SET search_path = shadows, pg_catalog, public",
    ]
