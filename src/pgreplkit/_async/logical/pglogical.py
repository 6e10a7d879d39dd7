"""AsyncPglogicalNode: a database in pglogical, and AsyncPglogicalSubscription."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from psycopg.rows import DictRow

from pgreplkit._async._io import sleep
from pgreplkit._async.server.positions import write_marker
from pgreplkit._async.server.server import AsyncServer, insist_on_servers
from pgreplkit._async.wire.link import AsyncLink
from pgreplkit.catalog.logical import pglogical as sql
from pgreplkit.catalog.logical.pglogical import (
    ONE_STATE,
    SETS,
    STATES,
    PglogicalState,
    PglogicalStatus,
    PglogicalSync,
    PglogicalTable,
    ReplicationSet,
)
from pgreplkit.catalog.logical.publication import AnyPublished, PublishedTable, published
from pgreplkit.catalog.view import table_in
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.conninfo import server_conninfo
from pgreplkit.errors import ExtensionMissing, SubscriptionNotFound, WaitTimeout
from pgreplkit.values.several import several
from pgreplkit.values.tablename import AnyTable, TableName, table_of

_GRANT = "SUPERUSER"
_DEFAULT_SETS = ("default", "default_insert_only", "ddl_sql")


class AsyncPglogicalNode:
    """A database that takes part in pglogical: what it provides, and what it subscribes to.

    Needs pglogical 2.4 in the server's shared_preload_libraries, CREATE EXTENSION pglogical in the
    database, and a superuser.
    """

    def __init__(self, server: AsyncServer, name: str) -> None:
        self._link: AsyncLink = server._link
        self.name: str = name

    @classmethod
    async def create(
        cls, server: AsyncServer, name: str, *, dsn: str | None = None, timeout: float = 30.0
    ) -> AsyncPglogicalNode:
        """Make the database that ``server`` is connected to a node.

        ``dsn`` is how other nodes connect to it; as this connection does unless told.

        Raises: ExtensionMissing; ServerError when it is one already.
        Source: pglogical.create_node().
        """
        insist_on_servers(server=server)
        await _insist_on_extension(server._link)
        if dsn is None:
            dsn = server_conninfo(
                server.connection, server._link.conninfo, major=server.version.major
            )
        tried = f"make it the node {name!r} of pglogical"
        await server._link.one(tried, sql.CREATE_NODE, [name, dsn], grant=_GRANT, timeout=timeout)
        return cls(server, name)

    @classmethod
    async def read(cls, server: AsyncServer) -> AsyncPglogicalNode | None:
        """The node that the database is; None when it is none.

        Raises: ExtensionMissing.  Source: pglogical.local_node.
        """
        insist_on_servers(server=server)
        await _insist_on_extension(server._link)
        for record in await server._link.all("read the node", sql.NODE_NAME, grant=_GRANT):
            return cls(server, record["name"])
        return None

    async def drop(self, *, timeout: float = 30.0) -> None:
        """Take it out of pglogical; its subscriptions must be dropped before.

        Source: pglogical.drop_node().
        """
        await self._call(f"drop the node {self.name!r}", sql.DROP_NODE, [self.name], timeout)

    async def replication_sets(self) -> list[ReplicationSet]:
        """The sets that it provides, by name.

        Source: pglogical.replication_set.
        """
        statement = SETS.sql(self._link.version.major)
        records = await self._link.all("read the replication sets", statement, grant=_GRANT)
        return [SETS.read(record) for record in records]

    async def create_replication_set(
        self,
        name: str,
        *,
        insert: bool = True,
        update: bool = True,
        delete: bool = True,
        truncate: bool = True,
        timeout: float = 30.0,
    ) -> None:
        """Make a set of which these changes are replicated.

        Source: pglogical.create_replication_set().
        """
        flags = [name, insert, update, delete, truncate]
        await self._call(f"create the replication set {name!r}", sql.CREATE_SET, flags, timeout)

    async def drop_replication_set(self, name: str, *, timeout: float = 30.0) -> None:
        """Drop a set; its tables stay.

        Source: pglogical.drop_replication_set().
        """
        await self._call(f"drop the replication set {name!r}", sql.DROP_SET, [name], timeout)

    async def tables(self, set_name: str = "default") -> list[PublishedTable]:
        """The tables of a set, with their columns and row filters, by name.

        Source: pglogical.replication_set_table.
        """
        tried = f"read the replication set {set_name!r}"
        records = await self._link.all(tried, sql.SET_TABLES, [set_name], grant=_GRANT)
        return [PublishedTable(table_in(r), r["columns"], r["where"]) for r in records]

    async def add_tables(
        self,
        *tables: AnyPublished,
        set_name: str = "default",
        synchronize: bool = False,
        timeout: float = 30.0,
    ) -> None:
        """Put tables into a set; with ``synchronize`` subscribers copy their rows at once.

        The server refuses a table without a primary key where updates or deletes are replicated.

        Source: pglogical.replication_set_add_table().
        """
        tried = f"add tables to the replication set {set_name!r}"
        async with self._link.transaction(tried, timeout=timeout) as link:
            for one in map(published, tables):
                columns = None if one.columns is None else [*one.columns]
                params = [set_name, str(one.table), synchronize, columns, one.where]
                await link.one(tried, sql.ADD_TABLE, params, grant=_GRANT)

    async def remove_tables(
        self, *tables: AnyTable, set_name: str = "default", timeout: float = 30.0
    ) -> None:
        """Take tables out of a set.

        Source: pglogical.replication_set_remove_table().
        """
        tried = f"remove tables from the replication set {set_name!r}"
        async with self._link.transaction(tried, timeout=timeout) as link:
            for table in tables:
                params = [set_name, str(table_of(table))]
                await link.one(tried, sql.REMOVE_TABLE, params, grant=_GRANT)

    async def sequences(self, set_name: str = "default") -> list[TableName]:
        """The sequences of a set, by name.

        Source: pglogical.replication_set_seq.
        """
        tried = f"read the replication set {set_name!r}"
        records = await self._link.all(tried, sql.SET_SEQUENCES, [set_name], grant=_GRANT)
        return [table_in(record) for record in records]

    async def add_sequences(
        self,
        *sequences: AnyTable,
        set_name: str = "default",
        synchronize: bool = False,
        timeout: float = 30.0,
    ) -> None:
        """Put sequences into a set: subscribers get a value ahead of them, from time to time.

        Source: pglogical.replication_set_add_sequence().
        """
        tried = f"add sequences to the replication set {set_name!r}"
        async with self._link.transaction(tried, timeout=timeout) as link:
            for sequence in sequences:
                params = [set_name, str(table_of(sequence)), synchronize]
                await link.one(tried, sql.ADD_SEQUENCE, params, grant=_GRANT)

    async def synchronize_sequence(self, sequence: AnyTable, *, timeout: float = 30.0) -> None:
        """Send subscribers a value ahead of a sequence now, as before a cutover.

        Source: pglogical.synchronize_sequence().
        """
        name = str(table_of(sequence))
        await self._call(f"synchronize {name}", sql.SYNC_SEQUENCE, [name], timeout)

    async def subscriptions(self) -> list[AsyncPglogicalSubscription]:
        """Its subscriptions, by name.

        Source: pglogical.subscription.
        """
        statement = STATES.sql(self._link.version.major)
        records = await self._link.all("read the subscriptions", statement, grant=_GRANT)
        return [AsyncPglogicalSubscription(self._link, STATES.read(r)) for r in records]

    async def subscription(self, name: str) -> AsyncPglogicalSubscription:
        """The subscription of that name.

        Raises: SubscriptionNotFound.  Source: pglogical.subscription.
        """
        return AsyncPglogicalSubscription(self._link, await _read_state(self._link, name))

    async def create_subscription(
        self,
        name: str,
        provider: str | AsyncServer,
        *,
        replication_sets: Sequence[str] = _DEFAULT_SETS,
        copy_structure: bool = False,
        copy_data: bool = True,
        forward_origins: Iterable[str] = ("all",),
        apply_delay: timedelta = timedelta(0),
        timeout: float = 60.0,
    ) -> AsyncPglogicalSubscription:
        """Subscribe to sets of another node.

        ``provider`` is its connection string, or a server that is connected to it. Without
        ``forward_origins`` only what the provider's own clients change is sent, as two nodes that
        subscribe to each other need it.

        Raises: ServerError; StatementTimeout.  Source: pglogical.create_subscription().
        """
        dsn = provider
        if not isinstance(dsn, str):
            insist_on_servers(provider=dsn)
            dsn = server_conninfo(
                dsn.connection, dsn._link.conninfo, major=self._link.version.major
            )
        sets = [*several(replication_sets, "replication_sets", at_least=1)]
        origins = [*several(forward_origins, "forward_origins")]
        params = [name, dsn, sets, copy_structure, copy_data, origins, apply_delay]
        await self._call(f"create the subscription {name!r}", sql.SUBSCRIBE, params, timeout)
        return await self.subscription(name)

    async def _call(
        self, tried: str, statement: str, params: Sequence[object], timeout: float
    ) -> None:
        await self._link.one(tried, statement, params, grant=_GRANT, timeout=timeout)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


class AsyncPglogicalSubscription:
    """A subscription of pglogical: its ``state`` when it was last read, and what can be done to it.

    Made by a node.
    """

    def __init__(self, link: AsyncLink, state: PglogicalState) -> None:
        self._link = link
        self.state: PglogicalState = state

    @property
    def name(self) -> str:
        """Its name."""
        return self.state.sub_name

    async def refresh(self) -> AsyncPglogicalSubscription:
        """Read its state again; gives the subscription itself.

        Raises: SubscriptionNotFound.  Source: pglogical.show_subscription_status().
        """
        self.state = await _read_state(self._link, self.name)
        return self

    async def tables(self) -> list[PglogicalTable]:
        """How far it is with each table, and first as a whole.

        Source: pglogical.local_sync_status.
        """
        tried = f"read the tables of {self.name!r}"
        records = await self._link.all(tried, sql.SYNC, [self.name], grant=_GRANT)
        return [_table(record) for record in records]

    async def wait_synced(
        self, *, timeout: float = 600.0, provider: AsyncServer | None = None
    ) -> list[PglogicalTable]:
        """Wait until it replicates, and every table is READY.

        A table in CATCH_UP waits for the provider's next commit: give the ``provider``, and a
        message is committed there when it is needed.

        Raises: WaitTimeout, with what it waits for; SubscriptionNotFound.
        Source: as ``refresh`` and ``tables``.
        """
        backoff = Backoff(timeout)
        while True:
            status, tables = (await self.refresh()).state.status, await self.tables()
            waiting = [table for table in tables if table.status is not PglogicalSync.READY]
            if status is PglogicalStatus.REPLICATING and not waiting:
                return tables
            if backoff.is_over:
                which = ", ".join(f"{t.table or 'itself'} ({t.status.name})" for t in waiting)
                raise WaitTimeout(
                    f"{self.name!r} is not synchronized after {timeout:g} s: it is {status},"
                    f" and not ready are {which or 'none'}"
                )
            if provider is not None and PglogicalSync.CATCH_UP in [t.status for t in waiting]:
                await write_marker(provider._link)
            await sleep(backoff.next_pause())

    async def enable(self, *, timeout: float = 30.0) -> None:
        """Let it run.

        Source: pglogical.alter_subscription_enable().
        """
        await self._call("enable", sql.ENABLE, [], timeout)

    async def disable(self, *, timeout: float = 30.0) -> None:
        """Stop it, and wait until its worker has ended; its slot goes on keeping WAL.

        Raises: WaitTimeout; SubscriptionNotFound.
        Source: pglogical.alter_subscription_disable(), as ``refresh``.
        """
        backoff = Backoff(timeout)
        await self._call("disable", sql.DISABLE, [], timeout)
        while (await self.refresh()).state.status is PglogicalStatus.REPLICATING:
            if backoff.is_over:
                raise WaitTimeout(f"the worker of {self.name!r} did not end in {timeout:g} s")
            await sleep(backoff.next_pause())

    async def add_replication_set(self, name: str, *, timeout: float = 30.0) -> None:
        """Subscribe to one more set; what is in its tables is not copied.

        Source: pglogical.alter_subscription_add_replication_set().
        """
        await self._call("alter", sql.ADD_SET, [name], timeout)

    async def remove_replication_set(self, name: str, *, timeout: float = 30.0) -> None:
        """Subscribe to a set no more.

        Source: pglogical.alter_subscription_remove_replication_set().
        """
        await self._call("alter", sql.REMOVE_SET, [name], timeout)

    async def resynchronize(self, table: AnyTable, *, timeout: float = 30.0) -> None:
        """Empty a table here, and copy it anew.

        Source: pglogical.alter_subscription_resynchronize_table().
        """
        await self._call("resynchronize", sql.RESYNC, [str(table_of(table))], timeout)

    async def drop(self, *, timeout: float = 60.0) -> None:
        """Drop it, and its slot on the provider if that answers.

        pglogical leaves a slot that is in use: ``disable`` it first, and wait until that is free.

        Raises: StatementTimeout when it does not come to an end.
        Source: pglogical.drop_subscription().
        """
        await self._call("drop", sql.DROP, [], timeout)

    async def _call(
        self, verb: str, statement: str, more: Sequence[object], timeout: float
    ) -> None:
        tried = f"{verb} the subscription {self.name!r}"
        params = [self.name, *more]
        await self._link.one(tried, statement, params, grant=_GRANT, timeout=timeout)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, {self.state.status}>"


async def _insist_on_extension(link: AsyncLink) -> None:
    if not await link.all("look for pglogical", sql.IS_INSTALLED):
        raise ExtensionMissing("look for pglogical", "pglogical")


async def _read_state(link: AsyncLink, name: str) -> PglogicalState:
    tried, statement = f"read the subscription {name!r}", ONE_STATE.sql(link.version.major)
    for record in await link.all(tried, statement, [name], grant=_GRANT):
        return ONE_STATE.read(record)
    raise SubscriptionNotFound(tried, "pglogical has no subscription of that name here")


def _table(record: DictRow) -> PglogicalTable:
    table = table_in(record) if record["name"] is not None else None
    return PglogicalTable(table=table, status=record["status"], lsn=record["lsn"])
