"""Databases for logical replication, which leave nothing behind."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count

import attrs
import psycopg
from clusters import rows
from colours import Colour
from psycopg.conninfo import make_conninfo

from pgreplkit import AsyncPrimary, AsyncSubscription, SubscriptionOptions
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
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def all(self, sql: str) -> list[tuple[object, ...]]:
        """The records of a query."""
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            return connection.execute(sql.encode()).fetchall()

    def one(self, sql: str) -> object:
        """The one value of a query."""
        [[value]] = self.all(sql)
        return value


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
    """Empty the databases, and end their subscriptions, slots and sessions."""
    for database in databases:
        for (name,) in database.all(
            """SELECT quote_ident(subname) FROM pg_subscription
            WHERE subdbid = (SELECT oid FROM pg_database WHERE datname = current_database())"""
        ):
            database.run(
                f"ALTER SUBSCRIPTION {name} DISABLE",
                f"ALTER SUBSCRIPTION {name} CONNECTION 'host=/nowhere password=x'",
                f"ALTER SUBSCRIPTION {name} SET (slot_name = NONE)",
                f"DROP SUBSCRIPTION {name}",
            )
    for database in databases:
        end_sessions(database)
        with psycopg.connect(database.node.conninfo, autocommit=True) as connection:
            connection.execute(f"ALTER DATABASE {database.name} RESET ALL".encode())
        everything = """SELECT format('DROP PUBLICATION %I', pubname) FROM pg_publication
            UNION ALL SELECT format('DROP SCHEMA %I CASCADE', nspname) FROM pg_namespace
            WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"""
        database.run(
            *(str(statement) for (statement,) in database.all(everything)),
            f"REVOKE CREATE ON DATABASE {database.name} FROM PUBLIC",
            "CREATE SCHEMA public",
            "GRANT USAGE ON SCHEMA public TO PUBLIC",
        )
        FREE.append(database)


def end_sessions(database: Database) -> None:
    """End all sessions in it, and drop its slots."""
    ended = f"""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = '{database.name}' AND pid <> pg_backend_pid()"""
    slots = f"""SELECT slot_name FROM pg_replication_slots
        WHERE database = '{database.name}' AND NOT temporary"""
    while rows(database.node, slots):
        rows(database.node, ended)
        for slot in rows(database.node, slots + " AND NOT active"):
            rows(database.node, f"SELECT pg_drop_replication_slot('{slot['slot_name']}')")
    rows(database.node, ended)


TABLES = (
    "CREATE TABLE one (id int PRIMARY KEY, name text)",
    "CREATE TABLE two (id int PRIMARY KEY)",
)


@attrs.frozen
class Pair:
    """A publisher with rows, and a subscriber without."""

    publisher: Database
    subscriber: Database

    def fill(self) -> None:
        self.publisher.run(
            "INSERT INTO one SELECT i, 'name ' || i FROM generate_series(1, 1000) AS i",
            "INSERT INTO two SELECT i FROM generate_series(1, 10) AS i",
        )

    def rows(self, table: str) -> tuple[object, object]:
        sql = f"SELECT count(*) FROM {table}"
        return self.publisher.one(sql), self.subscriber.one(sql)


def make_pair(publisher: Node, subscriber: Node) -> Pair:
    """Create two databases with the same tables; the publisher's have rows and a publication p."""
    pair = Pair(make_database(publisher), make_database(subscriber))
    for each in (pair.publisher, pair.subscriber):
        each.run(*TABLES)
    pair.fill()
    pair.publisher.run("CREATE PUBLICATION p FOR TABLE one, two")
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
