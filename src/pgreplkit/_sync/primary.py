# Generated from pgreplkit/_async/primary.py by `nox -s sync`. Do not edit.
"""Primary: the server that writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pgreplkit._sync._io import sleep
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
from pgreplkit._sync.server import roles
from pgreplkit._sync.server.positions import write_marker
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
from pgreplkit.catalog.server.basebackups import BASE_BACKUPS, BaseBackup
from pgreplkit.catalog.server.positions import POSITION, SWITCH_WAL, WalPosition
from pgreplkit.catalog.server.retention import ARCHIVER
from pgreplkit.catalog.server.roles import ReplicationRole
from pgreplkit.catalog.server.senders import WAITING_COMMITS, SenderState
from pgreplkit.catalog.server.settings import SYNC_STANDBY_NAMES
from pgreplkit.catalog.server.waldir import CURRENT_WAL_FILE, WAL_FILE, wal_file_in
from pgreplkit.driver import statements as parts
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.failures import NOT_IN_PREREQUISITE_STATE
from pgreplkit.errors import InsufficientPrivilege, NotAPrimary, QuorumUnreachable
from pgreplkit.plans.logical.subscriberreadiness import SubscriberFacts, subscriber_readiness
from pgreplkit.plans.logical.subscription import SubscriptionOptions
from pgreplkit.plans.server.primaryreadiness import PrimaryFacts, Replication, primary_readiness
from pgreplkit.plans.server.readiness import Readiness
from pgreplkit.values.lsn import LSN
from pgreplkit.values.several import several
from pgreplkit.values.syncnames import SyncStandbyNames
from pgreplkit.values.tablename import AnyTable, TableName, table_of
from pgreplkit.values.walfile import WalFileName

_ROLE = {NOT_IN_PREREQUISITE_STATE: NotAPrimary}
"""What the functions of a primary raise in recovery."""
_FIRST_REPLY = 1.0
"""Seconds in which a standby that has just connected reports what it has flushed; it does so at
once, a receiver without a flush position never."""


class Primary(StreamingServer):
    """A primary: a server that writes WAL.

    ``connect`` raises NotAPrimary on a standby; with a connection of your own, the methods that
    only a primary has raise it when they are called.
    """

    def _insist_on_role(self) -> None:
        if self.is_in_recovery():
            raise NotAPrimary("ask a primary", "the server is in recovery")

    def wal_position(self) -> WalPosition:
        """How far its WAL is made, written, and flushed to disk.

        Raises: NotAPrimary.
        Source: pg_current_wal_insert_lsn(), pg_current_wal_lsn(), pg_current_wal_flush_lsn().
        """
        sql = POSITION.sql(self.version.major)
        return POSITION.read(self._link.one("ask for the WAL position", sql, meaning=_ROLE))

    def current_wal_file(self) -> WalFileName:
        """The file that it writes, as it names it itself.

        With the position just on a segment's boundary, a server before 17 still names the file
        that ends there.

        Raises: NotAPrimary.  Source: pg_walfile_name(pg_current_wal_lsn()).
        """
        record = self._link.one("ask for the current WAL file", CURRENT_WAL_FILE, meaning=_ROLE)
        return wal_file_in(record)

    def wal_file(self, lsn: LSN) -> WalFileName:
        """The file that the server names for ``lsn``, on its current timeline.

        On a segment's boundary a server before 17 names the file that ends there, from 17 on the
        file that starts there. ``lsn.wal_file(timeline=…)`` says the latter always.

        Raises: NotAPrimary.  Source: pg_walfile_name().
        """
        if not isinstance(lsn, LSN):
            raise TypeError(f"a WAL file is asked for an LSN, not for {type(lsn).__name__}")
        tried = f"ask for the WAL file of {lsn}"
        record = self._link.one(tried, WAL_FILE, [lsn], meaning=_ROLE)
        return wal_file_in(record)

    def switch_wal(self) -> LSN:
        """End the current WAL file, so that it can be archived, and go on in the next.

        Gives the position after the last record of the ended file. Nothing happens, and that
        position is the current one, when nothing was written since the last switch.

        Raises: NotAPrimary, InsufficientPrivilege.
        Needs: EXECUTE on pg_switch_wal(), which superusers have.  Source: pg_switch_wal().
        """
        grant = "EXECUTE ON FUNCTION pg_switch_wal()"
        record = self._link.one("switch to a new WAL file", SWITCH_WAL, grant=grant, meaning=_ROLE)
        lsn: LSN = record["lsn"]
        return lsn

    def sync_standby_names(self) -> SyncStandbyNames:
        """Which standbys must confirm a commit, as the server is set.

        Source: synchronous_standby_names.
        """
        return SyncStandbyNames.parse(str((self.setting(SYNC_STANDBY_NAMES)).value or ""))

    def set_sync_standby_names(self, names: SyncStandbyNames, *, force: bool = False) -> None:
        """Let these standbys confirm commits from now on; edit what ``sync_standby_names`` gives.

        Raises: QuorumUnreachable when fewer of them stream and report a flush position now than
        have to confirm, so that every commit would wait, unless ``force``; WaitTimeout when the
        configuration does not let it count.
        Needs: superuser, or from 15 on ALTER SYSTEM on the parameter, EXECUTE on pg_reload_conf()
        and pg_monitor; a connection in autocommit.
        Source: ALTER SYSTEM, pg_reload_conf(), pg_stat_replication.
        """
        if not isinstance(names, SyncStandbyNames):
            raise TypeError(f"the names are SyncStandbyNames, not {type(names).__name__}")
        self._insist_on_role()
        if not force:
            self._insist_on_quorum(names)
        tried = "set synchronous_standby_names"
        self._link.alter_system(tried, SYNC_STANDBY_NAMES, str(names))

    def _insist_on_quorum(self, names: SyncStandbyNames) -> None:
        backoff = Backoff(_FIRST_REPLY)
        while True:
            streaming = [r for r in self.replicas() if r.state is SenderState.STREAMING]
            confirming = tuple(r.application_name for r in streaming if r.confirms_commits)
            if names.met_by(confirming):
                return
            could_be_met = names.met_by([replica.application_name for replica in streaming])
            if backoff.is_over or not could_be_met:
                raise QuorumUnreachable(str(names), confirming)
            sleep(backoff.next_pause())

    def check_readiness(self, for_: Replication = "physical", *, standbys: int = 1) -> Readiness:
        """Whether it can have so many receivers altogether, one finding for each thing needed.

        A finding tells what is, what is needed, the SQL that gets there, and whether that takes a
        reload or a restart.

        Raises: InsufficientPrivilege; ValueError for another word than physical or logical.
        Needs: pg_monitor.
        Source: pg_settings, pg_stat_replication, pg_replication_slots, pg_stat_archiver.
        """
        self._insist_on_role()
        sql = ARCHIVER.sql(self.version.major)
        waiting = self._link.one("count the waiting commits", WAITING_COMMITS)
        facts = PrimaryFacts(
            settings=self.settings(),
            senders=self.replicas(),
            slots=[slot.state for slot in self.slots()],
            archiver=ARCHIVER.read(self._link.one("read pg_stat_archiver", sql)),
            waiting_commits=waiting["number"],
        )
        return primary_readiness(facts, for_=for_, standbys=standbys)

    def base_backups(self) -> list[BaseBackup]:
        """The base backups that run now, with how far each is and what it waits for.

        Raises: UnsupportedByServer before 13; InsufficientPrivilege.
        Needs: pg_monitor.  Source: pg_stat_progress_basebackup.
        """
        self._link.require("basebackup.progress")
        tried = "read pg_stat_progress_basebackup"
        records = self._link.all(tried, BASE_BACKUPS.sql(self.version.major))
        if any(record["phase"] is None for record in records):
            raise InsufficientPrivilege(tried, self._link.role, "pg_monitor")
        return [BASE_BACKUPS.read(record) for record in records]

    def replication_roles(self) -> list[ReplicationRole]:
        """The roles that may make replication connections, superusers among them, by name.

        Source: pg_roles.
        """
        return roles.read_roles(self._link)

    def create_replication_role(
        self,
        name: str,
        *,
        password: str | None = None,
        connection_limit: int = -1,
        monitor: bool = False,
    ) -> ReplicationRole:
        """Create a role that may log in and replicate, with ``monitor`` in pg_monitor too.

        The password is hashed (SCRAM-SHA-256) before it is sent. ``connection_limit`` counts its
        ordinary connections, before 13 its replication connections too; -1 is none.

        Raises: AlreadyExists; InvalidRoleName; InsufficientPrivilege.
        Needs: superuser; from 16 on CREATEROLE with REPLICATION, and for ``monitor`` the admin
        option on pg_monitor.
        Source: CREATE ROLE.
        """
        return roles.create_role(
            self._link,
            name,
            password=password,
            connection_limit=connection_limit,
            monitor=monitor,
        )

    def alter_replication_role(
        self,
        name: str,
        *,
        password: str | None = None,
        connection_limit: int | None = None,
        monitor: bool | None = None,
    ) -> ReplicationRole:
        """Change what is given of a replication role, all of it or nothing.

        Raises: RoleNotFound, also for a role without REPLICATION; InsufficientPrivilege.
        Needs: as ``create_replication_role``.  Source: ALTER ROLE, GRANT, REVOKE.
        """
        return roles.alter_role(
            self._link,
            name,
            password=password,
            connection_limit=connection_limit,
            monitor=monitor,
        )

    def drop_replication_role(self, name: str) -> None:
        """Drop a replication role; the server refuses one that owns something.

        Raises: RoleNotFound, also for a role without REPLICATION; ServerError;
        InsufficientPrivilege.
        Needs: as ``create_replication_role``.  Source: DROP ROLE.
        """
        roles.drop_role(self._link, name)

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
        return write_marker(self._link)

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
