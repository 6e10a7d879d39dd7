# Generated from pgreplkit/_async/logical/pglogical.py by `nox -s sync`. Do not edit.
"""PglogicalNode and PglogicalSubscription: replication with pglogical."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from psycopg.rows import DictRow

from pgreplkit._sync._io import sleep
from pgreplkit._sync.server.positions import write_marker
from pgreplkit._sync.server.server import Server, insist_on_servers
from pgreplkit._sync.wire.link import Link
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
from pgreplkit.values.flags import checked_flags
from pgreplkit.values.madeby import made_by
from pgreplkit.values.record import Stateful
from pgreplkit.values.rows import Rows
from pgreplkit.values.seconds import Timeout
from pgreplkit.values.several import several
from pgreplkit.values.tablename import AnyTable, TableName, table_of

_GRANT = "SUPERUSER"
# The sets that pglogical makes in each node.
_DEFAULT_SETS = ("default", "default_insert_only", "ddl_sql")


@made_by("{name}.read(server)", Server)
class PglogicalNode:
    """A database that is a pglogical node, with its replication sets and subscriptions.

    Needs pglogical 2.4 in the server's shared_preload_libraries, CREATE EXTENSION pglogical in the
    database, and a superuser.
    """

    def __init__(self, server: Server, name: str) -> None:
        self._link: Link = server._link
        self.name: str = name

    @classmethod
    def create(
        cls, server: Server, name: str, *, conninfo: str | None = None, timeout: Timeout = 60.0
    ) -> PglogicalNode:
        """Make the database of ``server`` a node.

        ``conninfo`` is the connection string for other nodes; by default that of this connection.

        Raises: ExtensionMissing; ServerError if it is a node already.
        Source: pglogical.create_node().
        """
        insist_on_servers(server=server)
        _insist_on_extension(server._link)
        # Other servers use it: an address that only this process understands would not do.
        if conninfo is None:
            conninfo = server_conninfo(
                server.connection, server._link.conninfo, major=server.version.major
            )
        operation = f"create the pglogical node {name!r}"
        server._link.one(
            operation, sql.CREATE_NODE, [name, conninfo], grant=_GRANT, timeout=timeout
        )
        return cls(server, name)

    @classmethod
    def read(cls, server: Server) -> PglogicalNode | None:
        """Return the node of the database; None if it is not a node.

        Raises: ExtensionMissing.  Source: pglogical.local_node.
        """
        insist_on_servers(server=server)
        _insist_on_extension(server._link)
        # A database is one node at most.
        for record in server._link.all("read the node", sql.NODE_NAME, grant=_GRANT):
            return cls(server, record["name"])
        return None

    def drop(self, *, timeout: Timeout = 60.0) -> None:
        """Drop the node. Drop its subscriptions first.

        Source: pglogical.drop_node().
        """
        self._call(f"drop the node {self.name!r}", sql.DROP_NODE, [self.name], timeout)

    def replication_sets(self) -> Rows[ReplicationSet]:
        """Return the replication sets, by name.

        Source: pglogical.replication_set.
        """
        statement = SETS.sql(self._link.version.major)
        records = self._link.all("read the replication sets", statement, grant=_GRANT)
        return Rows(SETS.read(record) for record in records)

    def create_replication_set(
        self,
        name: str,
        *,
        insert: bool = True,
        update: bool = True,
        delete: bool = True,
        truncate: bool = True,
        timeout: Timeout = 60.0,
    ) -> None:
        """Create a replication set that replicates these changes.

        Source: pglogical.create_replication_set().
        """
        checked_flags(insert=insert, update=update, delete=delete, truncate=truncate)
        flags = [name, insert, update, delete, truncate]
        self._call(f"create the replication set {name!r}", sql.CREATE_SET, flags, timeout)

    def drop_replication_set(self, name: str, *, timeout: Timeout = 60.0) -> None:
        """Drop a replication set. Its tables stay.

        Source: pglogical.drop_replication_set().
        """
        self._call(f"drop the replication set {name!r}", sql.DROP_SET, [name], timeout)

    def tables(self, set_name: str = "default") -> Rows[PublishedTable]:
        """Return the tables of a set with their columns and row filters, by name.

        Source: pglogical.replication_set_table.
        """
        operation = f"read the replication set {set_name!r}"
        records = self._link.all(operation, sql.SET_TABLES, [set_name], grant=_GRANT)
        return Rows(PublishedTable(table_in(r), r["columns"], r["where"]) for r in records)

    def add_tables(
        self,
        *tables: AnyPublished,
        set_name: str = "default",
        synchronize: bool = False,
        timeout: Timeout = 60.0,
    ) -> None:
        """Add tables to a set; with ``synchronize``, subscribers copy their rows at once.

        The server refuses a table without a primary key if the set replicates updates or deletes.

        Source: pglogical.replication_set_add_table().
        """
        checked_flags(synchronize=synchronize)
        operation = f"add tables to the replication set {set_name!r}"
        # All of them or none.
        with self._link.transaction(operation, timeout=timeout) as link:
            for one in map(published, tables):
                columns = None if one.columns is None else [*one.columns]
                # As SQL writes the name: the function takes a regclass, which is parsed.
                params = [set_name, str(one.table), synchronize, columns, one.where]
                link.one(operation, sql.ADD_TABLE, params, grant=_GRANT)

    def drop_tables(
        self, *tables: AnyTable, set_name: str = "default", timeout: Timeout = 60.0
    ) -> None:
        """Remove tables from a set.

        Source: pglogical.replication_set_remove_table().
        """
        operation = f"remove tables from the replication set {set_name!r}"
        with self._link.transaction(operation, timeout=timeout) as link:
            for table in tables:
                params = [set_name, str(table_of(table))]
                link.one(operation, sql.REMOVE_TABLE, params, grant=_GRANT)

    def sequences(self, set_name: str = "default") -> list[TableName]:
        """Return the sequences of a set, by name.

        Source: pglogical.replication_set_seq.
        """
        operation = f"read the replication set {set_name!r}"
        records = self._link.all(operation, sql.SET_SEQUENCES, [set_name], grant=_GRANT)
        return [table_in(record) for record in records]

    def add_sequences(
        self,
        *sequences: AnyTable,
        set_name: str = "default",
        synchronize: bool = False,
        timeout: Timeout = 60.0,
    ) -> None:
        """Add sequences to a set; subscribers regularly get a value ahead of the sequence.

        Source: pglogical.replication_set_add_sequence().
        """
        checked_flags(synchronize=synchronize)
        operation = f"add sequences to the replication set {set_name!r}"
        with self._link.transaction(operation, timeout=timeout) as link:
            for sequence in sequences:
                params = [set_name, str(table_of(sequence)), synchronize]
                link.one(operation, sql.ADD_SEQUENCE, params, grant=_GRANT)

    def synchronize_sequence(self, sequence: AnyTable, *, timeout: Timeout = 60.0) -> None:
        """Send subscribers a value ahead of a sequence at once, for example before a cutover.

        Source: pglogical.synchronize_sequence().
        """
        name = str(table_of(sequence))
        self._call(f"synchronize {name}", sql.SYNC_SEQUENCE, [name], timeout)

    def subscriptions(self) -> Rows[PglogicalSubscription]:
        """Return the subscriptions, by name.

        Source: pglogical.subscription.
        """
        statement = STATES.sql(self._link.version.major)
        records = self._link.all("read the subscriptions", statement, grant=_GRANT)
        return Rows(PglogicalSubscription(self._link, STATES.read(r)) for r in records)

    def subscription(self, name: str) -> PglogicalSubscription:
        """Return the subscription of that name.

        Raises: SubscriptionNotFound.  Source: pglogical.subscription.
        """
        return PglogicalSubscription(self._link, _read_state(self._link, name))

    def create_subscription(
        self,
        name: str,
        provider: str | Server,
        *,
        replication_sets: Sequence[str] = _DEFAULT_SETS,
        copy_structure: bool = False,
        copy_data: bool = True,
        forward_origins: Iterable[str] = ("all",),
        apply_delay: timedelta = timedelta(0),
        timeout: Timeout = 60.0,
    ) -> PglogicalSubscription:
        """Subscribe to replication sets of another node.

        ``provider`` is its connection string, or a connected server. With empty
        ``forward_origins``, the provider sends only changes of its own clients; nodes that
        subscribe to each other need that.

        Raises: ServerError; StatementTimeout.  Source: pglogical.create_subscription().
        """
        checked_flags(copy_structure=copy_structure, copy_data=copy_data)
        conninfo = provider
        # The subscriber's server connects with it, as other servers do.
        if not isinstance(conninfo, str):
            insist_on_servers(provider=conninfo)
            conninfo = server_conninfo(
                conninfo.connection, conninfo._link.conninfo, major=self._link.version.major
            )
        sets = [*several(replication_sets, "replication_sets", at_least=1)]
        origins = [*several(forward_origins, "forward_origins")]
        params = [name, conninfo, sets, copy_structure, copy_data, origins, apply_delay]
        self._call(f"create the subscription {name!r}", sql.SUBSCRIBE, params, timeout)
        return self.subscription(name)

    def _call(
        self, operation: str, statement: str, params: Sequence[object], timeout: Timeout
    ) -> None:
        self._link.one(operation, statement, params, grant=_GRANT, timeout=timeout)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}>"


@made_by("node.subscription(name)", Link)
class PglogicalSubscription(Stateful):
    """A pglogical subscription, with its ``state`` when it was last read.

    A node returns it.
    """

    def __init__(self, link: Link, state: PglogicalState) -> None:
        self._link = link
        self.state: PglogicalState = state

    @property
    def name(self) -> str:
        """The subscription's name."""
        return self.state.sub_name

    def refresh(self) -> PglogicalSubscription:
        """Read the state again, and return the subscription.

        Raises: SubscriptionNotFound.  Source: pglogical.show_subscription_status().
        """
        self.state = _read_state(self._link, self.name)
        return self

    def tables(self) -> Rows[PglogicalTable]:
        """Return the state of the whole subscription, and of each table.

        Source: pglogical.local_sync_status.
        """
        operation = f"read the tables of {self.name!r}"
        records = self._link.all(operation, sql.SYNC, [self.name], grant=_GRANT)
        return Rows(_table(record) for record in records)

    def wait_for_sync(
        self, *, timeout: Timeout = 600.0, provider: Server | None = None
    ) -> Rows[PglogicalTable]:
        """Wait until it is replicating, and every table is READY.

        A table in CATCH_UP waits for the provider's next commit. With ``provider``, a marker
        message is committed there when needed.

        Raises: WaitTimeout with the tables that are not ready; SubscriptionNotFound.
        Source: as ``refresh`` and ``tables``.
        """
        backoff = Backoff(timeout)
        while True:
            status, tables = (self.refresh()).state.status, self.tables()
            waiting = [table for table in tables if table.status is not PglogicalSync.READY]
            if status is PglogicalStatus.REPLICATING and not waiting:
                return tables
            if backoff.is_over:
                # The entry of the subscription itself has no table.
                which = ", ".join(f"{t.table or 'itself'} ({t.status.name})" for t in waiting)
                raise WaitTimeout(
                    f"timed out after {backoff.limit:g} s waiting for {self.name!r}: it is"
                    f" {status}, tables that are not ready: {which or 'none'}"
                )
            # On an idle provider no commit comes that would end CATCH_UP.
            if provider is not None and PglogicalSync.CATCH_UP in [t.status for t in waiting]:
                write_marker(provider._link)
            sleep(backoff.next_pause())

    def enable(self, *, timeout: Timeout = 60.0) -> None:
        """Enable it.

        Source: pglogical.alter_subscription_enable().
        """
        self._call("enable", sql.ENABLE, [], timeout)

    def disable(self, *, timeout: Timeout = 60.0) -> None:
        """Disable it, and wait until its worker has ended. Its slot still retains WAL.

        Raises: WaitTimeout; SubscriptionNotFound.
        Source: pglogical.alter_subscription_disable(), as ``refresh``.
        """
        backoff = Backoff(timeout)
        self._call("disable", sql.DISABLE, [], timeout)
        # The function returns before the worker ends, and until then the slot is in use.
        while (self.refresh()).state.status is PglogicalStatus.REPLICATING:
            if backoff.is_over:
                raise WaitTimeout(
                    f"timed out after {backoff.limit:g} s waiting for the worker of {self.name!r}"
                    " to end"
                )
            sleep(backoff.next_pause())

    def add_replication_set(self, name: str, *, timeout: Timeout = 60.0) -> None:
        """Subscribe to a further set; existing rows are not copied.

        Source: pglogical.alter_subscription_add_replication_set().
        """
        self._call("alter", sql.ADD_SET, [name], timeout)

    def remove_replication_set(self, name: str, *, timeout: Timeout = 60.0) -> None:
        """Unsubscribe from a set.

        Source: pglogical.alter_subscription_remove_replication_set().
        """
        self._call("alter", sql.REMOVE_SET, [name], timeout)

    def resynchronize(self, table: AnyTable, *, timeout: Timeout = 60.0) -> None:
        """Truncate a table on the subscriber, and copy it again.

        Source: pglogical.alter_subscription_resynchronize_table().
        """
        self._call("resynchronize", sql.RESYNC, [str(table_of(table))], timeout)

    def drop(self, *, timeout: Timeout = 60.0) -> None:
        """Drop it, and its slot if the provider answers.

        pglogical does not drop a slot that is in use: ``disable`` the subscription first.

        Raises: StatementTimeout.
        Source: pglogical.drop_subscription().
        """
        self._call("drop", sql.DROP, [], timeout)

    def _call(self, verb: str, statement: str, more: Sequence[object], timeout: Timeout) -> None:
        operation = f"{verb} the subscription {self.name!r}"
        params = [self.name, *more]
        self._link.one(operation, statement, params, grant=_GRANT, timeout=timeout)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r}, {self.state.status}>"


def _insist_on_extension(link: Link) -> None:
    # Otherwise the server would only say that the schema pglogical does not exist.
    if not link.all("look for pglogical", sql.IS_INSTALLED):
        raise ExtensionMissing("look for pglogical", "pglogical")


def _read_state(link: Link, name: str) -> PglogicalState:
    operation, statement = f"read the subscription {name!r}", ONE_STATE.sql(link.version.major)
    for record in link.all(operation, statement, [name], grant=_GRANT):
        return ONE_STATE.read(record)
    raise SubscriptionNotFound(operation, "the database has no pglogical subscription of that name")


def _table(record: DictRow) -> PglogicalTable:
    table = table_in(record) if record["name"] is not None else None
    return PglogicalTable(table=table, status=record["status"], lsn=record["lsn"])
