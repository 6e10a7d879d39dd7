"""AsyncPrimary: a server that writes WAL."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from pgreplkit._async._io import sleep
from pgreplkit._async.logical.streamingserver import AsyncStreamingServer
from pgreplkit._async.server.server import insist_on_servers
from pgreplkit.catalog.server.settingcommands import SYNC_STANDBY_NAMES
from pgreplkit.driver.backoff import Backoff
from pgreplkit.driver.failures import NOT_IN_PREREQUISITE_STATE
from pgreplkit.errors import InsufficientPrivilege, NotAPrimary, QuorumUnreachable
from pgreplkit.values.flags import checked_flags, optional_flags
from pgreplkit.values.lsn import LSN
from pgreplkit.values.seconds import Timeout
from pgreplkit.values.several import several

# Rows, plans and streams are imported by the methods that use them: a first connect needs none.
if TYPE_CHECKING:
    from pgreplkit._async.logical.fence import AsyncWriteFence
    from pgreplkit._async.logical.publication import AsyncPublication
    from pgreplkit._async.logical.subscription import AsyncSubscription
    from pgreplkit._async.server.server import AsyncServer
    from pgreplkit.catalog.logical.publication import AnyPublished, GeneratedColumns, Operation
    from pgreplkit.catalog.logical.replicaidentity import ReplicaIdentity
    from pgreplkit.catalog.logical.writers import Writers
    from pgreplkit.catalog.server.basebackups import BaseBackup
    from pgreplkit.catalog.server.positions import WalPosition
    from pgreplkit.catalog.server.roles import ReplicationRole
    from pgreplkit.plans.logical.subscription import SubscriptionOptions
    from pgreplkit.plans.server.primaryreadiness import ReplicationType
    from pgreplkit.plans.server.readiness import Readiness
    from pgreplkit.values.rows import Rows
    from pgreplkit.values.syncnames import SyncStandbyNames
    from pgreplkit.values.tablename import AnyTable
    from pgreplkit.values.walfile import WalFileName


_ROLE = {NOT_IN_PREREQUISITE_STATE: NotAPrimary}
"""The errors of functions that are refused in recovery."""
_FIRST_REPLY = 1.0
"""Seconds in which a standby that has just connected catches up and reports what it has flushed; it
does so at once, a receiver without a flush position never."""


class AsyncPrimary(AsyncStreamingServer):
    """A primary: a server that writes WAL.

    On a standby, ``connect`` raises NotAPrimary; with your own connection, the methods that only a
    primary has raise it when they are called.
    """

    async def _check_role(self) -> None:
        if await self.is_in_recovery():
            raise NotAPrimary("use the server as a primary", "it is in recovery")

    async def wal_position(self) -> WalPosition:
        """Return the positions up to which WAL is inserted, written, and flushed.

        Raises: NotAPrimary.
        Source: pg_current_wal_insert_lsn(), pg_current_wal_lsn(), pg_current_wal_flush_lsn().
        """
        from pgreplkit.catalog.server.positions import POSITION

        sql = POSITION.sql(self.version.major)
        return POSITION.read(await self._link.one("read the WAL position", sql, meaning=_ROLE))

    async def current_wal_file(self) -> WalFileName:
        """Return the WAL file that the server currently writes, by pg_walfile_name().

        At a segment boundary, a server before 17 returns the file that ends there.

        Raises: NotAPrimary.  Source: pg_walfile_name(pg_current_wal_lsn()).
        """
        from pgreplkit.catalog.server.waldir import CURRENT_WAL_FILE, wal_file_in

        record = await self._link.one(
            "read the current WAL file name", CURRENT_WAL_FILE, meaning=_ROLE
        )
        return wal_file_in(record)

    async def wal_file(self, lsn: LSN) -> WalFileName:
        """Return the WAL file that contains ``lsn``, on the server's current timeline.

        At a segment boundary, a server before 17 returns the file that ends there, from 17 on the
        file that starts there. ``lsn.wal_file(timeline=…)`` always returns the latter.

        Raises: NotAPrimary.  Source: pg_walfile_name().
        """
        from pgreplkit.catalog.server.waldir import WAL_FILE, wal_file_in

        if not isinstance(lsn, LSN):
            raise TypeError(f"lsn must be an LSN, not {type(lsn).__name__}")
        operation = f"read the WAL file name of {lsn}"
        record = await self._link.one(operation, WAL_FILE, [lsn], meaning=_ROLE)
        return wal_file_in(record)

    async def switch_wal(self) -> LSN:
        """Switch to a new WAL file, so that the current one can be archived.

        Returns the end of the last record in the completed file. If nothing was written since the
        last switch, there is no switch, and the current position is returned.

        Raises: NotAPrimary, InsufficientPrivilege.
        Needs: EXECUTE on pg_switch_wal(), which superusers have.  Source: pg_switch_wal().
        """
        from pgreplkit.catalog.server.positions import SWITCH_WAL

        grant = "EXECUTE ON FUNCTION pg_switch_wal()"
        record = await self._link.one(
            "switch to a new WAL file", SWITCH_WAL, grant=grant, meaning=_ROLE
        )
        lsn: LSN = record["lsn"]
        return lsn

    async def sync_standby_names(self) -> SyncStandbyNames:
        """Return synchronous_standby_names: the standbys that must confirm commits.

        Source: synchronous_standby_names.
        """
        from pgreplkit.values.syncnames import SyncStandbyNames

        return SyncStandbyNames.parse(str((await self.setting(SYNC_STANDBY_NAMES)).value or ""))

    async def set_sync_standby_names(self, names: SyncStandbyNames, *, force: bool = False) -> None:
        """Set synchronous_standby_names, usually an edited result of ``sync_standby_names``.

        Raises: QuorumUnreachable, unless ``force``, if fewer of the standbys are streaming and
        reporting a flush position than have to confirm, so that every commit would wait. With
        synchronous_commit = remote_apply they must replay, too, which pg_receivewal never does;
        WaitTimeout if another source of the setting overrides it.
        Needs: superuser, or from 15 on ALTER SYSTEM on the parameter, EXECUTE on pg_reload_conf()
        and pg_monitor; a connection in autocommit mode.
        Source: ALTER SYSTEM, pg_reload_conf(), pg_stat_replication.
        """
        checked_flags(force=force)
        from pgreplkit.values.syncnames import SyncStandbyNames

        if not isinstance(names, SyncStandbyNames):
            raise TypeError(f"names must be SyncStandbyNames, not {type(names).__name__}")
        # A standby takes ALTER SYSTEM too, and would use the value only after its promotion.
        await self._check_role()
        if not force:
            await self._check_quorum(names)
        operation = "set synchronous_standby_names"
        await self._link.alter_system(operation, SYNC_STANDBY_NAMES, str(names))

    async def _check_quorum(self, names: SyncStandbyNames) -> None:
        # A standby that has just connected counts only after its first reply.
        from pgreplkit.catalog.server.senders import SenderState
        from pgreplkit.plans.server.synccommits import confirming, unreplaying

        # The server's value: that of this session may differ, so that its own commits do not wait.
        waits_for = (await self.setting("synchronous_commit")).reset_val
        backoff = Backoff(_FIRST_REPLY)
        while True:
            senders = await self.replicas()
            able = confirming(names, senders, synchronous_commit=waits_for)
            if names.is_met_by(able):
                return
            # Waiting helps only if enough standbys are connected; a base backup never counts.
            others = [sender for sender in senders if sender.state is not SenderState.BACKUP]
            could_be_met = names.is_met_by([sender.application_name for sender in others])
            if backoff.is_over or not could_be_met:
                never = unreplaying(names, senders) if waits_for == "remote_apply" else ()
                raise QuorumUnreachable(str(names), able, never)
            await sleep(backoff.next_pause())

    async def check_readiness(
        self, kind: ReplicationType = "physical", *, standbys: int = 1
    ) -> Readiness:
        """Check whether the primary is ready for ``standbys`` receivers in total.

        Each finding has the observed and the needed state, the SQL to reach it, and whether that
        needs a reload or a restart.

        Raises: InsufficientPrivilege; ValueError if ``kind`` is neither physical nor logical.
        Needs: pg_monitor.
        Source: pg_settings, pg_stat_replication, pg_replication_slots, pg_stat_archiver.
        """
        from pgreplkit.catalog.server.retention import ARCHIVER
        from pgreplkit.catalog.server.senders import WAITING_COMMITS
        from pgreplkit.plans.server.primaryreadiness import PrimaryFacts, primary_readiness

        await self._check_role()
        sql = ARCHIVER.sql(self.version.major)
        # Sessions in wait_event SyncRep show that commits hang right now.
        waiting = await self._link.one("count the waiting commits", WAITING_COMMITS)
        facts = PrimaryFacts(
            settings=await self.settings(),
            senders=await self.replicas(),
            slots=[slot.state for slot in await self.slots()],
            archiver=ARCHIVER.read(await self._link.one("read pg_stat_archiver", sql)),
            waiting_commits=waiting["number"],
        )
        return primary_readiness(facts, kind=kind, standbys=standbys)

    async def base_backups(self) -> Rows[BaseBackup]:
        """Return the running base backups with their progress.

        Raises: UnsupportedByServer before 13; InsufficientPrivilege.
        Needs: pg_monitor.  Source: pg_stat_progress_basebackup.
        """
        from pgreplkit.catalog.server.basebackups import BASE_BACKUPS
        from pgreplkit.values.rows import Rows

        self._link.require("basebackup.progress")
        operation = "read pg_stat_progress_basebackup"
        records = await self._link.all(operation, BASE_BACKUPS.sql(self.version.major))
        # Without pg_monitor the rows of other roles have only their process ids.
        if any(record["phase"] is None for record in records):
            raise InsufficientPrivilege(operation, self._link.role, "pg_monitor")
        return Rows(BASE_BACKUPS.read(record) for record in records)

    async def replication_roles(self) -> Rows[ReplicationRole]:
        """Return the roles that may replicate, including superusers, by name.

        Source: pg_roles.
        """
        from pgreplkit._async.server import roles
        from pgreplkit.values.rows import Rows

        return Rows(await roles.read_roles(self._link))

    async def create_replication_role(
        self,
        name: str,
        *,
        password: str | None = None,
        connection_limit: int = -1,
        monitor: bool = False,
    ) -> ReplicationRole:
        """Create a role with LOGIN and REPLICATION; with ``monitor`` a member of pg_monitor too.

        The password is hashed (SCRAM-SHA-256) before it is sent. ``connection_limit`` counts
        ordinary connections, before 13 also replication connections; -1 means no limit.

        Raises: AlreadyExists; InvalidRoleName; InsufficientPrivilege.
        Needs: superuser; from 16 on CREATEROLE with REPLICATION, and for ``monitor`` the admin
        option on pg_monitor.
        Source: CREATE ROLE.
        """
        checked_flags(monitor=monitor)
        from pgreplkit._async.server import roles

        return await roles.create_role(
            self._link,
            name,
            password=password,
            connection_limit=connection_limit,
            monitor=monitor,
        )

    async def alter_replication_role(
        self,
        name: str,
        *,
        password: str | None = None,
        connection_limit: int | None = None,
        monitor: bool | None = None,
    ) -> ReplicationRole:
        """Change the given properties of a replication role in one transaction.

        Raises: RoleNotFound, also for a role without REPLICATION; InsufficientPrivilege.
        Needs: as ``create_replication_role``.  Source: ALTER ROLE, GRANT, REVOKE.
        """
        optional_flags(monitor=monitor)
        from pgreplkit._async.server import roles

        return await roles.alter_role(
            self._link,
            name,
            password=password,
            connection_limit=connection_limit,
            monitor=monitor,
        )

    async def drop_replication_role(self, name: str) -> None:
        """Drop a replication role; the server refuses to drop a role that owns objects.

        Raises: RoleNotFound, also for a role without REPLICATION; ServerError;
        InsufficientPrivilege.
        Needs: as ``create_replication_role``.  Source: DROP ROLE.
        """
        from pgreplkit._async.server import roles

        await roles.drop_role(self._link, name)

    async def publications(self) -> Rows[AsyncPublication]:
        """Return the publications of the database, by name.

        Source: pg_publication.
        """
        from pgreplkit._async.logical.publication import AsyncPublication
        from pgreplkit.catalog.logical.publication import PUBLICATIONS
        from pgreplkit.values.rows import Rows

        sql = PUBLICATIONS.sql(self.version.major)
        records = await self._link.all("read pg_publication", sql)
        return Rows(AsyncPublication(self._link, PUBLICATIONS.read(record)) for record in records)

    async def publication(self, name: str) -> AsyncPublication:
        """Return the publication of that name.

        Raises: PublicationNotFound.  Source: pg_publication.
        """
        from pgreplkit._async.logical.publication import AsyncPublication, read_publication

        return AsyncPublication(self._link, await read_publication(self._link, name))

    async def create_publication(
        self,
        name: str,
        *,
        tables: Iterable[AnyPublished] = (),
        schemas: Sequence[str] = (),
        all_tables: bool = False,
        except_tables: Iterable[AnyTable] = (),
        all_sequences: bool = False,
        empty: bool = False,
        publish: Iterable[Operation | str] | None = None,
        via_partition_root: bool | None = None,
        publish_generated_columns: GeneratedColumns | str | None = None,
        force: bool = False,
        timeout: Timeout = 10.0,
    ) -> AsyncPublication:
        """Publish tables, all tables of schemas, or all tables of the database.

        A table is a name, or a PublishedTable for some of its columns or rows. ``except_tables``
        are excluded from all tables; ``all_sequences`` lets subscribers refresh their sequences
        (both 19 on). With ``empty=True`` nothing is published until tables are added. Options that
        are not given have the server's defaults.

        Raises: ValueError if nothing would be published, without ``empty``; ReplicaIdentityMissing,
        unless ``force``, if UPDATE or DELETE would fail in one of the tables once it is published;
        UnsupportedByServer for features that the server lacks; AlreadyExists; TableNotFound;
        StatementTimeout if locks are not available within ``timeout`` seconds. After an error
        nothing is changed.
        Needs: CREATE on the database and the tables' owner; superuser for schemas and for all
        tables or sequences.
        Source: CREATE PUBLICATION.
        """
        checked_flags(all_tables=all_tables, all_sequences=all_sequences, empty=empty, force=force)
        optional_flags(via_partition_root=via_partition_root)
        from pgreplkit._async.logical.publication import make_publication
        from pgreplkit.driver import statements as parts

        return await make_publication(
            self._link,
            name,
            # One str would be read as a list of its letters.
            tables=several(tables, "tables"),
            schemas=several(schemas, "schemas"),
            everything=parts.whole_database(
                self._link.require,
                all_tables=all_tables,
                except_tables=except_tables,
                all_sequences=all_sequences,
            ),
            is_empty=empty,
            options=parts.publication_options(
                self._link.require, publish, via_partition_root, publish_generated_columns
            ),
            force=force,
            timeout=timeout,
        )

    async def write_marker(self) -> LSN:
        """Commit a marker message, and return a position after it and all earlier commits.

        A subscriber that has reached the position, by ``wait_for_catchup(lsn)``, has all of them.
        The message changes no data, and does not wait for synchronous standbys.

        Raises: NotAPrimary; ServerError in a transaction.
        Source: pg_logical_emit_message(), pg_current_wal_flush_lsn().
        """
        from pgreplkit._async.server.positions import write_marker

        return await write_marker(self._link)

    async def subscriptions(self) -> Rows[AsyncSubscription]:
        """Return the subscriptions of the database, by name.

        Needs: before 14 superuser, or SELECT on pg_subscription.  Source: pg_subscription.
        """
        from pgreplkit._async.logical.subscribing import read_subscriptions
        from pgreplkit._async.logical.subscription import AsyncSubscription
        from pgreplkit.values.rows import Rows

        states = await read_subscriptions(self._link)
        return Rows(AsyncSubscription(self._link, state) for state in states)

    async def subscription(self, name: str) -> AsyncSubscription:
        """Return the subscription of that name.

        Raises: SubscriptionNotFound.
        Needs: as ``subscriptions``.  Source: pg_subscription.
        """
        from pgreplkit._async.logical.subscribing import read_subscription
        from pgreplkit._async.logical.subscription import AsyncSubscription

        return AsyncSubscription(self._link, await read_subscription(self._link, name))

    async def create_subscription(
        self,
        name: str,
        publisher: str | AsyncServer,
        publications: Sequence[str],
        options: SubscriptionOptions | None = None,
        *,
        timeout: Timeout = 60.0,
    ) -> AsyncSubscription:
        """Subscribe to publications of another database, and start to copy their tables.

        ``publisher`` is the connection string that this server uses, or a server connected to that
        database: then the connection string is that of its connection. If both are the same
        server, the slot is created first, because CREATE SUBSCRIPTION would wait for itself.

        The tables must exist here; ``wait_for_sync`` waits until they are copied.

        Raises: UnsupportedByServer for an option that the server lacks; PublicationNotFound;
        PublisherUnreachable; AlreadyExists; TableNotFound; StatementTimeout, for example if the
        slot waits for an old transaction of the publisher; ServerError in a transaction.
        Needs: superuser, from 16 on pg_create_subscription and CREATE on the database; on the
        publisher REPLICATION, and SELECT on the tables.
        Source: CREATE SUBSCRIPTION.
        """
        from pgreplkit._async.logical.subscribing import make_subscription
        from pgreplkit._async.logical.subscription import AsyncSubscription
        from pgreplkit.plans.logical.subscription import SubscriptionOptions

        state = await make_subscription(
            self._link,
            name,
            publisher,
            several(publications, "publications"),
            options or SubscriptionOptions(),
            timeout=timeout,
        )
        return AsyncSubscription(self._link, state)

    async def replica_identity(
        self, tables: Iterable[AnyTable] | None = None
    ) -> Rows[ReplicaIdentity]:
        """Return the replica identity of tables, with the ALTER TABLE for those that lack one.

        By default of all permanent tables of the database.

        Raises: TableNotFound.  Source: pg_class, pg_index.
        """
        from pgreplkit._async.logical.coverage import insist_on_all
        from pgreplkit._async.logical.publication import read_identities
        from pgreplkit.catalog.logical.replicaidentity import ALL_TABLES, identities, identity_in
        from pgreplkit.values.rows import Rows
        from pgreplkit.values.tablename import table_of

        operation, major = "read the replica identities", self.version.major
        if tables is None:
            records = await self._link.all(operation, identities(major, ALL_TABLES))
            return Rows(identity_in(record) for record in records)
        asked = [table_of(table) for table in several(tables, "tables", at_least=1)]
        # Tables that do not exist have no row.
        found = await read_identities(self._link, asked)
        insist_on_all(operation, "this database", asked, [identity.table for identity in found])
        return found

    async def check_subscriber_readiness(
        self,
        publisher: AsyncServer,
        tables: Iterable[AnyPublished] | None = None,
        *,
        subscriptions: int = 1,
    ) -> Readiness:
        """Check whether this server is ready for ``subscriptions`` more subscriptions.

        The findings cover workers and origins, commit timestamps, and for each table the key that
        identifies its rows, and whether the publisher itself replicates the table. By default the
        tables are those of the subscriptions to this publisher; without such a subscription, all
        published tables.

        Raises: TableNotFound, PublicationNotFound if there is no table to check;
        InsufficientPrivilege.
        Needs: pg_monitor.
        Source: pg_settings, pg_stat_subscription, pg_replication_origin, pg_class, pg_index.
        """
        from pgreplkit._async.logical.subscriberreadiness import read_subscriber_facts
        from pgreplkit.plans.logical.subscriberreadiness import subscriber_readiness

        facts = await read_subscriber_facts(publisher._link, self._link, tables)
        return subscriber_readiness(facts, subscriptions=subscriptions)

    async def find_writers(self, tables: Iterable[AnyTable] | None = None) -> Writers:
        """Return the roles that may write replicated tables, and the sessions that write them now.

        Rows written locally on a subscriber lead to conflicts, and rows written to the publisher
        after a cutover are lost. By default the tables are those of all subscriptions; in a
        database without subscriptions, all published tables. Partitions of these tables, and their
        partitioned tables, are covered too.

        Raises: TableNotFound if a table does not exist, or there is none to check.
        Needs: pg_monitor, to see other roles' sessions.
        Source: pg_class.relacl, pg_attribute.attacl, pg_roles, pg_locks.
        """
        from pgreplkit._async.logical.writers import read_writers
        from pgreplkit.values.tablename import table_of

        asked = None
        if tables is not None:
            # A check of no table would report that no one writes.
            asked = [table_of(table) for table in several(tables, "tables", at_least=1)]
        return await read_writers(self._link, asked)

    async def revoke_writes(self, writers: Writers, *, timeout: Timeout = 10.0) -> None:
        """Revoke all write privileges in the result of ``find_writers``, in one transaction.

        Privileges that depend on them are revoked too. Keep ``writers``, or its ``restore_sql``,
        to restore them: the server keeps no record. Open transactions keep their locks, and can
        still write to locked tables.

        Raises: NotAPrimary; RoleNotFound, TableNotFound; InsufficientPrivilege; StatementTimeout.
        Needs: the tables' owner.  Source: REVOKE.
        """
        from pgreplkit._async.logical.writers import execute_all

        # With half of the privileges revoked, neither state would be known.
        await execute_all(
            self._link, "revoke write privileges", writers.revoke_sql, timeout=timeout
        )

    async def restore_writes(self, writers: Writers, *, timeout: Timeout = 10.0) -> None:
        """Grant again the privileges that ``revoke_writes`` revoked, in one transaction.

        Raises: the errors of ``revoke_writes``.
        Needs: the tables' owner.  Source: GRANT.
        """
        from pgreplkit._async.logical.writers import execute_all

        await execute_all(
            self._link, "restore write privileges", writers.restore_sql, timeout=timeout
        )

    async def fence_writes(
        self,
        tables: Iterable[AnyTable] | None = None,
        *,
        name: str = "pgreplkit_fence",
        hint: str = "Connect to the server that accepts writes now.",
        timeout: Timeout = 10.0,
    ) -> AsyncWriteFence:
        """Refuse all writes to tables by a trigger, and wait for open transactions that wrote.

        The trigger refuses superusers, COPY, MERGE and TRUNCATE too, with SQLSTATE 25006 and the
        ``hint``. Apply workers of subscriptions still write. By default the tables are those of all
        subscriptions; in a database without subscriptions, all published tables. Their partitions
        and partitioned tables are fenced too, also partitions that are attached until the fence
        stands. One that is attached later accepts its own writes until ``fence_writes`` is called
        again. ``unfenced()`` of the result lists what it does not cover.

        A fence that exists is completed, and its triggers that someone has disabled are enabled.
        Writers queue behind an attempt to lock a table, or to let no other writer begin, for 0.02
        to 0.3 seconds, and have as much time before the next one, until the ``timeout``.
        Autovacuums of the tables are cancelled, if the role may; otherwise they keep writers
        waiting for deadlock_timeout. After an error, a new fence is removed again, one that
        permitted writes permits them again, and from others the added tables are removed; if other
        transactions keep the triggers for another second, a note of the exception says so.

        Raises: WaitTimeout with the sessions that hold locks; TableNotFound if a table does not
        exist, or there is none to fence; AlreadyExists if a schema of that ``name`` exists;
        ServerError in a transaction; NotAPrimary; InsufficientPrivilege.
        Needs: the tables' owner; CREATE on the database; to cancel autovacuums a superuser, from 18
        on pg_signal_autovacuum_worker.  Source: CREATE TRIGGER.
        """
        from pgreplkit._async.logical.fence import checked_fence_name, make_fence
        from pgreplkit._async.logical.writers import read_replicated
        from pgreplkit.values.tablename import table_of

        checked_fence_name(name)
        if tables is None:
            asked = await read_replicated(self._link, "fence writes")
        else:
            asked = [table_of(table) for table in several(tables, "tables", at_least=1)]
        return await make_fence(self._link, asked, name=name, hint=hint, timeout=timeout)

    async def write_fences(self) -> Rows[AsyncWriteFence]:
        """Return the write fences of the database, by name.

        Source: pg_trigger.
        """
        from pgreplkit._async.logical.fence import AsyncWriteFence, read_fences
        from pgreplkit.values.rows import Rows

        states = await read_fences(self._link)
        return Rows(AsyncWriteFence(self._link, state, None) for state in states)


def insist_on_primaries(**arguments: object) -> None:
    """Check that arguments are primaries.

    Raises:
        TypeError: If one is another object, or the server of a standby.
    """
    insist_on_servers(**arguments)
    wanted = AsyncPrimary.__name__
    for name, given in arguments.items():
        if not isinstance(given, AsyncPrimary):
            raise TypeError(
                f"{name} must be of the class {wanted}, not {type(given).__name__}; connect to its"
                " primary"
            )
