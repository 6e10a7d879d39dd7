# Generated from pgreplkit/_async/logical/logicalserver.py by `nox -s sync`. Do not edit.
"""LogicalServer: what a primary publishes, and what it subscribes to."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pgreplkit._sync.logical.coverage import insist_on_all, tables_between
from pgreplkit._sync.logical.publication import (
    Publication,
    make_publication,
    read_identities,
    read_publication,
)
from pgreplkit._sync.logical.streamingserver import StreamingServer
from pgreplkit._sync.logical.subscribing import (
    make_subscription,
    read_subscription,
    read_subscriptions,
)
from pgreplkit._sync.logical.subscription import Subscription
from pgreplkit._sync.logical.writers import execute_all, read_writers
from pgreplkit._sync.server.positions import set_fence
from pgreplkit._sync.server.server import Server
from pgreplkit.catalog.logical.publication import (
    PUBLICATIONS,
    AnyPublished,
    GeneratedColumns,
    Operation,
)
from pgreplkit.catalog.logical.replicaidentity import (
    ALL_TABLES,
    ReplicaIdentity,
    identities,
    identity_in,
)
from pgreplkit.catalog.logical.stuck import WorkerPool, worker_pool
from pgreplkit.catalog.logical.subscription import SUBSCRIBED_NAMES
from pgreplkit.catalog.logical.writers import Writers
from pgreplkit.driver import statements as parts
from pgreplkit.plans.logical.subscriberreadiness import SubscriberFacts, subscriber_readiness
from pgreplkit.plans.logical.subscription import SubscriptionOptions
from pgreplkit.plans.server.readiness import Readiness
from pgreplkit.values.lsn import LSN
from pgreplkit.values.several import several
from pgreplkit.values.tablename import AnyTable, TableName, table_of


class LogicalServer(StreamingServer):
    """A server's part in logical replication, in the database that it is connected to."""

    def publications(self) -> list[Publication]:
        """The publications of the database, in the order of their names.

        Source: pg_publication.
        """
        sql = PUBLICATIONS.sql(self.version.major)
        records = self._link.all("read pg_publication", sql)
        return [Publication(self._link, PUBLICATIONS.read(record)) for record in records]

    def publication(self, name: str) -> Publication:
        """The publication of that name.

        Raises: PublicationNotFound.  Source: pg_publication.
        """
        return Publication(self._link, read_publication(self._link, name))

    def create_publication(
        self,
        name: str,
        *,
        tables: Iterable[AnyPublished] = (),
        schemas: Sequence[str] = (),
        all_tables: bool = False,
        except_tables: Iterable[AnyTable] = (),
        all_sequences: bool = False,
        publish: Iterable[Operation | str] | None = None,
        via_partition_root: bool | None = None,
        publish_generated_columns: GeneratedColumns | str | None = None,
        force: bool = False,
        timeout: float = 10.0,
    ) -> Publication:
        """Publish tables, all tables of schemas, or all tables of the database.

        A table is a name, or a PublishedTable for some of its columns or rows. ``except_tables``
        are left out of all tables; ``all_sequences`` lets subscribers refresh their sequences
        (both 19 on). What is not given of the options is the server's default.

        Raises: ReplicaIdentityMissing when UPDATE or DELETE would fail in one of the tables from
        then on, unless ``force``; UnsupportedByServer for what the major lacks; AlreadyExists;
        TableNotFound; StatementTimeout when locks are not to be had for ``timeout`` seconds. In
        any case nothing is changed then.
        Needs: CREATE on the database and the tables' owner; superuser for schemas and for all
        tables or sequences.
        Source: CREATE PUBLICATION.
        """
        return make_publication(
            self._link,
            name,
            tables=several(tables, "tables"),
            schemas=several(schemas, "schemas"),
            everything=parts.whole_database(
                self._link.require,
                all_tables=all_tables,
                except_tables=except_tables,
                all_sequences=all_sequences,
            ),
            options=parts.publication_options(
                self._link.require, publish, via_partition_root, publish_generated_columns
            ),
            force=force,
            timeout=timeout,
        )

    def fence(self) -> LSN:
        """Commit a message, and give the position by which it and all before it are committed.

        A subscriber has all of that once it has come so far: ``wait_caught_up(lsn)``. The message
        changes nothing, and waits for no synchronous standby.

        Raises: NotAPrimary; ServerError in a transaction.
        Source: pg_logical_emit_message(), pg_current_wal_flush_lsn().
        """
        return set_fence(self._link)

    def subscriptions(self) -> list[Subscription]:
        """The subscriptions of the database, in the order of their names.

        Needs: before 14 superuser, or SELECT on pg_subscription.  Source: pg_subscription.
        """
        states = read_subscriptions(self._link)
        return [Subscription(self._link, state) for state in states]

    def subscription(self, name: str) -> Subscription:
        """The subscription of that name.

        Raises: SubscriptionNotFound.
        Needs: as ``subscriptions``.  Source: pg_subscription.
        """
        return Subscription(self._link, read_subscription(self._link, name))

    def create_subscription(
        self,
        name: str,
        publisher: str | Server,
        publications: Sequence[str],
        options: SubscriptionOptions | None = None,
        *,
        timeout: float = 60.0,
    ) -> Subscription:
        """Subscribe to publications of another database, and begin to copy their tables.

        ``publisher`` is a connection string, with which this server connects there, or a server
        that is connected to that database: then this server is told to connect as that connection
        does. Where both are the same server its slot is made first; else the server would wait for
        itself.

        The tables must be here already; ``wait_synced`` waits until they are copied.

        Raises: UnsupportedByServer for an option that the major lacks; PublicationNotFound;
        PublisherUnreachable; AlreadyExists; TableNotFound; StatementTimeout, as when the slot
        waits for an old transaction of the publisher; ServerError in a transaction.
        Needs: superuser, from 16 on pg_create_subscription and CREATE on the database; on the
        publisher REPLICATION, and SELECT on the tables.
        Source: CREATE SUBSCRIPTION.
        """
        state = make_subscription(
            self._link,
            name,
            publisher,
            several(publications, "publications"),
            options or SubscriptionOptions(),
            timeout=timeout,
        )
        return Subscription(self._link, state)

    def replica_identity(self, tables: Iterable[AnyTable] | None = None) -> list[ReplicaIdentity]:
        """By what the old rows of tables are told, and the ALTER for those that lack it, by name.

        Of all permanent tables of the database unless told.

        Raises: TableNotFound.  Source: pg_class, pg_index.
        """
        tried, major = "read the replica identities", self.version.major
        if tables is None:
            records = self._link.all(tried, identities(major, ALL_TABLES))
            return [identity_in(record) for record in records]
        asked = [table_of(table) for table in several(tables, "tables")]
        found = read_identities(self._link, asked)
        insist_on_all(tried, "this database", asked, [identity.table for identity in found])
        return found

    def check_subscriber_readiness(
        self,
        publisher: Server,
        tables: Iterable[AnyPublished] | None = None,
        *,
        subscriptions: int = 1,
    ) -> Readiness:
        """Whether it can have so many more subscriptions, one finding for each thing needed.

        Workers and origins, commit timestamps, and for each table a key by which rows are found,
        and whether the publisher has it from elsewhere. By default the tables are those of its
        subscriptions to this publisher; without such a subscription, all published tables.

        Raises: TableNotFound, PublicationNotFound when there is no table to look at;
        InsufficientPrivilege.
        Needs: pg_monitor.
        Source: pg_settings, pg_stat_subscription, pg_replication_origin, pg_class, pg_index.
        """
        tried = "check the subscriber's readiness"
        between = tables_between(publisher._link, self._link, tables, tried)
        names = [published.table for published in between]
        theirs = read_identities(publisher._link, names)
        insist_on_all(tried, "the publisher", names, [identity.table for identity in theirs])
        ours = read_identities(self._link, names)
        relayed = publisher._link.all("look for subscriptions", SUBSCRIBED_NAMES)
        pool = self._link.one("count the workers", worker_pool(self.version.major))
        facts = SubscriberFacts(
            major=self.version.major,
            settings=self.settings(),
            pool=WorkerPool(**pool),
            publisher=theirs,
            subscriber={identity.table: identity for identity in ours},
            relayed={TableName(record["nspname"], record["relname"]) for record in relayed},
        )
        return subscriber_readiness(facts, subscriptions=subscriptions)

    def find_writers(self, tables: Iterable[AnyTable] | None = None) -> Writers:
        """Who may write tables that only replication should, and who is writing them now.

        A row that somebody else writes on a subscriber is a conflict to come, and a row written to
        the publisher after a cutover is lost. By default the tables are those of all
        subscriptions; in a database without subscriptions, all published tables. Partitions of
        these tables, and the tables that they are partitions of, are covered too.

        Raises: TableNotFound when a table does not exist, or there is none to look at.
        Needs: pg_monitor, to see other roles' sessions.
        Source: pg_class.relacl, pg_attribute.attacl, pg_roles, pg_locks.
        """
        asked = None
        if tables is not None:
            asked = [table_of(table) for table in several(tables, "tables", at_least=1)]
        return read_writers(self._link, asked)

    def revoke_writes(self, writers: Writers, *, timeout: float = 10.0) -> None:
        """Take back what ``find_writers`` found to be granted, all of it or nothing.

        What others granted on goes with it. Keep ``writers``, or its ``restore_sql``: the server
        does not remember. Transactions that are open go on with what they have locked.

        Raises: NotAPrimary; RoleNotFound, TableNotFound; InsufficientPrivilege; StatementTimeout.
        Needs: the tables' owner.  Source: REVOKE.
        """
        execute_all(self._link, "revoke what writes", writers.revoke_sql, timeout=timeout)

    def restore_writes(self, writers: Writers, *, timeout: float = 10.0) -> None:
        """Grant again what ``revoke_writes`` took back, all of it or nothing.

        Raises and needs: as ``revoke_writes``.  Source: GRANT.
        """
        execute_all(self._link, "grant what was revoked", writers.restore_sql, timeout=timeout)
